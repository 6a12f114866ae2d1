"""``images:DIR``: a model that reads stored predictions of another program from a folder.

Files are matched with images by ``data.name_matching``. A prediction has the size of its image or another size of the
same aspect ratio, and is resized; or the size of the preprocessing, and is used unchanged. Other sizes are refused,
since the crop is unknown.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from colorbench.data import Preprocessing, UnreadableImage, get_preprocessing
from colorbench.data.batch_loader import map_ahead
from colorbench.data.folder_walk import check_name, walk
from colorbench.data.image_decoding import Header, decode_file, read_header
from colorbench.data.image_formats import readable
from colorbench.data.input_manifest import find_manifest, read_manifest
from colorbench.data.name_matching import match_names, nearest_name
from colorbench.errors import InputError, UserError, path_hint, with_hint
from colorbench.models.colorizer_interfaces import ColorizerInput, ColorPrediction
from colorbench.models.model_card import ModelCard
from colorbench.storage import file_sha256

Size = tuple[int, int]
Fit = Literal["same", "scaled", "preprocessed", "turned", "other"]
"""Size of a prediction relative to its image: equal, of equal aspect ratio, equal to that of the preprocessing, turned
by 90 degrees, or none of these."""
ASPECT_TOLERANCE = 0.01
DECODERS = min(8, os.cpu_count() or 1)
"""Threads that decode the predictions of a batch."""


def fit(prediction: Size, image: Size, preprocessing: Preprocessing) -> Fit:
    """Classify the size (H, W) of a stored image (a prediction) relative to that of its original image."""
    if prediction == image:
        return "same"
    if preprocessing.size and prediction == (preprocessing.size, preprocessing.size):
        return "preprocessed"
    if same_aspect(prediction, image):
        return "scaled"
    return "turned" if same_aspect(prediction[::-1], image) else "other"


def same_aspect(one: Size, other: Size) -> bool:
    """Return whether two image sizes have the same aspect ratio, within 1 % or rounding to whole pixels."""
    (h, w), (height, width) = one, other
    rounded = max((h - 1) / height, (w - 1) / width) < min((h + 1) / height, (w + 1) / width)
    return rounded or abs(w * height / (h * width) - 1) <= ASPECT_TOLERANCE


class ImageFolderModel:
    """A folder of images as a colorizer."""

    def __init__(self, folder: Path, manifest: Path | None = None) -> None:
        """List the image files of a folder; no image is read.

        Args:
            folder: folder of predictions.
            manifest: manifest of the gray inputs, or the folder of the inputs; None: a manifest in ``folder``, if there
                is one.

        Raises:
            UserError: for a folder that is missing or without images, and a manifest that is missing or damaged.
        """
        if not folder.is_dir():
            raise UserError("no such folder of images", where=str(folder), hint=path_hint(folder))
        check_name(str(folder), "a folder")
        self.manifest_file = find_manifest(folder, manifest)
        """File of the manifest of the inputs; None without one."""
        self.manifest = None if self.manifest_file is None else read_manifest(self.manifest_file)
        contents = walk(folder, used=frozenset() if self.manifest_file is None else frozenset({self.manifest_file}))
        remark = contents.remark()
        if not contents.images:
            known = f"known: {readable()}"
            hint = with_hint(remark, known) if remark else known
            raise UserError("no images in this folder", where=str(folder), hint=hint)
        self.folder = folder
        self.card = ModelCard(
            title=f"stored images of {folder.resolve().name}",
            notes="Predictions of another program; weights_sha256 is a hash of the files. Lossy formats cost accuracy.",
        )
        self.headers: dict[str, Header] = {}
        """Id -> header of its prediction, after ``prepare``."""
        self.sha256s: dict[str, str] = {}
        """Id -> sha256 of the bytes of its prediction."""
        self._passed_over = [] if remark is None else [remark]
        self.remarks: list[str] = []
        """Remarks for the user about the matching of files, after ``prepare``."""
        self._found: dict[str, Path] = {}
        self._paths = {image.id: image.path for image in contents.images}

    def prepare(self, ids: Iterable[str]) -> str:
        """Find the prediction of every image; return a hash of ids and predictions, used as weights hash.

        Raises:
            InputError: if predictions are missing, unreadable or ambiguous, with their number and the first.
        """
        found = self._match(tuple(ids))
        digest = hashlib.sha256()
        for id, path in sorted(found.items()):
            try:
                self.headers[id] = read_header(path)
                self.sha256s[id] = file_sha256(path)
                digest.update(f"{id}\0{self.sha256s[id]}\n".encode())
            except UnreadableImage as error:
                raise InputError(
                    f"a stored prediction cannot be read: {error}", where=str(path), hint=_AGAIN
                ) from error
        self._found = found
        return digest.hexdigest()

    def path_of(self, id: str) -> Path:
        """Return the file of a prediction, after ``prepare``."""
        return self._found[id]

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        """Read the predictions of a batch at the size of the inputs."""
        if any(id not in self._found for id in inputs.ids):
            self._found |= self._match(inputs.ids)
        height, width = inputs.lightness.shape[-2:]
        sizes = inputs.sizes or (None,) * len(inputs.ids)

        def read(wanted: tuple[str, Size | None]) -> np.ndarray:
            return self._image(wanted[0], (height, width), wanted[1], inputs.preprocessing)

        pairs = list(zip(inputs.ids, sizes, strict=True))
        images = list(map_ahead(read, pairs, min(DECODERS, len(pairs)), len(pairs)))
        rgb8 = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
        return ColorPrediction(rgb8=rgb8.to(inputs.lightness.device))

    def _image(self, id: str, size: Size, own: Size | None, preprocessing: str | None) -> np.ndarray:
        """Read one prediction, (H, W, 3) uint8, for an image of original size ``own`` that is evaluated at ``size``."""
        path = self._found[id]
        try:
            rgb = decode_file(path).rgb
        except UnreadableImage as error:
            raise InputError(f"a stored prediction cannot be read: {error}", where=str(path), hint=_AGAIN) from error
        given = rgb.shape[:2]
        if given == size:
            return rgb
        chosen = None if preprocessing is None else get_preprocessing(preprocessing)
        if chosen is not None and own is not None and fit(given, own, chosen) in ("turned", "other"):
            what = f"a prediction of {shown(given)} does not fit its image of {shown(own)}"
            raise InputError(what, where=str(path), hint=SIZES)
        if chosen is not None and chosen.size:
            return chosen.apply(rgb)  # cropped and resized like its image
        return np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.BICUBIC))

    def _match(self, ids: Sequence[str]) -> dict[str, Path]:
        """Match every id with a file."""
        found = match_names(ids, self._paths, exact_wins=False)
        where = str(self.folder)
        if found.doubtful:
            several, files = found.doubtful[0]
            count = sum(len(meant) for meant, _ in found.doubtful)
            what = f"{count} of {len(ids)} images match several predictions"
            first = f"{' and '.join(several[:2])} may be {' or '.join(files[:2])}"
            hint = "keep one file per image, under the path of the image"
            raise InputError(f"{what}, first {first}", where=where, hint=hint)
        if found.missing:
            first = ", ".join(found.missing[:3]) + (" ..." if len(found.missing) > 3 else "")
            hint = "create them, or evaluate only the images that have one, by a list of their names"
            what = f"{len(found.missing)} of {len(ids)} images have no prediction: {first}"
            if found.unused:
                what += f"; the folder has {nearest_name(found.missing[0], found.unused)}, which belongs to no image"
            raise InputError(what, where=where, hint=hint)
        self.remarks = list(self._passed_over)
        if found.by_file_name:
            self.remarks.append(f"{found.by_file_name} predictions were found by file name only")
        if found.unused:
            self.remarks.append(
                f"predictions without an image in the dataset: {len(found.unused)}, the first: {found.unused[0]}"
            )
        return {id: self._paths[name] for id, name in found.pairs.items()}


_AGAIN = "create it again; finished work is kept"
SIZES = "save predictions at the sizes of their images, not cropped, padded or rotated"


def shown(size: Size) -> str:
    """Format the size of an image in a folder as width x height."""
    return f"{size[1]}x{size[0]}"
