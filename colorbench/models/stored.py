"""``images:DIR``: the pictures that another program made, measured like any model.

A picture belongs to the photograph of the same path below its root, whatever the suffix (``a/b.JPEG`` ->
``DIR/a/b.png``), or of the same name, where the pictures lie side by side and leave no doubt (``DIR/b.png``).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from colorbench.data.decoding import UnreadablePhotograph, decode_file
from colorbench.data.formats import readable, without_suffix
from colorbench.data.recipes import get_recipe
from colorbench.data.walk import check_name, walk
from colorbench.errors import RunError, UserError
from colorbench.models.card import ModelCard
from colorbench.models.colorizer import Colors, Inputs
from colorbench.models.weights import file_sha256

Size = tuple[int, int]


class StoredPictures:
    """A folder of pictures as a colorizer."""

    def __init__(self, folder: Path) -> None:
        """Only names are read.

        Raises:
            UserError: for a folder that is missing or without pictures.
        """
        if not folder.is_dir():
            raise UserError("no such folder of pictures", where=str(folder), mend="write images:FOLDER")
        check_name(str(folder), "a folder")
        contents = walk(folder)
        remark = contents.remark()
        if not contents.images:
            known = f"known: {readable()}"
            mend = f"{remark}. {known}" if remark else known
            raise UserError("no images in this folder", where=str(folder), mend=mend)
        self.folder = folder
        self.card = ModelCard(
            title=f"stored pictures of {folder.resolve().name}",
            notes="Made elsewhere: its weights_sha256 is a hash over the pictures. Lossy formats cost accuracy.",
        )
        self.resized: set[str] = set()
        """Ids whose picture did not have the size that was evaluated."""
        self._found: dict[str, Path] = {}
        self._by_path: dict[str, list[Path]] = defaultdict(list)
        for image in contents.images:
            self._by_path[without_suffix(image.id)].append(image.path)

    def prepare(self, ids: Iterable[str]) -> str:
        """Find the picture of every photograph; a hash over ids and pictures, which stands for the weights.

        Raises:
            RunError: if pictures are missing, or two could be meant: with their number and the first names.
        """
        found = self._match(tuple(ids))
        digest = hashlib.sha256()
        for id, path in sorted(found.items()):
            digest.update(f"{id}\0{file_sha256(path)}\n".encode())
        self._found = found
        return digest.hexdigest()

    def colorize_batch(self, inputs: Inputs) -> Colors:
        """The pictures at the inputs' size."""
        if any(id not in self._found for id in inputs.ids):
            self._found |= self._match(inputs.ids)
        height, width = inputs.lightness.shape[-2:]
        sizes = inputs.sizes or (None,) * len(inputs.ids)
        pictures = [
            self._picture(id, (height, width), own, inputs.recipe) for id, own in zip(inputs.ids, sizes, strict=True)
        ]
        rgb8 = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()  # (N, 3, H, W)
        return Colors(rgb8=rgb8.to(inputs.lightness.device))

    def _picture(self, id: str, size: Size, own: Size | None, recipe: str | None) -> np.ndarray:
        """(H, W, 3) uint8 for one photograph of its own size ``own``, evaluated at ``size``."""
        path = self._found[id]
        try:
            rgb = decode_file(path).rgb
        except UnreadablePhotograph as error:
            mend = "make it again; finished shards are kept"
            raise RunError(f"a stored picture cannot be read: {error}", where=str(path), mend=mend) from error
        if rgb.shape[:2] == size:
            return rgb
        self.resized.add(id)
        if recipe is not None and get_recipe(recipe).kind == "center":
            # Squashing would move the colours off what they belong to; only the whole picture can be cropped alike.
            if rgb.shape[:2] != own:
                given, wanted = "x".join(map(str, rgb.shape[:2])), "x".join(map(str, size))
                mend = f"give pictures of {wanted}, or of the photographs' own sizes"
                raise RunError(
                    f"a picture of {given} does not tell how to cut it for {recipe}", where=str(path), mend=mend
                )
            return get_recipe(recipe).apply(rgb)
        return np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.BICUBIC))

    def _match(self, ids: Sequence[str]) -> dict[str, Path]:
        """Id -> picture, for all of them."""
        names: dict[str, int] = defaultdict(int)
        for id in ids:
            names[PurePosixPath(without_suffix(id)).name] += 1
        found: dict[str, Path] = {}
        owners: dict[Path, str] = {}
        missing, doubtful = [], []
        for id in ids:
            candidates = self._candidates(id, alone=names[PurePosixPath(without_suffix(id)).name] == 1)
            if len(candidates) == 1 and owners.setdefault(candidates[0], id) == id:
                found[id] = candidates[0]
            elif candidates:
                doubtful.append(id)
            else:
                missing.append(id)
        for trouble, what, mend in (
            (missing, "have no picture", "make them, or measure only the photographs that have one with --list"),
            (doubtful, "share a picture or have several", "keep one picture each, under the photograph's path"),
        ):
            if trouble:
                first = ", ".join(trouble[:3]) + (" ..." if len(trouble) > 3 else "")
                raise RunError(
                    f"{len(trouble)} of {len(ids)} photographs {what}: {first}", where=str(self.folder), mend=mend
                )
        return found

    def _candidates(self, id: str, *, alone: bool) -> list[Path]:
        """Pictures that may belong to a photograph; ``alone``: no other photograph has its name."""
        key = without_suffix(id)
        there = self._by_path.get(key, [])
        # Where photographs differ in their suffix alone, pictures keep it: a.jpg or a.jpg.png.
        exact = [path for path in there if path.name == PurePosixPath(id).name] or self._by_path.get(id, [])
        if exact or there or "/" not in key or not alone:
            return exact or there
        return self._by_path.get(PurePosixPath(key).name, [])
