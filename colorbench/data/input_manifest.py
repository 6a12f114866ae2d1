"""Manifest of exported gray input images: the source image of each file, and the settings of the export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colorbench.errors import UserError

FILE = "manifest.json"
KIND: Final = "colorbench inputs"
"""Distinguishes this manifest from files of the same name by other programs."""
Gray = Literal["cie-l", "bt601"]
"""Conversion from color to gray: the gray image of equal CIE L, or BT.601 luma as Pillow computes it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputImage(_Part):
    """One image of a manifest."""

    id: str
    """Id of the image in its dataset: the POSIX path below the folder."""
    file: str
    """Path of the gray PNG below the folder of the manifest."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    """Height of the gray image."""
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the source image's file."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the gray PNG."""


class Manifest(_Part):
    """Manifest of a folder of gray input images."""

    kind: Literal["colorbench inputs"] = KIND
    schema_version: Literal[1] = 1
    colorbench: str
    """Version of colorbench that wrote it."""
    dataset: str
    gray: Gray
    preprocessing: str
    """Preprocessing before the conversion to gray; ``native`` for none."""
    images: list[InputImage]


def find_manifest(folder: Path, given: Path | None) -> Path | None:
    """Find the manifest of the gray inputs that a folder of predictions was made from; None without one.

    Args:
        folder: folder of the predictions; a manifest of colorbench in it is used.
        given: a manifest, or the folder of the gray inputs.

    Raises:
        UserError: for a given manifest that does not exist.
    """
    if given is not None:
        path = given / FILE if given.is_dir() else given
        if not path.is_file():
            raise UserError("no such manifest", where=str(path), hint="`colorbench inputs` writes it into its --output")
        return path
    path = folder / FILE
    try:
        return path if path.is_file() and _content(path).get("kind") == KIND else None
    except (OSError, ValueError, AttributeError):
        return None


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of a folder of gray inputs.

    Raises:
        UserError: for a file that is not a manifest or damaged, naming the first fault.
    """
    hint = "make the inputs again with `colorbench inputs`"
    try:
        content = _content(path)
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise UserError("this is not a manifest of `colorbench inputs`", where=str(path), hint="check the path")
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"the manifest is damaged: {place}: {first['msg']}", where=str(path), hint=hint) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the manifest cannot be read: {error}", where=str(path), hint=hint) from error


def _content(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content
