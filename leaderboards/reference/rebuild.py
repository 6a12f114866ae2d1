"""Evaluation of the included records: ``python -m leaderboards.reference.rebuild IMAGES``.

They evaluate the zoo on 650 ImageNet validation images, which may not be redistributed: no images are saved, and the
counts by bin (1 MB per record) are omitted, so a record consists of its ``record.json`` and its rows. Every value,
interval, difference and rank follows from these; ``colorbench verify`` recomputes them and lists curves as not checked.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from colorbench.data import open_dataset
from colorbench.evaluation import RunConfig, run

RECORDS = Path(__file__).parent / "records"
NETWORKS = (
    "zoo/lite.small",
    "zoo/cic.base",
    "zoo/cic.small",
    "zoo/cic-class.small",
    "zoo/l2.small",
    "zoo/l2-ft.small",
    "zoo/cic.untrained",
)
BASELINES = ("zoo/random", "zoo/mean-color", "zoo/half-chroma")
"""In addition to gray, constant and ground truth, which every run includes."""
RUNS = {"auc": (*NETWORKS, *BASELINES), "fidelity": NETWORKS[:-1]}
"""Fidelity has 13 metrics, so its rows are the larger part of the included data."""
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
