"""A run goes on where compiled code cannot be kept or read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = """
import resource, sys
if sys.argv[1] != "none":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))  # as a full disk answers
import torch
from colorbench.metrics.auc import auc
ab = torch.zeros(1, 2, 4, 4)
assert auc(ab, ab, "exact") == 100
from colorbench.color.lab import rgb_to_lab
assert rgb_to_lab(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8))[0, 0].mean() > 99
print("done")
"""


def works(cache: Path, limit: str = "none", **environment: str) -> None:
    given = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NUMBA_CACHE_DIR": str(cache), **environment}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, limit], env=given, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    works(tmp_path / "cache", limit="200")
    assert not [path for path in tmp_path.rglob("*.nbc") if path.stat().st_size > 200]


def test_damaged_files_are_compiled_anew(tmp_path: Path) -> None:
    works(tmp_path)
    kept = [path for path in tmp_path.rglob("*.nb?") if path.is_file()]
    assert kept
    for position, path in enumerate(kept):
        path.write_bytes([b"", b"garbage", path.read_bytes()[: path.stat().st_size // 2]][position % 3])
    works(tmp_path)


def test_no_position_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    works(tmp_path / "file" / "cache", HOME="/nonexistent")


def test_other_errors_of_the_compiler_are_not_hidden() -> None:
    from colorbench.color.compiled.jit import compiled

    def wrong(x: int) -> int:
        return x.no_such_attribute  # type: ignore[attr-defined]

    with pytest.raises(Exception, match="no_such_attribute"):
        compiled(wrong)(1)
