"""Predictions in other units than CIE ab or 8-bit sRGB are recognized, and ordinary ones never."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from colorbench.data import Dataset, get_preprocessing, load_batches
from colorbench.errors import RunError
from colorbench.evaluation import GroundTruth, Prediction, RunConfig, run
from colorbench.evaluation.predict import checked
from colorbench.models.colorizer_interfaces import ColorizerInput, ColorPrediction
from colorbench.models.model_card import ModelCard
from colorbench.models.prediction_units import unit_notes
from tests.support.engine import DistanceProtocol, loaded, with_protocol


@pytest.fixture(scope="module")
def truths(crops: Dataset) -> list[GroundTruth]:
    batches = load_batches(crops.samples[:12], get_preprocessing("squash64"), batch_size=4)
    return [GroundTruth(batch.ids, batch.rgb8, batch.gray, batch.labels) for batch in batches]


def timid(truth: GroundTruth) -> Tensor:
    """What a good network gives: the true colors, blurred and half as strong."""
    return 0.5 * interpolate(avg_pool2d(truth.ab, 8), truth.ab.shape[-2:], mode="bilinear")


def notes(truths: list[GroundTruth], *, ab: Any = None, rgb8: Any = None) -> list[str]:
    given = (
        Prediction(t, ab=ab(timid(t))) if ab else Prediction(t, rgb8=rgb8(Prediction(t, ab=timid(t)).rgb8))
        for t in truths
    )
    return unit_notes([one.unit_statistics() for one in given])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ab: ab / 110, "no prediction left -1..1.*multiply by 110"),
        (lambda ab: ab / 128, "no prediction left -1..1.*multiply by 110"),
        (lambda ab: (ab + 128) / 255, "mean near 0.5.*subtract 128"),
        (lambda ab: ab + 128, "subtract 128"),
        (lambda ab: ab + 110, "subtract 110"),
        (lambda ab: ab * 110, "scaled twice"),
        (lambda ab: ab.flip(1), r"\(b, a\), swap its channels"),
    ],
)
def test_other_units_of_ab_are_recognized(
    truths: list[GroundTruth], change: Callable[[Tensor], Tensor], message: str
) -> None:
    (note,) = notes(truths, ab=change)
    assert re.search(message, note), note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rgb: rgb.flip(1).contiguous(), "BGR"),
        (lambda rgb: (rgb.float() / 255).to(torch.uint8), "multiplied by 255"),
        (lambda rgb: (rgb.float() * 2 - 255).long().to(torch.uint8), "check the range of rgb"),
        (lambda rgb: 255 - rgb, "check the range of rgb"),
    ],
)
def test_other_ranges_and_orders_of_rgb_are_recognized(
    truths: list[GroundTruth], change: Callable[[Tensor], Tensor], message: str
) -> None:
    (note,) = notes(truths, rgb8=change)
    assert message in note


@pytest.mark.parametrize(
    "change",
    [
        lambda ab: ab,
        lambda ab: 2 * ab,
        lambda ab: 0.02 * 4 * ab,  # hardly a color left, of a vivid model
        lambda ab: torch.zeros_like(ab),
        lambda ab: torch.full_like(ab, 0.5),
        lambda ab: torch.full_like(ab, 12.0),
        lambda ab: ab[:, :1].repeat(1, 2, 1, 1),
        lambda ab: torch.randn(ab.shape, generator=torch.Generator().manual_seed(0)) * 10,
    ],
)
def test_no_false_alarm(truths: list[GroundTruth], change: Callable[[Tensor], Tensor]) -> None:
    assert notes(truths, ab=change) == []
    assert notes(truths, rgb8=lambda rgb: rgb) == []
    assert unit_notes([Prediction(t, rgb8=t.rgb8).unit_statistics() for t in truths]) == []


def test_the_record_tells_it(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())

    class Normalized:
        card = ModelCard(title="ab / 110")

        def colorize_batch(self, inputs: ColorizerInput) -> ColorPrediction:
            return ColorPrediction(ab=(inputs.lightness - 50).repeat(1, 2, 1, 1) / 3 / 110)

    request = RunConfig(
        [loaded(Normalized())], ["distance"], crops.limit(6), output=tmp_path, baselines=False, save="none"
    )
    assert sum("multiply by 110" in note for note in run(request)[0].notes) == 1


@pytest.mark.parametrize(
    ("colors", "message"),
    [
        (ColorPrediction(rgb8=torch.rand(1, 3, 8, 8)), r"\(rgb \* 255\)\.round"),
        (ColorPrediction(rgb8=torch.rand(1, 3, 8, 8) * 255), r"of 0\.\.255, give rgb\.round"),
        (ColorPrediction(rgb8=torch.rand(1, 3, 8, 8) * 2 - 1), r"of -1\.\.1, give \(\(rgb \+ 1\)"),
        (ColorPrediction(ab=torch.rand(1, 3, 8, 8)), "three channels of sRGB"),
    ],
)
def test_what_is_refused_tells_how_to_give_it(colors: ColorPrediction, message: str) -> None:
    truth = GroundTruth(("a",), torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(RunError, match=message):
        checked("my/model", colors, truth)
