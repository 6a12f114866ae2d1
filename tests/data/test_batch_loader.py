"""The loader holds little, stops when told to, and reports every image once."""

import weakref
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from colorbench.data import batch_loader
from colorbench.data.batch_loader import load_batches, map_ahead
from colorbench.data.dataset import DecodedImage, Sample
from colorbench.data.preprocessing import get_preprocessing
from colorbench.data.sources import open_dataset

COUNT = 60


@pytest.fixture
def many() -> list[Sample]:
    """One real image under many ids."""
    sample = open_dataset("samples").samples[0]
    return [replace(sample, id=f"{i:03d}") for i in range(COUNT)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each image that the loader has decoded so far: how many were alive at that moment."""
    alive: list[int] = []
    seen: list[weakref.ref[DecodedImage]] = []
    decode = batch_loader.decode_image

    def watched(sample: Sample) -> DecodedImage:
        image = decode(sample)
        seen.append(weakref.ref(image))
        alive.append(sum(one() is not None for one in list(seen)))
        return image

    monkeypatch.setattr(batch_loader, "decode_image", watched)
    return alive


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_full_size_pixels_do_not_outlive_the_preprocessing(
    many: list[Sample], decoded: list[int], workers: int
) -> None:
    batches = list(load_batches(many, get_preprocessing("squash16"), batch_size=16, workers=workers))
    assert [len(batch.rgb8) for batch in batches] == [16, 16, 16, 12]
    # Those alive are the ones that a thread is busy with.
    assert len(decoded) == COUNT and max(decoded) <= max(workers, 1)


def test_the_loader_decodes_a_bounded_number_ahead_and_stops_with_its_reader(
    many: list[Sample], decoded: list[int]
) -> None:
    batches = load_batches(many, get_preprocessing("squash16"), batch_size=4, workers=2)
    assert next(batches).ids == ("000", "001", "002", "003")
    batches.close()  # waits for the threads
    assert 4 <= len(decoded) <= 4 + 4 + 2 + 1


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_every_image_is_reported_once_whatever_the_batch_size(tmp_path: Path, batch_size: int) -> None:
    samples = list(open_dataset("samples").samples)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(samples[0].path.read_bytes()[:1000])
    order = [samples[0], Sample("x1", broken), *samples[1:3], Sample("x2", tmp_path / "none.png"), Sample("x3", broken)]
    batches = list(load_batches(order, get_preprocessing("squash8"), batch_size=batch_size, workers=2))
    loaded = [id for batch in batches for id in batch.ids]
    skipped = [one.id for batch in batches for one in batch.skipped]
    assert loaded == [sample.id for sample in samples[:3]] and skipped == ["x1", "x2", "x3"]
    assert Counter(len(batch.ids) for batch in batches)[0] == (1 if 3 % batch_size == 0 else 0)
    for batch in batches:
        assert len({len(batch.rgb8), *map(len, (batch.ids, batch.sha256s, batch.gray, batch.labels, batch.sizes))}) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bug_in_a_preprocessing_is_raised_and_not_counted_as_a_skipped_image(
    many: list[Sample], workers: int
) -> None:
    class Broken:
        def apply(self, rgb: object) -> object:
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        list(load_batches(many[:3], Broken(), batch_size=2, workers=workers))  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (-1, 1), (1, -1)])
def test_senseless_numbers_are_refused(many: list[Sample], batch_size: int, workers: int) -> None:
    with pytest.raises(ValueError, match="batch size"):
        next(load_batches(many, get_preprocessing("native"), batch_size=batch_size, workers=workers))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_are_a_bounded_number_of_items_ahead(workers: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    results = map_ahead(lambda item: 2 * item, items(), workers, 8)
    for i in range(50):
        assert next(results) == 2 * i
        assert len(taken) <= i + 1 + 8 + 1
    assert list(results) == [2 * i for i in range(50, 1000)]
