"""Where a run comes from, and whether its photographs were in the model's training set. Nothing here fails a run."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import metadata, resources
from io import BytesIO
from pathlib import Path

import numpy as np

from colorbench.errors import UserError
from colorbench.evaluation.record import Provenance
from colorbench.models.card import ModelCard

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "pandas", "pyarrow", "pydantic")
"""Those whose version can move a number or the form of a file."""


def provenance(command: Sequence[str], packages: Iterable[str | None] = ()) -> Provenance:
    """Versions, commit, command and time; the name of the machine is left out on purpose.

    Args:
        command: the command line.
        packages: further ones to name, such as the model's.
    """
    commit, dirty = git_state()
    named = {name: version_of(name) for name in (*PACKAGES, *(package for package in packages if package))}
    return Provenance(
        colorbench_version=version_of("colorbench") or "unknown",
        git_commit=commit,
        git_dirty=dirty,
        packages={name: version for name, version in sorted(named.items()) if version},
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        # Arguments may be names of files that are not UTF-8, which no JSON holds.
        command=[word.encode("utf-8", "backslashreplace").decode() for word in command or sys.argv],
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@cache
def version_of(package: str) -> str | None:
    """Version of an installed distribution; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def git_state() -> tuple[str | None, bool | None]:
    """(commit, whether tracked files differ from it) of the checkout that colorbench runs from; None for none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit or None, None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def overlap(card: ModelCard, sha256s: Iterable[str]) -> int | None:
    """How many photographs are among the model's training photographs, by content; None: not known.

    Args:
        card: its ``training_hashes`` names a file, ``package:path``: a .npy of (n,) uint64, each the first 8 bytes,
            big endian, of the sha256 of a training file.
        sha256s: hexadecimal, of the evaluated files.

    Raises:
        UserError: if the card names a file that is missing or holds something else.
    """
    if card.training_hashes is None:
        return None
    known = _training_hashes(card.training_hashes)
    ours = np.array([int(sha256[:16], 16) for sha256 in sha256s], dtype=np.uint64)
    return int(np.isin(ours, known).sum())


@lru_cache(maxsize=8)
def _training_hashes(name: str) -> np.ndarray:
    package, colon, path = name.partition(":")
    try:
        data = resources.files(package).joinpath(path).read_bytes() if colon else Path(name).read_bytes()
        hashes = np.load(BytesIO(data), allow_pickle=False)
    except (OSError, ImportError, ValueError) as error:
        mend = "reinstall the model's package, or mend `training_hashes` in its card"
        what = f"the hashes of the training photographs cannot be read: {error}"
        raise UserError(what, where=name, mend=mend) from error
    if not isinstance(hashes, np.ndarray) or hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise UserError("the hashes of the training photographs must be a .npy of (n,) uint64", where=name)
    return hashes
