"""Model fingerprints: models with equal fingerprints give equal predictions.

A fingerprint consists of the model's name, its decoding, a hash of its state (see ``state_hash``), and a hash of its
code (see ``source_code_hashes``). Shards, records, features and checkpoints belong to one fingerprint. A model whose
state cannot be read and compared is *not reusable*: it is evaluated again in each run.
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
"""Packages of colorbench that display or check numbers and compute none."""


@dataclass(frozen=True)
class ModelFingerprint:
    """Fingerprint of a model: everything that determines its predictions."""

    name: str
    """Name of the model without the parent folders of a file or folder."""
    decoding: Mapping[str, Any]
    weights: str
    """sha256 over the state of the colorizer; for stored predictions, over their files."""
    code: str
    """sha256 over the code of its class and of what it imports from its own package or folder."""
    reusable: bool = True
    reasons: tuple[str, ...] = ()
    """Reasons why results are not reusable."""
    package: str | None = None
    version: str | None = None
    file: str | None = None
    """sha256 of the weights file, if known."""

    @property
    def identity(self) -> dict[str, Any]:
        """The parts that a record also states about the model."""
        about = {"package": self.package, "version": self.version, "weights_sha256": self.file}
        return {"name": self.name, **about, "decoding": self.decoding}


def model_fingerprint(model: LoadedModel) -> ModelFingerprint:
    """Compute the fingerprint of a model in its present state.

    All weights are read, which takes about a second per gigabyte.
    """
    colorizer = model.colorizer.model if isinstance(model.colorizer, SimpleColorizerAdapter) else model.colorizer
    name = canonical_name(model.full_name)
    if isinstance(colorizer, ImageFolderModel):
        # The hash of the image files is enough; the code that reads them is colorbench itself.
        return ModelFingerprint(name, model.decoding, model.weights_sha256 or "", "", file=model.weights_sha256)
    if isinstance(colorizer, OnnxColorizer):
        # The session cannot be read; file and contract determine everything.
        return ModelFingerprint(name, model.decoding, colorizer.fingerprint, "", file=model.weights_sha256)
    code, reasons = _object_code(colorizer)
    weights, opaque = state_digest(model.colorizer, root=_folder(type(colorizer)))
    reasons = (*reasons, *opaque)
    about = (model.package, model.package_version, model.weights_sha256)
    return ModelFingerprint(name, model.decoding, weights, code, not reasons, reasons, *about)


def canonical_name(name: str) -> str:
    """Return a model's name for its fingerprint, without the parent folders of its file or folder.

    ``images:x`` and ``a.py:M`` are the same in every location.
    """
    if ":" not in name:
        return name
    return ":".join(Path(side).name or side for side in name.replace("\\", "/").split(":"))


def _object_code(value: Any) -> tuple[str, tuple[str, ...]]:
    """Return (fingerprint (sha256) of the code of an object's class, reasons why it is unknown)."""
    files = set()
    for kind in type(value).__mro__:
        if foreign(kind.__module__) and kind.__module__ != "__main__":
            continue
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        # A class from a notebook or prompt has no file; its source is hashed with its state.
        if file is not None and Path(file).is_file():
            files.add(Path(file))
    try:
        return code_digest(sorted(files), exclude=[LIBRARY]), ()
    except UnknownCode as error:
        return "", (f"its code cannot be hashed: {error}",)


def protocol_code(protocol: Any) -> tuple[str, tuple[str, ...]]:
    """Return (fingerprint (sha256) of a protocol's or scorer's code and state, reasons why it is unknown)."""
    code, reasons = _object_code(protocol)
    state, opaque = state_digest(protocol, root=_folder(type(protocol)))
    return hashlib.sha256(f"{code} {state}".encode()).hexdigest(), (*reasons, *opaque)


def library_code() -> str:
    """Return the fingerprint (sha256) of colorbench's own code, without the packages that compute no numbers."""
    return package_digest(LIBRARY, NO_NUMBERS)


def model_identity(model: LoadedModel, fingerprint: ModelFingerprint | None = None) -> dict[str, Any]:
    """Return everything that determines a model's features: its state, its code, and colorbench's code.

    Args:
        model: a model that was not cast to another dtype.
        fingerprint: its fingerprint, if computed already.
    """
    found = fingerprint or model_fingerprint(model)
    return {
        "weights": found.weights,
        "code": found.code,
        "colorbench": library_code(),
        # Features of a model that cannot be compared are never read back.
        **({} if found.reusable else {"once": uuid4().hex}),
    }


def deciding_identity(model: LoadedModel) -> dict[str, Any]:
    """Return what determines a model's predictions, for keys of data that are computed from them."""
    found = model_fingerprint(model)
    decides = {"name": found.name, "weights": found.weights, "code": found.code, "decoding": found.decoding}
    return {**decides, "colorbench": library_code()}


def _folder(kind: type) -> Path | None:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None:
        return None
    return top_package(Path(file).resolve()) or Path(file).resolve().parent
