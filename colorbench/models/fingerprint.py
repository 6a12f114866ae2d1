"""The one fingerprint of a model: two models with equal fingerprints give equal predictions.

It has the model's name, how its predictions are decoded, a hash over all that it holds (see ``state_hash``), and a hash
over its code (see ``source_code_hashes``). Everything that is stored (shards, records, features, checkpoints) belongs
to one fingerprint. A model that cannot be compared, since it holds what has no readable content, is *not reusable*: it
is measured each time it is asked for.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from colorbench.models.adapters import SimpleColorizerAdapter
from colorbench.models.image_folder_model import ImageFolderModel
from colorbench.models.loaded_model import LoadedModel
from colorbench.models.onnx_model import OnnxColorizer
from colorbench.models.state_hash import state_digest
from colorbench.storage.source_code_hashes import UnknownCode, code_digest, foreign, package_digest, top_package

LIBRARY = Path(__file__).resolve().parents[1]
NO_NUMBERS = ("cli", "reporting", "verification", "testing")
"""Packages of colorbench that show or check numbers and make none."""


@dataclass(frozen=True)
class ModelFingerprint:
    """What decides a model's predictions."""

    name: str
    """The name of a model independent of its location: a file or folder without its parents."""
    decoding: Mapping[str, Any]
    weights: str
    """sha256 over all that the colorizer holds; of stored images over their files."""
    code: str
    """sha256 over the code of its class, and what that imports from its own package or folder."""
    reusable: bool = True
    reasons: tuple[str, ...] = ()
    """Why it is not reusable."""
    package: str | None = None
    version: str | None = None
    file: str | None = None
    """sha256 of the weights file, where it is known."""

    @property
    def identity(self) -> dict[str, Any]:
        """What a record says of the model, too."""
        about = {"package": self.package, "version": self.version, "weights_sha256": self.file}
        return {"name": self.name, **about, "decoding": self.decoding}


def model_fingerprint(model: LoadedModel) -> ModelFingerprint:
    """Compute the fingerprint of a model as it is now.

    Its weights are read, which takes about a second a gigabyte.
    """
    colorizer = model.colorizer.model if isinstance(model.colorizer, SimpleColorizerAdapter) else model.colorizer
    name = canonical_name(model.full_name)
    if isinstance(colorizer, ImageFolderModel):
        # Their hash is that of the image files; what makes predictions of them is colorbench itself.
        return ModelFingerprint(name, model.decoding, model.weights_sha256 or "", "", file=model.weights_sha256)
    if isinstance(colorizer, OnnxColorizer):
        # A session has no readable content; its file and contract decide all.
        return ModelFingerprint(name, model.decoding, colorizer.fingerprint, "", file=model.weights_sha256)
    code, reasons = object_code(colorizer)
    weights, opaque = state_digest(model.colorizer, root=_folder(type(colorizer)))
    reasons = (*reasons, *opaque)
    about = (model.package, model.package_version, model.weights_sha256)
    return ModelFingerprint(name, model.decoding, weights, code, not reasons, reasons, *about)


def canonical_name(name: str) -> str:
    """Return a model's name without the folders above its file or folder.

    ``images:x`` and ``a.py:M`` wherever they lie.
    """
    if ":" not in name:
        return name
    return ":".join(Path(side).name or side for side in name.replace("\\", "/").split(":"))


def object_code(value: Any) -> tuple[str, tuple[str, ...]]:
    """Return (sha256 of the code of an object's class, reasons why it cannot be known)."""
    files = set()
    for kind in type(value).__mro__:
        if foreign(kind.__module__) and kind.__module__ != "__main__":
            continue
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        # The class of a notebook or a prompt has no file: what it holds tells its source.
        if file is not None and Path(file).is_file():
            files.add(Path(file))
    try:
        return code_digest(sorted(files), exclude=[LIBRARY]), ()
    except UnknownCode as error:
        return "", (f"its code cannot be hashed: {error}",)


def protocol_code(protocol: Any) -> tuple[str, tuple[str, ...]]:
    """Return (sha256 of the code and state of a protocol or scorer, reasons why it cannot be known)."""
    code, reasons = object_code(protocol)
    state, opaque = state_digest(protocol, root=_folder(type(protocol)))
    return hashlib.sha256(f"{code} {state}".encode()).hexdigest(), (*reasons, *opaque)


def library_code() -> str:
    """Return the sha256 of colorbench's own code, as far as it decides numbers."""
    return package_digest(LIBRARY, NO_NUMBERS)


def model_identity(model: LoadedModel, fingerprint: ModelFingerprint | None = None) -> dict[str, Any]:
    """Return what decides a model's features: all that it holds, its code, and colorbench's.

    Args:
        model: before it is cast to another dtype.
        fingerprint: of it, where it was made already.
    """
    found = fingerprint or model_fingerprint(model)
    return {
        "weights": found.weights,
        "code": found.code,
        "colorbench": library_code(),
        # What cannot be compared is never read back.
        **({} if found.reusable else {"once": uuid4().hex}),
    }


def deciding_identity(model: LoadedModel) -> dict[str, Any]:
    """Return what of a model decides its predictions, for keys of whatever is built from them."""
    found = model_fingerprint(model)
    decides = {"name": found.name, "weights": found.weights, "code": found.code, "decoding": found.decoding}
    return {**decides, "colorbench": library_code()}


def _folder(kind: type) -> Path | None:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None:
        return None
    return top_package(Path(file).resolve()) or Path(file).resolve().parent
