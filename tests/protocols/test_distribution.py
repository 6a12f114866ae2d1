"""The distribution protocol: its numbers by plain loops, what it refuses, and what its name says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor

from colorbench import compare, verify
from colorbench.data import Dataset, get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, ImageProtocol, Prediction, RunConfig, Scorer, record_folder, run
from colorbench.models import load_classifier, save_weights
from colorbench.storage import file_sha256
from protocols.distribution import DistributionProtocol, DistributionScorer
from protocols.distribution.distribution_presets import PRESETS
from protocols.distribution.inception import RANGES, RESIZES
from tests.support.engine import write_images
from tests.support.records import edit_record

NOTHING = Dataset("nothing", ())


@pytest.fixture(scope="session")
def backend(tmp_path_factory: pytest.TempPathFactory) -> str:
    """timm's smallest network with drawn weights."""
    path = tmp_path_factory.mktemp("weights") / "drawn.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("test_resnet").eval()
    save_weights(network.state_dict(), path)
    return f"test_resnet:{path}"


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_images(tmp_path_factory.mktemp("crops"), 34)


def scorer(**parameters: Any) -> DistributionScorer:
    return DistributionProtocol().resolve(parameters, NOTHING)


def truth_of(count: int = 8, side: int = 40) -> GroundTruth:
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.integers(0, 256, (count, 3, 5, 5), dtype=np.uint8)).float()
    rgb8 = torch.nn.functional.interpolate(small, size=(side, side), mode="bilinear").to(torch.uint8)
    return GroundTruth(tuple(f"{i}.png" for i in range(count)), rgb8)


def half(truth: GroundTruth) -> Prediction:
    return Prediction(truth, ab=truth.ab / 2)


def by_loops(x: Tensor, y: Tensor) -> float:
    a, b = x.double().numpy(), y.double().numpy()

    def k(one: np.ndarray, other: np.ndarray) -> float:
        return (float(one @ other) / a.shape[1] + 1) ** 3

    pairs = list(itertools.permutations(range(len(a)), 2))
    return 1000 * float(np.mean([k(a[i], a[j]) + k(b[i], b[j]) - k(a[i], b[j]) - k(b[i], a[j]) for i, j in pairs]))


@pytest.mark.parametrize("layer", ["pool", "layer3"])
def test_the_distance_is_that_of_the_classifiers_features(backend: str, layer: str) -> None:
    truth, s = truth_of(), scorer(backend=backend, layer=layer)
    scored = s.score(half(truth))
    classifier = load_classifier(backend)
    expected = [classifier.features(rgb8, layer) for rgb8 in (half(truth).rgb8, truth.rgb8)]
    np.testing.assert_array_equal(scored.arrays["features"], expected[0])
    np.testing.assert_array_equal(scored.arrays["features_of_truth"], expected[1])
    summary = s.summarize(scored.columns, scored.arrays)
    assert summary.statistics is not None
    assert summary.statistics["kid_paired"].mean() == pytest.approx(by_loops(*expected), rel=1e-9)
    assert summary.statistics["kid_paired.s1"].tolist() == [1.0] * 8
    assert f"layer {layer}, bicubic 160" in summary.notes[0] and "n 8" in summary.notes[0]


def test_the_truth_is_exactly_0_whoever_gives_it(backend: str) -> None:
    truth, s = truth_of(), scorer(backend=backend)
    for given in (Prediction(truth, rgb8=truth.rgb8), Prediction(truth, rgb8=truth.rgb8.clone())):
        scored = s.score(given)
        statistics = s.summarize(scored.columns, scored.arrays).statistics
        assert statistics is not None and statistics["kid_paired"].tolist() == [0.0] * 8


def test_batches_leave_no_trace(backend: str) -> None:
    truth, s = truth_of(), scorer(backend=backend)
    together = s.score(half(truth)).arrays
    for i in range(8):
        part = GroundTruth((truth.ids[i],), truth.rgb8[i : i + 1])
        alone = s.score(Prediction(part, rgb8=half(truth).rgb8[i : i + 1])).arrays
        for name, values in together.items():
            np.testing.assert_array_equal(alone[name], values[i : i + 1])


def test_a_frechet_distance_needs_images_and_never_ranks(backend: str) -> None:
    truth = truth_of()
    for allowed in ("no", "yes"):
        s = scorer(backend=backend, allow_biased=allowed)
        scored = s.score(half(truth))
        summary = s.summarize(scored.columns, scored.arrays)
        assert summary.statistics is not None
        value, floor = (summary.statistics[f"{name}.s0"] for name in ("frechet", "frechet_floor"))
        d = scored.arrays["features"].shape[1]
        assert np.isnan(value).all() == np.isnan(floor).all() == (allowed == "no")
        note = summary.notes[1]
        if allowed == "no":
            assert f"{5 * d} for {d} features, and there are 8" in note
        else:
            assert f"8 images and {d} features and is biased" in note and "two halves" in note
            assert (value > 0).all() and (floor > 0).all()
    few = {"features": np.random.default_rng(0).random((30, 6)).astype(np.float32)}
    few["features_of_truth"] = few["features"][::-1].copy()
    summary = scorer(backend=backend).summarize({}, few)  # 5 * 6 images are enough
    assert summary.statistics is not None
    assert summary.statistics["frechet.s0"] == pytest.approx([0.0] * 30, abs=1e-6)
    assert "biased" not in summary.notes[1]
    specs = {metric.name: metric for metric in scorer(backend=backend).metrics}
    assert not (specs["frechet"].comparable or specs["frechet"].interval)


def test_everything_that_decides_the_number_is_identity(backend: str, tmp_path: Path) -> None:
    """Other weights, layer, size, or reference: another identity, so another column."""
    other = tmp_path / "drawn.safetensors"
    network = timm.create_model("test_resnet")
    save_weights(network.state_dict(), other)
    data = write_images(tmp_path / "set", 3)
    variants = [
        {"backend": backend},
        {"backend": f"test_resnet:{other}"},  # the same name, other weights
        {"backend": backend, "layer": "layer3"},
        {"backend": backend, "resize": "timm"},
        {"backend": backend, "preprocessing": "squash64"},
        {"backend": backend, "reference": str(data.samples[0].path.parent)},
        {"backend": backend, "allow_biased": "yes"},
    ]
    identities = [str(scorer(**one).identity) for one in variants]
    assert len(set(identities)) == len(variants)
    names = [scorer(**one).name(10) for one in variants[:-1]]
    assert len(set(names)) == len(names)


def test_other_images_as_reference(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "set", 12)
    truth, s = truth_of(), scorer(backend=backend, reference=str(tmp_path / "set"), preprocessing="squash40")
    scored = s.score(half(truth))
    assert list(scored.arrays) == ["features"]
    summary = s.summarize(scored.columns, scored.arrays)
    assert summary.statistics is not None and not np.isnan(summary.statistics["kid"]).any()
    assert "reference" in summary.notes[0] and "of 12 images" in summary.notes[0]
    assert [metric.name for metric in s.metrics] == ["kid", "frechet"]
    # The features are kept: the images are not read again.
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    assert np.load(kept).shape == (12, scored.arrays["features"].shape[1])
    again = scorer(backend=backend, reference=str(tmp_path / "set"), preprocessing="squash40")
    monkeypatch.setattr(type(again.reference), "_made", None)
    np.testing.assert_array_equal(again.summarize({}, scored.arrays).statistics["kid"], summary.statistics["kid"])  # type: ignore[index]
    for image in (tmp_path / "set").rglob("*"):
        if image.is_file():
            image.write_bytes(image.read_bytes() + b"0")
    assert again.identity != scorer(backend=backend, reference=str(tmp_path / "set"), preprocessing="squash40").identity
    with pytest.raises(UserError, match="no folder"):
        scorer(backend=backend, reference=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layer": "layer9"}, "has no layer 'layer9'"),
        ({"resize": "tf"}, "distribution.resize cannot be 'tf' with test_resnet.*own or timm"),
        ({"range": "ct2"}, "distribution.range cannot be 'ct2'"),
        ({"allow_biased": "maybe"}, "Choose no or yes"),
        ({"backend": "test_resnt"}, "Did you mean test_resnet"),
        ({"backendd": "x"}, "Did you mean `backend`"),
    ],
)
def test_bad_parameters_are_named(backend: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scorer(**{"backend": backend, **given})


def measured(backend: str, data: Dataset, output: Path, *models: str, **parameters: str) -> list[Any]:
    request = RunConfig(
        models=models,
        protocols=("distribution",),
        data=data,
        parameters={"distribution": {"backend": backend, "preprocessing": "squash48", **parameters}},
        output=output,
        save="none",
        threads=1,
        workers=0,
    )
    return run(request)


def test_records_hold_intervals_are_compared_and_verified(backend: str, crops: Dataset, tmp_path: Path) -> None:
    records = {one.model.name: one for one in measured(backend, crops, tmp_path, "zoo/half-chroma", "zoo/random")}
    truth = {metric.name: metric for metric in records["zoo/ground-truth"].metrics}
    assert truth["kid_paired"].value == truth["kid_paired"].ci_low == truth["kid_paired"].ci_high == 0
    assert truth["frechet"].value is None
    for name in ("zoo/half-chroma", "zoo/random"):
        metric = next(one for one in records[name].metrics if one.name == "kid_paired")
        assert metric.ci_low is not None and metric.value is not None and metric.ci_high is not None
        assert metric.ci_low < metric.value < metric.ci_high and metric.n == 34
        assert {one.minus for one in records[name].differences if one.metric == "kid_paired"} >= {"zoo/gray"}
        found = verify(record_folder(tmp_path, records[name]), data=crops, rerun=2, seed=1)
        assert found.holds, found
    forged = record_folder(tmp_path, records["zoo/random"])
    arrays = dict(np.load(forged / "arrays.npz"))
    arrays["features"] = arrays["features_of_truth"]
    np.savez(forged / "arrays.npz", **arrays)
    edit_record(
        forged, lambda record: record["files"]["arrays"].update({"arrays.npz": file_sha256(forged / "arrays.npz")})
    )
    found = verify(forged, data=crops, rerun=2, seed=1)
    wrong = [check.detail for check in found.checks if check.outcome == "fails"]
    assert any("kid_paired" in one and "arrays of the whole set" in one for one in wrong)
    assert any("the array features" in one for one in wrong)
    compared = compare(*(record_folder(tmp_path, records[f"zoo/{name}"]) for name in ("half-chroma", "gray")))
    (test,) = [one for one in compared.tests if one.metric == "kid_paired"]
    assert test.p is not None and test.ci_low is not None and test.difference < 0
    assert "frechet" not in {one.metric for one in compared.tests}


def test_lossy_predictions_are_refused_unless_told(backend: str, crops: Dataset, tmp_path: Path) -> None:
    few = Dataset("few", crops.samples[:4])
    for suffix in ("png", "jpg"):
        for sample in few.samples:
            path = (tmp_path / suffix / sample.id).with_suffix(f".{suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(sample.path).save(path)
    png, jpeg = (f"images:{tmp_path / suffix}" for suffix in ("png", "jpg"))
    with pytest.raises(UserError, match=r"4 of 4 predictions are stored lossily.*PNG.*lossy=allow"):
        measured(backend, few, tmp_path / "runs", jpeg)
    exact = measured(backend, few, tmp_path / "runs", png)[0]
    told = measured(backend, few, tmp_path / "runs", jpeg, lossy="allow")[0]
    values = [one.metrics[0].value for one in (exact, told)]
    assert values[0] == pytest.approx(0, abs=1e-9) and abs(values[1]) > 1e-6
    # The two stand in columns of their own.
    assert exact.protocol.identity_sha256 != told.protocol.identity_sha256


def test_it_is_what_the_engine_asks_for(backend: str) -> None:
    assert isinstance(DistributionProtocol(), ImageProtocol)
    assert isinstance(scorer(backend=backend), Scorer)
    for metric in (*DistributionProtocol.spec.metrics, *scorer(backend=backend).metrics):
        assert metric.explanation.endswith(".")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_name_networks_and_ranges_that_there_are(name: str) -> None:
    chosen = DistributionProtocol.spec.resolved(PRESETS[name].parameters)
    get_preprocessing(chosen["preprocessing"])
    assert chosen["resize"] in RESIZES[chosen["backend"]] and chosen["range"] in RANGES[chosen["backend"]]  # type: ignore[index]
    assert DistributionProtocol.spec.preset_of(chosen) == f"distribution@{name}"
    assert set(PRESETS[name].source.metrics) <= {metric.name for metric in DistributionProtocol.spec.metrics}
    assert re.search(r"[\w-]+/[\w-]+ at [0-9a-f]{7}, ", PRESETS[name].source.source)
