"""The engine's stages on real models: one thread predicts, several score, and nothing depends on batches or threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from colorbench.evaluation.config import RunConfig
from colorbench.evaluation.runner import record_folder, run
from colorbench.models.interfaces import ColorizerInput, ColorPrediction
from colorbench.models.loading import load_model
from colorbench.registry import registered
from colorbench.results.rows import read_rows
from protocols.auc import AucProtocol
from protocols.fidelity import FidelityProtocol
from tests.support.engine import (
    DistanceProtocol,
    DistanceScorer,
    SmallNetwork,
    loaded,
    read_folder,
    with_protocol,
    write_images,
)
from tests.support.released import downloaded

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


def test_what_our_own_models_give_does_not_depend_on_batches_or_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, by both protocols; one tolerance, 1e-5 of the scale of a score (100 points)."""
    names = [
        plugin.name for plugin in registered("models") if plugin.name.startswith("zoo/") and not downloaded(plugin)
    ]
    assert len(names) >= 11
    with_protocol(monkeypatch, auc=AucProtocol(), fidelity=FidelityProtocol())
    write_images(tmp_path / "images", 5)
    (tmp_path / "images" / "a" / "001.jpg").write_bytes(b"no image")
    rows: list[list[np.ndarray]] = []
    for threads, batch_size in ((1, 1), (2, 3), (1, 4)):
        request = RunConfig(
            models=[load_model(name) for name in names],
            protocols=["auc", "fidelity"],
            data=read_folder(tmp_path / "images"),
            output=tmp_path / f"{threads} {batch_size}",
            baselines=False,
            save="none",
            device="cpu",
            threads=threads,
            batch_size=batch_size,
            parameters={"auc": {"preprocessing": "squash64"}, "fidelity": {"preprocessing": "squash64"}},
        )
        records = run(request)
        assert [len(record.dataset.skipped) for record in records] == [1] * 2 * len(names)
        found = [read_rows(record_folder(request.output, record) / "rows.parquet")[1] for record in records]
        rows.append([np.stack(list(columns.values())) for columns in found])
    for other in rows[1:]:
        for first, second in zip(rows[0], other, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-3)
