"""A file larger than the process may write is one line, and finished shards are kept."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from tests.support.engine import write_images

RUN = [
    "run",
    "-m",
    "zoo/half-chroma",
    "-p",
    "auc",
    "-d",
    "images",
    "--param",
    "preprocessing=squash16",
    "--no-baselines",
]


def run(folder: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "colorbench", *RUN, "--save", "none", "--threads", "1"],
        cwd=folder,
        env={**os.environ},
        preexec_fn=limited,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_file_that_grows_too_large(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 70)
    # Room for a shard of 6 images, none for one of 64.
    done = run(tmp_path, limit=30_000)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "exceed the file size limit of this process" in lines[0] and "ulimit -f" in lines[0]
    assert not list((tmp_path / "runs").rglob("record.json"))
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr


def test_no_room_for_anything(tmp_path: Path) -> None:
    write_images(tmp_path / "images", 3)
    done = run(tmp_path, limit=4)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert done.stderr.count("error:") == 1, done.stderr
