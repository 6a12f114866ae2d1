"""The folder of a run: files that are whole or absent, shards that come back as they were, locks that die."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colorbench.data import Sample
from colorbench.data.dataset_hashes import files_digest
from colorbench.errors import RunError
from colorbench.evaluation.run_directory import RunDirectory, folder_of
from colorbench.results import Shard, protocol_identity
from colorbench.results.run_key import run_key
from colorbench.results.shard import pack, unpack
from colorbench.storage import Lock, content_fingerprint, digest_of, npz_bytes, plain, write_atomic

SHARD = Shard(
    ids=("a/ä.jpg", "b.jpg"),
    sha256s=("0" * 64, "f" * 64),
    labels=(3, None),
    gray=(False, True),
    sizes=((10, 20), (30, 40)),
    columns={"score": np.array([0.1, np.nan]), "score.s0": np.array([np.inf, -0.0])},
    arrays={"counts": np.arange(6, dtype=np.int32).reshape(2, 3), "x/y": np.zeros((2, 0))},
    skipped=(("c.jpg", "truncated"),),
    seconds={"score": 0.25},
    warm_up=(1, 0.125),
)


def same(one: Shard, other: Shard) -> None:
    for name in ("ids", "sha256s", "labels", "gray", "sizes", "skipped"):
        assert getattr(one, name) == getattr(other, name)
    assert dict(one.seconds) == dict(other.seconds)
    assert one.warm_up == other.warm_up
    for measured, reference in ((one.columns, other.columns), (one.arrays, other.arrays)):
        assert list(measured) == list(reference)
        for name in measured:
            np.testing.assert_array_equal(measured[name], reference[name])
            assert measured[name].dtype == reference[name].dtype


def test_a_shard_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    folder.write_shard(7, SHARD)
    assert folder.done() == {7}
    same(folder.read_shard(7), SHARD)


def test_a_shard_in_which_all_was_skipped_comes_back() -> None:
    empty = Shard((), (), (), (), (), skipped=(("c.jpg", "truncated"),))
    same(unpack(pack(empty)), empty)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=5),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
)
def test_any_number_and_any_id_survive(values: list[float], id: str) -> None:
    n = len(values)
    shard = Shard((id,) * n, ("0",) * n, (None,) * n, (False,) * n, ((1, 1),) * n, {"x": np.array(values)})
    same(unpack(pack(shard)), shard)


def test_equal_arrays_give_equal_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = npz_bytes(SHARD.arrays)
    later = time.time() + 1e6
    monkeypatch.setattr(time, "time", lambda: later)
    assert npz_bytes(SHARD.arrays) == first


def test_numpy_reads_the_arrays(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    path.write_bytes(npz_bytes({"counts": SHARD.arrays["counts"]}))
    np.testing.assert_array_equal(np.load(path)["counts"], SHARD.arrays["counts"])


def test_a_damaged_shard_is_named_and_set_aside(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    folder.write_shard(0, SHARD)
    path = folder.shard(0)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"damaged \(.*00000.npz\).*evaluated again"):
        folder.read_shard(0)
    assert folder.done() == set()


@pytest.mark.parametrize("there", [False, True])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    path = tmp_path / "file"
    if there:
        path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="the disk is full"):
        write_atomic(path, b"new")
    assert [entry.read_bytes() for entry in tmp_path.iterdir()] == ([b"old"] if there else [])


def test_of_many_that_write_the_record_one_does(tmp_path: Path) -> None:
    folder = RunDirectory(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        wrote = list(pool.map(folder.write_record, [str(i) for i in range(8)]))
    assert sum(wrote) == 1
    assert folder.record.read_text() == str(wrote.index(True))
    assert not folder.write_record("later")
    folder.clear_shards()
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_where_there_are_no_hard_links_the_record_is_still_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder = RunDirectory(tmp_path)
    assert folder.write_record("first")
    assert not folder.write_record("second")
    assert folder.record.read_text() == "first"


def test_a_lock_keeps_others_out_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = Lock.take(path)
    assert first is not None
    assert Lock.take(path) is None
    first.release()
    second = Lock.take(path)
    assert second is not None
    second.release()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"import fcntl, os, time; fcntl.flock(os.open({str(path)!r}, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX)"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert Lock.take(path) is None
    holder.kill()
    holder.communicate()
    lock = Lock.take(path)
    assert lock is not None
    lock.release()


SAMPLES = [Sample("a.jpg", Path("a.jpg"), None, 10, 111), Sample("b.jpg", Path("b.jpg"), 1, 20, 222)]


def key(**changes: object) -> str:
    values: dict[str, object] = {
        "model": {"name": "m"},
        "protocol_sha256": "p",
        "samples": SAMPLES,
        "gray_policy": "keep",
        "seed": 0,
        "dtype": "float32",
        "version": "1",
    }
    return run_key(**{**values, **changes})  # type: ignore[arg-type]


def test_the_key_is_the_same_where_the_files_lie_elsewhere_and_are_younger() -> None:
    moved = [Sample(s.id, Path("elsewhere") / s.id, s.label, s.size, s.modified + 5) for s in SAMPLES]
    assert key(samples=moved) == key()
    assert files_digest(moved, times=True) != files_digest(SAMPLES, times=True)
    assert files_digest(moved, times=False) == files_digest(SAMPLES, times=False)


def test_a_number_in_the_key_is_not_a_text() -> None:
    assert key(seed=1) != key(seed="1")


def test_identity_does_not_depend_on_the_order_of_parameters() -> None:
    one = protocol_identity("auc", 1, {"prior": "sha256:0", "preprocessing": "squash256"})
    assert one == protocol_identity("auc", 1, {"preprocessing": "squash256", "prior": "sha256:0"})
    assert one != protocol_identity("auc", 2, {"preprocessing": "squash256", "prior": "sha256:0"})


def test_plain_data_of_numpy_and_paths() -> None:
    value = {"a": np.float64(0.5), "b": (np.int64(2), Path("x/y")), 3: None, "c": np.True_}
    assert plain(value) == {"a": 0.5, "b": [2, "x/y"], "3": None, "c": True}
    with pytest.raises(TypeError, match="object cannot be stored in a record"):
        plain(object())
    with pytest.raises(ValueError, match="JSON"):
        digest_of({"a": float("nan")})


def test_the_fingerprint_is_of_contents_not_of_their_order() -> None:
    assert content_fingerprint(["b", "a"]) == content_fingerprint(["a", "b"]) != content_fingerprint(["a", "a", "b"])


@pytest.mark.parametrize(
    ("model", "dataset", "folder"),
    [
        ("zoo/cic.small", "val650", "zoo/cic.small/auc/val650-0123456789ab"),
        ("images:../my answers/", "x", "images-my-answers/auc/x-0123456789ab"),
        ("some/where/mine.py:Warm", "my photos", "mine.py-Warm/auc/my-photos-0123456789ab"),
        ("zoo/cic@mine", "..", "zoo/cic@mine/auc/unnamed-0123456789ab"),
        ("../../etc", "/", "unnamed/unnamed/etc/auc/unnamed-0123456789ab"),
    ],
)
def test_folders_have_names_that_every_file_system_takes(model: str, dataset: str, folder: str) -> None:
    assert str(folder_of(model, "auc", dataset, "0123456789abcdef")) == folder
