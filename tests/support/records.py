"""Real records to compare and verify: real models on crops of packaged images, small and few."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from colorbench.data import Dataset
from colorbench.evaluation import RunConfig, record_folder, run
from colorbench.results import Record

PREPROCESSING = "squash32"


def measure(
    output: Path,
    data: Dataset,
    models: Sequence[str],
    *,
    protocol: str = "auc",
    parameters: Mapping[str, Any] | None = None,
    baselines: bool = False,
    save: Any = "none",
    **settings: Any,
) -> dict[str, Path]:
    """Model name -> folder of its record."""
    request = RunConfig(
        models=models,
        protocols=(protocol,),
        data=data,
        parameters={protocol: {"preprocessing": PREPROCESSING, **(parameters or {})}},
        output=output,
        save=save,
        baselines=baselines,
        threads=1,
        workers=0,
        **settings,
    )
    return {record.model.name: record_folder(output, record) for record in run(request)}


@dataclass(frozen=True)
class Ended:
    """A command line that has ended."""

    returncode: int
    stdout: str
    stderr: str


def ended(capsys: pytest.CaptureFixture[str], arguments: Sequence[Any]) -> Ended:
    """Run a command line in this process: a new one costs seconds for its imports."""
    from colorbench.cli import main

    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return Ended(int(stopped.value.code or 0), out, err)


def edit_record(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change ``record.json`` in place."""
    path = folder / "record.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def edit_rows(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change ``rows.parquet`` in place, and the checksum in the record with it."""
    table = pyarrow.parquet.read_table(folder / "rows.parquet")
    columns: dict[str, Any] = {
        name: table[name].to_numpy(zero_copy_only=False).copy()
        if pyarrow.types.is_float64(table[name].type)
        else table[name].to_pylist()
        for name in table.column_names
    }
    change(columns)
    schema = table.schema
    arrays = {
        name: pyarrow.array(values, schema.field(name).type if name in schema.names else None)
        for name, values in columns.items()
    }
    put_rows(folder, pyarrow.table(arrays))


def put_rows(folder: Path, table: pyarrow.Table) -> None:
    """Write other rows, and their checksum into the record."""
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    put_file(folder, "rows.parquet", buffer.getvalue())


def put_file(folder: Path, name: str, data: bytes) -> None:
    """Write rows or arrays, and their checksum into the record."""
    (folder / name).write_bytes(data)

    def change(record: dict[str, Any]) -> None:
        if name == "rows.parquet":
            record["files"]["rows"] = sha256(data).hexdigest()
        else:
            record["files"]["arrays"][name] = sha256(data).hexdigest()

    edit_record(folder, change)


def everything(folder: Path) -> dict[str, bytes]:
    """Path -> bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def record_of(folder: Path) -> Record:
    """The record of a folder."""
    return Record.model_validate_json((folder / "record.json").read_bytes())


def nan_at(values: np.ndarray, position: int) -> None:
    """Make one value undefined."""
    values[position] = np.nan
