"""The pipeline: order, overlap of stages, errors, bounded queues."""

from __future__ import annotations

import threading
import time

import pytest

from colorbench.threaded_pipeline import run_pipeline


def identity(value: int) -> int:
    return value


def test_results_are_written_in_order_whichever_scorer_is_first() -> None:
    written: list[int] = []

    def score(value: int) -> int:
        time.sleep(0.02 if value % 2 == 0 else 0)
        return value

    run_pipeline(range(20), identity, score, written.append, scorers=4)
    assert written == list(range(20))


def test_a_slow_scorer_does_not_leave_the_predicting_thread_idle() -> None:
    busy: list[float] = []

    def predict(value: int) -> int:
        start = time.perf_counter()
        time.sleep(0.02)
        busy.append(time.perf_counter() - start)
        return value

    def score(value: int) -> int:
        time.sleep(0.05)
        return value

    start = time.perf_counter()
    run_pipeline(range(40), predict, score, lambda _: None, scorers=4)
    wall = time.perf_counter() - start
    # One after the other it would be 40 x 0.07 s; the predicting thread alone needs 40 x 0.02 s.
    assert sum(busy) / wall > 0.8


def test_predictions_are_made_one_at_a_time_in_the_callers_thread() -> None:
    threads = set()

    def predict(value: int) -> int:
        threads.add(threading.get_ident())
        return value

    run_pipeline(range(10), predict, identity, lambda _: None, scorers=3)
    assert threads == {threading.get_ident()}


def test_several_items_are_predicted_at_once_and_written_in_order() -> None:
    both = threading.Barrier(2, timeout=60)  # broken, if only one item is predicted at a time
    written: list[int] = []

    def predict(value: int) -> int:
        both.wait()
        return value

    run_pipeline(range(10), predict, lambda value: value + 1, written.append, scorers=1, predictors=2)
    assert written == list(range(1, 11))


@pytest.mark.parametrize("predictors", [1, 3])
@pytest.mark.parametrize("stage", ["items", "predict", "score", "write"])
def test_the_first_error_of_any_stage_reaches_the_caller_and_no_thread_stays(stage: str, predictors: int) -> None:
    before = threading.active_count()

    def fail_at(name: str, value: int) -> int:
        if name == stage and value == 5:
            raise ZeroDivisionError(name)
        return value

    written: list[int] = []
    with pytest.raises(ZeroDivisionError, match=stage):
        run_pipeline(
            (fail_at("items", value) for value in range(50)),
            lambda value: fail_at("predict", value),
            lambda value: fail_at("score", value),
            lambda value: written.append(fail_at("write", value)),
            scorers=2,
            predictors=predictors,
        )
    assert written == list(range(len(written)))
    assert len(written) <= 5
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize("predictors", [1, 3])
def test_memory_is_bounded_by_the_queues(predictors: int) -> None:
    alive = 0
    most = 0
    lock = threading.Lock()

    def make(value: int) -> int:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return value

    def write(_: int) -> None:
        nonlocal alive
        time.sleep(0.002)
        with lock:
            alive -= 1

    run_pipeline((make(value) for value in range(200)), identity, identity, write, scorers=2, predictors=predictors)
    assert most <= 16


@pytest.mark.parametrize("predictors", [1, 3])
def test_an_interrupt_in_the_model_ends_the_run(predictors: int) -> None:
    def predict(value: int) -> int:
        if value == 3:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(iter(range(100)), predict, identity, lambda _: None, scorers=2, predictors=predictors)
