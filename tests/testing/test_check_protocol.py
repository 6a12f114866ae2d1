"""The checks of a protocol: every shipped one passes all of them, and each check has a protocol that fails it alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from colorbench.data import Dataset, open_dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, Curve, Prediction, ProtocolContext, ProtocolSpec, Summary
from colorbench.registry import registered
from colorbench.results import MetricSpec
from colorbench.testing import CheckReport, check_protocol, fake_dataset
from tests.support.voc import write_devkit

DISTANCE = MetricSpec(
    "distance", "Distance", "", False, lower_bound=0, explanation="Mean distance in ab.", of_ground_truth=0
)
SPEC = ProtocolSpec(
    name="mean-distance",
    version=1,
    title="Mean distance in ab",
    parameters={"preprocessing": "squash48", "power": 1, "norm": "two"},
    metrics=(DISTANCE,),
    headline="distance",
    presets={"mean-distance@squared": {"power": 2}},
    choices={"norm": ("two", "one")},
    parameter_help={"preprocessing": "a name", "power": "of the distance", "norm": "two or one"},
)


@dataclass(frozen=True)
class MeanScorer:
    """Mean distance in ab, to a power."""

    parameters: Mapping[str, str]
    preprocessing: str
    metrics: tuple[MetricSpec, ...] = (DISTANCE,)

    @property
    def identity(self) -> Mapping[str, Any]:
        return dict(self.parameters)

    def distances(self, prediction: Prediction) -> np.ndarray:
        difference = (prediction.ab - prediction.truth.ab).double()
        norm = difference.norm(dim=1) if self.parameters["norm"] == "two" else difference.abs().sum(dim=1)
        return (norm ** float(self.parameters["power"])).mean(dim=(1, 2)).numpy()

    def score(self, colorization: Prediction) -> BatchScores:
        values = self.distances(colorization)
        return BatchScores({"distance": values, "distance.s0": values, "distance.s1": np.ones_like(values)})

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        return Summary()


class MeanProtocol:
    """The smallest protocol: passes, and is broken in one way by each class below."""

    spec = SPEC
    scorer: type[MeanScorer] = MeanScorer

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Any:
        chosen = self.spec.resolved(parameters)
        try:
            power = float(chosen["power"])
        except ValueError:
            power = -1.0
        if not 0 < power < 10:
            raise UserError(f"{self.spec.name}.power cannot be {chosen['power']!r}", hint="give a number above 0")
        return self.scorer(chosen, chosen["preprocessing"])


def with_spec(**changes: Any) -> Any:
    return type("Changed", (MeanProtocol,), {"spec": replace(SPEC, **changes)})()


def with_metric(**changes: Any) -> Any:
    metric = replace(DISTANCE, **changes)
    scorer = type("Scorer", (MeanScorer,), {"__init__": lambda self, p, r: MeanScorer.__init__(self, p, r, (metric,))})
    return type("Changed", (MeanProtocol,), {"spec": replace(SPEC, metrics=(metric,)), "scorer": scorer})()


class Unchecked(MeanProtocol):
    """Reads a number with ``float`` and lets the ValueError out."""

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Any:
        chosen = self.spec.resolved(parameters)
        float(chosen["power"])
        return self.scorer(chosen, chosen["preprocessing"])


class TakesAll(MeanProtocol):
    """Looks at no value of a number."""

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Any:
        chosen = self.spec.resolved(parameters)
        return self.scorer({**chosen, "power": "1"}, chosen["preprocessing"])


class Forgives(MeanProtocol):
    """Drops parameters that it does not know."""

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> Any:
        return super().resolve({key: parameters[key] for key in parameters if key in SPEC.parameters}, dataset)


class Forgets(MeanScorer):
    @property
    def identity(self) -> Mapping[str, Any]:
        return {key: value for key, value in self.parameters.items() if key != "norm"}


class Timed(MeanScorer):
    @property
    def identity(self) -> Mapping[str, Any]:
        import time

        return {**self.parameters, "time": str(time.perf_counter_ns())}


class Infinite(MeanScorer):
    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self.parameters, "limit": float("inf")}


@dataclass(frozen=True)
class Locked(MeanScorer):
    """Holds a running thread, which has no content that a hash could know."""

    source: Any = field(default_factory=lambda: (one for one in range(3)))


class Torn(MeanScorer):
    def score(self, colorization: Prediction) -> BatchScores:
        columns = dict(super().score(colorization).columns)
        del columns["distance.s1"]
        return BatchScores(columns)


class Short(MeanScorer):
    def score(self, colorization: Prediction) -> BatchScores:
        return BatchScores({name: values[:1] for name, values in super().score(colorization).columns.items()})


class Fails(MeanScorer):
    def distances(self, prediction: Prediction) -> np.ndarray:
        raise KeyError("labels")


class Unbounded(MeanScorer):
    """Similarity that is said to be a distance: below 0 for vivid colors."""

    def distances(self, prediction: Prediction) -> np.ndarray:
        values = super().distances(prediction)
        return np.where(values > 60, -1.0, values)


class Divides(MeanScorer):
    """Infinite where the prediction is gray."""

    def score(self, colorization: Prediction) -> BatchScores:
        columns = dict(super().score(colorization).columns)
        gray = (colorization.ab.abs().amax(dim=(1, 2, 3)) < 2).numpy()
        return BatchScores({**columns, "distance": np.where(gray, np.inf, columns["distance"])})


class OfTheBatch(MeanScorer):
    def distances(self, prediction: Prediction) -> np.ndarray:
        values = super().distances(prediction)
        return values * (1 + 0.1 * (len(values) - 1))


class Counts(MeanScorer):
    """Counts its calls outside of itself, and gives every third another score."""

    calls: list[int] = []
    lock = threading.Lock()

    def distances(self, prediction: Prediction) -> np.ndarray:
        values = super().distances(prediction)
        return values + (_called() > 10) * values


_CALLS = iter(range(10**9))


def _called() -> int:
    return next(_CALLS)


class Overwrites(MeanScorer):
    def distances(self, prediction: Prediction) -> np.ndarray:
        values = super().distances(prediction)
        prediction.ab.mul_(0.5)
        return values


class Crooked(MeanScorer):
    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        return Summary((Curve("c", "c", "x", "y", (0.0, 1.0), (1.0,)),))


class Fuller(MeanScorer):
    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        return Summary(effective_n={"distance": 1e6})


class NeverEmpty(MeanScorer):
    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        return Summary(notes=(f"the first is {columns['distance'][0]}",))


def scored_by(scorer: type[MeanScorer]) -> Any:
    return type(f"By{scorer.__name__}", (MeanProtocol,), {"scorer": scorer})()


BROKEN: list[tuple[str, Any]] = [
    ("loads", object()),
    ("loads", type("NoSpec", (MeanProtocol,), {"spec": "mean-distance"})()),
    ("spec", with_spec(name="Mean Distance")),
    ("spec", with_spec(version=0)),
    ("spec", with_spec(title="")),
    ("spec", with_spec(category="")),
    ("spec", with_spec(category="two\nlines")),
    ("spec", with_spec(headline="score")),
    ("spec", with_spec(parameter_help={})),
    ("spec", with_spec(choices={"norm": ("one", "three")})),
    ("spec", with_spec(choices={"size": ("1",)})),
    ("spec", with_spec(needs=("HasSound",))),
    ("spec", with_spec(metrics=())),
    ("spec", with_metric(explanation="")),
    ("spec", with_metric(upper_bound=0)),
    ("spec", with_metric(of_ground_truth=-1)),
    ("presets", with_spec(presets={"mean-distance@old": {"radius": 3}})),
    ("presets", with_spec(presets={"mean-distance@old": {"power": "four"}})),
    ("parameters", Unchecked()),
    ("parameters", TakesAll()),
    ("parameters", Forgives()),
    ("identity", scored_by(Forgets)),
    ("identity", scored_by(Timed)),
    ("identity", scored_by(Infinite)),
    ("identity", scored_by(Locked)),
    ("scores", scored_by(Torn)),
    ("scores", scored_by(Short)),
    ("scores", scored_by(Fails)),
    ("bounds", scored_by(Unbounded)),
    ("bounds", scored_by(Divides)),
    ("order", with_metric(higher_is_better=True)),
    ("order", with_metric(of_ground_truth=1)),
    ("batch", scored_by(OfTheBatch)),
    ("inputs", scored_by(Overwrites)),
    ("summary", scored_by(Crooked)),
    ("summary", scored_by(Fuller)),
    ("summary", scored_by(NeverEmpty)),
]


class Whole:
    """A protocol on a whole dataset that writes no record, or something else."""

    roles = ("test",)
    joint = False
    spec = replace(SPEC, name="whole")

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome

    def evaluate(self, context: ProtocolContext) -> Any:
        chosen = self.spec.resolved(context.parameters)
        if chosen["power"] != "1":
            raise UserError("whole.power must be 1", hint="remove it")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Path("nowhere")


def outcomes(report: CheckReport) -> dict[str, str]:
    return {finding.name: finding.outcome for finding in report.findings}


def failures(protocol: Any, **options: Any) -> list[str]:
    return [finding.name for finding in check_protocol(protocol, **options).failures]


@pytest.mark.parametrize("given", [MeanProtocol, MeanProtocol()], ids=["class", "object"])
def test_a_good_protocol_passes_every_check(given: Any) -> None:
    report = check_protocol(given)
    report.raise_for_failures()
    assert set(outcomes(report).values()) == {"passed"}


@pytest.mark.parametrize(("check", "protocol"), BROKEN, ids=[f"{check}-{i}" for i, (check, _) in enumerate(BROKEN)])
def test_each_check_fails_alone_for_a_protocol_with_its_fault(check: str, protocol: Any) -> None:
    # What comes after the fault is the record's business: a run refuses most of these.
    report = check_protocol(protocol, skip=["record"])
    assert [finding.name for finding in report.failures] == [check], str(report)
    assert report.failures[0].hint


def test_a_score_that_changes_with_the_calls_is_found() -> None:
    global _CALLS
    # The scores take 7 calls and the batches 3; those of "repeat" come after.
    _CALLS = iter(range(10**9))
    found = failures(scored_by(Counts), skip=["record", "inputs", "summary"])
    assert found == ["repeat"], found


def test_rows_of_another_score_and_records_that_do_not_hold_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    import colorbench.testing.protocol_declaration_checks as declares

    read = declares.read_rows
    monkeypatch.setattr(
        declares,
        "read_rows",
        lambda path: (read(path)[0], {name: values + 1 for name, values in read(path)[1].items()}),
    )
    assert failures(MeanProtocol()) == ["rows"]
    monkeypatch.undo()

    def forge(folder: Path, **_: Any) -> Any:
        text = (folder / "record.json").read_text()
        (folder / "record.json").write_text(text.replace('"n_evaluated": 6', '"n_evaluated": 5'))
        return verify(folder)

    verify = declares.verify
    monkeypatch.setattr(declares, "verify", forge)
    assert failures(MeanProtocol()) == ["verify"]


def test_a_run_that_fails_and_one_that_needs_other_data_differ(tmp_path: Path) -> None:
    def checked(outcome: Exception | None, **options: Any) -> dict[str, str]:
        return outcomes(check_protocol(Whole(outcome), skip=["parameters"], **options))

    picky = UserError("give a devkit", hint="as --data")
    assert checked(ValueError("broken"))["record"] == "failed"
    assert checked(picky)["record"] == "skipped"
    assert checked(picky, data=fake_dataset(tmp_path))["record"] == "failed"
    assert checked(None)["record"] == "skipped"
    assert outcomes(check_protocol(Whole()))["parameters"] == "passed"
    assert failures(Whole(ValueError("broken"))) == ["parameters", "record"]


SMALL: dict[str, dict[str, Any]] = {
    "auc": {"preprocessing": "squash48"},
    "fidelity": {"preprocessing": "squash48"},
    "semantic": {"preprocessing": "squash48"},
    "diversity": {"preprocessing": "squash48"},
    "hints": {"preprocessing": "squash48"},
    "linear-probe": {"dims": 60, "strengths": "1,100", "seeds": 1, "preprocessing": "squash32"},
    "transfer-classification": {"epochs": 1, "batch": 8, "dims": 60, "preprocessing": "squash32"},
    "transfer-segmentation": {"epochs": 1, "batch": 4, "hidden": 16, "preprocessing": "squash32"},
}
MAY_SKIP = {
    "semantic": {"presets"},
    "fidelity": {"presets"},
    "distribution": {"presets"},
    "diversity": {"presets"},
    "hints": {"presets"},
    "human-study": {"record", "rows", "verify"},
}
IMAGE_ONLY = {"identity", "scores", "bounds", "order", "batch", "repeat", "inputs", "summary"}


def shipped() -> list[str]:
    return [plugin.name for plugin in registered("protocols") if plugin.distribution == "colorbench"]


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_protocol_passes(name: str, tmp_path: Path) -> None:
    data = open_dataset(write_devkit(tmp_path, count=24)) if name == "transfer-segmentation" else None
    report = check_protocol(name, parameters=SMALL.get(name), data=data)
    report.raise_for_failures()
    skipped = {check for check, outcome in outcomes(report).items() if outcome == "skipped"}
    whole = IMAGE_ONLY | {"presets"} if outcomes(report)["identity"] == "skipped" else set()
    assert skipped <= whole | MAY_SKIP.get(name, set()), str(report.findings)


def test_a_preset_and_an_unknown_name(tmp_path: Path) -> None:
    check_protocol("auc@exact", parameters={"preprocessing": "squash48"}, skip=["record"]).raise_for_failures()
    assert failures("auc@nothing") == ["loads"]
    assert failures("aucc") == ["loads"]
    with pytest.raises(UserError, match="unknown check 'score'"):
        check_protocol("auc", skip=["score"])


def test_every_check_is_seen_to_fail() -> None:
    elsewhere = {"repeat", "record", "rows", "verify"}
    names = {finding.name for finding in check_protocol(object()).findings}
    assert {check for check, _ in BROKEN} | elsewhere == names
    assert torch.get_num_threads() > 0
