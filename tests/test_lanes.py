"""Batches side by side: the answers of one lane, in their order, and only where everybody allows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_support import DistanceScorer, Flat, SmallNetwork, loaded, read_folder, with_protocol, write_photographs

from colorbench.data.loading import load_batches
from colorbench.evaluation.aggregate import read_rows
from colorbench.evaluation.lanes import LANES, Lanes, lane_count
from colorbench.evaluation.run import RunRequest, record_folder, run
from colorbench.evaluation.work import Settings, Task
from colorbench.models.colorizer import Colors, Inputs, Wrapped
from colorbench.models.loading import load_model
from colorbench.plugins import registered
from protocols.auc import AucProtocol
from protocols.fidelity import FidelityProtocol

pytestmark = pytest.mark.usefixtures("only_the_pass")


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


@pytest.mark.parametrize("broken", [ValueError, MemoryError])
def test_what_was_taken_is_finished_when_there_is_no_more_to_take(broken: type[Exception]) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise broken("no more")

    for count in (1, 2):
        done = []

        def all_of(answers: Iterable[tuple[int, int]], done: list[int] = done) -> None:
            for item, _ in answers:
                done.append(item)

        with Lanes(count, 2) as lanes, pytest.raises(broken, match="no more"):
            all_of(lanes.map(lambda item: time.sleep(0.05) or item, items()))
        assert done == [0, 1, 2]


_INTERRUPTED = """
import signal, time
from colorbench.evaluation.lanes import Lanes
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background has it ignored
print("ready", flush=True)
with Lanes(2, 2) as lanes:
    for _ in lanes.map(lambda item: time.sleep(60), range(3)):
        pass
"""


def test_ctrl_c_does_not_wait_for_a_slow_model() -> None:
    process = subprocess.Popen([sys.executable, "-c", _INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in error


@pytest.mark.parametrize("threads", [1, 2])
def test_seconds_are_those_that_went_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Whoever waits: for photographs, or for a model; with a last batch that leaves a lane without work."""

    def slowly(*arguments: Any, **options: Any) -> Iterator[Any]:
        for batch in load_batches(*arguments, **options):
            time.sleep(0.05)
            yield batch

    class Slow(SafeNetwork):
        def colorize_batch(self, inputs: Inputs) -> Colors:
            time.sleep(0.1)
            return super().colorize_batch(inputs)

    photographs = write_photographs(tmp_path / "photographs", 5)
    for name, model, batch_size in (("reader", SafeNetwork(), 1), ("model", Slow(), 2), ("one", Slow(), 5)):
        if name == "reader":
            monkeypatch.setattr("colorbench.evaluation.feeder.load_batches", slowly)
        request = RunRequest(
            models=[loaded(model)],
            protocols=["auc"],
            data=photographs,
            output=tmp_path / name,
            anchors=False,
            save="none",
            device="cpu",
            threads=threads,
            batch_size=batch_size,
        )
        begun = time.perf_counter()
        (record,) = run(request)
        wall = time.perf_counter() - begun
        assert record.execution.lanes == threads
        assert 0.6 * wall < record.execution.seconds <= wall + 1e-3, name


def test_the_short_form_says_it_for_its_wrapper() -> None:
    class Short:
        card = Flat().card

        def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
            return lightness.repeat(1, 2, 1, 1)

    assert not Wrapped(Short()).thread_safe
    Short.thread_safe = True  # type: ignore[attr-defined]
    assert Wrapped(Short()).thread_safe


def test_what_our_own_models_give_depends_neither_on_lanes_nor_on_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, by both protocols, with pictures. Batches of one among them, which torch treats in its own way."""
    names = [plugin.name for plugin in registered("models") if plugin.name.startswith("zoo/")]
    assert len(names) >= 11
    with_protocol(monkeypatch, auc=AucProtocol(), fidelity=FidelityProtocol())
    write_photographs(tmp_path / "photographs", 5)
    (tmp_path / "photographs" / "a" / "001.jpg").write_bytes(b"no picture")
    stored: dict[tuple[int, int], dict[Path, bytes]] = {}
    rows: dict[tuple[int, int], list[np.ndarray]] = {}
    for threads, batch_size in ((1, 1), (2, 1), (2, 3), (1, 4)):
        request = RunRequest(
            models=[load_model(name) for name in names],
            protocols=["auc", "fidelity"],
            data=read_folder(tmp_path / "photographs"),
            output=tmp_path / f"{threads} {batch_size}",
            anchors=False,
            save="predictions",
            device="cpu",
            threads=threads,
            batch_size=batch_size,
            parameters={"auc": {"recipe": "squash64"}, "fidelity": {"recipe": "squash64"}},
        )
        records = run(request)
        assert {record.execution.lanes for record in records} == {threads}
        assert [len(record.dataset.skipped) for record in records] == [1] * 2 * len(names)
        stored[threads, batch_size] = {
            path.relative_to(request.output): path.read_bytes()
            for path in request.output.rglob("*")
            if path.suffix in (".parquet", ".npz", ".png", ".webp")
        }
        found = [read_rows(record_folder(request.output, record) / "rows.parquet")[1] for record in records]
        rows[threads, batch_size] = [np.stack(list(columns.values())) for columns in found]
    assert len(stored[1, 1]) > 2 * len(names) * 5
    assert stored[1, 1] == stored[2, 1]
    # One pixel that crosses one threshold moves a score by 1.6e-4 points.
    for other in ((2, 3), (1, 4)):
        for mine, theirs in zip(rows[1, 1], rows[other], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)


def test_answers_come_in_the_order_of_the_items_whichever_lane_was_first() -> None:
    def work(item: int) -> int:
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
        answers = lanes.map(lambda item: time.sleep(0.05) or item, items())
        next(answers)
        assert len(taken) == 3, "two at work and one that waits: decoded photographs are large"


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_lane_is_the_callers(count: int) -> None:
    def work(item: int) -> int:
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
import resource
import torch
from colorbench.memory import keep_freed_memory

def faults(size: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

SIZES = [2**20, 2**23, 2**26]
print(*map(faults, SIZES))
keep_freed_memory()
for size in SIZES:
    faults(size)
print(*map(faults, SIZES))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the C library of Linux hands memory back so")
def test_freed_memory_is_kept() -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", _FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    before, kept = ([int(word) for word in line.split()] for line in done.stdout.splitlines())
    assert before[2] > 20 * 10_000, "64 MB are fetched anew each time"
    assert max(kept) < 100
    # What a user has set up stays: the C library's own behaviour, asked for by name.
    mine = {**plain, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=mine)
    assert int(done.stdout.splitlines()[1].split()[2]) > 20 * 10_000
