"""Memory does not grow with the dataset beyond what the statistics need."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from colorbench.data import Dataset
from colorbench.errors import RunError
from colorbench.evaluation.pending_shards import Claims
from colorbench.evaluation.run_directory import RunDirectory
from colorbench.results import Shard, without_copies
from colorbench.results.shard import StoredArrays, merge
from colorbench.storage import npz_bytes
from protocols.auc import AucProtocol


def shard(index: int, n: int = 64) -> Shard:
    """Scores of ``auc`` for 64 images that were never there; some are copies of others."""
    rng = np.random.default_rng(index)
    counts = rng.poisson(200, (n, 313)).astype(np.int32)
    pixels = counts.sum(axis=1).astype(float)
    columns = {"pixels": pixels}
    for name in ("auc_raw", "auc_rebalanced", "auc_rebalanced_stable"):
        share = rng.random(n)
        columns |= {name: 100 * share, f"{name}.s0": 100 * share * pixels, f"{name}.s1": pixels}
    positions = [*range(index * n, (index + 1) * n)]
    contents = [max(0, position - n) if i in (3, 9) and index else position for i, position in enumerate(positions)]
    arrays = {
        "bin_counts": counts,
        "bin_scores": counts * 300.0,
        "bin_distance": counts * 2.0,
        "histogram": np.ones((n, 152), np.int32),
        "auc_rebalanced.histogram": np.ones((n, 152)),
        "auc_rebalanced_stable.histogram": np.ones((n, 152)),
    }
    return Shard(
        ids=tuple(f"{position:07d}.jpg" for position in positions),
        sha256s=tuple(f"{content:064x}" for content in contents),
        labels=(None,) * n,
        gray=(False,) * n,
        sizes=((256, 256),) * n,
        columns=columns,
        arrays=arrays,
        seconds={"score": 1.0},
    )


def peak_of(folder: RunDirectory, count: int) -> int:
    """Most bytes held at once while ``count`` shards become arrays, rows and a summary."""
    scorer = AucProtocol().resolve({}, Dataset("none", ()))
    tracemalloc.start()
    with folder.gathered(64 * count) as rows:
        assert len(rows) + len(rows.copies) == 64 * count and rows.copies
        summary = scorer.summarize(rows.columns, rows.arrays)
        folder.write_rows(rows, rows.columns, rows.arrays)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(summary.curves) == 3
    return peak


def test_putting_shards_together_holds_a_bounded_part_of_the_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.auc.BLOCK", 256)
    monkeypatch.setattr("colorbench.storage.npz._PIECE", 1 << 18)
    folder = RunDirectory(tmp_path)
    for index in range(40):
        folder.write_shard(index, shard(index))
    few, many = peak_of(folder, 10), peak_of(folder, 40)
    arrays = sum(values.nbytes for values in shard(0).arrays.values())  # of one shard: 0.7 MB
    assert many - few < 8 * arrays, "30 shards more need no 30 times as much"
    assert many < 16 * arrays
    assert not (folder.shards / "arrays").exists()


def test_arrays_on_disk_are_those_of_the_shards(tmp_path: Path) -> None:
    folder, parts = RunDirectory(tmp_path), [shard(index) for index in range(3)]
    for index, part in enumerate(parts):
        folder.write_shard(index, part)
    expected = without_copies(merge(parts))
    with folder.gathered(64 * 3) as rows:
        assert (rows.ids, rows.copies, rows.seconds) == (expected.ids, expected.copies, expected.seconds)
        assert {name: values.tolist() for name, values in rows.columns.items()} == {
            name: values.tolist() for name, values in expected.columns.items()
        }
        for name, values in expected.arrays.items():
            assert np.array_equal(rows.arrays[name], values) and rows.arrays[name].dtype == values.dtype
        assert npz_bytes(rows.arrays) == npz_bytes(expected.arrays), "equal arrays give equal bytes"
        rows.arrays["histogram"][0] = 7  # what a protocol does to its copy stays its own
        assert rows.arrays["histogram"][0, 0] == 1


def test_shards_of_other_arrays_are_refused(tmp_path: Path) -> None:
    one, other = shard(0), shard(1)
    other = Shard(**{**vars(other), "arrays": {"bin_counts": other.arrays["bin_counts"]}})
    with pytest.raises(RunError, match="arrays of two shards differ"):
        StoredArrays.gather(tmp_path / "arrays", [(one, np.arange(64)), (other, np.arange(64))], 128)


def test_finished_shards_are_forgotten(crops: Dataset) -> None:
    from colorbench.evaluation.pending_shards import ShardJob

    claims = Claims.__new__(Claims)
    work = ShardJob(5, crops.samples, [], [])
    claims._claimed = {5: work}
    claims.finished(work)
    assert claims._claimed == {}
