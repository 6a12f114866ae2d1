"""Models and datasets, opened by name."""

from __future__ import annotations

from pathlib import Path

from colorbench._api.arguments import Model
from colorbench._api.errors_and_logging import names_arguments
from colorbench.data import Dataset
from colorbench.data import open_dataset as open_source
from colorbench.evaluation.devices_and_processes import device_of
from colorbench.models import LoadedModel, model_loading


@names_arguments
def load_model(
    model: Model,
    decode: str | None = None,
    temperature: float | None = None,
    *,
    weights: Path | str | None = None,
    device: str | None = None,
) -> LoadedModel:
    """Load a model by name, or wrap one that exists.

    Args:
        model: as for ``run``.
        decode: ``annealed-mean``, ``mean`` or ``mode``, for models that predict a distribution.
        temperature: of the annealed mean.
        weights: a file to load in place of the model's own weights.
        device: where the model's tensors go; None: they stay.

    Returns:
        The model under its full name, with its card.

    Raises:
        UserError: for an unknown name, tag, option, decoding or file, and for a plugin that is broken.
    """
    file = None if weights is None else Path(weights)
    position = None if device is None else device_of(device)
    return model_loading.load_model(model, decode, temperature, weights=file, device=position)


@names_arguments
def open_dataset(
    spec: Path | str | None = None, *, list_file: Path | str | None = None, labels: Path | str | None = None
) -> Dataset:
    """Open a dataset; only names, sizes and times of files are read.

    Args:
        spec: a folder of images, or ``samples`` (None too): the packaged images. Folders of equal depth are classes.
        list_file: only the images that this file names, one per line, a class index behind each or not.
        labels: a ``.csv`` with the columns ``file`` and ``class_index``.

    Returns:
        The dataset, its samples sorted by id; ``remarks`` tell what was ignored.

    Raises:
        UserError: for what is missing, empty, or does not match.
    """
    listed, table = (None if one is None else Path(one) for one in (list_file, labels))
    return open_source(spec, list_file=listed, labels=table)
