"""Comparison of the records and rows of two runs of one command."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd

from colorbench.results import read_record

TIMES = {"execution", "provenance"}
"""Parts of a record that tell how and when it was made."""


def record_below(output: Path) -> Path:
    """Return the folder of the only record below a folder."""
    (found,) = output.rglob("record.json")
    return found.parent


def assert_same(output: Path, expected: Path) -> None:
    """Check that the only record below ``output`` is that of ``expected``, apart from times, and intact."""
    folder = record_below(output)
    made, wanted = (read_record(one).model_dump() for one in (folder, expected))
    for name in wanted.keys() - TIMES:
        assert made[name] == wanted[name], name
    files = read_record(folder).files
    for name, hashed in {"rows.parquet": files.rows, **files.arrays, **files.saved_images}.items():
        assert sha256((folder / name).read_bytes()).hexdigest() == hashed, name
    assert not (folder / "shards").exists()


def assert_same_rows(a: pd.DataFrame, b: pd.DataFrame) -> None:
    """Check that two tables of rows have the same ids, and the same numbers but for their last digits."""
    assert a["id"].tolist() == b["id"].tolist()
    for name in a.select_dtypes("number"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-5, err_msg=name)
