"""The engine's stages: one thread predicts, several score."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import run
from colorbench.models import ColorizerInput, ColorPrediction
from tests.support.engine import (
    DistanceProtocol,
    DistanceScorer,
    SmallNetwork,
    loaded,
    read_folder,
    with_protocol,
    write_images,
)

pytestmark = pytest.mark.usefixtures("only_the_pass")


class Watched(SmallNetwork):
    """Notes which threads ask it, whether gradients are on, and how long it works; slow on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.gradients = False
        self.busy = 0.0
        self.began = self.ended = 0.0

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        start = time.perf_counter()
        self.threads.add(threading.get_ident())
        self.gradients = self.gradients or torch.is_grad_enabled()
        time.sleep(0.05)
        colors = super().colorize_batch(inputs)
        self.began, self.ended = self.began or start, time.perf_counter()
        self.busy += self.ended - start
        return colors


def test_a_slow_protocol_does_not_leave_the_predicting_thread_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = []
    score = DistanceScorer.score

    def slowly(self: DistanceScorer, colorization: Any) -> Any:
        gradients.append(torch.is_grad_enabled())
        time.sleep(0.08)
        return score(self, colorization)

    monkeypatch.setattr(DistanceScorer, "score", slowly)
    with_protocol(monkeypatch, distance=DistanceProtocol())
    write_images(tmp_path / "images", 40)
    model = Watched()
    request = RunConfig(
        models=[loaded(model)],
        protocols=["distance"],
        data=read_folder(tmp_path / "images"),
        output=tmp_path / "runs",
        baselines=False,
        save="none",
        device="cpu",
        batch_size=2,
    )
    run(request)
    # One after the other, the model would work 0.05 of every 0.13 s.
    assert model.busy / (model.ended - model.began) > 0.6
    assert len(model.threads) == 1
    assert not model.gradients and not any(gradients)


class Meets(SmallNetwork):
    """Thread-safe; each prediction waits until another one runs at the same time."""

    thread_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.barrier = threading.Barrier(2, timeout=60)
        self.gradients: list[bool] = []
        self.torch_threads: list[int] = []

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        if threading.current_thread() is not threading.main_thread():  # not in the checks of the first images
            self.barrier.wait()
            self.gradients.append(torch.is_grad_enabled())
            self.torch_threads.append(torch.get_num_threads())
        return super().colorize_batch(inputs)


def test_a_thread_safe_model_predicts_several_batches_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    write_images(tmp_path / "images", 40)
    model = Meets()
    found = []
    for one, threads in ((model, 2), (SmallNetwork(), 1)):
        request = RunConfig(
            models=[loaded(one)],
            protocols=["distance"],
            data=read_folder(tmp_path / "images"),
            output=tmp_path / f"runs{threads}",
            baselines=False,
            save="none",
            device="cpu",
            batch_size=2,
            threads=threads,
        )
        found.append(run(request)[0].metrics[0].value)
    assert len(model.torch_threads) == 20 and set(model.torch_threads) == {1}
    assert not any(model.gradients)
    assert found[0] == pytest.approx(found[1], abs=1e-5)
