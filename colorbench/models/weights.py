"""Weights files: reading without running any code, hashes, shapes, and files that lie elsewhere.

Read are safetensors files, and ``.pth``/``.pt`` only as far as ``torch.load(weights_only=True)`` reads them: a weights
file never runs code here.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from colorbench.errors import RunError, UserError

PICKLED = (".pth", ".pt", ".bin", ".ckpt")
OFFLINE = ("COLORBENCH_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid downloads."""


def load_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a weights file by name, on the CPU, in the dtypes that the file has.

    Args:
        path: ``.safetensors``, or a state dict that torch saved (``.pth``, ``.pt``, ``.bin``, ``.ckpt``).
        sha256: hexadecimal hash that the file must have.

    Raises:
        UserError: for a file that is missing, damaged, of another kind or with another hash.
    """
    if not path.is_file():
        raise UserError("no such weights file", where=str(path), mend="check the path")
    if sha256 is not None:
        check_sha256(path, sha256)
    if path.suffix == ".safetensors":
        try:
            return load(path.read_bytes())
        except SafetensorError as error:
            raise _damaged(path, error) from error
    if path.suffix in PICKLED:
        return _load_pickled(path)
    mend = f"give a .safetensors file (or {', '.join(PICKLED)})"
    raise UserError(f"weights cannot be a {path.suffix or 'nameless'} file", where=str(path), mend=mend)


def save_weights(state: Mapping[str, Tensor], path: Path) -> str:
    """Write tensors as safetensors, whole or not at all; the file's sha256.

    Raises:
        ValueError: for a name that does not end in ``.safetensors``.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, not {path.name}")
    # Cloned: safetensors refuses tensors that share memory, as tied weights do.
    data = save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(path, data)
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, sha256: str) -> None:
    """Compare a file with the hash that it must have.

    Raises:
        UserError: with both hashes.
    """
    found = file_sha256(path)
    if found != sha256.lower():
        raise UserError(
            f"the weights have sha256 {found}, expected {sha256}",
            where=str(path),
            mend="get the file again, or give the hash that belongs to it",
        )


def check_shapes(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Compare loaded tensors with those of the network that they are for, before ``load_state_dict``.

    Args:
        state: what the file holds.
        wanted: the network's ``state_dict()``.
        path: of the file, for the error.

    Raises:
        UserError: naming how many tensors are missing, unknown or of another shape, and the first of them.
    """
    missing = [name for name in wanted if name not in state]
    unknown = [name for name in state if name not in wanted]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, the network's {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in state and state[name].shape != value.shape
    ]
    troubles = [
        f"{len(names)} {what} (the first: {names[0]})"
        for names, what in ((missing, "missing"), (unknown, "unknown"), (shapes, "of another shape"))
        if names
    ]
    if troubles:
        mend = "give the weights of this architecture and width"
        raise UserError(f"the weights do not fit the network: {'; '.join(troubles)}", where=str(path), mend=mend)


def resolve(source: str | Path, sha256: str | None = None) -> Path:
    """The local file of a weights source; downloads it once.

    Args:
        source: a path; ``https://...``; or ``hf:OWNER/REPOSITORY/FILE[@REVISION]`` on the Hugging Face hub.
        sha256: hexadecimal hash that the file must have; what was downloaded with another one is not kept.

    Raises:
        UserError: for a missing file, a wrong hash, a source of another form, or a download while offline.
        RunError: for a download that fails.
    """
    text = str(source)
    if text.startswith("hf:"):
        path = _from_hub(text)
    elif text.startswith("https://"):
        path = _from_address(text, sha256)
    elif "://" in text:
        raise UserError("weights are downloaded by https only", where=text, mend="give https://..., hf:... or a path")
    else:
        path = Path(source)
        if not path.is_file():
            raise UserError("no such weights file", where=text, mend="check the path")
    if sha256 is not None:
        check_sha256(path, sha256)
    return path


def offline() -> bool:
    """Whether COLORBENCH_OFFLINE or HF_HUB_OFFLINE forbids downloads."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def fetch(address: str, target: Path, sha256: str | None = None) -> None:
    """Download into ``target``, which is there whole or not at all.

    Raises:
        RunError: for a download that fails.
        UserError: for another hash than the one wanted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder) / target.name
        try:
            with urllib.request.urlopen(address, timeout=60) as answer, part.open("wb") as file:
                while block := answer.read(2**20):
                    file.write(block)
                expected = answer.headers["Content-Length"]
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise RunError(
                f"the download failed: {error}", where=address, mend="check the address and the network"
            ) from error
        if expected is not None and part.stat().st_size != int(expected):
            raise RunError("the download broke off", where=address, mend="try again")
        if sha256 is not None:
            check_sha256(part, sha256)
        part.replace(target)


def _from_address(address: str, sha256: str | None) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "colorbench" / "weights"
    name = re.sub(r"[^\w.-]+", "-", address.rpartition("/")[2].partition("?")[0]) or "weights"
    target = cache / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not target.is_file():
        _refuse_offline(address)
        fetch(address, target, sha256)
    return target


def _from_hub(source: str) -> Path:
    """``hf:OWNER/REPOSITORY/FILE[@REVISION]``; the hub's own cache is used, offline too."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    place, _, revision = source.removeprefix("hf:").partition("@")
    parts = place.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise UserError("a file on the hub is hf:OWNER/REPOSITORY/FILE[@REVISION]", where=source)
    try:
        found = hf_hub_download("/".join(parts[:2]), parts[2], revision=revision or None, local_files_only=offline())
    except LocalEntryNotFoundError as error:
        _refuse_offline(source)
        raise RunError("the download failed", where=source, mend="check the network") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise UserError("no such file on the hub", where=source, mend="check owner, repository and file") from error
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"the download failed: {error}", where=source, mend="check the network") from error
    return Path(found)


def _refuse_offline(source: str) -> None:
    if offline():
        mend = f"download it once without {' and '.join(OFFLINE)}, or give a local file"
        raise UserError("these weights are not here yet, and downloads are switched off", where=source, mend=mend)


def _load_pickled(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Whatever else such a file holds would be run to be read.
        mend = "keep only its state dict, with colorbench.models.weights.save_weights"
        raise UserError("the file holds more than tensors, or is damaged", where=str(path), mend=mend) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        held = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        mend = "keep only its state dict, with colorbench.models.weights.save_weights"
        raise UserError(f"the file holds no plain state dict, but: {held}", where=str(path), mend=mend)
    return dict(state)


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"the weights cannot be read: {error}", where=str(path), mend="get the file again")


def _write_whole(path: Path, data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        part.write_bytes(data)
        part.replace(path)
