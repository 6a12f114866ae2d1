"""The manifest of gray images that were written for another program: which file was made of which image, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colorbench.errors import UserError

FILE = "manifest.json"
KIND: Final = "colorbench inputs"
"""Tells this manifest from files of the same name that other programs write."""
Gray = Literal["cie-l", "bt601"]
"""How color becomes gray: the gray image of the same CIE L, or the luma of BT.601 as Pillow computes it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputImage(_Part):
    """One image of a manifest."""

    id: str
    """Of the image in its dataset: the POSIX path below the folder."""
    file: str
    """Path of the gray PNG below the folder of the manifest."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    """Of the gray image."""
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the image's file."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the gray PNG."""


class Manifest(_Part):
    """A folder of inputs."""

    kind: Literal["colorbench inputs"] = KIND
    schema_version: Literal[1] = 1
    colorbench: str
    """Version that wrote it."""
    dataset: str
    gray: Gray
    preprocessing: str
    """Applied before an image became gray: ``native`` for none."""
    images: list[InputImage]


def find_manifest(folder: Path, given: Path | None) -> Path | None:
    """Return the file of the manifest of a folder of predictions; None for none.

    Args:
        folder: with the predictions; a manifest that lies there counts if it is ours.
        given: a manifest, or the folder of the inputs.

    Raises:
        UserError: for one that is given and is not there.
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
    """Read a manifest.

    Raises:
        UserError: for a file that is no manifest, or damaged, naming the first fault.
    """
    hint = "make the inputs again with `colorbench inputs`"
    try:
        content = _content(path)
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise UserError("this is no manifest of `colorbench inputs`", where=str(path), hint="check the path")
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
