"""Make the records that ship: ``python -m leaderboards.reference.rebuild IMAGES``.

The zoo on 650 ImageNet validation images, which may not be passed on: no image is kept, and the counts by bin
(1 MB a record) are left out, so that a record is its ``record.json`` and its rows. Every value, interval, difference
and rank follows from these; ``colorbench verify`` recomputes them and says of curves that they cannot be checked.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from colorbench.data import open_dataset
from colorbench.evaluation import RunConfig, run

RECORDS = Path(__file__).parent / "records"
NETWORKS = ("zoo/cic.small", "zoo/cic-class.small", "zoo/l2.small", "zoo/l2-ft.small", "zoo/cic.untrained")
BOUNDS = ("zoo/random", "zoo/mean-color", "zoo/half-chroma")
"""Beside gray, constant and truth, which every run measures."""
RUNS = {"auc": (*NETWORKS, *BOUNDS), "fidelity": NETWORKS[:4]}
"""Fidelity has 13 metrics: its rows are the larger part of what ships."""
KEPT = ("record.json", "rows.parquet")
COMMAND = ("python", "-m", "leaderboards.reference.rebuild")


def main(images: str) -> None:
    """Evaluate everything again and replace the shipped records."""
    data = open_dataset(images)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        for protocol, models in RUNS.items():
            command = (*COMMAND, data.name)
            run(RunConfig(models=models, protocols=(protocol,), data=data, save="none", output=output, command=command))
        made = sorted(path.parent for path in output.rglob("record.json"))
        shutil.rmtree(RECORDS, ignore_errors=True)
        for record in made:
            target = RECORDS / record.relative_to(output)
            target.mkdir(parents=True)
            for name in KEPT:
                shutil.copy(record / name, target / name)
    size = sum(path.stat().st_size for path in RECORDS.rglob("*") if path.is_file())
    print(f"{len(made)} records, {size / 1e6:.1f} MB, in {RECORDS}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
