"""Collection of the provenance of a run: versions, commit, command and time. Failures here do not fail the run."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from colorbench.results.record import Provenance
from colorbench.storage import version_of

PACKAGES = (
    *("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pillow", "pandas", "pyarrow", "pydantic"),
    "onnxruntime",
)
"""Packages whose version can change a number or a file format."""


def collect_provenance(command: Sequence[str], packages: Iterable[str | None] = ()) -> Provenance:
    """Return the provenance of a run: versions, commit, command and time, but not the name of the machine.

    Args:
        command: the command line.
        packages: further packages, such as that of the model.
    """
    commit, dirty = _git_state()
    named = {name: version_of(name) for name in (*PACKAGES, *(package for package in packages if package))}
    return Provenance(
        colorbench_version=version_of("colorbench") or "unknown",
        git_commit=commit,
        git_dirty=dirty,
        packages={name: version for name, version in sorted(named.items()) if version},
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        # Arguments may be file names that are not UTF-8, which JSON cannot hold.
        command=[word.encode("utf-8", "backslashreplace").decode() for word in command or sys.argv],
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@lru_cache(maxsize=1)
def _git_state() -> tuple[str | None, bool | None]:
    """Return (commit, whether tracked files differ from it) of colorbench's checkout; (None, None) without one."""
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
