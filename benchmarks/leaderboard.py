"""Time and memory of building a leaderboard: ``uv run python -m benchmarks.leaderboard [RECORDS]``.

The aims: 8 models x 1000 images in under 20 s on two cores and under 1 GB; a page of 8 models with 24 images
under 5 MB. The first is timed on records whose rows are drawn again from real ones; the second takes images of a
real run, here of crops of packaged images, or RECORDS (a folder of ``colorbench run``).
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

# The records are made as in the tests.
sys.path.insert(0, str(Path(__file__).parent.parent))

from leaderboards.board_files import build_files
from tests.support.board import copy, folders, measured, synthetic

MODELS, IMAGES = 8, 1000


def main(records: str | None = None) -> None:
    """Print both values with their aims."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real = folders(Path(records) if records else measured(folder))
        competitors = [path for model, path in real.items() if not model.startswith("zoo/g")]
        for i in range(MODELS):
            source = competitors[i % len(competitors)]
            target = folder / "many" / f"m{i}" / source.parent.name / "x"
            synthetic(source, target, f"lab/m{i}", n=IMAGES, shift=0.001 * i, seed=i)
            copy(source, folder / "imaged" / f"m{i}" / source.parent.name / "x", model__name=f"lab/m{i}")
        wall, cpu = time.perf_counter(), time.process_time()
        build_files([folder / "many"], folder / "many.html")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{MODELS} models x {IMAGES} images: {wall:.1f} s ({cpu:.1f} s of CPU, {os.cpu_count()} cores, "
            f"aim under 20), peak {peak:.2f} GB (aim under 1, with everything that making the records took)"
        )
        build_files([folder / "imaged"], folder / "imaged.html")
        size = (folder / "imaged.html").stat().st_size / 1e6
        print(f"page of {MODELS} models and 24 images: {size:.2f} MB (aim under 5)")


if __name__ == "__main__":
    main(*sys.argv[1:])
