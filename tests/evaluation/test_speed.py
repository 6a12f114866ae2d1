"""Reported speed: what models share counts for each of them, not for the first one alone."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorbench.data import Dataset
from colorbench.evaluation import truth_and_prediction
from colorbench.evaluation.protocol_interfaces import BatchScores
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import run
from colorbench.evaluation.truth_and_prediction import Prediction
from colorbench.models import ColorizerInput, ColorPrediction
from tests.support.engine import DistanceProtocol, DistanceScorer, Flat, loaded, with_protocol

SLEEP = 0.05


class Sharing(DistanceProtocol):
    """Takes long over what follows from the truth alone, asks for it twice, and warms up slowly."""

    def resolve(self, parameters: Any, dataset: Dataset) -> Any:
        warm: list[bool] = []

        class Scorer(DistanceScorer):
            def score(self, colorization: Prediction) -> BatchScores:
                if not warm:
                    time.sleep(10 * SLEEP)
                    warm.append(True)
                truth = colorization.truth

                def make() -> Any:
                    time.sleep(SLEEP)
                    return truth.ab

                for _ in range(2):
                    truth.shared("slow", make)
                scored = super().score(colorization)
                return replace(scored, columns={**scored.columns, "x": np.ones(len(truth.ids))})

        return Scorer("squash16", {**self.spec.parameters, **parameters})


class SlowFirstBatch(Flat):
    """Takes long over its first whole batch, as a network that is compiled for its size does."""

    cold = True

    def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
        if len(inputs.ids) > 2 and self.cold:  # not in the checks before the pass
            self.cold = False
            time.sleep(2)
        return super().colorize_batch(inputs)


@pytest.mark.parametrize(("batch_size", "warm"), [(8, True), (64, False)])
def test_the_first_batch_of_a_model_is_not_part_of_its_speed(
    batch_size: int, warm: bool, crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    models = [loaded(SlowFirstBatch((1, 2)), "test/slow"), loaded(Flat((3, 4)), "test/fast")]
    values: dict[str, Any] = {"baselines": False, "save": "none", "device": "cpu", "workers": 0}
    config = RunConfig(
        models=models, protocols=["distance"], data=crops, output=tmp_path, batch_size=batch_size, **values
    )
    slow, fast = (record.execution for record in run(config))
    assert slow.stage_seconds["colorize"] > 2 and slow.seconds > 2, "total seconds are those of all images"
    assert (slow.images_per_second > len(crops) / 2) == warm, "but of a single batch the speed is all there is"
    assert fast.images_per_second > len(crops) / 2


def test_what_models_share_and_what_warms_up_does_not_slow_the_first(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=Sharing())
    real = truth_and_prediction.lightness_and_ab
    monkeypatch.setattr(truth_and_prediction, "lightness_and_ab", lambda rgb8: (time.sleep(SLEEP), real(rgb8))[1])
    models = [loaded(Flat((i, i)), f"test/{i}") for i in range(3)]
    values: dict[str, Any] = {"baselines": False, "save": "none", "device": "cpu", "workers": 0, "batch_size": 8}
    records = run(RunConfig(models=models, protocols=["distance"], data=crops, output=tmp_path, **values))
    stages = [record.execution.stage_seconds for record in records]
    batches = 5
    for stage in stages:
        assert stage["prepare"] >= batches * SLEEP, "counts for each"
        assert stage["colorize"] < batches * SLEEP, "is nobody's colorizing"
        assert batches * SLEEP <= stage["score"] < (batches + 10) * SLEEP, "shared work once a batch, no warm-up"
