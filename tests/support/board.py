"""Records for the tests of boards: one real run, and others derived from its rows."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from colorbench.data import Dataset
from colorbench.evaluation import RunConfig, get_protocol, metrics_of, run
from colorbench.results import Record, protocol_identity
from colorbench.results.metric_spec import FIXED_COLUMNS
from colorbench.storage import content_fingerprint
from colorbench.verification import spec_of
from tests.support.engine import Flat, loaded, write_images

COUNT = 40
_MADE: list[Path] = []
MODELS = {"lab/warm": (10.0, 10.0), "lab/yellow": (0.0, 20.0), "lab/blue": (0.0, -30.0)}


def measured(folder: Path) -> Path:
    """A real run: three flat colors, gray, constant and truth by ``auc`` on 40 crops of packaged images.

    It is made once for all tests, which leave it as it is.
    """
    if _MADE:
        return _MADE[0]
    images = write_images(folder / "images", COUNT)
    data = Dataset("crops", images.samples, redistributable=True, source="crops by <us>")
    models = [loaded(Flat(ab), name) for name, ab in MODELS.items()]
    run(RunConfig(models=models, protocols=["auc"], data=data, output=folder / "runs", command=("colorbench", "run")))
    _MADE.append(folder / "runs")
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
        position = record
        for part in parts:
            position = position[part]
        position[last] = value
    path.write_text(json.dumps(record))


def sign(folder: Path) -> None:
    """Give a changed record the identity that its protocol and parameters have."""
    protocol = json.loads((folder / "record.json").read_text())["protocol"]
    change(
        folder,
        protocol__identity_sha256=protocol_identity(protocol["name"], protocol["version"], protocol["identity"]),
    )


def rewrite(folder: Path, rows: pd.DataFrame, **changes: Any) -> None:
    """Store other rows beside a record, with their checksum and fingerprint; its numbers are left as they are."""
    rows = rows.assign(label=rows["label"].astype("Int64"))
    rows.to_parquet(folder / "rows.parquet", index=False)
    record = json.loads((folder / "record.json").read_text())
    files = {**record["files"], "rows": hashlib.sha256((folder / "rows.parquet").read_bytes()).hexdigest()}
    data = {"n": len(rows), "n_evaluated": len(rows), "fingerprint": content_fingerprint(rows["sha256"])}
    change(folder, files=files, **{f"dataset__{key}": value for key, value in data.items()}, **changes)


def derive(folder: Path, **changes: Any) -> None:
    """Give a changed record the metrics that its rows have, and no differences: it agrees with itself again."""
    record = Record.model_validate_json((folder / "record.json").read_bytes())
    rows = pd.read_parquet(folder / "rows.parquet")
    columns = {name: rows[name].to_numpy(float) for name in rows.columns if name not in FIXED_COLUMNS}
    known = {spec.name: spec for spec in get_protocol("auc").spec.metrics}
    specs = [known.get(metric.name) or spec_of(metric) for metric in record.metrics]
    metrics = [metric.model_dump() for metric in metrics_of(specs, columns, {})]
    change(folder, metrics=metrics, differences=[], **changes)


def synthetic(source: Path, target: Path, name: str, *, n: int, shift: float = 0.0, seed: int = 0) -> Path:
    """A record of ``n`` images whose rows are real ones, drawn again with a little noise of this model's own.

    Records of equal ``n`` are of the same (invented) images.
    """
    target.mkdir(parents=True)
    rows = pd.read_parquet(source / "rows.parquet")
    drawn = rows.iloc[np.random.default_rng(0).integers(len(rows), size=n)].reset_index(drop=True)
    noise = shift + 0.01 * np.random.default_rng(seed).standard_normal(n)
    for column in [column for column in drawn.columns if f"{column}.s0" in drawn.columns]:
        drawn[f"{column}.s0"] += noise * drawn[f"{column}.s1"]
        drawn[column] = drawn[f"{column}.s0"] / drawn[f"{column}.s1"]
    drawn["id"] = [f"{i:05d}.jpg" for i in range(n)]
    drawn["sha256"] = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(n)]
    shutil.copy(source / "record.json", target / "record.json")
    rewrite(target, drawn)
    derive(target, model__name=name, files__arrays={}, files__saved_images={}, dataset__n_gray=0)
    return target
