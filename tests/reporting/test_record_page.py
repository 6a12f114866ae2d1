"""The page of a record: complete, escaped, and made from the folders alone."""

from __future__ import annotations

import base64
import io
import json
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorbench.errors import UserError
from colorbench.evaluation import RunDirectory, folder_of, thumbnail, write_index
from colorbench.reporting.baseline_columns import baseline_records
from colorbench.reporting.record_page import page, write_report
from colorbench.reporting.record_plots import record_plots
from colorbench.results import SavedImage, read_record, saved_names


@pytest.fixture
def stored(tmp_path: Path, make_record, astronaut: np.ndarray):
    """Write a record with two images where ``colorbench run`` would; returns its folder."""

    def write(model: str = "zoo/cic.small", **changes) -> Path:
        record = make_record(model, **changes)
        path = tmp_path / "runs" / folder_of(model, "auc", "holiday", record.key)
        folder = RunDirectory(path)
        path.mkdir(parents=True)
        kept = []
        why = {"a.jpg": ["fixed", "auc_raw worst 1"], "b<i>.jpg": ["auc_raw best 1"], "c.jpg": ["psnr best 1"]}
        for id, reasons in why.items():
            for name in saved_names(id):
                folder.write(folder.thumbnails / name, thumbnail(Image.fromarray(astronaut)))
            kept.append(SavedImage.of(id, "0", reasons, {"auc_raw": 91.234}))
        write_index(folder, kept)
        folder.write_record(record.model_dump_json())
        return path

    return write


def test_the_page_needs_no_other_file(stored) -> None:
    text = write_report(stored(), headline="auc_raw").read_text()
    sources = re.findall(r'(?:src|href)="([^"#]*)"', text)
    # Two of three images, for psnr is not the headline; each once, as gray, answer and truth.
    assert len(sources) == 6
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert text.count("url(") == text.count("url(#")  # parts of its own plots
    assert "<script" not in text
    image = Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2])))
    assert (image.format, image.size) == ("WEBP", (160, 160))


def test_the_page_shows_every_number_with_its_interval(stored) -> None:
    text = write_report(stored(), explanations={"auc_raw": "How near."}, headline="auc_raw").read_text()
    for message in ("90.46", "[89.50, 91.50]", "+1.25", "[+0.75, +1.75]", "68.12", "n_eff 37", "How near."):
        assert message in text
    assert "auc_raw 91.23, best 1" in text
    assert "interval too short" in text


def test_signs_are_explained_only_where_they_are(make_record) -> None:
    record = make_record("zoo/cic.small")
    text = page(record)
    signs = ("[low, high]", "Bold differences", "n_eff: ")
    assert all(sign in text for sign in signs)
    none = {"ci_low": None, "ci_high": None}
    metrics = [metric.model_copy(update={**none, "effective_n": float(metric.n)}) for metric in record.metrics]
    differences = [one.model_copy(update=none) for one in record.differences]
    few = record.model_copy(update={"metrics": metrics, "differences": differences})
    assert not any(sign in page(few) for sign in signs)
    text = page(few.model_copy(update={"differences": record.differences}))
    assert "[low, high]" in text and "n_eff: " not in text


@pytest.mark.parametrize(
    ("values", "differences", "stated"),
    [
        (
            "bootstrap-t, 95 %",
            "paired restricted bootstrap, 95 %",
            "[low, high]: 95 % bootstrap confidence interval over images.",
        ),
        (
            "bootstrap-t, 95 %",
            "paired two-way (seeds x images), t(4), 95 %",
            "interval over images; of differences: two-way (seeds x images), t(4).",
        ),
        ("two-way cluster, 95 %", None, "[low, high]: 95 % confidence interval; of values: two-way cluster."),
        (None, None, ""),
    ],
)
def test_the_method_of_intervals_is_named(
    make_record, values: str | None, differences: str | None, stated: str
) -> None:
    def changed(one, method: str | None):
        ends = {} if method else {"ci_low": None, "ci_high": None}
        return one.model_copy(update={"ci_method": method, **ends})

    record = make_record("zoo/cic.small")
    record = record.model_copy(
        update={
            "metrics": [changed(one, values) for one in record.metrics],
            "differences": [changed(one, differences) for one in record.differences],
        }
    )
    text = re.sub(r"\s+", " ", page(record))
    assert stated in text and ("[low, high]" in text) == bool(stated)


def test_a_speed_that_was_not_measured_is_left_out(make_record) -> None:
    record = make_record("zoo/cic.small")
    assert "images per second" in page(record)
    execution = record.execution.model_copy(update={"seconds": 0.0, "images_per_second": 0.0})
    assert "images per second" not in page(record.model_copy(update={"execution": execution}))


def test_where_nothing_is_taken_from_gray_the_controls_are(make_record) -> None:
    record = make_record("zoo/cic.small")
    (known, *_) = record.differences
    controls = [known.model_copy(update={"minus": name}) for name in ("pixels", "zoo/cic.untrained")]
    text = page(record.model_copy(update={"differences": controls}))
    assert "<th>Δ vs. pixels</th><th>Δ vs. untrained</th>" in text
    assert text.count("[+0.75, +1.75]") == 2
    assert "Δ vs. gray" not in text
    nothing = page(record.model_copy(update={"differences": []}))
    assert "<th>minus" not in nothing and "Bold differences" not in nothing


def test_differences_from_gray_and_from_the_best_single_color_stand_side_by_side(make_record) -> None:
    record = make_record()
    constant = record.differences[0].model_copy(update={"minus": "zoo/constant", "value": -0.5})
    other = constant.model_copy(update={"minus": "zoo/random"})
    text = page(record.model_copy(update={"differences": [constant, *record.differences, other]}))
    assert "<th>Δ vs. gray</th><th>Δ vs. constant</th>" in text
    assert "−0.50" in text and "minus random" not in text


def test_gray_constant_and_truth_are_found_beside_it(stored) -> None:
    folder = stored()
    stored("zoo/gray", scale=0.98)
    stored("zoo/ground-truth", scale=1.1)
    text = write_report(folder).read_text()
    assert "<th>gray</th><th>truth</th>" in text
    assert "<td>88.65</td><td>99.50</td>" in text
    assert "<desc>zoo/cic.small; gray; truth</desc>" in text


def test_whoever_shows_images_says_whose_they_are(stored) -> None:
    folder = stored(source="images by <A. Imageer>, CC BY 2.0")
    assert "Source of the images: images by &lt;A. Imageer&gt;, CC BY 2.0." in write_report(folder).read_text()


def test_records_on_other_images_do_not_stand_beside_it(stored, make_record) -> None:
    folder = stored()
    stored("zoo/gray", fingerprint="f" * 64)
    assert baseline_records(folder, make_record()) == []


def test_what_others_wrote_is_escaped(make_record) -> None:
    record = make_record(
        title="<script>alert(1)</script>", skipped=[{"id": "<img src=x onerror=y>", "reason": "a & b"}], name="</title>"
    )
    text = page(record, explanations={"auc_raw": "<b>bold</b>"})
    assert "<script>" not in text
    assert "<img" not in text
    assert "<b>" not in text
    assert text.count("</title>") == 1 + 2 * len(record.curves)  # of the page, a plot and its line
    assert "<title></title>" not in text
    assert "&lt;script&gt;" in text


def test_the_same_record_gives_the_same_bytes(stored) -> None:
    folder = stored()
    assert write_report(folder).read_bytes() == write_report(folder).read_bytes()


def test_few_images_are_called_a_demonstration(make_record) -> None:
    assert "Smoke test on 14 images: scores are not meaningful" in page(make_record(n=14))
    assert "too_few_images" not in page(make_record(n=30))


@pytest.mark.parametrize("content", [None, "{}", "nonsense"])
def test_a_folder_without_a_record_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    with pytest.raises(UserError, match="record"):
        write_report(tmp_path)


def test_a_record_has_a_plot_a_curve_with_what_stands_beside(make_record) -> None:
    record = make_record()
    again = record.curves[0].model_copy(update={"beside": {"one judge": record.curves[0].y}})
    drawn = record_plots(
        record.model_copy(update={"curves": [record.curves[0], again]}), [("gray", make_record("zoo/gray"))]
    )
    first, second = drawn.values()  # two curves of one name have two files
    assert list(first.notes.values()) == ["zoo/cic.small", "gray"]
    assert list(second.notes.values()) == ["zoo/cic.small", "gray", "one judge"]


def edit_index(folder: Path, **changes: object) -> None:
    """Change the first line of the index of images."""
    path = folder / "thumbnails" / "index.json"
    lines = json.loads(path.read_text())
    lines[0] |= changes
    path.write_text(json.dumps(lines))


@pytest.mark.parametrize("how", ["above", "absolute", "link", "no image"])
def test_no_file_outside_the_record_comes_into_the_page(
    stored, tmp_path: Path, astronaut: np.ndarray, how: str
) -> None:
    """A stranger's index names a file of the reader; nothing of it is shown."""
    folder = stored()
    secret = tmp_path / "secret.webp"
    secret.write_bytes(thumbnail(Image.fromarray(255 - astronaut)))
    name = {"above": "../" * 6 + "secret.webp", "absolute": str(secret), "link": "link.webp", "no image": "x.webp"}[how]
    (folder / "thumbnails" / "link.webp").symlink_to(secret)
    (folder / "thumbnails" / "x.webp").write_bytes(b"private words, no image")
    for kind in ("prediction", "truth", "gray"):
        edit_index(folder, **{kind: name})
    text = write_report(folder, headline="auc_raw").read_text()
    assert base64.b64encode(secret.read_bytes()).decode() not in text
    assert base64.b64encode(b"private words, no image").decode()[:20] not in text
    assert text.count("missing, or changed since it was saved") == 3


def test_images_and_an_index_that_were_changed_are_not_shown(stored, astronaut: np.ndarray) -> None:
    folder = stored()
    record = read_record(folder)
    files = [path for path in (folder / "thumbnails").iterdir() if path.is_file()]
    hashes = {f"thumbnails/{path.name}": sha256(path.read_bytes()).hexdigest() for path in files}
    named = record.files.model_copy(update={"saved_images": hashes})
    (folder / "record.json").write_text(record.model_copy(update={"files": named}).model_dump_json())
    assert "missing, or changed" not in write_report(folder, headline="auc_raw").read_text()
    first = json.loads((folder / "thumbnails" / "index.json").read_text())[0]["truth"]
    (folder / "thumbnails" / first).write_bytes(thumbnail(Image.fromarray(255 - astronaut)))
    assert write_report(folder, headline="auc_raw").read_text().count("missing, or changed") == 1
    edit_index(folder, scores={"auc_raw": 99.9})
    assert "index of saved images is missing or was changed" in write_report(folder, headline="auc_raw").read_text()


@pytest.mark.parametrize(
    "index",
    [None, b"", b"[", b"{}", b"[1]", b'[{"id": 3}]', b"\xff\xfe", b"[" * 100_000, b'{"id": "a"}', b"null"],
    ids=["missing", "empty", "cut", "table", "number", "other", "binary", "deep", "keys", "null"],
)
def test_a_missing_or_odd_index_costs_the_images_only(stored, index: bytes | None) -> None:
    folder = stored()
    record = read_record(folder)
    path = folder / "thumbnails" / "index.json"
    if index is None:
        path.unlink()
        named = record.files.model_copy(update={"saved_images": {"thumbnails/index.json": "0" * 64}})
        (folder / "record.json").write_text(record.model_copy(update={"files": named}).model_dump_json())
    else:
        path.write_bytes(index)
    text = write_report(folder, headline="auc_raw").read_text()
    assert "90.46" in text and "<img" not in text
    assert ("saved images are not shown" in text) == (index != b"{}")  # an empty table names no image


@pytest.mark.parametrize("damage", ["cut", "empty", "folder", "other schema"])
def test_a_damaged_record_in_a_neighboring_folder_costs_its_own_numbers_only(
    stored, tmp_path: Path, damage: str
) -> None:
    folder, neighbor = stored(), stored("zoo/gray")
    assert [one.model.name for one in baseline_records(folder, read_record(folder))] == ["zoo/gray"]
    record = neighbor / "record.json"
    text = record.read_text()
    record.unlink()
    if damage == "folder":
        record.mkdir()
    else:
        record.write_text(
            {"cut": text[:100], "empty": "", "other schema": text.replace('"schema_version":2', '"schema_version":9')}[
                damage
            ]
        )
    assert baseline_records(folder, read_record(folder)) == []
    assert "90.46" in write_report(folder, headline="auc_raw").read_text()


def test_it_says_how_many_of_how_many_images_it_shows(stored) -> None:
    text = write_report(stored(), headline="auc_raw").read_text()
    stated = re.search(r"(\d+) of (\d+) images: a fixed random sample, and the best and the worst by auc_raw\.", text)
    assert stated is not None and int(stated[1]) == text.count("<figure>") < int(stated[2])
    assert "--save predictions" in text


def test_a_metric_without_a_value_has_no_row(make_record) -> None:
    record = make_record()
    empty = [one if one.name == "auc_raw" else one.model_copy(update={"value": None}) for one in record.metrics]
    text = page(record.model_copy(update={"metrics": empty}), headline="auc_raw")
    assert text.count('<th scope="row">') == 1 and "auc_raw" in text
