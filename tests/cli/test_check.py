"""``colorbench check``: the kind is recognized, one line a check, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from colorbench.errors import UserError
from colorbench.models import ModelCard
from colorbench.testing import CheckFinding, CheckReport, check, fake_dataset, fake_model
from colorbench.testing.check_any_kind import kind_of
from tests.support.records import ended

MODEL = """
from colorbench.models.model_card import ModelCard

class Flat:
    card = ModelCard(title="flat", license="MIT")
    def colorize(self, lightness):
        return lightness.repeat(1, 2, 1, 1) / 4

class Bare(Flat):
    card = ModelCard(title="flat")
    def colorize(self, lightness):
        print("predicting")
        return super().colorize(lightness)

class Protocol:
    spec = "no spec"
    def resolve(self, parameters, dataset):
        ...
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MODEL)
    return tmp_path / "mine.py"


def test_a_role_is_called_as_in_every_table() -> None:
    assert ModelCard(title="x").role_name == "model"
    assert [ModelCard(title="x", role=role).role_name for role in ("baseline", "reference")] == [
        "baseline",
        "reference",
    ]
    (card,) = [one for one in check(fake_model()).findings if one.name == "card"]
    assert card.detail.startswith("title, role model")


def test_each_kind_is_recognized_from_its_name(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "auc").mkdir()
    kinds = {
        "zoo/cic": "model",
        "zoo/cic.untrained": "model",
        "zoo/cic[decode=mode]": "model",
        f"{file}:Flat": "model",
        f"{file}:Protocol": "protocol",
        "auc": "protocol",
        "auc@exact": "protocol",
        "./auc": "dataset",
        "samples": "dataset",
        str(tmp_path): "dataset",
    }
    assert {name: kind_of(name) for name in kinds} == kinds
    assert kind_of(tmp_path) == "dataset"
    assert kind_of(fake_model()) == "model"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("zoo/cci", "zoo/cic"), ("fidelty", "fidelity"), ("sample", "samples"), ("qqqqq", "colorbench list")],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint):
        kind_of(name)


@pytest.mark.parametrize("target", [3, object(), None, []])
def test_what_is_of_no_kind_is_told(target: Any) -> None:
    with pytest.raises(UserError, match="is not a model, protocol or dataset"):
        check(target)


def test_a_report_names_the_file_as_it_was_given(file: Path) -> None:
    assert check(f"{file}:Protocol").name == "mine.py:Protocol"


def test_options_of_another_kind_are_refused(tmp_path: Path) -> None:
    data = fake_dataset(tmp_path)
    with pytest.raises(UserError, match="the check of a dataset does not take data"):
        check("samples", data=data)
    with pytest.raises(UserError, match="the check of a model does not take parameters"):
        check(fake_model(), parameters={"power": 2})
    with pytest.raises(UserError, match="the check of a protocol does not take device"):
        check("auc", device="cuda")


def test_a_model_that_passes_ends_with_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = ended(capsys, ["check", f"{file}:Flat", "--skip", "isolated"])
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["loads", "passed"]
    assert "all checks passed" in lines[-1]
    assert any(line.startswith("isolated") and "skipped on request" in line for line in lines)


def test_a_model_that_fails_ends_with_1_and_says_how_to_fix_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = ended(capsys, ["check", f"{file}:Bare", "--skip", "isolated"])
    assert done.returncode == 1
    assert "predicting\n" not in done.stdout
    assert "the card names no license" in done.stdout
    assert "such as license='MIT'" in done.stdout
    assert "2 of 24 checks failed" in done.stdout.splitlines()[-1]


def test_json_is_the_report_alone(capsys: pytest.CaptureFixture[str]) -> None:
    done = ended(capsys, ["check", "samples", "--json"])
    report = CheckReport.model_validate_json(done.stdout)
    assert (report.kind, report.name, report.passed) == ("dataset", "samples", True)
    assert set(json.loads(done.stdout)) == {"kind", "name", "findings", "seconds"}
    assert "all checks passed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing-of-this-name"], "unknown name"),
        (["images:folder"], "stored predictions contain no model"),
        (["samples", "--data", "x"], "the check of a dataset does not take --data"),
        (["zoo/gray", "--param", "x=1"], "the check of a model does not take --param"),
        (["samples", "--skip", "colors"], "unknown check 'colors'"),
        (["auc", "--data", "train=samples"], "there are no images to score"),
    ],
)
def test_wrong_usage_ends_with_2_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ended(capsys, ["check", *arguments])
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_parameters_of_a_protocol_are_given_with_or_without_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("preprocessing", "auc.preprocessing"):
        done = ended(capsys, ["check", "auc", "--param", f"{key}=squash16", "--skip", "record"])
        assert done.returncode == 0, done.stdout
    done = ended(capsys, ["check", "auc", "--param", "no_such=1", "--skip", "record"])
    assert done.returncode == 1
    assert "has no parameter 'no_such'" in done.stdout


def test_details_of_other_peoples_code_stay_one_line() -> None:
    from colorbench.testing.check_report import CheckFailed, ConformanceCheck, run_checks

    def fails(_: None) -> str:
        raise CheckFailed("two\nlines\x1b[31m", "a hint")

    (finding,) = run_checks(None, [ConformanceCheck("one", fails)])
    assert finding.detail == "two lines [31m"
    report = CheckReport(
        kind="model", name="x", findings=(finding, CheckFinding(name="b", outcome="passed", detail="")), seconds=0
    )
    assert str(report).splitlines() == ["model x: 1 of 2 checks failed", "  one: failed, two lines [31m. A hint"]
