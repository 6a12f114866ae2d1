"""Batches side by side: the answers of one lane, in their order, and only where everybody allows it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_support import DistanceScorer, Flat, SmallNetwork, loaded, with_protocol, write_photographs

from colorbench.evaluation.lanes import LANES, Lanes, lane_count
from colorbench.evaluation.run import RunRequest, record_folder, run
from colorbench.evaluation.work import Settings, Task
from colorbench.models.colorizer import Colors, Inputs, ThreadSafe, Wrapped
from colorbench.models.loading import load_model
from colorbench.plugins import registered
from protocols.auc import AucProtocol

SETTINGS = Settings(
    device=torch.device("cpu"),
    dtype=torch.float32,
    batch_size=4,
    workers=1,
    seed=0,
    gray_policy="keep",
    threads=2,
    gallery=frozenset(),
    predictions={},
)


class SafeNetwork(SmallNetwork):
    """Says that threads may share it, and notes which did."""

    thread_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()
        self.gradients = False

    def colorize_batch(self, inputs: Inputs) -> Colors:
        self.threads.add(threading.current_thread().name)
        self.gradients = self.gradients or torch.is_grad_enabled()
        time.sleep(0.02)  # so that one lane cannot take all batches before the other wakes up
        return super().colorize_batch(inputs)


def task(model: Any, scorer: Any) -> Task:
    return Task(loaded(model), None, scorer, None, "", "none")  # type: ignore[arg-type]


def measured(folder: Path, output: Path, model: Any, **changes: Any) -> dict[str, bytes]:
    """What a run stored."""
    request = RunRequest(
        models=[loaded(model)],
        protocols=["auc"],
        data=write_photographs(folder, 20),
        output=output,
        anchors=False,
        save="none",
        device="cpu",
        batch_size=2,
        parameters={"auc": {"recipe": "squash64"}},
    )
    (record,) = run(replace(request, **changes))
    return {name: (record_folder(output, record) / name).read_bytes() for name in ("rows.parquet", "arrays.npz")}


@pytest.fixture(autouse=True)
def auc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with_protocol(monkeypatch, auc=AucProtocol())
    monkeypatch.setattr("colorbench.evaluation.work.SHARD", 8)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_two_lanes_store_what_one_does(tmp_path: Path) -> None:
    model = SafeNetwork()
    two = measured(tmp_path / "photographs", tmp_path / "two", model, threads=2)
    assert len(model.threads) == 2
    assert not model.gradients, "gradients are off in every lane"
    one = measured(tmp_path / "photographs", tmp_path / "one", SafeNetwork(), threads=1)
    assert two == one, "each of two lanes has one thread, so that not even the last bit differs"


def test_whoever_does_not_say_so_is_called_by_one_thread(tmp_path: Path) -> None:
    model = SafeNetwork()
    model.thread_safe = False
    measured(tmp_path / "photographs", tmp_path / "runs", model, threads=2)
    assert model.threads == {threading.current_thread().name}


def test_lanes_need_a_processor_two_threads_and_everybodys_leave() -> None:
    scorer = AucProtocol().resolve({}, None)  # type: ignore[arg-type]
    safe = task(SafeNetwork(), scorer)
    assert lane_count([safe], SETTINGS) == LANES == 2
    assert lane_count([safe], replace(SETTINGS, threads=1)) == 1
    assert lane_count([safe], replace(SETTINGS, device=torch.device("cuda"))) == 1
    assert lane_count([safe, task(Flat(), scorer)], SETTINGS) == 1, "a model that says nothing"
    assert lane_count([safe, task(SafeNetwork(), DistanceScorer("squash64", {}))], SETTINGS) == 1, "a protocol"


def test_the_short_form_says_it_for_its_wrapper() -> None:
    class Short:
        card = Flat().card

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return lightness.repeat(1, 2, 1, 1)

    assert not Wrapped(Short()).thread_safe
    Short.thread_safe = True  # type: ignore[attr-defined]
    assert Wrapped(Short()).thread_safe


def test_our_own_models_may_be_shared() -> None:
    names = [plugin.name for plugin in registered("models") if plugin.name.startswith("zoo/")]
    assert len(names) >= 11
    for name in names:
        colorizer = load_model(name).colorizer
        assert isinstance(colorizer, ThreadSafe), name
        assert colorizer.thread_safe, name


def test_answers_come_in_the_order_of_the_items_whichever_lane_was_first() -> None:
    def work(item: int, idle: float) -> int:
        assert idle >= 0
        time.sleep(0.03 if item % 2 == 0 else 0)
        return item * item

    for count in (1, 2):
        with Lanes(count, 2) as lanes:
            assert list(lanes.map(work, range(9))) == [(i, i * i) for i in range(9)]


def test_no_more_items_are_taken_than_lanes_can_work_on() -> None:
    taken: list[int] = []

    def items() -> Any:
        for i in range(20):
            taken.append(i)
            yield i

    with Lanes(2, 2) as lanes:
        answers = lanes.map(lambda item, _: item, items())
        next(answers)
        assert len(taken) == 3, "two at work and one that waits: decoded photographs are large"


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_lane_is_the_callers(count: int) -> None:
    def work(item: int, _: float) -> int:
        if item == 3:
            raise ValueError("the fourth")
        return item

    def all_of(answers: Iterable[tuple[int, int]]) -> None:
        for item, _ in answers:
            done.append(item)

    done: list[int] = []
    with Lanes(count, 2) as lanes, pytest.raises(ValueError, match="the fourth"):
        all_of(lanes.map(work, range(10)))
    assert done == [0, 1, 2]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("colorbench-lane")]


_FAULTS = """
import contextlib, platform, resource, sys
import torch
from colorbench import memory

def faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10_000_000)  # 40 MB, above all that the C library keeps of itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
with memory.kept():
    faults()
    kept = faults()
print(before, kept, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the C library of Linux hands memory back so")
def test_freed_memory_is_kept_within_a_run_and_not_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True)
    before, kept, after = map(int, done.stdout.split())
    assert kept < before / 10
    assert after > before / 2
