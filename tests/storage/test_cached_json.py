"""A damaged file of a cache counts as missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colorbench.data import Dataset
from colorbench.data.dataset_hashes import contents_of
from colorbench.storage import read_cached_json, write_cached_json

VALUE = {"a/000.jpg": [[1, 2], "ab" * 32], "ünïcode": [None, None]}


def test_a_value_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_cached_json(tmp_path / "new" / "cache.json", VALUE)
    assert read_cached_json(tmp_path / "new" / "cache.json") == VALUE
    assert read_cached_json(tmp_path / "missing.json") is None


def test_every_flipped_bit_and_every_cut_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    write_cached_json(path, VALUE)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            assert read_cached_json(path) is None, (position, bit)
        path.write_bytes(whole[:position])
        assert read_cached_json(path) is None, position


@pytest.mark.parametrize("text", [b"[1, 2]", b"{}", b"", b"\n", json.dumps(VALUE).encode()])
def test_other_files_count_as_missing(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "cache.json").write_bytes(text)
    assert read_cached_json(tmp_path / "cache.json") is None


def test_a_flipped_hash_in_the_cache_changes_no_content(crops: Dataset, tmp_path: Path) -> None:
    right = contents_of(crops, tmp_path)
    (cached,) = tmp_path.rglob("*.json")
    some = next(iter(right.values()))
    assert some is not None
    other = some[:-1] + ("0" if some[-1] != "0" else "1")
    cached.write_text(cached.read_text().replace(some, other))
    assert contents_of(crops, tmp_path) == right
