"""From rows to a record: values, intervals, differences, notes, images, and where it all comes from."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from colorbench.data import Dataset, id_hash, prediction_names
from colorbench.errors import UserError
from colorbench.evaluation import RunConfig, metrics_of, record_folder, run
from colorbench.models import ColorPrediction, ModelCard, find_overlap
from colorbench.results import extreme_ids, fixed_ids
from colorbench.results.metric_spec import MetricSpec
from colorbench.results.provenance import collect_provenance
from colorbench.results.record import Record
from colorbench.results.record_pairing import paired_positions
from colorbench.results.saved_image_index import read_index
from colorbench.stats import interval, paired_interval
from colorbench.storage import content_fingerprint
from tests.support.engine import (
    DistanceProtocol,
    Flat,
    Noise,
    TruthTeller,
    loaded,
    with_baselines,
    with_protocol,
)


@pytest.fixture(autouse=True)
def protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, distance=DistanceProtocol())


def measure(dataset: Dataset, output: Path, model: Any, **changes: Any) -> list[Record]:
    values: dict[str, Any] = {"baselines": False, "save": "none", "device": "cpu", "workers": 1, **changes}
    given = model if hasattr(model, "full_name") else loaded(model)
    return run(RunConfig([given], ["distance"], dataset, output=output, **values))


def table_of(output: Path, record: Record) -> pd.DataFrame:
    return pd.read_parquet(record_folder(output, record) / "rows.parquet")


def statistics(table: pd.DataFrame, name: str) -> np.ndarray:
    return table[[f"{name}.s0", f"{name}.s1"]].to_numpy()


def test_values_and_intervals_follow_from_the_rows(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Noise())
    table = table_of(tmp_path, record)
    distance, chroma = record.metrics
    assert distance.value == pytest.approx(table["distance"].mean(), rel=1e-12)
    assert chroma.value == pytest.approx(table["chroma"].mean(), rel=1e-12)
    expected = interval(statistics(table, "distance"), "ratio", bounds=(0, None))
    assert expected is not None
    assert (distance.ci_low, distance.ci_high) == (expected.low, expected.high)
    assert distance.ci_low < distance.value < distance.ci_high
    assert distance.ci_method == f"{expected.method}, 95 %"
    assert (distance.n, distance.effective_n) == (40, 40)
    assert "covers less than 95 %" in str(distance.warning)
    assert record.notes == ["all is well"]


def test_few_images_have_no_interval_and_say_so_first(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Noise(), limit=29)
    assert record.notes == [
        "smoke test on 29 images: scores are not meaningful",
        "all is well",
    ]
    assert all(metric.value is not None for metric in record.metrics)
    assert all((metric.ci_low, metric.ci_high, metric.ci_method) == (None, None, None) for metric in record.metrics)
    assert all(metric.warning is None for metric in record.metrics)


def test_images_without_a_value_drop_out_of_that_metric_alone(crops: Dataset, tmp_path: Path) -> None:
    class HalfGray(Flat):
        def colorize_batch(self, inputs: Any) -> Any:
            colored = torch.tensor([id.startswith("b/") for id in inputs.ids])
            return ColorPrediction(ab=super().colorize_batch(inputs).ab * colored.view(-1, 1, 1, 1))

    (record,) = measure(crops, tmp_path, HalfGray((30, 0)))
    distance, chroma = record.metrics
    assert (distance.n, chroma.n) == (40, 20)
    table = table_of(tmp_path, record)
    assert chroma.value == pytest.approx(table["chroma"][table["id"].str.startswith("b/")].mean())


def test_a_metric_that_no_image_has_is_no_number(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat())
    chroma = record.metrics[1]
    assert (chroma.value, chroma.n, chroma.effective_n, chroma.ci_low) == (None, 0, 0, None)


def test_infinity_is_no_value_of_a_record() -> None:
    spec = MetricSpec("psnr", "PSNR", "dB", True)
    columns = {"psnr.s0": np.full(40, np.inf), "psnr.s1": np.ones(40)}
    (metric,) = metrics_of([spec], columns, {})
    assert (metric.value, metric.ci_low) == (None, None)


def test_a_metric_without_an_honest_interval_has_none() -> None:
    spec = MetricSpec("x", "x", "", True, interval=False)
    columns = {"x.s0": np.arange(40.0), "x.s1": np.ones(40)}
    (metric,) = metrics_of([spec], columns, {"x": 12.5})
    assert (metric.value, metric.ci_low, metric.effective_n, metric.warning) == (19.5, None, 12.5, None)


def test_differences_are_paired_on_the_same_images(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_baselines(monkeypatch)
    measured, gray, constant, truth = measure(crops, tmp_path, Noise(), baselines=True)
    a, b = statistics(table_of(tmp_path, measured), "distance"), statistics(table_of(tmp_path, gray), "distance")
    expected = paired_interval(a, b, "ratio")
    found = measured.differences[0]
    assert (found.metric, found.minus, found.n) == ("distance", "zoo/gray", 40)
    assert found.value == expected.value == pytest.approx(measured.metrics[0].value - gray.metrics[0].value)
    assert expected.interval is not None
    assert (found.ci_low, found.ci_high) == (expected.interval.low, expected.interval.high)
    assert truth.metrics[0].value == 0


@given(st.lists(st.sampled_from("abcd"), max_size=8), st.lists(st.sampled_from("abcd"), max_size=8))
def test_pairing_by_content_gives_each_image_one_partner(measured: list[str], reference: list[str]) -> None:
    pairs = paired_positions(measured, reference).tolist()
    assert all(measured[i] == reference[j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert len(pairs) == sum(min(measured.count(letter), reference.count(letter)) for letter in "abcd")


def test_the_record_is_read_back_as_it_was_and_its_files_are_what_it_says(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat((5, 5)), save="predictions", command=("colorbench", "run"))
    folder = record_folder(tmp_path, record)
    assert Record.model_validate_json((folder / "record.json").read_text()) == record
    named = {"rows.parquet": record.files.rows, **record.files.arrays, **record.files.saved_images}
    assert {name: sha256((folder / name).read_bytes()).hexdigest() for name in named} == named
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = dict(line.split("  ")[::-1] for line in (folder / "predictions.sha256").read_text().splitlines())
    assert {name: sha256((folder / name).read_bytes()).hexdigest() for name in listed} == listed
    assert len(listed) == 40
    assert kept == {*named, *listed, "record.json", "plan.json"}


def test_a_record_refuses_what_it_does_not_know(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat(), limit=2)
    values = json.loads(record.model_dump_json())
    with pytest.raises(ValidationError, match="surprise"):
        Record.model_validate({**values, "surprise": 1})
    values["metrics"][0]["value"] = float("nan")
    with pytest.raises(ValidationError, match="finite"):
        Record.model_validate(values)


def test_what_the_record_says_of_the_data(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat(), limit=7)
    data = record.dataset
    hashes = [sha256(sample.path.read_bytes()).hexdigest() for sample in crops.limit(7).samples]
    assert data.fingerprint == content_fingerprint(hashes)
    assert (data.name, data.n, data.n_evaluated, data.n_gray, data.limit) == ("crops", 7, 7, 0, 7)
    assert (data.preprocessing, data.overlap, data.skipped) == ("squash64", None, [])


def test_the_curve_is_kept(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat(), limit=3)
    (curve,) = record.curves
    assert curve.x == [float(x) for x in range(0, 101, 10)]
    assert sum(curve.y) == pytest.approx(1)
    arrays = np.load(record_folder(tmp_path, record) / "arrays.npz")
    assert arrays["lightness"].shape == (3, 11)
    assert (arrays["lightness"].sum(axis=1) == 64 * 64).all()


# Images


def test_the_gallery_shows_the_same_images_for_every_model(crops: Dataset, tmp_path: Path) -> None:
    shown = []
    for model in (loaded(Flat((40, 40)), "test/a"), loaded(Noise(), "test/b")):
        (record,) = measure(crops, tmp_path, model, save="gallery")
        index = read_index(record_folder(tmp_path, record))
        shown.append({image.id for image in index if "fixed" in image.reasons})
    assert shown[0] == shown[1] == set(sorted((s.id for s in crops.samples), key=id_hash)[:24])


def test_the_gallery_shows_prediction_truth_and_gray(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat((60, 0)), save="gallery")
    folder = record_folder(tmp_path, record) / "thumbnails"
    for image in read_index(folder.parent):
        prediction, truth, gray = (
            np.asarray(Image.open(folder / name).convert("RGB"), dtype=float)
            for name in (image.prediction, image.truth, image.gray)
        )
        original = Image.open(next(s.path for s in crops.samples if s.id == image.id)).convert("RGB")
        assert np.abs(truth - np.asarray(original.resize((64, 64), Image.Resampling.BICUBIC))).mean() < 8
        assert np.ptp(gray, axis=2).max() <= 4
        assert prediction[..., 0].mean() > prediction[..., 1].mean() + 20, "ab = (60, 0) is pink"


def test_the_gallery_holds_the_best_and_the_worst(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, Flat(), save="gallery")
    index = {reason: image for image in read_index(record_folder(tmp_path, record)) for reason in image.reasons}
    ranked = table_of(tmp_path, record).sort_values("distance")["id"].tolist()
    assert [index[f"distance best {i}"].id for i in (1, 2, 3, 4)] == ranked[:4]
    assert [index[f"distance worst {i}"].id for i in (1, 2, 3, 4)] == ranked[:-5:-1]
    assert index["distance worst 1"].scores["chroma"] is None


def test_extremes_leave_out_what_has_no_score_and_break_ties_by_hash() -> None:
    ids = [f"{i}.jpg" for i in range(6)]
    scores = np.array([1, np.nan, 3, 3, 2, 0.5])
    tied = sorted(["2.jpg", "3.jpg"], key=id_hash)
    assert extreme_ids(ids, scores, higher_is_better=True) == {"best": tied, "worst": ["5.jpg", "0.jpg"]}
    assert extreme_ids(ids, scores, higher_is_better=False) == {"best": ["5.jpg", "0.jpg"], "worst": tied}
    assert extreme_ids(ids, scores, higher_is_better=None) == {}
    assert len(fixed_ids(ids)) == 6


def test_predictions_are_the_predictions_pixel_by_pixel(crops: Dataset, tmp_path: Path) -> None:
    (record,) = measure(crops, tmp_path, TruthTeller(), save="predictions", limit=3)
    for sample in crops.limit(3).samples:
        stored = Image.open(record_folder(tmp_path, record) / "predictions" / Path(sample.id).with_suffix(".png"))
        squashed = Image.open(sample.path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(squashed))


def test_stored_predictions_score_as_the_model_that_made_them(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = measure(crops, tmp_path, Noise(), save="predictions", limit=5)
    name = f"images:{record_folder(tmp_path, record) / 'predictions'}"
    (stored,) = run(
        RunConfig([name], ["distance"], crops, output=tmp_path, baselines=False, save="none", device="cpu", limit=5)
    )
    rows = table_of(tmp_path, stored)
    assert rows.pop("lightness_gap").max() < 5  # what clipping and rounding leave
    pd.testing.assert_frame_equal(rows, table_of(tmp_path, record), check_exact=True)
    assert stored.model.weights_sha256


def test_names_of_predictions_are_unique() -> None:
    assert prediction_names(["x/a.jpg", "x/b.jpg", "x/b.png"]) == {
        "x/a.jpg": "x/a.png",
        "x/b.jpg": "x/b.jpg.png",
        "x/b.png": "x/b.png.png",
    }


# Where it comes from


def test_overlap_counts_evaluated_images_among_the_training_images(tmp_path: Path) -> None:
    hashes = [sha256(bytes([i])).hexdigest() for i in range(6)]
    path = tmp_path / "hashes.npy"
    first_eight_bytes = [bytes.fromhex(hash)[:8] for hash in hashes[:4]]
    np.save(path, np.frombuffer(b"".join(first_eight_bytes), dtype=">u8").astype(np.uint64))
    card = ModelCard(title="trained", training_hashes=str(path))
    assert find_overlap(card, hashes[2:]) == 2
    assert find_overlap(card, []) == 0
    assert find_overlap(ModelCard(title="unknown"), hashes) is None


def test_unreadable_training_hashes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "hashes.npy"
    for content, message in ((None, "cannot be read"), (b"nonsense", "cannot be read"), (np.zeros(3), "uint64")):
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            np.save(path, content)
        with pytest.raises(UserError, match=message):
            find_overlap(ModelCard(title="x", training_hashes=str(path)), ["0" * 64])
    with pytest.raises(UserError, match="no_such_package"):
        find_overlap(ModelCard(title="x", training_hashes="no_such_package:hashes.npy"), ["0" * 64])


def test_provenance_names_versions_and_command_but_no_machine() -> None:
    import platform
    from importlib.metadata import version

    found = collect_provenance(["colorbench", "run"], ["scikit-image", None, "no-such-package"])
    assert found.command == ["colorbench", "run"]
    assert found.packages["torch"] == version("torch")
    assert found.packages["scikit-image"] == version("scikit-image")
    assert "no-such-package" not in found.packages
    assert found.python == platform.python_version()
    assert platform.node() not in found.platform.split()


def test_importing_colorbench_imports_no_torch() -> None:
    code = "import sys, colorbench; print(colorbench.__version__, 'torch' in sys.modules, 'pydantic' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split()[1:] == ["False", "False"]


def test_a_notebook_measures_with_one_call(crops: Dataset, tmp_path: Path) -> None:
    import colorbench

    record = colorbench.run(
        loaded(Flat()), "distance", crops, parameters={"free": 4}, output=tmp_path, baselines=False, limit=3
    )
    assert record.protocol.parameters["free"] == 4
    assert record.dataset.n_evaluated == 3
    with pytest.raises(AttributeError, match="attribute .*rum"):
        colorbench.rum  # noqa: B018
