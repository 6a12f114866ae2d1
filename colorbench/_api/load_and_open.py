"""``load_model`` and ``open_dataset``."""

from __future__ import annotations

from pathlib import Path

from colorbench._api.arguments import Model
from colorbench._api.errors_and_logging import python_errors
from colorbench.data import Dataset
from colorbench.data import open_dataset as open_source
from colorbench.evaluation.devices_and_memory import device_of
from colorbench.models import LoadedModel, model_loading


@python_errors()
def load_model(
    model: Model,
    decode: str | None = None,
    temperature: float | None = None,
    *,
    weights: Path | str | None = None,
    device: str | None = None,
) -> LoadedModel:
    """Load a model by name, or wrap a model object.

    Args:
        model: as for ``run``.
        decode: ``annealed-mean``, ``mean`` or ``mode``, for models that predict a distribution.
        temperature: temperature of the annealed mean.
        weights: a weights file that replaces the model's own weights.
        device: device for the model's tensors; None: they are not moved.

    Returns:
        The model with its full name and card.

    Raises:
        UserError: for an unknown name, tag, option, decoding or file, or a broken plugin.
    """
    file = None if weights is None else Path(weights)
    torch_device = None if device is None else device_of(device)
    return model_loading.load_model(model, decode, temperature, weights=file, device=torch_device)


@python_errors()
def open_dataset(
    spec: Path | str | None = None, *, list_file: Path | str | None = None, labels: Path | str | None = None
) -> Dataset:
    """Open a dataset from names, sizes and times of files only.

    Args:
        spec: a folder of images, tar or Parquet files (one, a folder or a pattern of them), a folder that ``datasets``
            saved, an address of these; ``samples`` or None for the packaged images. If every image is in a subfolder,
            the subfolders are classes.
        list_file: file that lists the images to use, one per line, optionally with a class index.
        labels: a ``.csv`` with the columns ``file`` and ``class_index``.

    Returns:
        The dataset, sorted by id; ``remarks`` lists ignored files.

    Raises:
        UserError: for files that are missing, empty, or do not match.
    """
    listed, table = (None if one is None else Path(one) for one in (list_file, labels))
    return open_source(spec, list_file=listed, labels=table)
