"""``predict`` and ``colorize``: predictions of a model without any protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from colorbench._api.arguments import Data, Model, as_dataset, as_pixels
from colorbench._api.errors_and_logging import LogProgress, python_errors
from colorbench.data import GrayPolicy
from colorbench.evaluation import Prediction, predict_images
from colorbench.evaluation.devices_and_memory import device_of
from colorbench.evaluation.full_size_colorization import Upsampling, colorize_image
from colorbench.models import model_loading


@python_errors()
def predict(
    model: Model,
    data: Data = None,
    *,
    preprocessing: str = "squash256",
    decode: str | None = None,
    temperature: float | None = None,
    gray_policy: GrayPolicy = "keep",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: str = "auto",
    dtype: str = "float32",
    threads: int | None = None,
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Colorize the images of a dataset, without any protocol.

    Args:
        model: a name, a result of ``load_model``, or a model object or class, as for ``run``.
        data: a ``Dataset``, a folder, or another source for ``open_dataset``; None for the packaged images.
        preprocessing: preprocessing of the images: ``squash256``, ``center256``, ``native``; other sizes are possible.
        decode: ``annealed-mean``, ``mean`` or ``mode``, if the model predicts a distribution.
        temperature: temperature of the annealed mean.
        gray_policy: ``keep`` or ``drop`` images without color.
        limit: colorize this many images, a fixed random subset.
        seed: seed of stochastic models.
        batch_size: largest number of images in a batch.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` uses a GPU if available.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        threads: CPU threads for the model; None for torch's default.
        workers: decoding threads; None for one per core, at most 8.

    Returns:
        An iterator of batches, in the dataset's order: ``prediction.ids``, ``prediction.rgb8`` (N, 3, H, W) uint8,
        ``prediction.ab`` (N, 2, H, W), and the original in ``prediction.truth``. Unreadable images are left out and
        reported to the logger ``colorbench``.

    Raises:
        UserError: for errors that the caller can fix.
        RunError: while iterating, for a model that fails.

    Example:
        >>> import colorbench
        >>> for prediction in colorbench.predict("zoo/gray", "images/", preprocessing="squash64"):
        ...     print(prediction.rgb8.shape[1:])
        torch.Size([3, 64, 64])
    """
    dataset = as_dataset(data)
    batches = predict_images(
        model_loading.load_model(model, decode, temperature),
        dataset if limit is None else dataset.limit(limit),
        preprocessing=preprocessing,
        gray_policy=gray_policy,
        seed=seed,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        threads=threads,
        workers=workers,
        message=LogProgress().message,
    )
    return _named(batches)


def _named(batches: Iterator[Prediction]) -> Iterator[Prediction]:
    with python_errors():
        yield from batches


@python_errors()
def colorize(
    image: Image.Image | np.ndarray | Path | str,
    model: Model,
    *,
    decode: str | None = None,
    temperature: float | None = None,
    seed: int = 0,
    device: str = "auto",
    upsample: Upsampling = "bilateral",
) -> Image.Image:
    """Colorize one image at its full size.

    The output has the lightness of the image; only the colors come from the model, which receives a small copy.

    Args:
        image: a path, a Pillow image, or an array of uint8, (H, W) gray or (H, W, 3) sRGB.
        model: a name, a result of ``load_model``, or a model object or class, as for ``run``.
        decode: ``annealed-mean``, ``mean`` or ``mode``, if the model predicts a distribution.
        temperature: temperature of the annealed mean.
        seed: seed of stochastic models.
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` uses a GPU if available.
        upsample: how colors are enlarged: ``bilateral``, along the edges of the image, or ``bilinear``.

    Returns:
        The colorized image, (H, W) RGB, upright.

    Raises:
        UserError: for an unreadable image, or an array of another shape or type.
        RunError: for a model that fails.
    """
    torch_device = device_of(device)
    name, rgb = as_pixels(image)
    loaded = model_loading.load_model(model, decode, temperature)
    with loaded.at_work(torch_device):
        return Image.fromarray(colorize_image(loaded, rgb, id=name, seed=seed, device=torch_device, upsample=upsample))
