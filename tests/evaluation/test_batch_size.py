"""Batch sizes: found by doubling, halved when memory runs out, and without influence on scores."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from colorbench.data import Dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation import devices_and_memory
from colorbench.evaluation.devices_and_memory import MemoryMeter, largest_batch, ran_out_of_memory, smaller_batch
from colorbench.evaluation.runner import record_folder
from colorbench.models import ColorizerInput, ColorPrediction
from tests.support.engine import DistanceProtocol, Listening, SmallNetwork, evaluate, with_protocol, write_images
from tests.support.same_records import assert_same_rows

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
]


class Limited(SmallNetwork):
    """A network that has memory for a number of images."""

    def __init__(self, most: int, error: Exception = ERRORS[0]) -> None:
        super().__init__()
        self.most, self.error = most, error

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        if len(inputs.lightness) > self.most:
            raise self.error
        return super().colorize_batch(inputs)


@pytest.fixture(autouse=True)
def distance(monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_images(tmp_path_factory.mktemp("images"), 21)


def rows(dataset: Dataset, output: Path, model: Any, listener: Any = None, **changes: Any) -> tuple[pd.DataFrame, int]:
    (record,) = evaluate(dataset, output, model, listener=listener, **changes)
    return pd.read_parquet(record_folder(output, record) / "rows.parquet"), record.execution.batch_size


@pytest.mark.parametrize("most", [1, 2, 5, 13, 100])
def test_auto_finds_the_largest_power_of_two_and_records_it(images: Dataset, tmp_path: Path, most: int) -> None:
    usual, _ = rows(images, tmp_path / "usual", SmallNetwork(), batch_size=7)
    listener = Listening()
    found, size = rows(images, tmp_path / "auto", Limited(most), listener, batch_size="auto")
    assert size == min(64, 2 ** (most.bit_length() - 1))
    assert f"--batch-size auto: batches of {size}" in listener.messages
    assert not [line for line in listener.messages if "out of memory" in line]
    assert_same_rows(usual, found)


@pytest.mark.parametrize("error", ERRORS, ids=[str(error)[:20] for error in ERRORS])
def test_out_of_memory_computes_the_shard_again_in_smaller_batches(
    images: Dataset, tmp_path: Path, error: Exception
) -> None:
    usual, _ = rows(images, tmp_path / "usual", SmallNetwork())
    listener = Listening()
    found, size = rows(images, tmp_path / "less", Limited(5, error), listener, batch_size=16)
    assert size == 4
    assert [line for line in listener.messages if "memory" in line] == [
        "out of memory with batches of 16: going on with 8",
        "out of memory with batches of 8: going on with 4",
    ]
    assert_same_rows(usual, found)


def test_only_the_shard_is_computed_again(images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 7)
    shown: list[str] = []

    class Once(SmallNetwork):
        """Its memory runs out once, in the third shard."""

        def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
            if len(shown) >= 14 and len(inputs.ids) == 7:
                raise MemoryError
            shown.extend(inputs.ids)
            return super().colorize_batch(inputs)

    monkeypatch.setattr("colorbench.evaluation.task_records.check_models", lambda *_: {})
    rows(images, tmp_path, Once(), batch_size=7)
    assert len(shown) == len(set(shown)) == 21


def test_memory_that_is_taken_after_auto_has_found_a_batch(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program takes memory in the middle of the run."""
    monkeypatch.setattr("colorbench.results.shard.SHARD", 8)
    usual, _ = rows(images, tmp_path / "usual", SmallNetwork())

    class Shrinking(SmallNetwork):
        shown = 0

        def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
            if len(inputs.ids) > (8 if self.shown < 23 else 2):  # 1 + 2 + 4 + 8 to find a batch, and the first shard
                raise MemoryError
            type(self).shown += len(inputs.ids)
            return super().colorize_batch(inputs)

    monkeypatch.setattr("colorbench.evaluation.task_records.check_models", lambda *_: {})
    listener = Listening()
    found, size = rows(images, tmp_path / "auto", Shrinking(), listener, batch_size="auto")
    assert [line for line in listener.messages if "batches of" in line] == [
        "--batch-size auto: batches of 8",
        "out of memory with batches of 8: going on with 4",
        "out of memory with batches of 4: going on with 2",
    ]
    assert size == 2
    assert_same_rows(usual, found)


def test_a_single_image_that_does_not_fit_is_one_line(images: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="test/model needs more memory than available"):
        rows(images, tmp_path, Limited(0), batch_size=4)


def test_other_errors_do_not_change_the_batch(images: Dataset, tmp_path: Path) -> None:
    assert not ran_out_of_memory(RuntimeError("shapes do not match"))
    listener = Listening()
    assert smaller_batch(ValueError("memory"), 8, listener.message) is None
    assert smaller_batch(MemoryError(), 1, listener.message) is None
    with pytest.raises(RunError, match="test/model failed"):
        rows(images, tmp_path, Limited(5, RuntimeError("shapes do not match")), listener)
    assert not listener.messages


@pytest.mark.parametrize("given", [0, -1, "many"])
def test_other_sizes_are_refused(images: Dataset, tmp_path: Path, given: Any) -> None:
    with pytest.raises(UserError, match="--batch-size must be at least 1, not"):
        rows(images, tmp_path, SmallNetwork(), batch_size=given)


@pytest.mark.parametrize("name", ["threads", "workers", "limit"])
def test_only_a_batch_size_may_be_auto(images: Dataset, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"--{name} must be at least [01], not auto"):
        rows(images, tmp_path, SmallNetwork(), **{name: "auto"})


class Memory:
    limit = 1000.0

    def __init__(self) -> None:
        self.largest = 0

    def used(self) -> int:
        return 20 * self.largest


def test_doubling_stays_within_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: Any = Memory()
    tried: list[int] = []

    def attempt(n: int) -> None:
        tried.append(n)
        memory.largest = n

    assert largest_batch(attempt, memory, 64) == 32  # of 20 bytes each: the next takes 1280
    assert tried == [2, 4, 8, 16, 32]
    monkeypatch.setattr(devices_and_memory, "SLOW", -1.0)
    assert largest_batch(attempt, Memory(), 64) == 2, "larger batches would be no faster"  # type: ignore[arg-type]


def test_memory_is_measured() -> None:
    memory = MemoryMeter(torch.device("cpu"), 2)
    block = np.ones(400_000_000, dtype=np.uint8)
    assert memory.used() > 0.9 * block.nbytes
    assert 0 < memory.limit < 1 << 45


@pytest.mark.parametrize(("thread_safe", "at_once"), [(True, 2), (False, 1)])
def test_batches_that_are_predicted_at_once_share_the_memory(
    images: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread_safe: bool, at_once: int
) -> None:
    given: list[int] = []

    class Noted(MemoryMeter):
        def __init__(self, device: torch.device, batches: int = 1) -> None:
            given.append(batches)
            super().__init__(device, batches)

    monkeypatch.setattr("colorbench.evaluation.first_image_checks.MemoryMeter", Noted)
    model = SmallNetwork()
    model.thread_safe = thread_safe  # type: ignore[attr-defined]
    rows(images, tmp_path, model, batch_size="auto", threads=2)
    assert set(given) == {at_once}


class Remembering(Limited):
    """Runs out of memory while it holds tensors of the batch, and remembers them weakly."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.failed: list[weakref.ref[torch.Tensor]] = []
        self.held: list[int] = []

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        self.held.append(sum(one() is not None for one in self.failed))
        if len(inputs.lightness) > self.most:
            large = inputs.lightness * 2
            self.failed += [weakref.ref(large), weakref.ref(inputs.lightness)]
            try:
                raise self.error
            except torch.OutOfMemoryError as error:
                raise RuntimeError("out of memory") from error
        return super().colorize_batch(inputs)


def test_no_tensor_of_a_failed_batch_is_kept(images: Dataset, tmp_path: Path) -> None:
    model = Remembering(2)
    rows(images, tmp_path, model, batch_size=16)
    assert len(model.failed) >= 6  # batches of 16, 8 and 4
    assert set(model.held) == {0}
