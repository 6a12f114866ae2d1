"""Untrusted tables: small ones that unpack to much, and damaged ones, are refused before anything is unpacked."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow
import pytest

from colorbench.errors import UserError
from colorbench.results.rows_parquet import read_rows, rows_table
from colorbench.storage import MEGABYTE, InvalidTable
from tests.support.hostile_files import DAMAGED_TABLES, HOSTILE_TABLES, table


@pytest.mark.parametrize("kind", HOSTILE_TABLES)
def test_a_table_is_refused_before_it_fills_the_memory(kind: str, tmp_path: Path) -> None:
    make, expected, reason = HOSTILE_TABLES[kind]
    data = make()
    pool, started = pyarrow.default_memory_pool(), time.process_time()
    before = pool.bytes_allocated()
    with pytest.raises(InvalidTable, match=reason):
        rows_table(data, expected)
    assert time.process_time() - started < 5
    assert pool.bytes_allocated() - before < MEGABYTE
    if reason.startswith(("too many", "unpacks from")):
        (tmp_path / "rows.parquet").write_bytes(data)
        with pytest.raises(UserError, match="cannot be read"):
            read_rows(tmp_path / "rows.parquet")


@pytest.mark.parametrize("kind", DAMAGED_TABLES)
def test_a_damaged_table_is_an_expected_error(kind: str) -> None:
    with pytest.raises((InvalidTable, pyarrow.ArrowException, OSError, ValueError)):
        rows_table(DAMAGED_TABLES[kind](), 2)


def test_honest_tables_fit_with_room() -> None:
    """Fifty columns of constants over 20,000 images unpack to more than usual ones."""
    hashes = [np.random.default_rng(i).bytes(32).hex() for i in range(20_000)]
    more = {"sha256": pyarrow.array(hashes), **{f"c{i}": pyarrow.array(np.ones(20_000)) for i in range(50)}}
    assert len(rows_table(table(20_000, more=more), 20_000)) == 20_000
