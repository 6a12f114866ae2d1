"""Loading of a finished record with its rows, as untrusted data.

``load_run(folder) -> LoadedRun`` checks what it reads: the rows must have the checksum, columns and images that the
record states, and a bounded size. Nothing that a record names is run, and no file outside its folder is opened.
``results.record_pairing`` aligns several runs on the same images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow

from colorbench.errors import UserError, one_line_errors, path_hint
from colorbench.results.metric_spec import COUNT, FIXED_COLUMNS
from colorbench.results.record import Metric, Record, read_checked_record
from colorbench.results.rows_parquet import rows_table
from colorbench.storage import read_plain, walk
from colorbench.storage.limits import LARGEST_FILE
from colorbench.storage.safe_reading import InvalidTable

if TYPE_CHECKING:
    import pandas as pd

_CHANGED = "copy the record again from its source, or evaluate again"


@dataclass(frozen=True)
class LoadedRun:
    """A record and its rows."""

    folder: Path
    record: Record
    rows: pd.DataFrame
    """``id``, ``sha256``, ``label``, ``gray``, ``height``, ``width`` and the protocol's columns; n rows in stored
    order, index 0 ... n - 1."""
    record_sha256: str
    """Hash of the bytes of ``record.json``."""

    @property
    def sha256s(self) -> list[str]:
        """Content hashes of the images, one per row."""
        return self.rows["sha256"].tolist()

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """The protocol's columns, (n,) float64 each."""
        return {name: self.rows[name].to_numpy() for name in self.rows.columns if name not in FIXED_COLUMNS}

    def metric(self, name: str) -> Metric:
        """Return a metric of the record by name.

        Raises:
            UnknownNameError: naming the metrics of the record.
        """
        return self.record[name]

    def statistics(self, name: str) -> np.ndarray:
        """Return the sufficient statistics of a metric, (n, k), in the order of the rows.

        Raises:
            UserError: for an unknown metric, or one whose statistics are not in the rows.
        """
        names = [f"{name}.s{j}" for j in range(COUNT[self.metric(name).form])]
        absent = [column for column in names if column not in self.columns]
        if absent:
            raise UserError(
                f"the rows do not contain the column {absent[0]}", where=str(self.folder), hint="evaluate again"
            )
        return np.stack([self.columns[column] for column in names], axis=1)

    def scores(self, name: str) -> np.ndarray:
        """Return the metric of each image alone, (n,); NaN where it is not defined.

        Raises:
            UserError: as ``statistics``.
        """
        sums = self.statistics(name)
        below = sums[:, -1]
        above = sums[:, 0] if self.metric(name).form == "ratio" else np.abs(sums[:, 0] - sums[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(below != 0, above / below, np.nan)


def find_record(path: Path, protocol: str | None = None) -> Path:
    """Find the folder of a record, given it, its ``record.json``, or a folder that contains exactly one record.

    Args:
        path: given path.
        protocol: only records of this protocol count.

    Raises:
        UserError: for no record or several.
    """
    if path.is_file():
        if path.name != "record.json":
            hint = "give a record's folder, or its record.json"
            raise UserError("this file is not a record", where=str(path), hint=hint)
        path = path.parent
    if (path / "record.json").is_file():
        return path
    if not path.is_dir():
        raise UserError(
            "no such folder", where=str(path), hint=path_hint(path, "give a folder that `colorbench run` wrote")
        )
    # Folders of protocols have their name: <model>/<protocol>/<dataset>-<key>/record.json.
    found = record_folders(path)
    fitting = [folder for folder in found if protocol is None or folder.parent.name == protocol]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        of = "" if protocol is None or not found else f" of protocol {protocol}"
        raise UserError(f"no record{of} found", where=str(path), hint="give a folder that `colorbench run` wrote")
    protocols = sorted({folder.parent.name for folder in fitting})
    hint = f"name one, such as {fitting[0]}"
    if len(protocols) > 1:
        hint += f", or choose by --protocol {' or '.join(protocols[:4])}"
    raise UserError(f"{len(fitting)} results found here", where=str(path), hint=hint)


def record_folders(path: Path) -> list[Path]:
    """List the folders of records at a path or below it, sorted; links to folders are not followed.

    Raises:
        UserError: for a folder that cannot be read.
    """
    return sorted(Path(folder) for folder, _, files in walk(path) if "record.json" in files)


@one_line_errors()
def load_run(folder: Path) -> LoadedRun:
    """Load the record of a folder, with its rows.

    Raises:
        UserError: for a folder without a record, an invalid record, or rows that are missing, changed (wrong checksum),
            too large, or do not belong to the record; naming the file.
    """
    record, record_sha256 = read_checked_record(folder)
    rows = read_table(folder, record)
    return LoadedRun(folder, record, rows, record_sha256)


def read_table(folder: Path, record: Record) -> pd.DataFrame:
    """Load and check the rows of a record.

    Raises:
        UserError: as ``load_run``.
    """
    path = folder / "rows.parquet"
    data = read_plain(path, LARGEST_FILE, missing="the rows of the record are missing", hint="copy the whole folder")
    if sha256(data).hexdigest() != record.files.rows:
        raise UserError("the rows are not those that the record was made with", where=str(path), hint=_CHANGED)
    try:
        return rows_table(data, record.dataset.n_evaluated)
    except InvalidTable as error:
        raise UserError(f"the rows do not belong to this record: {error}", where=str(path), hint=_CHANGED) from error
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise UserError("these rows cannot be read", where=str(path), hint=_CHANGED) from error
