"""Time and memory of a large leaderboard: ``uv run python -m benchmarks.large_board [MODELS [IMAGES [FOLDER]]]``.

The aim: 100 models x 50,000 images in under 60 s and under 2 GB. A few records of ``auc`` whose rows are drawn again
from a small real run are made in FOLDER (default: a temporary one; existing ones are used) and copied under the names
of other models. The board is built in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

# The records are made by the functions that the tests use.
sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.board import copy, folders, measured, synthetic

DISTINCT = 2

CHILD = """
import resource, sys, time
from pathlib import Path
from leaderboards.board_files import build_files
wall, cpu = time.perf_counter(), time.process_time()
build_files([Path(sys.argv[1])], Path(sys.argv[2]))
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"built in {wall:.1f} s ({cpu:.1f} s of CPU; aim under 60), peak {peak:.2f} GB (aim under 2)")
"""


def main(models: str = "100", images: str = "50000", folder: str | None = None) -> None:
    """Make the records and print the figures."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        many = Path(folder or scratch) / f"many-{images}"
        missing = [i for i in range(DISTINCT) if not (many / f"m{i}").exists()]
        if missing:
            competitors = [path for model, path in folders(measured(scratch)).items() if not model.startswith("zoo/g")]
        for i in missing:
            source = competitors[i % len(competitors)]
            made = scratch / "made" / f"m{i}"
            synthetic(source, made / source.parent.name / "x", f"lab/m{i}", n=int(images), shift=0.001 * i, seed=i)
            (many / f"m{i}").parent.mkdir(parents=True, exist_ok=True)
            made.rename(many / f"m{i}")
            print(f"made {i}", file=sys.stderr)
        for i in range(DISTINCT, int(models)):
            if not (many / f"m{i}").exists():
                (source,) = (many / f"m{i % DISTINCT}").rglob("record.json")
                copy(source.parent, many / f"m{i}" / source.parent.parent.name / "x", model__name=f"lab/m{i}")
        print(f"{models} models x {images} images: ", end="", flush=True)
        subprocess.run([sys.executable, "-c", CHILD, many, scratch / "board.html"], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
