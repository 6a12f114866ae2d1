"""Compiled loops that are kept on disk: never those of other sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KERNELS = """
from colorbench.color.compiled.jit import compiled
from constants import SCALE

@compiled
def scaled(x):
    return x * SCALE
"""
PROGRAM = """
from ab_kernels import scaled
value = scaled(2.0)
print(value, sum(scaled.stats.cache_hits.values()))
"""


def test_a_constant_of_another_module_is_never_a_stale_one(tmp_path: Path) -> None:
    (tmp_path / "ab_kernels.py").write_text(KERNELS)
    constants = tmp_path / "constants.py"

    def run(scale: float) -> list[str]:
        constants.write_text(f"SCALE = {scale}")
        os.utime(constants, (1_000_000, 1_000_000))  # of equal length and time, as a checkout of old files may be
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        repository = str(Path(__file__).parent.parent.parent)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{repository}"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert run(3.0) == ["6.0", "0"]
    assert run(3.0) == ["6.0", "1"], "kept"
    assert run(5.0) == ["10.0", "0"], "made anew"
