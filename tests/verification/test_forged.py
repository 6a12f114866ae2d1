"""Records that somebody changed on purpose, with every checksum made anew: each lie is found, and named."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colorbench.data import Dataset, open_dataset
from colorbench.evaluation import metrics_of
from colorbench.results import load_run
from colorbench.storage import content_fingerprint, npz_bytes
from colorbench.verification.verify_record import verify
from protocols.auc import AucProtocol
from protocols.fidelity import METRICS
from tests.support.engine import write_images
from tests.support.records import edit_record, edit_rows, measure, put_file

COUNT = 32


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("forged") / "crops"
    write_images(folder, COUNT)
    return open_dataset(folder)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory, images: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("forged") / "runs"
    measure(folder, images, ["zoo/random", "zoo/half-chroma"], baselines=True, save="gallery")
    measure(folder, images, ["zoo/random"], protocol="fidelity", baselines=True, save="predictions")
    measure(folder, images, ["zoo/mean-color"], parameters={"prior": "dataset"})
    return folder


@pytest.fixture
def copy(output: Path, tmp_path: Path) -> Callable[[str, str], Path]:
    """A record of one's own to spoil, the others beside it."""
    shutil.copytree(output, tmp_path / "runs")

    def folder_of(model: str, protocol: str) -> Path:
        return next((tmp_path / "runs" / model / protocol).iterdir())

    return folder_of


def failing(folder: Path, **settings: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in verify(folder, **settings).checks:
        if check.outcome == "fails":
            found.setdefault(check.name, []).append(check.detail)
    return found


def follow(folder: Path) -> None:
    """Derive all numbers of a record anew from its rows, as a careful forger does."""
    run = load_run(folder)
    name = run.record.protocol.name
    specs = METRICS if name == "fidelity" else AucProtocol.spec.metrics
    metrics = metrics_of(specs, run.columns, {})

    def change(record: dict[str, Any]) -> None:
        by_name = {metric["name"]: metric for metric in record["metrics"]}
        for metric in metrics:
            by_name[metric.name].update(json.loads(metric.model_dump_json()))
        record["differences"] = []
        record["dataset"]["fingerprint"] = content_fingerprint(run.sha256s)

    edit_record(folder, change)


def without_files(folder: Path) -> None:
    """Pass a record on without arrays and images, which is allowed."""
    (folder / "arrays.npz").unlink(missing_ok=True)
    shutil.rmtree(folder / "thumbnails", ignore_errors=True)
    shutil.rmtree(folder / "predictions", ignore_errors=True)


def put_image(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    edit_record(folder, lambda record: record["files"]["saved_images"].update({name: sha256(data).hexdigest()}))


def webp(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def index_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "thumbnails" / "index.json").read_text())
    return found


def put_index(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    lines = index_of(folder)
    change(lines)
    put_image(folder, "thumbnails/index.json", json.dumps(lines).encode())


# Saved images.


@pytest.mark.parametrize("protocol", ["auc", "fidelity"])
def test_saved_images_that_are_the_truths_are_found(copy, protocol) -> None:
    folder = copy("zoo/random", protocol)
    for line in index_of(folder):
        truth = (folder / "thumbnails" / line["truth"]).read_bytes()
        put_image(folder, f"thumbnails/{line['prediction']}", truth)
    lines = failing(folder)["saved images"]
    assert any("is 0.0 from its saved ground truth, the rows say" in line for line in lines)


def test_one_saved_image_that_is_the_truths_is_found(copy) -> None:
    folder = copy("zoo/random", "fidelity")
    scores = {line["prediction"]: (line["scores"]["ciede2000"], line["truth"]) for line in index_of(folder)}
    prediction, (_, truth) = max(scores.items(), key=lambda item: item[1][0])
    put_image(folder, f"thumbnails/{prediction}", (folder / "thumbnails" / truth).read_bytes())
    assert len(failing(folder)["saved images"]) == 1


def grayed(folder: Path, line: dict[str, Any]) -> None:
    put_image(folder, f"thumbnails/{line['truth']}", (folder / "thumbnails" / line["gray"]).read_bytes())


def other_truth(folder: Path, line: dict[str, Any]) -> None:
    other = next(another for another in index_of(folder) if another["id"] != line["id"])
    put_image(folder, f"thumbnails/{line['truth']}", (folder / "thumbnails" / other["truth"]).read_bytes())


def colored_gray(folder: Path, line: dict[str, Any]) -> None:
    put_image(folder, f"thumbnails/{line['gray']}", (folder / "thumbnails" / line["truth"]).read_bytes())


def giant(folder: Path, line: dict[str, Any]) -> None:
    put_image(folder, f"thumbnails/{line['prediction']}", webp(np.zeros((400, 400, 3), np.uint8)))


def another_size(folder: Path, line: dict[str, Any]) -> None:
    put_image(folder, f"thumbnails/{line['prediction']}", webp(np.zeros((16, 16, 3), np.uint8)))


def no_image(folder: Path, line: dict[str, Any]) -> None:
    put_image(folder, f"thumbnails/{line['prediction']}", b"RIFF\x10\x00\x00\x00WEBPnothing")


@pytest.mark.parametrize("change", [grayed, other_truth, colored_gray, giant, another_size, no_image])
def test_saved_images_that_do_not_belong_together_are_found(copy, change) -> None:
    folder = copy("zoo/random", "fidelity")
    lines = sorted(index_of(folder), key=lambda line: -line["scores"]["ciede2000"])
    change(folder, lines[0])
    assert "saved images" in failing(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[0]["scores"].update(auc_raw=99.0), "another auc_raw than the rows"),
        (lambda lines: lines[0]["scores"].update(auc_raw=None), "another auc_raw than the rows"),
        (lambda lines: lines[0].update(sha256="0" * 64), "have different sha256"),
        (lambda lines: lines[0].update(id=lines[1]["id"]), "occurs twice"),
        (lambda lines: lines[0].update(id="invented.jpg"), "not evaluated"),
        (lambda lines: lines[0].update(prediction=lines[1]["prediction"]), "the files of another image"),
        (lambda lines: lines[0].update(truth="../../secret.webp"), "the files of another image"),
        (
            lambda lines: lines[0].update(reasons=["auc_rebalanced_stable best 1"]),
            "saved for reasons that do not follow",
        ),
        (lambda lines: lines.pop(), "saved for reasons that do not follow"),
        (lambda lines: lines.pop(), "files are only in the index or only in the record"),
        (lambda lines: lines[0].update(surprise=1), "not an index of saved images"),
    ],
)
def test_an_index_that_contradicts_the_rows_is_found(copy, change, message) -> None:
    folder = copy("zoo/random", "auc")
    put_index(folder, change)
    assert any(message in line for line in failing(folder)["saved images"])


# Rows and arrays.


def swapped(columns: dict[str, Any]) -> None:
    for name, values in columns.items():
        if name.partition(".")[0] not in ("id", "sha256", "label", "gray", "height", "width"):
            values[[0, 5]] = values[[5, 0]]


@pytest.mark.parametrize("arrays", [True, False])
def test_rows_that_were_swapped_between_images_are_found(copy, arrays) -> None:
    folder = copy("zoo/random", "auc")
    edit_rows(folder, swapped)
    if not arrays:  # then the weights are held against the records of gray and constant
        without_files(folder)
    assert "scores" in failing(folder)


def test_arrays_and_curves_of_another_model_beside_right_rows_are_found(copy) -> None:
    folder, other = copy("zoo/random", "auc"), copy("zoo/gray", "auc")
    curves = json.loads((other / "record.json").read_text())["curves"]
    put_file(folder, "arrays.npz", (other / "arrays.npz").read_bytes())
    edit_record(folder, lambda record: record.update(curves=curves))
    assert any("is not what the arrays give" in line for line in failing(folder)["scores"])


@pytest.mark.parametrize("name", ["bin_counts", "bin_scores", "histogram", "auc_rebalanced_stable.histogram"])
def test_one_array_that_was_changed_is_found(copy, name) -> None:
    folder = copy("zoo/random", "auc")
    with np.load(folder / "arrays.npz") as archive:
        arrays = dict(archive)
    arrays[name] = arrays[name][::-1].copy()
    put_file(folder, "arrays.npz", npz_bytes(arrays))
    assert failing(folder)


def test_scores_that_contradict_the_arrays_of_the_full_set_are_found(copy) -> None:
    folder = copy("zoo/mean-color", "auc")
    assert failing(folder) == {}

    def better(columns: dict[str, Any]) -> None:
        for name in ("auc_rebalanced", "auc_rebalanced_stable"):
            columns[f"{name}.s0"] += 5 * columns[f"{name}.s1"]
            columns[name] = columns[f"{name}.s0"] / columns[f"{name}.s1"]

    edit_rows(folder, better)
    run = load_run(folder)
    specs = AucProtocol().resolve(run.record.protocol.parameters, Dataset("none", ())).metrics
    again = {metric.name: metric for metric in metrics_of(specs, run.columns, {})}
    edit_record(
        folder,
        lambda record: [metric.update(value=again[metric["name"]].value) for metric in record["metrics"]],
    )
    found = failing(folder)
    assert set(found) == {"scores"}
    assert "is not what the arrays of the whole set give" in found["scores"][0]


@pytest.mark.parametrize(("weight", "score"), [(1e15, 50.0), (-1.0, 50.0), (1.0, 101.0), (1.0, -1.0), (np.inf, 50.0)])
def test_statistics_that_no_image_can_have_are_found(copy, weight, score) -> None:
    folder = copy("zoo/random", "auc")
    without_files(folder)

    def huge(columns: dict[str, Any]) -> None:
        columns["auc_raw.s0"][3], columns["auc_raw.s1"][3] = weight * score, weight
        columns["auc_raw"][3] = score

    edit_rows(folder, huge)
    follow(folder)
    assert any("auc_raw" in line for line in failing(folder)["scores"])


def test_huge_statistics_that_cancel_make_no_room_for_a_lie(copy) -> None:
    folder = copy("zoo/random", "fidelity")
    without_files(folder)

    def canceling(columns: dict[str, Any]) -> None:
        name = "delta_cf_hs_of_means"
        columns[f"{name}.s0"][:3] += [1e17, -5e16, -5e16]
        columns[name][:] = np.abs(columns[f"{name}.s0"] - columns[f"{name}.s1"])
        columns["cf_hs.s0"][:3] += [1e17, -5e16, -5e16]
        columns["cf_hs"][:] = columns["cf_hs.s0"]

    edit_rows(folder, canceling)
    follow(folder)
    edit_record(folder, lambda record: record["metrics"][3].update(value=0.01))
    lines = failing(folder)["scores"]
    assert any("delta_cf_hs_of_means" in line and "is too large" in line for line in lines)
    assert any("cf_hs of" in line for line in lines)


def test_rows_that_are_repeated_are_found(copy) -> None:
    folder = copy("zoo/random", "fidelity")
    without_files(folder)

    def best_twice(columns: dict[str, Any]) -> None:
        best, worst = int(np.argmin(columns["ciede2000"])), int(np.argmax(columns["ciede2000"]))
        for name, values in columns.items():
            if name != "id":
                values[worst] = values[best]

    edit_rows(folder, best_twice)
    assert "an image occurs twice" in failing(folder)["rows"][0]


# Who was measured.


def test_an_oracle_that_calls_itself_a_competitor_is_found(copy) -> None:
    folder = copy("zoo/ground-truth", "auc")
    edit_record(folder, lambda record: record["model"]["card"].update(role="competitor"))
    assert any("role 'competitor' is stored" in line for line in failing(folder)["model"])


@pytest.mark.parametrize("protocol", ["auc", "fidelity"])
@pytest.mark.parametrize("files", [True, False])
def test_predictions_that_equal_the_truth_are_found_under_any_name(copy, protocol, files) -> None:
    folder = copy("zoo/ground-truth", protocol)
    card = {"title": "a new network", "role": "competitor"}
    changes = {"name": "mine.py:Best", "package": None, "package_version": None, "card": card}
    edit_record(folder, lambda record: record["model"].update(changes))
    if not files:
        without_files(folder)
    found = failing(folder)
    assert any("equal the ground truth: only an oracle uses it" in line for line in found["scores"])
    assert not files or any("saved predictions equal the ground truth" in line for line in found["saved images"])


@pytest.mark.parametrize(
    "change",
    [
        {"title": "The state of the art"},
        {"role": "reference"},
        {"scores": {"auc": 99.0}},
        {"training_data": "nothing at all"},
        {"parameters": 3},
        {"notes": "won every prize"},
        {"stochastic": False},
    ],
)
def test_an_invented_card_is_found(copy, change) -> None:
    folder = copy("zoo/random", "auc")
    edit_record(folder, lambda record: record["model"]["card"].update(change))
    assert any(line.startswith(f"card: {next(iter(change))}") for line in failing(folder)["model"])


def test_what_nobody_can_check_is_listed_as_claimed(copy) -> None:
    folder = copy("zoo/random", "auc")

    def invented(record: dict[str, Any]) -> None:
        record["dataset"].update(name="ImageNet", source="the whole of it", redistributable=True)
        record["execution"].update(images_per_second=1e6, seconds=0.1, device="abacus")
        record["provenance"].update(git_commit="0" * 40, time="1066-10-14")
        record["notes"].append("prize of the jury")

    edit_record(folder, invented)
    found = verify(folder)
    assert found.holds
    for what in ("dataset name, source and license", "speed, hardware and threads", "1 note"):
        assert what in found.claimed
    assert any(what.startswith("provenance") for what in found.claimed)
    assert "invent" in found.promise


def test_a_model_of_somebodys_own_is_claimed(copy) -> None:
    folder = copy("zoo/random", "auc")
    edit_record(folder, lambda record: record["model"].update(name="a/b", package="a", package_version="1.0"))
    found = verify(folder)
    assert {check.name: check.outcome for check in found.checks}["model"] == "unchecked"
    assert any("model card" in what for what in found.claimed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "zoo/cic.excellent"}, "not a model of colorbench"),
        ({"weights_sha256": "0" * 64}, "weights"),
        ({"decoding": {"decode": "mean"}}, ""),
        ({"package": "numpy", "package_version": "1.0"}, None),
    ],
)
def test_an_invented_model_is_found_or_left_unchecked(copy, change, message) -> None:
    folder = copy("zoo/random", "auc")
    edit_record(folder, lambda record: record["model"].update(change))
    found = failing(folder).get("model", [])
    assert found == [] if message is None else any(message in line for line in found)


# What is said of the numbers.


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (lambda r: r["metrics"][0].update(higher_is_better=False), "metrics", "higher_is_better False"),
        (lambda r: r["metrics"][0].update(unit="dB"), "metrics", "unit 'dB'"),
        (lambda r: r["metrics"][0].update(title="AuC of the future"), "metrics", "title"),
        (lambda r: r["metrics"][0].update(n=31), "metrics", "n 31 is stored"),
        (lambda r: r["metrics"][0].update(effective_n=3200.0), "metrics", "effective_n 3200"),
        (lambda r: r["metrics"][0].update(classifier="a friend"), "metrics", "classifier"),
        (lambda r: r["metrics"][0].update(share_of_gap=True), "metrics", "share_of_gap"),
        (lambda r: r["metrics"][2].update(warning=None), "metrics", "warning None is stored"),
        (lambda r: r["metrics"][0].update(ci_low=r["metrics"][0]["value"] - 0.01), "metrics", "ci_low"),
        (lambda r: r["metrics"][0].update(ci_method="Bayes, 99 %"), "metrics", "ci_method"),
        (lambda r: r["metrics"].pop(2), "metrics", "auc_rebalanced_stable is missing"),
        (lambda r: r["metrics"].append(r["metrics"][0]), "metrics", "auc_raw occurs twice"),
        (lambda r: r["metrics"].append({**r["metrics"][0], "name": "beauty"}), "metrics", "is not a metric of this"),
        (lambda r: r["differences"][0].update(ci_low=-0.1, ci_high=0.1), "differences", "ci_low"),
        (lambda r: r["differences"][0].update(n=3200), "differences", "n 3200 is stored"),
        (lambda r: r["differences"].pop(0), "differences", "is missing"),
        (lambda r: r["differences"].append(r["differences"][0]), "differences", "occurs twice"),
        (lambda r: r["curves"][0].update(x=[2 * x for x in r["curves"][0]["x"]]), "curves", "auc_raw"),
        (lambda r: r["curves"][0].update(title="best"), "curves", "another title or axis"),
        (lambda r: r["curves"].pop(0), "curves", "auc_raw is missing"),
        (lambda r: r["curves"].append({**r["curves"][0], "name": "more"}), "curves", "more"),
        (lambda r: r["notes"].insert(0, "smoke test on 5 images: x"), "notes", "this note is wrong"),
        (lambda r: r["dataset"].update(preprocessing="native"), "identity", "preprocessing"),
        (lambda r: r["dataset"].update(gray_policy="perhaps"), "dataset", "unknown gray policy"),
        (lambda r: r["dataset"].update(limit=3), "dataset", "more than the limit"),
        (lambda r: r["dataset"].update(overlap=40), "model", "overlap"),
        (lambda r: r["dataset"].update(overlap=None), "model", "overlap"),
    ],
)
def test_what_is_stated_of_a_number_is_derived_again(copy, change, check, message) -> None:
    folder = copy("zoo/random", "auc")
    edit_record(folder, change)
    assert any(message in line for line in failing(folder).get(check, [])), failing(folder)


# What is said of the images.


def invented_skip(record: dict[str, Any], id: str) -> None:
    record["dataset"]["n"] += 1
    record["dataset"]["skipped"].append({"id": id, "reason": "the image is damaged"})


def test_images_that_were_left_out_for_no_reason_are_found(copy, images) -> None:
    folder = copy("zoo/random", "fidelity")
    without_files(folder)
    edit_record(folder, lambda record: invented_skip(record, "nowhere.jpg"))
    assert any("not in the given dataset" in line for line in failing(folder, images=images)["data"])
    edit_record(folder, lambda record: record["dataset"]["skipped"].append(record["dataset"]["skipped"][0]))
    assert any("skipped twice" in line for line in failing(folder)["dataset"])


def test_another_dataset_is_one_line_and_not_one_per_image(copy, tmp_path) -> None:
    folder = copy("zoo/random", "fidelity")
    write_images(tmp_path / "other", 2, 16)
    said = failing(folder, images=open_dataset(tmp_path / "other"))["data"]
    absent = [line for line in said if "in the given dataset" in line]
    assert len(absent) == 1 and re.match(r"30 of 32 images are not in the given dataset, the first: ", absent[0])


def test_an_image_that_is_left_out_though_it_can_be_read_is_found(copy, images) -> None:
    folder = copy("zoo/random", "fidelity")
    without_files(folder)
    worst = ""

    def drop(columns: dict[str, Any]) -> None:
        nonlocal worst
        position = int(np.argmax(columns["ciede2000"]))
        worst = columns["id"][position]
        for name in list(columns):
            values = columns[name]
            columns[name] = (
                np.delete(values, position)
                if isinstance(values, np.ndarray)
                else values[:position] + values[position + 1 :]
            )

    edit_rows(folder, drop)

    def change(record: dict[str, Any]) -> None:
        record["dataset"]["n_evaluated"] -= 1
        record["dataset"]["skipped"].append({"id": worst, "reason": "the image is damaged"})

    edit_record(folder, change)
    follow(folder)
    assert any("but can be evaluated" in line for line in failing(folder, images=images)["data"])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("gray", True, "is not gray"),
        ("height", 7, "x"),
        ("width", 7, "x"),
        ("id", "b/zzz.jpg", "not in the given dataset"),
        ("sha256", "0" * 64, "differs in content"),
    ],
)
def test_rows_that_tell_of_other_images_are_found(copy, images, column, value, message) -> None:
    folder = copy("zoo/random", "fidelity")
    without_files(folder)
    edit_rows(folder, lambda columns: columns[column].__setitem__(4, value))
    follow(folder)
    edit_record(folder, lambda record: record["dataset"].update(n_gray=int(column == "gray")))
    assert any(message in line for line in failing(folder, images=images)["data"])
