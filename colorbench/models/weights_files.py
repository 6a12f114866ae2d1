"""Reading and writing of weights files without running code, and checks of their hash and shapes.

Supported are safetensors files, and ``.pth``/``.pt`` files that ``torch.load(weights_only=True)`` can read.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from colorbench.errors import UserError, path_hint, printable
from colorbench.storage import file_sha256, write_atomic

PICKLED = (".pth", ".pt", ".bin", ".ckpt")


def load_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Load the tensors of a weights file by name, on the CPU, in the dtypes of the file.

    Args:
        path: ``.safetensors``, or a state dict that torch saved (``.pth``, ``.pt``, ``.bin``, ``.ckpt``).
        sha256: hexadecimal hash that the file must have.

    Raises:
        UserError: for a file that is missing, damaged, of another kind or with another hash.
    """
    if not path.is_file():
        raise UserError("no such weights file", where=str(path), hint=path_hint(path))
    if sha256 is not None:
        check_sha256(path, sha256)
    if path.suffix == ".safetensors":
        try:
            return load(path.read_bytes())
        except SafetensorError as error:
            raise _damaged(path, error) from error
    if path.suffix in PICKLED:
        return _load_pickled(path)
    hint = f"give a .safetensors file (or {', '.join(PICKLED)})"
    raise UserError(f"weights cannot be a {path.suffix or 'nameless'} file", where=str(path), hint=hint)


def save_weights(state: Mapping[str, Tensor], path: Path) -> str:
    """Write the tensors of weights as a safetensors file, atomically; return the file's sha256.

    Raises:
        ValueError: for a name that does not end in ``.safetensors``.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are saved as .safetensors, not {path.name}")
    # Cloned, since safetensors refuses tensors that share memory, such as tied weights.
    data = save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()})
    write_atomic(path, data)
    return hashlib.sha256(data).hexdigest()


def check_sha256(path: Path, sha256: str) -> None:
    """Raise if a weights file does not have the given hash.

    Raises:
        UserError: with both hashes.
    """
    found = file_sha256(path)
    if found != sha256.lower():
        raise UserError(
            f"the weights have sha256 {found}, expected {sha256}",
            where=str(path),
            hint="download the file again, or give its correct hash",
        )


def check_shapes(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Raise if the tensors of a weights file do not fit a network; called before ``load_state_dict``.

    Args:
        state: tensors of the file.
        wanted: the network's ``state_dict()``.
        path: of the file, for the error.

    Raises:
        UserError: with the number of tensors that are missing, unknown or of another shape, and the first of them.
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
        hint = "give the weights of this architecture and width"
        raise UserError(f"the weights do not fit the network: {'; '.join(troubles)}", where=str(path), hint=hint)


def _load_pickled(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Other content of such a file would be run while it is read.
        hint = "save only its state dict, with colorbench.models.save_weights"
        raise UserError("the file contains more than tensors, or is damaged", where=str(path), hint=hint) from error
    except Exception as error:  # damaged bytes make an unpickler raise any error, such as IndexError
        raise _damaged(path, error) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        contained = ", ".join(map(str, list(state)[:5])) if isinstance(state, Mapping) else type(state).__name__
        hint = "save only its state dict, with colorbench.models.save_weights"
        raise UserError(f"the file does not contain a plain state dict, but: {contained}", where=str(path), hint=hint)
    return dict(state)


def _damaged(path: Path, error: Exception) -> UserError:
    reason = printable(f"{type(error).__name__}: {error}")
    return UserError(f"the weights cannot be read: {reason}", where=str(path), hint="download the file again")
