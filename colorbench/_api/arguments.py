"""Conversion of the arguments of the public functions (models, protocols, data, images)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from colorbench.data import Dataset, UnreadableImage, open_dataset
from colorbench.data.image_decoding import decode_file, decode_pixels
from colorbench.errors import READABLE, UserError
from colorbench.evaluation import DatasetProtocol, ImageProtocol
from colorbench.models import LoadedModel

Model = str | LoadedModel | type | object
"""A name, a result of ``load_model``, or a model object or class."""
Protocol = str | ImageProtocol | DatasetProtocol | type
"""A name, optionally with a preset (``auc@cic2016``), or a protocol object or class."""
Data = Dataset | os.PathLike[str] | str | None
"""A dataset, a folder or another source for ``open_dataset``; None for the packaged images."""


def as_dataset(data: Data) -> Dataset:
    """Return a dataset argument of a Python function as a dataset, opening a folder or name.

    Raises:
        UserError: for other types.
    """
    if isinstance(data, Dataset):
        return data
    if data is not None and not isinstance(data, str | os.PathLike):
        raise UserError(f"data cannot be a {type(data).__name__}", hint="give a folder, a Dataset, or these by role")
    return open_dataset(data if data is None or isinstance(data, str) else Path(data))


def as_roles(data: Data | Mapping[str, Data], roles: Mapping[str, Data]) -> dict[str, Dataset]:
    """Return the dataset arguments by role; data without a role have the role ``test``.

    Raises:
        UserError: for a role given twice, or without data for ``test``.
    """
    given = dict(data) if isinstance(data, Mapping) else {"test": data} if data is not None or not roles else {}
    if twice := sorted(set(given) & set(roles)):
        raise UserError(f"the role {twice[0]!r} is given twice", hint="give it in data or in roles")
    given |= roles
    if "test" not in given:
        raise UserError("there are no images in the role 'test'", hint='give data={"train": ..., "test": ...}')
    return {role: as_dataset(one) for role, one in given.items()}


def by_protocol(
    parameters: Mapping[str, Any], protocols: Sequence[str | ImageProtocol | DatasetProtocol]
) -> dict[str, Mapping[str, Any]]:
    """Return parameter arguments per protocol; those without a protocol's name belong to the only protocol.

    Raises:
        UserError: for parameters that do not name one of several protocols.
    """
    names = [one if isinstance(one, str) else one.spec.name for one in protocols]
    known = {*names, *(name.partition("@")[0] for name in names)}
    named = {key: value for key, value in parameters.items() if key in known and isinstance(value, Mapping)}
    rest = {key: value for key, value in parameters.items() if key not in named}
    if not rest:
        return named
    if len(names) > 1:
        key = next(iter(rest))
        what = f"the parameter {key!r} is ambiguous for {len(names)} protocols"
        raise UserError(what, hint=f"write parameters={{{names[0]!r}: {{{key!r}: ...}}}}")
    return {**named, names[0]: {**named.get(names[0], {}), **rest}}


def as_pixels(image: Image.Image | np.ndarray | Path | str) -> tuple[str, np.ndarray]:
    """Return the name and pixels of an image argument, (H, W, 3) uint8 sRGB, upright.

    Raises:
        UserError: for an unreadable file, or an array of another shape or type.
    """
    try:
        if isinstance(image, str | Path):
            decoded = decode_file(Path(image))
            return decoded.id, decoded.rgb
        if isinstance(image, Image.Image):
            return "image", decode_pixels(image)
    except UnreadableImage as error:
        where = str(image) if isinstance(image, str | Path) else None
        raise UserError(str(error), where=where, hint=READABLE) from error
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)) or not array.size:
        what = f"not an image: an array of {array.dtype}, {array.shape}"
        raise UserError(what, hint="give uint8 of shape (H, W) or (H, W, 3)")
    return "image", array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)
