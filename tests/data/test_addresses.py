"""Datasets at addresses: copied once, again when they change, and each failure in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colorbench.data.sources import addresses, open_dataset
from colorbench.errors import UserError
from tests.support.containers import files_of, write_parquet, write_tar

fsspec = pytest.importorskip("fsspec", reason="the extra hf is not installed")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """An empty file system in memory, and a cache folder of this test."""
    monkeypatch.setattr(addresses, "cache_folder", lambda: tmp_path / "cache")
    system = fsspec.filesystem("memory")
    system.store.clear()
    return system


def test_tar_files_tables_and_patterns_at_an_address(memory: Any, images: Path, tmp_path: Path) -> None:
    tar = write_tar(tmp_path / "set.tar", files_of(images)).read_bytes()
    table = write_parquet(tmp_path / "set.parquet", files_of(images)).read_bytes()
    for name, content in (("s/x-0.tar", tar), ("s/x-1.tar", tar), ("s/README.md", b"no"), ("t/a.parquet", table)):
        memory.pipe(f"/{name}", content)
    names = sorted(files_of(images))
    assert [sample.id for sample in open_dataset("memory://s/x-0.tar").samples] == names
    both = open_dataset("memory://s")
    assert [sample.id for sample in both.samples] == [f"{part}/{name}" for part in ("x-0", "x-1") for name in names]
    assert both.name == "s" and [sample.read() for sample in both.samples] == 2 * [files_of(images)[n] for n in names]
    assert len(open_dataset("memory://s/x-*.tar")) == 6 and len(open_dataset("memory://t/a.parquet")) == 3


def test_a_file_is_copied_once_and_again_when_it_changes(
    memory: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    copy = addresses._copy
    monkeypatch.setattr(addresses, "_copy", lambda *given: copied.append(given[1]) or copy(*given))
    tar = write_tar(tmp_path / "set.tar", files_of(images))
    memory.pipe("/s/a.tar", tar.read_bytes())
    assert len(open_dataset("memory://s")) == len(open_dataset("memory://s")) == 3 and copied == ["/s/a.tar"]
    memory.pipe("/s/a.tar", write_tar(tar, {"one.jpg": files_of(images)["coffee.jpg"]}).read_bytes())
    assert [sample.id for sample in open_dataset("memory://s").samples] == ["one.jpg"] and len(copied) == 2
    # A file that is gone is no longer part of the dataset.
    memory.pipe("/s/b.tar", tar.read_bytes())
    assert len(open_dataset("memory://s")) == 2
    memory.rm("/s/a.tar")
    assert [sample.id for sample in open_dataset("memory://s").samples] == ["one.jpg"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nothing", "there are no tar files"),
        ("memory://packed", "this tar file is compressed"),
        ("nosuchprotocol://x", "cannot read this address: ValueError"),
        ("https://127.0.0.1:9/x.tar", "cannot read this address"),
        ("://", "no folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(memory: Any, address: str, message: str) -> None:
    memory.pipe("/packed/x.tar.gz", b"")
    with pytest.raises(UserError, match=message) as error:
        open_dataset(address)
    assert "\n" not in str(error.value)


def test_a_copy_that_fails_leaves_nothing_that_counts(
    memory: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/s/a.tar", write_tar(tmp_path / "a.tar", files_of(images)).read_bytes())

    def fail(path: str, target: str, **_: Any) -> None:
        Path(target).write_bytes(b"half")
        raise ConnectionError("reset\nby peer")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "get_file", staticmethod(fail))
        with pytest.raises(UserError, match="ConnectionError: reset by peer"):
            open_dataset("memory://s")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert len(open_dataset("memory://s")) == 3
