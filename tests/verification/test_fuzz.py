"""Damaged and made-up files of a record: each is a finding in one line, never a traceback."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colorbench.errors import UserError
from colorbench.verification.verify_record import verify
from tests.support.engine import write_images
from tests.support.records import edit_record, measure

FILES = ("rows.parquet", "arrays.npz", "thumbnails/index.json", "record.json")
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    return measure(folder / "runs", write_images(folder / "a", 4), ["zoo/gray"], save="gallery")["zoo/gray"]


@pytest.fixture
def record(honest: Path, tmp_path: Path) -> Path:
    return tmp_path / "record"


def fresh(honest: Path, record: Path) -> Path:
    shutil.rmtree(record, ignore_errors=True)
    return Path(shutil.copytree(honest, record))


def put(folder: Path, name: str, data: bytes) -> None:
    """Write a file and its hash, so that what it holds is looked at."""
    (folder / name).write_bytes(data)

    def follow(values: dict[str, Any]) -> None:
        digest, files = sha256(data).hexdigest(), values["files"]
        if name == "rows.parquet":
            files["rows"] = digest
        else:
            files["arrays" if name.endswith(".npz") else "saved_images"][name] = digest

    if name != "record.json":
        edit_record(folder, follow)


def verified(folder: Path) -> bool:
    """Whether a record holds; what cannot be read at all is refused in one line."""
    lines, holds = [], False
    try:
        found = verify(folder)
        lines, holds = [check.detail for check in found.checks], found.holds
    except UserError as error:
        lines = [str(error)]
    assert all("\n" not in line and len(line) <= 500 for line in lines)
    return holds


@QUICK
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_bytes_that_were_changed_are_a_finding(honest: Path, record: Path, name: str, data: st.DataObject) -> None:
    folder = fresh(honest, record)
    content = bytearray((folder / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    put(folder, name, bytes(content[: data.draw(st.integers(0, len(content)))]))
    verified(folder)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, one in inner for path in paths(one, (*here, key)))]


@QUICK
@given(data=st.data())
@pytest.mark.parametrize("name", ["record.json", "thumbnails/index.json"])
def test_values_of_another_kind_are_a_finding(honest: Path, record: Path, name: str, data: st.DataObject) -> None:
    folder = fresh(honest, record)
    values = json.loads((folder / name).read_text())
    path = data.draw(st.sampled_from(paths(values)[1:]))
    part = values
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = data.draw(VALUES)
    put(folder, name, json.dumps(values).encode())
    verified(folder)


def test_the_record_that_is_damaged_here_holds_untouched(honest: Path) -> None:
    assert verified(honest)


@pytest.mark.parametrize("deep", [10, 1000, 100_000])
def test_depth_is_bounded(honest: Path, record: Path, deep: int) -> None:
    folder = fresh(honest, record)
    put(folder, "thumbnails/index.json", b"[" * deep + b"]" * deep)
    assert not verified(folder)
    put(folder, "record.json", b'{"key":' * deep + b"1" + b"}" * deep)
    assert not verified(folder)
