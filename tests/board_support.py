"""Records for the tests of boards: one real run, and others derived from its rows."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from engine_support import Flat, loaded, write_photographs

from colorbench.data.dataset import Dataset
from colorbench.evaluation.identity import content_fingerprint
from colorbench.evaluation.request import RunRequest
from colorbench.evaluation.run import run

COUNT = 40
MODELS = {"lab/warm": (10.0, 10.0), "lab/yellow": (0.0, 20.0), "lab/blue": (0.0, -30.0)}


def measured(folder: Path) -> Path:
    """A real run: three flat colours, gray, constant and truth by ``auc`` on 40 crops of packaged photographs."""
    photographs = write_photographs(folder / "photographs", COUNT)
    data = Dataset("crops", photographs.samples, redistributable=True, source="crops by <us>")
    models = [loaded(Flat(ab), name) for name, ab in MODELS.items()]
    run(RunRequest(models=models, protocols=["auc"], data=data, output=folder / "runs", command=("colorbench", "run")))
    return folder / "runs"


def folders(results: Path) -> dict[str, Path]:
    """Model -> folder of its record."""
    found = {}
    for path in sorted(results.rglob("record.json")):
        found[json.loads(path.read_text())["model"]["name"]] = path.parent
    return found


def copy(source: Path, target: Path, **changes: Any) -> Path:
    """A record with other words in it; ``model__name="x"`` sets ``record["model"]["name"]``."""
    shutil.copytree(source, target)
    change(target, **changes)
    return target


def change(folder: Path, **changes: Any) -> None:
    """Change a stored record."""
    path = folder / "record.json"
    record = json.loads(path.read_text())
    for name, value in changes.items():
        *parts, last = name.split("__")
        place = record
        for part in parts:
            place = place[part]
        place[last] = value
    path.write_text(json.dumps(record))


def synthetic(source: Path, target: Path, name: str, *, n: int, shift: float = 0.0, seed: int = 0) -> Path:
    """A record of ``n`` photographs whose rows are real ones, drawn again with a little noise of this model's own.

    Records of equal ``n`` are of the same (invented) photographs. The metrics' stored values are left as they were:
    boards show them, and make ranks from the rows.
    """
    target.mkdir(parents=True)
    rows = pd.read_parquet(source / "rows.parquet")
    drawn = rows.iloc[np.random.default_rng(0).integers(len(rows), size=n)].reset_index(drop=True)
    noise = shift + 0.01 * np.random.default_rng(seed).standard_normal(n)
    for column in [column for column in drawn.columns if f"{column}.s0" in drawn.columns]:
        drawn[f"{column}.s0"] += noise * drawn[f"{column}.s1"]
        drawn[column] = drawn[f"{column}.s0"] / drawn[f"{column}.s1"]
    drawn["label"] = drawn["label"].astype("Int64")
    drawn["id"] = [f"{i:05d}.jpg" for i in range(n)]
    drawn["sha256"] = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    drawn.to_parquet(target / "rows.parquet", index=False)
    shutil.copy(source / "record.json", target / "record.json")
    data: Mapping[str, Any] = {"n": n, "n_evaluated": n, "fingerprint": content_fingerprint(drawn["sha256"])}
    change(
        target,
        model__name=name,
        files={
            "rows": hashlib.sha256((target / "rows.parquet").read_bytes()).hexdigest(),
            "arrays": {},
            "pictures": {},
        },
        **{f"dataset__{key}": value for key, value in data.items()},
    )
    return target
