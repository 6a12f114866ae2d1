"""A model that fails ends only its own evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colorbench.data import Dataset
from colorbench.errors import ModelFailed, RunError
from colorbench.evaluation import ProtocolSpec
from colorbench.models import load_model
from tests.support.engine import DistanceProtocol, Flat, Listening, evaluate, loaded, with_protocol


class Failing(Flat):
    """Fails at the first image, or after some calls."""

    def __init__(self, calls: int = 0) -> None:
        super().__init__()
        self.calls = calls

    def colorize_batch(self, inputs: Any) -> Any:
        if len(self.seen) >= self.calls:
            raise ValueError("no more")
        return super().colorize_batch(inputs)


class WholeDataset:
    """A protocol on a whole dataset that fails for some models."""

    spec = ProtocolSpec(name="whole", version=1, title="Whole", parameters={}, metrics=(), headline="x")
    roles = ("test",)
    joint = False

    def evaluate(self, context: Any) -> Path:
        (model,) = context.models
        if model.full_name == "lab/b":
            raise RunError("the probe of lab/b does not converge")
        return Path(model.full_name)


@pytest.mark.parametrize("calls", [0, 8])
def test_the_others_are_finished(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    models = [loaded(Failing(calls), "lab/a"), loaded(Flat(), "lab/b")]
    listener = Listening()
    with pytest.raises(ModelFailed, match="lab/a failed: ValueError: no more") as failed:
        evaluate(crops, tmp_path, *models, listener=listener, batch_size=4)
    assert failed.value.exit_code == 1
    assert [record.model.name for record in failed.value.records] == ["lab/b"]
    assert sum("lab/a failed" in line for line in listener.messages) == 1
    # The same command reads what there is, and tries the model again.
    gray = loaded(load_model("zoo/gray").colorizer, "lab/b")
    for _ in range(2):
        with pytest.raises(ModelFailed) as failed:
            evaluate(crops, tmp_path, models[0], gray, listener=listener)
        assert [record.model.name for record in failed.value.records] == ["lab/b"]
    assert [line for line in listener.messages if "lab/b under distance: reused" in line]


def test_all_that_fail_are_named(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())
    models = [loaded(Failing(), f"lab/{name}") for name in "abc"]
    with pytest.raises(ModelFailed, match=r"lab/a failed: .*; lab/b, lab/c failed, too") as failed:
        evaluate(crops, tmp_path, *models)
    assert failed.value.records == ()
    assert not list(tmp_path.rglob("record.json"))


def test_a_protocol_on_whole_datasets_goes_on(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol(), whole=WholeDataset())
    models = [loaded(Flat(), f"lab/{name}") for name in "abc"]
    listener = Listening()
    with pytest.raises(ModelFailed, match="the probe of lab/b does not converge") as failed:
        evaluate(crops, tmp_path, *models, listener=listener, protocols=["distance", "whole"])
    assert [record.model.name for record in failed.value.records] == ["lab/a", "lab/b", "lab/c"], "of distance"
    assert [line for line in listener.messages if line.startswith("whole: ")] == ["whole: lab/a", "whole: lab/c"]
    with pytest.raises(RunError, match="does not converge"):
        evaluate(crops, tmp_path, models[1], protocols=["whole"])
