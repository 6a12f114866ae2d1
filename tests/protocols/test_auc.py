"""The auc protocol: its scores against plain loops, and the known figures of gray."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, chelsea, coffee, rocket

from colorbench.color import ab_bins, load_prior, nearest_bin, rebalancing_weights
from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import BatchScores, GroundTruth, ImageProtocol, Prediction, Scorer, Summary
from colorbench.stats import estimate
from protocols.auc import AucProtocol, AucScorer

SHARED = Path(__file__).resolve().parents[3] / "shared"
OFFICIAL = SHARED / "reference" / "prior_probs.npy"
ILSVRC = SHARED / "data" / "ilsvrc_val650" / "images"
NONE = Dataset("none", ())
METRICS = ("auc_raw", "auc_rebalanced", "auc_rebalanced_stable")


def images() -> torch.Tensor:
    """(4, 3, 96, 80) uint8."""
    images = [image()[20:212:2, 40:200:2] for image in (astronaut, chelsea, coffee, rocket)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def truth_of(rgb8: torch.Tensor) -> GroundTruth:
    return GroundTruth(tuple(f"{i}.png" for i in range(len(rgb8))), rgb8)


def half_chroma(truth: GroundTruth) -> Prediction:
    return Prediction(truth, ab=truth.ab / 2)


def gray(truth: GroundTruth) -> Prediction:
    return Prediction(truth, ab=torch.zeros_like(truth.ab))


def scorer(**parameters: Any) -> AucScorer:
    return AucProtocol().resolve(parameters, NONE)


def together(batches: list[BatchScores]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns and arrays of all images, as the engine joins them."""
    columns = {name: np.concatenate([b.columns[name] for b in batches]) for name in batches[0].columns}
    arrays = {name: np.concatenate([b.arrays[name] for b in batches]) for name in batches[0].arrays}
    return columns, arrays


def pooled(columns: dict[str, np.ndarray], name: str) -> float:
    return estimate(np.stack([columns[f"{name}.s0"], columns[f"{name}.s1"]], axis=1), "ratio")


def summary_of(scorer: AucScorer, batch: BatchScores) -> Summary:
    return scorer.summarize(*together([batch]))


def made_prior(path: Path) -> Path:
    """A prior that is nearly natural: falling with the distance of the bin from gray."""
    p = np.exp(-np.linalg.norm(ab_bins().double().numpy(), axis=1) / 15)
    np.save(path, p / p.sum())
    return path


def curve_by_loop(predicted: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor) -> np.ndarray:
    """(N, 2, 151) of every image: weighted share of pixels within each threshold, and of all pixels."""
    distance = ((predicted - truth) ** 2).sum(dim=1).sqrt()
    within = [((distance <= t) * weight).mean(dim=(1, 2)) for t in range(151)]
    return torch.stack([torch.stack(within, 1), weight.mean(dim=(1, 2))[:, None].expand(-1, 151)], 1).numpy()


def test_it_is_what_the_engine_runs() -> None:
    assert isinstance(AucProtocol(), ImageProtocol)
    assert isinstance(scorer(), Scorer)
    assert AucProtocol.spec.headline in [metric.name for metric in AucProtocol.spec.metrics]
    assert not next(m for m in scorer().metrics if m.name == "auc_rebalanced").comparable


@pytest.mark.parametrize(("name", "lam"), [("auc_raw", None), ("auc_rebalanced", 0.0), ("auc_rebalanced_stable", 0.1)])
@pytest.mark.parametrize("convention", ["trapezoid", "exact"])
def test_scores_and_curves_equal_the_plain_loop(name: str, lam: float | None, convention: str, tmp_path: Path) -> None:
    prior = load_prior(made_prior(tmp_path / "p.npy")).probabilities
    weights = np.ones(313) if lam is None else rebalancing_weights(prior, lam)
    truth = truth_of(images())
    prediction = half_chroma(truth)
    auc = scorer(prior=tmp_path / "p.npy", convention=convention)
    columns, arrays = together([auc.score(prediction)])

    weight = torch.from_numpy(weights)[nearest_bin(truth.ab)]
    curves = curve_by_loop(prediction.ab, truth.ab, weight)
    if convention == "trapezoid":
        numerator = 100 * np.trapezoid(curves[:, 0], axis=1) / 150
    else:
        distance = ((prediction.ab - truth.ab) ** 2).sum(dim=1).sqrt().double()
        numerator = 100 * (weight * (1 - distance.clamp(max=150) / 150)).mean(dim=(1, 2)).numpy()
    denominator = curves[:, 1, 0]
    np.testing.assert_allclose(columns[name], numerator / denominator, rtol=0, atol=1e-6)
    assert pooled(columns, name) == pytest.approx(numerator.sum() / denominator.sum(), abs=1e-6)

    summary = auc.summarize(columns, arrays)
    curve = next(curve for curve in summary.curves if curve.name == name)
    assert curve.x == tuple(range(151))
    np.testing.assert_allclose(curve.y, 100 * curves[:, 0].sum(0) / curves[:, 1].sum(0), rtol=0, atol=1e-9)
    assert summary.effective_n[name] == pytest.approx(denominator.sum() ** 2 / (denominator**2).sum())


def test_truth_gives_100_everywhere() -> None:
    truth = truth_of(images())
    for convention in ("trapezoid", "exact"):
        columns = scorer(convention=convention).score(Prediction(truth, rgb8=truth.rgb8)).columns
        for name in METRICS:
            np.testing.assert_allclose(columns[name], 100, rtol=1e-12)


def test_batches_leave_no_trace() -> None:
    truth = truth_of(images())
    auc = scorer()
    full = together([auc.score(half_chroma(truth))])
    parts = []
    for start, end in ((0, 1), (1, 4)):
        parts.append(auc.score(half_chroma(replace(truth, ids=truth.ids[start:end], rgb8=truth.rgb8[start:end]))))
    for all_at_once, joined in zip(full, together(parts), strict=True):
        assert all_at_once.keys() == joined.keys()
        for name in all_at_once:
            np.testing.assert_allclose(all_at_once[name], joined[name], rtol=1e-10, err_msg=name)


def test_what_is_stored_gives_the_other_convention() -> None:
    truth = truth_of(images())
    stored = scorer().score(half_chroma(truth)).arrays
    exact = scorer(convention="exact").score(half_chroma(truth))
    score = 100 * (1 - stored["bin_distance"].sum(axis=1) / (150 * stored["bin_counts"].sum(axis=1)))
    np.testing.assert_allclose(score, exact.columns["auc_raw"], rtol=0, atol=1e-9)
    assert not np.allclose(score, scorer().score(half_chroma(truth)).columns["auc_raw"], rtol=0, atol=1e-3)


def test_colors_that_no_screen_shows_are_scored_as_seen_unless_asked() -> None:
    truth = truth_of(images())
    wild = Prediction(truth, ab=truth.ab + 300)
    assert (scorer(ab="float").score(wild).columns["auc_raw"] == 0).all()
    assert (scorer().score(wild).columns["auc_raw"] > 0).all()


def test_the_bins_of_the_truth_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr("protocols.auc.nearest_bin", lambda ab: calls.append(1) or nearest_bin(ab))
    truth = truth_of(images())
    for prediction in (gray(truth), half_chroma(truth)):
        scorer().score(prediction)
    assert len(calls) == 1


def test_a_prior_of_the_set_itself_follows_from_the_stored_counts() -> None:
    truth = truth_of(images())
    auc = scorer(prior="dataset")
    batch = auc.score(half_chroma(truth))
    assert not any(name.startswith("auc_rebalanced") for name in batch.columns)
    assert [(m.comparable, m.interval) for m in auc.metrics] == [(True, True), (False, False), (False, False)]
    summary = summary_of(auc, batch)
    assert summary.statistics is not None

    bins = nearest_bin(truth.ab)
    share = torch.bincount(bins.flatten(), minlength=313).double() / bins.numel()
    weights = torch.where(share > 0, 1 / share, 0)  # lambda 0: every bin that occurs counts alike
    curves = curve_by_loop(half_chroma(truth).ab, truth.ab, weights[bins])
    expected = 100 * np.trapezoid(curves[:, 0].sum(0) / curves[:, 1].sum(0)) / 150
    assert pooled(dict(summary.statistics), "auc_rebalanced") == pytest.approx(expected, abs=1e-6)
    assert set(summary.effective_n) == set(METRICS)


def test_a_prior_is_known_by_its_content(tmp_path: Path) -> None:
    one, same = made_prior(tmp_path / "one.npy"), made_prior(tmp_path / "same.npy")
    assert scorer(prior=one).identity == scorer(prior=same).identity
    assert scorer(prior=one).identity != scorer().identity
    assert scorer(prior=one).parameters["prior"] == str(one)
    assert scorer(convention="exact").identity != scorer().identity


def test_bins_that_the_prior_does_not_know_are_told(tmp_path: Path) -> None:
    p = np.load(made_prior(tmp_path / "p.npy"))
    truth = truth_of(images())
    occurring = int(nearest_bin(truth.ab).flatten().mode().values)
    p[occurring] = 0
    np.save(tmp_path / "p.npy", p / p.sum())
    auc = scorer(prior=tmp_path / "p.npy")
    batch = auc.score(gray(truth))
    (note,) = summary_of(auc, batch).notes
    assert "is 0 for 1 bins" in note
    assert np.isfinite(batch.columns["auc_rebalanced"]).all()
    assert summary_of(scorer(), scorer().score(gray(truth))).notes == ()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"prio": "dataset"}, "Did you mean `prior`"),
        ({"threshold": 1}, "Known: prior, preprocessing, convention, ab"),
        ({"convention": "simpson"}, "Choose trapezoid or exact"),
        ({"ab": "rgb16"}, "Choose rgb8 or float"),
        ({"prior": "nowhere.npy"}, "no prior 'nowhere.npy'"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scorer(**parameters)


@pytest.mark.parametrize("preset", AucProtocol.spec.presets)
def test_presets_are_sets_of_parameters_that_resolve(preset: str) -> None:
    chosen = AucProtocol.spec.presets[preset]
    resolved = scorer(**chosen)
    assert chosen.items() <= resolved.parameters.items()
    assert resolved.identity != scorer().identity


def test_no_images_have_no_curve() -> None:
    auc = scorer()
    columns, arrays = together([auc.score(gray(truth_of(images())))])
    empty = auc.summarize({k: v[:0] for k, v in columns.items()}, {k: v[:0] for k, v in arrays.items()})
    assert empty == Summary()


KNOWN = {1: {"gray": (81.184017, 63.376091, 65.076361), "half chroma": (90.595378, 81.695902, 82.543757)}}
"""Version -> answer -> the three metrics, from a plain float64 implementation on scikit-image's Lab (all 313 bins
searched, 151 thresholds looped over). Whoever moves a number raises the version."""


@pytest.mark.parametrize("prediction", [gray, half_chroma])
def test_known_predictions_of_this_version(prediction: Any, tmp_path: Path) -> None:
    auc = scorer(prior=made_prior(tmp_path / "p.npy"))
    columns, _ = together([auc.score(prediction(truth_of(images())))])
    known = KNOWN[AucProtocol.spec.version][prediction.__name__.replace("_", " ")]
    assert [pooled(columns, name) for name in METRICS] == pytest.approx(known, abs=1e-5)


@pytest.mark.skipif(not (ILSVRC.is_dir() and OFFICIAL.is_file()), reason="the 650 validation images are not at hand")
def test_gray_meets_the_known_figures_on_650_images() -> None:
    """Figures of an independent plain implementation (see the README of the data)."""
    official, own = scorer(prior=OFFICIAL), scorer(prior="dataset")
    scored = []
    files = sorted(ILSVRC.iterdir())
    for start in range(0, len(files), 10):
        images = [
            np.asarray(Image.open(file).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC))
            for file in files[start : start + 10]
        ]
        scored.append(official.score(gray(truth_of(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)))))
    columns, arrays = together(scored)
    assert len(columns["auc_raw"]) == 650
    assert [pooled(columns, name) for name in METRICS] == pytest.approx([89.011, 57.825, 67.884], abs=0.02)
    statistics = own.summarize(columns, arrays).statistics  # other weights need no second pass
    assert statistics is not None
    assert pooled(dict(statistics), "auc_rebalanced") == pytest.approx(59.406, abs=0.02)


def test_a_large_image_of_one_color_overflows_nothing() -> None:
    """15 million pixels in one bin: 150 times as many are more than 32 bits hold."""
    rgb8 = torch.tensor([200, 40, 60], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 3900, 3900).contiguous()
    truth = truth_of(rgb8)
    for convention in ("exact", "trapezoid"):
        columns = scorer(convention=convention).score(Prediction(truth, rgb8=rgb8)).columns
        assert [columns[name][0] for name in METRICS] == pytest.approx([100, 100, 100])


@pytest.mark.parametrize("model", ["zoo/ground-truth-jpeg95", "images"])
def test_ab_as_given_is_refused_for_8_bit_predictions(model: str, tmp_path: Path) -> None:
    from colorbench.data import open_dataset
    from colorbench.evaluation import RunConfig, run

    data = open_dataset("samples").limit(2)
    if model == "images":
        for sample in data.samples:
            with Image.open(sample.path) as image:
                path = tmp_path / "images" / f"{Path(sample.id).stem}.png"
                path.parent.mkdir(exist_ok=True)
                image.convert("L").convert("RGB").save(path)
        model = f"images:{tmp_path / 'images'}"
    with pytest.raises(UserError, match=r"auc.ab=float needs unrounded ab.*8-bit RGB") as error:
        run(
            RunConfig(models=(model,), protocols=("auc@cic2016",), data=data, baselines=False, output=tmp_path / "runs")
        )
    assert "auc.ab=rgb8" in str(error.value)


def test_ab_as_given_takes_the_ground_truth_and_models_that_give_ab(tmp_path: Path) -> None:
    from colorbench.data import open_dataset
    from colorbench.evaluation import RunConfig, run

    data = open_dataset("samples").limit(2)
    models = ("zoo/ground-truth", "zoo/gray")
    request = RunConfig(models=models, protocols=("auc@cic2016",), data=data, baselines=False, output=tmp_path)
    assert run(request)[0].metrics[0].value == 100


@pytest.mark.parametrize("name", METRICS)
def test_a_curve_has_the_interval_of_a_ratio_at_each_threshold(name: str) -> None:
    """Against resampled images, at thresholds where the curve rises; none for fewer than 30 images."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, 1, (40, 2, 8, 8)).astype(np.float32))
    truth = truth_of(torch.from_numpy(rng.integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)))
    auc = scorer()
    scored = auc.score(Prediction(truth, ab=truth.ab + noise * torch.linspace(2, 30, 40)[:, None, None, None]))
    columns, arrays = together([scored])
    curve = next(curve for curve in auc.summarize(columns, arrays).curves if curve.name == name)

    shares = arrays["histogram"] / columns["pixels"][:, None] if name == "auc_raw" else arrays[f"{name}.histogram"]
    weights, below = columns[f"{name}.s1"], 100 * np.cumsum(shares, axis=1)[:, :151]
    drawn = rng.multinomial(40, [1 / 40] * 40, size=4000)
    deviation = (drawn @ below / (drawn @ weights)[:, None]).std(axis=0)
    y, low, high = map(np.array, (curve.y, curve.low, curve.high))
    rising = (low > 0) & (high < 100)
    assert rising.sum() > 20
    np.testing.assert_allclose((high - low)[rising], 2 * 1.96 * deviation[rising], rtol=0.2)
    assert (low >= 0).all() and (low <= y).all() and (y <= high).all() and (high <= 100).all()

    few = auc.summarize({k: v[:29] for k, v in columns.items()}, {k: v[:29] for k, v in arrays.items()})
    assert {(curve.low, curve.high) for curve in few.curves} == {((), ())}
