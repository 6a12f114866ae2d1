"""When a stored record is shown again, and what ``colorbench show RECORD`` says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from colorbench.cli.show import describe
from colorbench.evaluation.run_config import RunConfig
from colorbench.evaluation.runner import record_folder, run
from colorbench.models import ModelCard
from colorbench.results import Record
from colorbench.verification import verify
from tests.evaluation.test_retrained import numbers, train
from tests.support.engine import Listening, read_folder, write_images

pytestmark = pytest.mark.usefixtures("only_the_pass")


class Opaque:
    """Holds what cannot be compared."""

    card = ModelCard(title="opaque")

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")

    def colorize(self, lightness: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(lightness), 2, *lightness.shape[-2:])


def measure(folder: Path, model: Any, listener: Any = None, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "output": folder / "runs",
        "parameters": {"auc": {"preprocessing": "squash64"}},
        "command": ("colorbench", "run", "-m", str(model), "--data", str(folder / "set")),
        **changes,
    }
    common = {"baselines": False, "save": "none", "device": "cpu", "workers": 0}
    return run(RunConfig([model], ["auc"], read_folder(folder / "set"), **common, **values), listener)[0]


def stated(folder: Path, record: Record) -> str:
    """What ``show`` says of a new run."""
    return " ".join(describe(str(record_folder(folder / "runs", record)))["a new run"])


def change(path: Path) -> None:
    """Another content of the same length, with the times put back."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[content.index(b"JFIF") + 12] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_images(tmp_path / "set", 4)
    train(tmp_path / "m", seed=0)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_changed_is_named(folder: Path) -> None:
    first = measure(folder, "m/model.py:Model")
    assert stated(folder, first) == "reuses this record: nothing it depends on has changed"
    listener = Listening()
    assert measure(folder, "./m/model.py:Model", listener) == first
    assert "reused from" in listener.messages[0]
    train(folder / "m", seed=1)
    assert stated(folder, first).endswith("weights of the model (complete state)")
    second = measure(folder, "m/model.py:Model")
    assert numbers(second) != numbers(first)
    code = folder / "m" / "model.py"
    code.write_text(code.read_text().replace("40 *", "30 *"))
    assert "code of the model" in stated(folder, second)


def test_files_that_were_replaced_with_their_times_put_back_are_measured_anew(folder: Path) -> None:
    path = read_folder(folder / "set").samples[1].path
    first = measure(folder, "m/model.py:Model")
    change(path)
    assert "images (content of the dataset)" in stated(folder, first)
    second = measure(folder, "m/model.py:Model")
    assert second.dataset.fingerprint != first.dataset.fingerprint
    change(path)
    assert measure(folder, "m/model.py:Model") == first


def test_a_model_that_is_not_reusable_is_measured_each_time(folder: Path) -> None:
    listener = Listening()
    first = measure(folder, Opaque(folder / "m" / "model.py"), listener)
    second = measure(folder, Opaque(folder / "m" / "model.py"))
    assert "evaluated again in each run" in listener.messages[0]
    assert first.key != second.key
    assert numbers(first) == numbers(second)
    assert second.fingerprint is not None and not second.fingerprint.reusable
    assert "evaluates again" in stated(folder, second)


def test_a_record_that_was_copied_runs_nothing_that_it_names(folder: Path) -> None:
    record = measure(folder, "m/model.py:Model")
    position = record_folder(folder / "runs", record)
    copied = folder / "copied" / "a" / "b" / position.name
    copied.mkdir(parents=True)
    for one in position.iterdir():
        if one.is_file():
            (copied / one.name).write_bytes(one.read_bytes())
    (folder / "m" / "model.py").write_text("raise SystemExit('it was run')")
    assert "not compared: the model" in " ".join(describe(str(copied / "record.json"))["a new run"])


def test_the_key_verifies(folder: Path) -> None:
    record = measure(folder, "m/model.py:Model")
    found = verify(record_folder(folder / "runs", record), images=read_folder(folder / "set"))
    assert {check.name: check.outcome for check in found.checks}["key"] == "holds"


def test_another_protocol_code_is_another_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = measure(folder, "m/model.py:Model")
    with monkeypatch.context() as patch:
        patch.setattr("colorbench.evaluation.evaluation_tasks.protocol_code", lambda _: ("0" * 64, ()))
        assert measure(folder, "m/model.py:Model").key != first.key
    with monkeypatch.context() as patch:
        patch.setattr("colorbench.results.run_key.library_code", lambda: "0" * 64)
        assert measure(folder, "m/model.py:Model").key != first.key
        assert "code of colorbench" in stated(folder, first)
