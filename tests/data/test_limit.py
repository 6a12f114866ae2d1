"""``--limit``: the images with the smallest hash of their id, chosen without an object for each image."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from colorbench.data import Dataset, Sample
from colorbench.data.dataset import id_hash
from colorbench.data.sample_columns import ColumnsBuilder, SampleColumns


def columns(count: int) -> SampleColumns:
    """A synthetic folder of images."""
    builder = ColumnsBuilder(Path("/images"))
    for number in range(count):
        builder.add(f"n{number % 100:08d}/ILSVRC2012_val_{number:08d}.JPEG", 1000 + number, number)
    return builder.samples()


def plain(samples: SampleColumns) -> tuple[Sample, ...]:
    return tuple(samples)


@pytest.mark.parametrize("count", [1, 2, 57, 199, 200, 300])
def test_it_is_the_same_part_of_columns_and_of_a_list(count: int) -> None:
    samples = columns(200).labeled(range(200))
    by_hand = sorted(sorted(samples, key=lambda sample: id_hash(sample.id))[:count], key=lambda sample: sample.id)
    for given in (samples, plain(samples), plain(samples)[::-1]):
        assert list(Dataset("x", given).limit(count).samples) == by_hand


def test_ids_whose_hashes_begin_alike_are_ordered_by_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.data.dataset.id_hash", lambda id: "0" * 16 + id_hash(id))
    samples = columns(50)
    by_hand = sorted(sorted(samples, key=lambda sample: id_hash(sample.id))[:20], key=lambda sample: sample.id)
    assert list(Dataset("x", samples).limit(20).samples) == by_hand


def test_a_large_part_takes_no_more_memory_than_the_columns() -> None:
    peaks = []
    for count in (20_000, 100_000):
        dataset = Dataset("x", columns(count))
        tracemalloc.start()
        limited = dataset.limit(count * 9 // 10)
        peaks.append(tracemalloc.get_traced_memory()[1] / count)
        tracemalloc.stop()
        assert len(limited) == count * 9 // 10 and isinstance(limited.samples, SampleColumns)
    # A sample as an object takes some 500 bytes.
    assert np.max(peaks) < 130, peaks
