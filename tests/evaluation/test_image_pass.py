"""The one pass: what models are shown, what is checked, and that nothing depends on how images are batched."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from colorbench.data import Dataset, Sample
from colorbench.errors import RunError, UserError
from colorbench.evaluation import pending_shards
from colorbench.evaluation.runner import record_folder
from colorbench.models import ColorPrediction
from colorbench.models.sampled_and_guided_predictions import seed_of
from colorbench.results import Record
from tests.support.engine import (
    DistanceProtocol,
    DistanceScorer,
    Flat,
    Listening,
    TruthTeller,
    evaluate,
    loaded,
    read_folder,
    with_baselines,
    with_protocol,
    write_images,
)

pytestmark = pytest.mark.usefixtures("only_the_pass")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colorbench.results.shard.SHARD", 16)


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> DistanceProtocol:
    protocol = DistanceProtocol()
    with_protocol(monkeypatch, distance=protocol)
    return protocol


def rows(output: Path, record: Record) -> pd.DataFrame:
    return pd.read_parquet(record_folder(output, record) / "rows.parquet")


def test_only_references_are_shown_the_truth(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    competitor, reference = Flat(), Flat(role="reference")
    evaluate(crops, tmp_path, loaded(competitor, "test/a"), loaded(reference, "test/b"))
    assert all(inputs.truth is None for inputs in competitor.seen)
    assert all(inputs.truth.dtype == torch.uint8 for inputs in reference.seen)
    assert all(inputs.truth.shape == (len(inputs.ids), 3, 64, 64) for inputs in reference.seen)


def test_a_reference_that_repeats_the_truth_is_at_distance_zero(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol
) -> None:
    (record,) = evaluate(crops, tmp_path, TruthTeller())
    assert record.metrics[0].value == 0


def test_every_image_is_colorized_once_and_no_batch_crosses_a_shard(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol
) -> None:
    model, listener = Flat(), Listening()
    evaluate(crops, tmp_path, model, listener=listener, batch_size=12)
    ids = [sample.id for sample in crops.samples]
    assert model.ids == ids
    assert [len(inputs.ids) for inputs in model.seen] == [12, 4, 12, 4, 8]
    assert listener.total == listener.done == 40


def test_models_and_protocols_share_the_decode(crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_protocol(monkeypatch, one=DistanceProtocol(), distance=DistanceProtocol())
    decoded: list[str] = []
    original = pending_shards.load_batches

    def counting(samples: Any, *arguments: Any, **keywords: Any) -> Any:
        decoded.extend(sample.id for sample in samples)
        return original(samples, *arguments, **keywords)

    monkeypatch.setattr(pending_shards, "load_batches", counting)
    first, second = Flat(), Flat((5, 5))
    evaluate(
        crops,
        tmp_path,
        loaded(first, "test/a"),
        loaded(second, "test/b"),
        protocols=["one", "distance"],
        parameters={"one": {"free": 1}},
    )
    assert decoded == first.ids == second.ids == [sample.id for sample in crops.samples]


def test_seeds_belong_to_contents(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    model = Flat()
    evaluate(crops, tmp_path, model, seed=3, batch_size=5)
    shown = {id: seed for inputs in model.seen for id, seed in zip(inputs.ids, inputs.seeds, strict=True)}
    # By content: a set whose files have other names gives the same predictions.
    contents = {sample.id: sha256(sample.path.read_bytes()).hexdigest() for sample in crops.samples}
    assert shown == {id: seed_of(3, content) for id, content in contents.items()}
    assert len(set(shown.values())) == 40
    assert all(0 <= seed < 2**63 for seed in shown.values())
    assert seed_of(4, "a.jpg") != seed_of(3, "a.jpg")


def test_rows_are_what_the_files_and_the_model_say(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    from hashlib import sha256

    from PIL import Image

    (record,) = evaluate(crops, tmp_path, Flat())
    table = rows(tmp_path, record)
    assert list(table.columns[:6]) == ["id", "sha256", "label", "gray", "height", "width"]
    assert table["id"].tolist() == [sample.id for sample in crops.samples]
    assert table["sha256"].tolist() == [sha256(sample.path.read_bytes()).hexdigest() for sample in crops.samples]
    sizes = [Image.open(sample.path).size for sample in crops.samples]
    assert list(zip(table["width"], table["height"], strict=True)) == sizes
    # Of a gray answer, the distance to the truth is the truth's chroma.
    truth = Image.open(crops.samples[5].path).convert("RGB").resize((64, 64), Image.Resampling.BICUBIC)
    from skimage.color import rgb2lab

    chroma = np.linalg.norm(rgb2lab(np.asarray(truth))[..., 1:], axis=-1).mean()
    assert table["distance"][5] == pytest.approx(chroma, abs=0.5)


class Wrong(Flat):
    """Answers wrongly from the 20th image on."""

    def __init__(self, spoil: Any) -> None:
        super().__init__()
        self.spoil = spoil

    def colorize_batch(self, inputs: Any) -> ColorPrediction:
        right = super().colorize_batch(inputs)
        return self.spoil(right.ab.clone()) if len(self.ids) > 20 else right


def nan_in_the_third(ab: torch.Tensor) -> ColorPrediction:
    ab[2, 1, 7, 7] = float("nan")
    return ColorPrediction(ab=ab)


WRONG = {
    "NaN": (nan_in_the_third, "NaN or infinity", 2),
    "infinity": (lambda ab: ColorPrediction(ab=ab / 0 + float("inf")), "NaN or infinity", 0),
    "no color": (lambda ab: ColorPrediction(ab=ab + 1e6), "farther than", 0),
    "size": (lambda ab: ColorPrediction(ab=ab[..., ::2, ::2]), "(4, 2, 32, 32)", 0),
    "count": (lambda ab: ColorPrediction(ab=ab[:1]), "(1, 2, 64, 64)", 0),
    "whole numbers": (lambda ab: ColorPrediction(ab=ab.long()), "torch.int64", 0),
    "numpy": (lambda ab: ColorPrediction(ab=ab.numpy()), "ndarray", 0),
    "rgb as floats": (lambda ab: ColorPrediction(rgb8=ab[:, [0, 0, 1]]), "torch.float32", 0),
    "both": (lambda ab: ColorPrediction(ab=ab, rgb8=ab), "both ab and rgb8", 0),
    "neither": (lambda ab: ColorPrediction(), "neither ab nor rgb8", 0),
    "nothing": (lambda ab: None, "neither ab nor rgb8", 0),
    "an exception": (lambda ab: ab.no_such_thing, "AttributeError", 0),
}


@pytest.mark.parametrize("case", WRONG, ids=list(WRONG))
def test_a_wrong_prediction_is_one_line_and_keeps_the_finished_shards(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol, case: str
) -> None:
    spoil, message, position = WRONG[case]
    with pytest.raises(RunError) as caught:
        evaluate(crops, tmp_path, Wrong(spoil), batch_size=4)
    line = str(caught.value)
    assert caught.value.exit_code == 1
    assert "\n" not in line
    assert "test/model" in line
    assert message in line
    assert crops.samples[20 + position].id in line
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["00000.npz"], "the first shard was finished"
    again = Wrong(spoil)
    with pytest.raises(RunError):
        evaluate(crops, tmp_path, again, batch_size=4)
    assert again.ids[0] == crops.samples[16].id, "and is gone on from"


def test_a_column_with_more_than_a_number_each_is_refused(
    crops: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: DistanceProtocol
) -> None:
    right = DistanceScorer.score

    def wrong(self: DistanceScorer, colorization: Any) -> Any:
        scored = right(self, colorization)
        scored.columns["distance"] = np.stack([scored.columns["distance"]] * 2, axis=1)
        return scored

    monkeypatch.setattr(DistanceScorer, "score", wrong)
    with pytest.raises(RunError, match="protocol distance gave column distance in 2 dimensions, not in one"):
        evaluate(crops, tmp_path, Flat())


def test_a_model_that_writes_into_its_input_changes_no_truth(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol
) -> None:
    class Vandal(Flat):
        def colorize_batch(self, inputs: Any) -> ColorPrediction:
            prediction = super().colorize_batch(inputs)
            inputs.lightness.zero_()
            return prediction

    (honest,) = evaluate(crops, tmp_path / "a", Flat())
    (spoiled,) = evaluate(crops, tmp_path / "b", Vandal())
    assert spoiled.metrics == honest.metrics


def test_images_that_cannot_be_read_are_named_and_cost_no_other(tmp_path: Path, protocol: DistanceProtocol) -> None:
    full = write_images(tmp_path / "full", 34)
    write_images(tmp_path / "broken", 34)
    (tmp_path / "broken" / "a" / "000.jpg").write_bytes(b"this is not an image")
    broken = read_folder(tmp_path / "broken")
    (all_good,) = evaluate(full, tmp_path / "runs", Flat())
    (one_bad,) = evaluate(broken, tmp_path / "runs", Flat())
    assert [skipped.id for skipped in one_bad.dataset.skipped] == ["a/000.jpg"]
    assert one_bad.dataset.skipped[0].reason
    assert (one_bad.dataset.n, one_bad.dataset.n_evaluated) == (34, 33)
    pd.testing.assert_frame_equal(
        rows(tmp_path / "runs", one_bad), rows(tmp_path / "runs", all_good)[1:].reset_index(drop=True)
    )


def test_a_set_without_one_good_image_fails(tmp_path: Path, protocol: DistanceProtocol) -> None:
    (tmp_path / "a.jpg").write_bytes(b"this is not an image")
    with pytest.raises(RunError, match=r"none of the images could be evaluated \(the first: a.jpg"):
        evaluate(read_folder(tmp_path), tmp_path / "runs", Flat())


def test_gray_images_are_counted_or_dropped(tmp_path: Path, protocol: DistanceProtocol) -> None:
    from PIL import Image

    write_images(tmp_path / "set", 6)
    Image.open(tmp_path / "set" / "a" / "000.jpg").convert("L").save(tmp_path / "set" / "gray.jpg")
    data = read_folder(tmp_path / "set")
    (kept,) = evaluate(data, tmp_path / "runs", Flat(), gray_policy="keep")
    (dropped,) = evaluate(data, tmp_path / "runs", Flat(), gray_policy="drop")
    assert (kept.dataset.n_gray, kept.dataset.n_evaluated) == (1, 7)
    assert (dropped.dataset.n_gray, dropped.dataset.n_evaluated) == (1, 6)
    assert [skipped.id for skipped in dropped.dataset.skipped] == ["gray.jpg"]


def test_baselines_run_in_the_same_pass_and_are_kept_for_the_next_model(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    baselines = with_baselines(monkeypatch)
    records = evaluate(crops, tmp_path, Flat((3, 4)), baselines=True)
    assert [record.model.name for record in records] == ["test/model", "zoo/gray", "zoo/constant", "zoo/ground-truth"]
    differences = [(difference.metric, difference.minus) for difference in records[0].differences]
    # Gray has no chroma, so that there is none to differ from.
    assert differences == [("distance", "zoo/gray"), ("distance", "zoo/constant"), ("chroma", "zoo/constant")]
    assert [difference.minus for difference in records[2].differences] == ["zoo/gray"]
    assert records[1].differences == []
    assert len(baselines["zoo/gray"].ids) == 40
    baselines = with_baselines(monkeypatch)  # loaded anew, as another command would
    again = evaluate(crops, tmp_path, loaded(Flat((6, 8)), "test/other"), baselines=True)
    assert again[1:] == records[1:]
    assert baselines["zoo/gray"].ids == []


def test_limit_takes_the_ids_of_smallest_hash(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    model = Flat()
    (record,) = evaluate(crops, tmp_path, model, limit=10)
    assert model.ids == [sample.id for sample in crops.limit(10).samples]
    assert record.dataset.limit == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "--model is required"),
        ({"protocols": []}, "--protocol is required"),
        ({"batch_size": 0}, "--batch-size must be at least 1"),
        ({"threads": 0}, "--threads must be at least 1"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"save": "everything"}, "--save cannot be 'everything'"),
        ({"gray_policy": "love"}, "--gray cannot be"),
        ({"dtype": "int4"}, "unknown dtype 'int4'"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"protocols": ["distance@none"]}, "no preset 'none'.*distance@other"),
        ({"parameters": {"auc": {"prior": "x"}}}, "parameters of a protocol that is not run: auc"),
        ({"data": Dataset("empty", ())}, "there are no images"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    crops: Dataset, tmp_path: Path, protocol: DistanceProtocol, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        evaluate(crops, tmp_path, Flat(), **changes)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_presets_and_parameters_reach_the_protocol(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    (plain,) = evaluate(crops, tmp_path, Flat())
    (preset,) = evaluate(crops, tmp_path, Flat(), protocols=["distance@other"])
    (given,) = evaluate(crops, tmp_path, Flat(), parameters={"distance": {"free": 1}})
    assert plain.protocol.parameters["free"] == 0
    assert preset.protocol.parameters["free"] == 1
    assert given.key == preset.key != plain.key
    assert given.protocol.identity_sha256 != plain.protocol.identity_sha256


def test_a_missing_file_is_skipped_with_its_reason(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    gone = Sample("z.jpg", tmp_path / "z.jpg")
    (record,) = evaluate(Dataset("crops", (*crops.samples, gone)), tmp_path / "runs", Flat())
    assert [skipped.id for skipped in record.dataset.skipped] == ["z.jpg"]


def test_threads_are_restored(crops: Dataset, tmp_path: Path, protocol: DistanceProtocol) -> None:
    before = torch.get_num_threads()
    (record,) = evaluate(crops, tmp_path, Flat(), threads=before + 1, limit=2)
    assert record.execution.threads == before + 1
    assert torch.get_num_threads() == before
    assert torch.is_grad_enabled()
