"""An honest record of every protocol holds, and what cannot be derived again is said to be so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from colorbench.data import open_dataset
from colorbench.evaluation import record_folder, run
from colorbench.reporting import write_report
from colorbench.results import read_record, read_rows
from colorbench.storage import content_fingerprint, npz_bytes
from colorbench.verification.verification_schema import CLAIMED, Findings, Verification
from colorbench.verification.verify_record import verify
from leaderboards.board_files import build_files
from protocols.human_study.analysis.fooling_rates import analyze
from protocols.human_study.analysis.response_reading import read_study_data
from protocols.human_study.analysis.study_records import write_records
from tests.support.engine import loaded, write_images
from tests.support.probe import Blocks, request, write_classes
from tests.support.records import edit_record, measure, put_file
from tests.support.study_responses import make_design, make_study_data, write_study
from tests.support.voc import write_devkit

SHIPPED = Path(__file__).parent.parent.parent / "leaderboards" / "reference" / "records"
SMALL = {"dims": 60, "strengths": "1,100"}
FAST = {"epochs": 2, "batch": 8, "dims": 60, "learning_rate": 0.01}


def auc(folder: Path) -> Path:
    return measure(folder / "runs", write_images(folder / "a", 31), ["zoo/random"], save="gallery")["zoo/random"]


def auc_of_the_set(folder: Path) -> Path:
    data = write_images(folder / "a", 31)
    return measure(folder / "runs", data, ["zoo/mean-color"], parameters={"prior": "dataset"})["zoo/mean-color"]


def fidelity(folder: Path) -> Path:
    data = write_images(folder / "a", 31)
    positions = measure(folder / "runs", data, ["zoo/random"], protocol="fidelity", baselines=True, save="predictions")
    return positions["zoo/random"]


def semantic(folder: Path) -> Path:
    data = write_images(folder / "a", 6)
    parameters = {"labels": "ignore"}
    return measure(folder / "runs", data, ["zoo/random"], protocol="semantic", parameters=parameters)["zoo/random"]


def network_file(folder: Path) -> str:
    """A network with its weights in a file, as parameters name it: verification does not open that file."""
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), folder / "w.pth")
    return f"test_efficientnet:{folder / 'w.pth'}"


def semantic_by_a_file(folder: Path) -> Path:
    data = write_images(folder / "a", 6)
    parameters = {"labels": "ignore", "classifiers": network_file(folder), "preprocessing": "squash64"}
    return measure(folder / "runs", data, ["zoo/random"], protocol="semantic", parameters=parameters)["zoo/random"]


def distribution_by_a_file(folder: Path) -> Path:
    data = write_images(folder / "a", 6)
    parameters = {"backend": network_file(folder), "preprocessing": "squash64"}
    return measure(folder / "runs", data, ["zoo/random"], protocol="distribution", parameters=parameters)["zoo/random"]


def linear_probe(folder: Path, model: Any = None) -> Path:
    sets = write_classes(folder / "train", 10), write_classes(folder / "test", 11, first=20)
    given = loaded(Blocks().eval() if model is None else model)
    (record,) = run(request(given, "linear-probe", *sets, folder / "runs", parameters=SMALL))
    return record_folder(folder / "runs", record)


def linear_probe_of_drawn_weights(folder: Path) -> Path:
    return linear_probe(folder, Blocks(random=True).eval())


def transfer_classification(folder: Path) -> Path:
    sets = write_classes(folder / "train", 10), write_classes(folder / "test", 11, first=20)
    asked = request(loaded(Blocks().eval()), "transfer-classification", *sets, folder / "runs", parameters=FAST)
    return record_folder(folder / "runs", run(asked)[0])


def transfer_classification_of_several(folder: Path) -> Path:
    data = open_dataset(write_devkit(folder / "voc", count=24))
    parameters = {**FAST, "tune": "head"}
    asked = request(
        loaded(Blocks().eval()), "transfer-classification", data, data, folder / "runs", parameters=parameters
    )
    return record_folder(folder / "runs", run(asked)[0])


def transfer_segmentation(folder: Path) -> Path:
    data = open_dataset(write_devkit(folder / "voc", count=24))
    parameters = {"epochs": 2, "batch": 4, "hidden": 16, "learning_rate": 0.01}
    asked = request(
        loaded(Blocks().eval()), "transfer-segmentation", data, data, folder / "runs", parameters=parameters
    )
    return record_folder(folder / "runs", run(asked)[0])


def human_study(folder: Path, participants: int = 24) -> Path:
    design = make_design(participants=participants)
    rates = {"zoo/cic.small": 0.35, "zoo/l2": 0.2, "zoo/constant": 0.06, "zoo/random": 0.1}
    study = write_study(folder / "study", design, make_study_data(design, rates, seed=1), stimuli=True)
    position = write_records(analyze(read_study_data(study), resamples=200), folder / "records", study)[1]
    # The design's images exist by name only, and its fingerprint is invented.
    fingerprint = content_fingerprint(read_rows(position / "rows.parquet")[0])
    edit_record(position, lambda record: record["dataset"].update(fingerprint=fingerprint))
    return position


def human_study_of_few_participants(folder: Path) -> Path:
    position = human_study(folder, participants=2)
    assert "participants" in read_record(position).notes[0] and "smoke test on " in read_record(position).notes[0]
    return position


MAKERS = (
    auc,
    auc_of_the_set,
    fidelity,
    semantic,
    semantic_by_a_file,
    distribution_by_a_file,
    linear_probe,
    linear_probe_of_drawn_weights,
    transfer_classification,
    transfer_classification_of_several,
    transfer_segmentation,
    human_study,
    human_study_of_few_participants,
)
CANNOT = {
    "linear_probe_of_drawn_weights": "not recomputable: the interval of top1: it was made by two-way",
    **dict.fromkeys(
        ("human_study", "human_study_of_few_participants"),
        "not recomputable: d_prime: the rows do not contain its statistics",
    ),
}
"""Maker -> what `verify` must say of its metrics."""


def wrong(found: Verification) -> list[tuple[str, str]]:
    return [(check.name, check.detail) for check in found.checks if check.outcome == "fails"]


@pytest.mark.parametrize("make", MAKERS)
def test_an_honest_record_of_every_protocol_holds(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path)
    found = verify(folder)
    assert wrong(found) == []
    outcomes = {(check.name, check.outcome) for check in found.checks}
    assert ("metrics", "holds") in outcomes
    assert ("scores", "holds") in outcomes
    assert set(CLAIMED) < set(found.claimed)
    unchecked = [check.detail for check in found.checks if (check.name, check.outcome) == ("metrics", "unchecked")]
    if make.__name__ in CANNOT:
        assert any(line.startswith(CANNOT[make.__name__]) for line in unchecked), unchecked
    else:
        assert unchecked == []
    # And every one of its numbers is looked at: a value moved in any metric that is derived is found.
    metrics = json.loads((folder / "record.json").read_text())["metrics"]
    names = [metric["name"] for metric in metrics]
    claimed = {name for name in names if name in found.claimed}
    for position, name in enumerate(names[:3]):
        if metrics[position]["value"] is None:  # a Fréchet distance of few images
            continue
        edit_record(folder, lambda record, position=position: moved(record["metrics"][position], 0.01))
        lines = [line for _, line in wrong(verify(folder))]
        assert any(line.startswith(f"{name}: value") for line in lines) != (name in claimed), (name, lines)
        edit_record(folder, lambda record, position=position: moved(record["metrics"][position], -0.01))


def moved(metric: dict[str, Any], by: float) -> None:
    if metric["value"] is not None:
        metric["value"] += by


def test_facts_of_a_metric_that_no_parameter_decides_are_checked_without_its_network(tmp_path: Path) -> None:
    folder = distribution_by_a_file(tmp_path)
    for facts in ({"unit": "dB"}, {"higher_is_better": True}, {"form": "abs_difference"}, {"share_of_gap": True}):
        before = (folder / "record.json").read_text(encoding="utf-8")
        edit_record(folder, lambda record, facts=facts: record["metrics"][0].update(facts))
        (name,) = facts
        assert any(check == "metrics" and f": {name} " in line for check, line in wrong(verify(folder))), facts
        (folder / "record.json").write_text(before, encoding="utf-8")


@pytest.mark.parametrize("key", ["title", "classifier"])
def test_a_title_that_nothing_checks_is_text_everywhere(key: str, tmp_path: Path) -> None:
    folder = distribution_by_a_file(tmp_path)
    name = read_record(folder).metrics[0].name
    edit_record(folder, lambda record: record["metrics"][0].update({key: "Best\x1b[2J"}))
    assert "control characters" in dict(wrong(verify(folder)))["record"]
    mark = "[bold]</p><script>alert(1)</script>{{ 7 * 7 }}\\input{x}"
    edit_record(folder, lambda record: record["metrics"][0].update({key: mark}))
    found = verify(folder)
    assert wrong(found) == [] and f"title and classifier of {name}" in found.claimed
    page = write_report(folder).read_text(encoding="utf-8")
    build_files([tmp_path / "runs"], tmp_path / "board")
    for text in (page, *(path.read_text(encoding="utf-8") for path in (tmp_path / "board").rglob("*.html"))):
        assert "<script>alert(1)" not in text
    for path in (tmp_path / "board").rglob("*.tex"):
        assert "\\input{x}" not in path.read_text(encoding="utf-8")


def test_what_is_claimed_is_one_short_line() -> None:
    findings = Findings()
    findings.claim("title of a\x1b[2J\nb\u202e" + "c" * 9999)
    assert findings.claimed[0].startswith("title of a [2J b c") and len(findings.claimed[0]) == 500


@pytest.mark.parametrize("make", [auc, linear_probe, transfer_classification, transfer_segmentation])
def test_arrays_of_another_model_do_not_fit_the_rows(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path)
    with np.load(folder / "arrays.npz") as archive:
        arrays = dict(archive)
    # The rows of another order of images are those of another model.
    put_file(folder, "arrays.npz", npz_bytes({name: values[::-1] for name, values in arrays.items()}))
    assert "scores" in dict(wrong(verify(folder)))


def test_arrays_that_a_protocol_stores_cannot_be_left_unnamed(tmp_path: Path) -> None:
    folder = auc(tmp_path)
    edit_record(folder, lambda record: record["files"].update(arrays={}))
    assert "cannot summarize rows and arrays" in dict(wrong(verify(folder)))["arrays"]


@pytest.mark.parametrize("folder", sorted(SHIPPED.rglob("record.json")), ids=lambda path: "-".join(path.parts[-4:-2]))
def test_the_shipped_records_hold(folder: Path) -> None:
    found = verify(folder.parent)
    assert wrong(found) == []
    outcomes = {check.name: check.outcome for check in found.checks}
    for name in ("record", "rows", "dataset", "model", "identity", "scores", "metrics"):
        assert outcomes[name] == "holds", name
    assert outcomes.get("differences", "holds") == "holds"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "somebodys-protocol"}, "no protocol 'somebodys-protocol'"),
        ({"version": 9}, "is installed in version"),
    ],
)
def test_a_protocol_that_is_not_installed_leaves_its_metrics_checked_by_their_rows(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = auc(tmp_path)

    def other(record: dict[str, Any]) -> None:
        from colorbench.results import protocol_identity

        protocol = record["protocol"]
        protocol.update(change)
        again = protocol_identity(protocol["name"], protocol["version"], protocol["identity"])
        protocol["identity_sha256"] = again

    edit_record(folder, other)
    found = verify(folder)
    assert wrong(found) == []
    assert any(check.outcome == "unchecked" and message in check.detail for check in found.checks)
    assert "title, unit and direction of auc_raw" in found.claimed
    edit_record(folder, lambda record: record["metrics"][0].update(value=99.0))
    assert "metrics" in dict(wrong(verify(folder)))
