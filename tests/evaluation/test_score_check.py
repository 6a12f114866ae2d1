"""A protocol is checked: names that fit into the rows before the pass, one number an image in every batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorbench.data import Dataset, open_dataset
from colorbench.errors import RunError, UserError
from colorbench.evaluation.protocol_interfaces import BatchScores, Summary
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import run
from colorbench.evaluation.truth_and_prediction import Prediction
from colorbench.results import MetricSpec
from tests.support.engine import DistanceProtocol, DistanceScorer, Flat, evaluate, loaded, with_protocol


class Odd(DistanceProtocol):
    """The protocol of the tests with other metrics, columns and arrays."""

    def __init__(self, metrics: Any = None, columns: Any = None, arrays: Any = None, last: Any = None) -> None:
        super().__init__()
        self.odd, self.columns, self.arrays, self.last = metrics, columns or {}, arrays or {}, last or {}

    def resolve(self, parameters: Any, dataset: Dataset) -> Any:
        protocol = self

        class Scorer(DistanceScorer):
            metrics = protocol.odd or DistanceScorer.metrics

            def score(self, colorization: Prediction) -> BatchScores:
                scored, n = super().score(colorization), len(colorization.truth.ids)
                columns = {name: make(n) for name, make in protocol.columns.items()}
                arrays = {name: make(n) for name, make in protocol.arrays.items()}
                found = BatchScores({**scored.columns, **columns}, {**scored.arrays, **arrays})
                return found if n == 1 else replace(found, columns={**found.columns, **protocol.last})

            def summarize(self, columns: Any, arrays: Any) -> Summary:
                return Summary(statistics={name: make(len(columns["distance"])) for name, make in statistics.items()})

        statistics = self.__dict__.get("statistics", {})
        return Scorer("squash16", {**self.spec.parameters, **parameters})


def measured(dataset: Dataset, output: Path, patch: pytest.MonkeyPatch, protocol: Odd) -> Flat:
    model = Flat((10, 10))
    with_protocol(patch, distance=protocol)
    evaluate(dataset, output, model)
    return model


def numbers(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float64)


ODD_NAMES = ["", " ", "a\nb", "a\tb", "\x1b[31mred", "a\u202eb", "x" * 101, "a,b", 'a"b', "a\0b", "-", "a "]


@pytest.mark.parametrize("name", ["id", "sha256", "label", "gray", "height", "width", *ODD_NAMES])
@pytest.mark.parametrize("position", ["column", "metric"])
def test_a_name_that_the_rows_cannot_hold_is_refused_before_the_pass(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, position: str
) -> None:
    metric = MetricSpec(name, "odd", "", None)
    odd = {
        "column": Odd(columns={name: numbers}),
        "array": Odd(arrays={name: numbers}),
        "metric": Odd(metrics=(*DistanceScorer.metrics, metric)),
    }[position]
    with pytest.raises(UserError, match=r"protocol distance: .*(cannot be the name of a column|is taken)") as caught:
        measured(crops, tmp_path, monkeypatch, odd)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "no folder of a run that is not begun"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("distance", "distance"), "two metrics have the same name: 'distance'"),
        (("distance", "distance.s0"), "'distance.s0' has the name of another metric's statistics"),
        (("distance", "other.s12"), "'other.s12' has the name of another metric's statistics"),
    ],
)
def test_metrics_whose_columns_collide_are_refused(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], message: str
) -> None:
    odd = Odd(metrics=tuple(MetricSpec(name, name, "", None) for name in names))
    with pytest.raises(UserError, match=message):
        measured(crops, tmp_path, monkeypatch, odd)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (Odd(columns={"x": lambda n: np.ones(n + 1)}), "gave 2 values of x for 1 images"),
        (Odd(columns={"x": lambda n: np.ones((n, 2))}), "gave column x in 2 dimensions"),
        (Odd(columns={"x": lambda n: np.float64(3)}), "gave one value of x"),
        (Odd(columns={"x": lambda n: np.array(["a"] * n)}), "gave x as <U1, not as numbers"),
        (Odd(arrays={"x": lambda n: np.array([None] * n)}), "gave x as object, not as numbers"),
        (Odd(columns={"x": lambda n: 1 / 0}), "protocol distance failed: ZeroDivisionError"),
    ],
)
def test_scores_that_are_no_numbers_are_refused_before_the_model_is_asked(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: Odd, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        measured(crops, tmp_path, monkeypatch, odd)
    assert list(tmp_path.iterdir()) == []


def test_a_later_batch_is_checked_too(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="protocol distance: the column name 'width' is taken"):
        measured(crops, tmp_path, monkeypatch, Odd(last={"width": np.ones(16)}))


def test_statistics_that_are_missing_or_misnamed_end_in_one_line(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Odd(metrics=(*DistanceScorer.metrics, MetricSpec("far", "far", "", None)))
    with pytest.raises(RunError, match=r"protocol distance gave no column far\.s0"):
        measured(crops, tmp_path, monkeypatch, odd)
    odd = Odd()
    odd.statistics = {"label": numbers}
    with pytest.raises(RunError, match="the column name 'label' is taken"):
        measured(crops, tmp_path / "other", monkeypatch, odd)


def test_ordinary_names_pass(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["x", "top1_features.0", "a b (c)", "précision", "share/of=it", "0.5%"]
    odd = Odd(columns=dict.fromkeys(names, numbers), arrays=dict.fromkeys(names, numbers))
    assert measured(crops, tmp_path, monkeypatch, odd).ids


class Unstorable(DistanceProtocol):
    """The protocol of the tests with values that no record can hold."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.attributes = attributes

    def resolve(self, parameters: Any, dataset: Dataset) -> Any:
        return type("Scorer", (DistanceScorer,), self.attributes)("squash16", {**self.spec.parameters, **parameters})


@pytest.mark.parametrize(
    "attributes",
    [
        {"identity": {"step": float("nan")}},
        {"identity": {"files": [{"scale": np.float64("inf")}]}},
        {"identity": {"made by": object()}},
        {"identity": {"author": "\ud800"}},
        {"metrics": (MetricSpec("distance", "distance", "", False, upper_bound=float("nan")),)},
        {"metrics": (MetricSpec("distance", "\udfff", "", False),)},
    ],
)
def test_what_no_record_can_hold_of_a_protocol_is_refused_before_measuring(
    attributes: Any, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Flat((10, 10))
    with_protocol(monkeypatch, distance=Unstorable(**attributes))
    asked = RunConfig(models=[loaded(model)], protocols=["distance"], data=open_dataset(images), output=tmp_path)
    with pytest.raises(UserError, match="cannot be stored") as refused:
        run(asked)
    assert "\n" not in str(refused.value) and not model.seen


def test_a_parameter_that_is_not_finite_is_refused_before_measuring(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_protocol(monkeypatch, distance=Unstorable(identity={}))
    values: dict[str, Any] = {"parameters": {"distance": {"free": float("inf")}}, "output": tmp_path}
    with pytest.raises(UserError, match="the parameters of protocol distance cannot be stored"):
        run(RunConfig(models=[loaded(Flat((1, 1)))], protocols=["distance"], data=open_dataset(images), **values))
