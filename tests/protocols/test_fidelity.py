"""The fidelity protocol: all its metrics against scikit-image and numpy, its policies, and batches."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab
from skimage.data import astronaut, chelsea, coffee
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from colorbench.data import Dataset
from colorbench.errors import UserError
from colorbench.evaluation import GroundTruth, ImageProtocol, Prediction, Scorer
from colorbench.metrics import ROUNDING_BOUND
from colorbench.stats import estimate
from protocols.fidelity import METRICS, FidelityProtocol, FidelityScorer

NOTHING = Dataset("nothing", ())


def scorer(**parameters: str) -> FidelityScorer:
    return FidelityProtocol().resolve(parameters, NOTHING)


def images(height: int = 48, width: int = 64) -> Tensor:
    """(4, 3, height, width) uint8; the last one is gray."""
    images = [image()[40 : 40 + 3 * height : 3, 30 : 30 + 3 * width : 3] for image in (astronaut, chelsea, coffee)]
    rgb8 = torch.from_numpy(np.stack(images)).movedim(-1, 1)
    return torch.cat([rgb8, rgb8[:1, 1:2].expand(-1, 3, -1, -1)]).contiguous()


def truth_of(rgb8: Tensor) -> GroundTruth:
    return GroundTruth(tuple(f"{i}.png" for i in range(len(rgb8))), rgb8)


def some_truth() -> GroundTruth:
    return truth_of(images())


def gray(truth: GroundTruth) -> Prediction:
    return Prediction(truth, ab=torch.zeros_like(truth.ab))


def values(columns: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metric -> value over all images, as the engine makes it from the statistics."""
    count = {"ratio": 2, "abs_difference": 3}
    return {
        m.name: estimate(np.stack([columns[f"{m.name}.s{j}"] for j in range(count[m.form])], axis=1), m.form)
        for m in METRICS
    }


def by_numpy(rendered: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """One image, (H, W, 3) uint8 each, by the libraries that are trusted."""
    lab, true_lab = rgb2lab(rendered), rgb2lab(true)

    def colorfulness(rgb: np.ndarray, change: np.ufunc) -> float:
        r, g, b = rgb.astype(float).transpose(2, 0, 1)
        rg, yb = change(r - g), change((r + g) / 2 - b)
        return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))

    chroma, true_chroma = (np.hypot(x[..., 1], x[..., 2]).mean() for x in (lab, true_lab))
    drift = np.abs(lab[..., 0] - true_lab[..., 0])
    hs, true_hs = colorfulness(rendered, np.positive), colorfulness(true, np.positive)
    absolute, true_absolute = colorfulness(rendered, np.absolute), colorfulness(true, np.absolute)
    return {
        "ciede2000": deltaE_ciede2000(lab, true_lab).mean(),
        "psnr": min(peak_signal_noise_ratio(true, rendered, data_range=255), ROUNDING_BOUND),
        "ssim": structural_similarity(
            rendered,
            true,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
        ),
        "cf_hs": hs,
        "delta_cf_hs_of_means": hs - true_hs,  # signed: the absolute is taken of the sum
        "delta_cf_hs_per_image": abs(hs - true_hs),
        "cf_abs": absolute,
        "delta_cf_abs_of_means": absolute - true_absolute,
        "delta_cf_abs_per_image": abs(absolute - true_absolute),
        "mean_chroma": chroma,
        "lightness_drift": drift.mean(),
        "lightness_drift_share": 100 * (drift > 1).mean(),
        "chroma": chroma,
        "true_chroma": true_chroma,
    }


@pytest.mark.parametrize("strength", [1.6, 0.5])
def test_every_metric_agrees_with_the_trusted_libraries(strength: float) -> None:
    """Too vivid (much is clipped) and too dull answers."""
    truth = some_truth()
    prediction = Prediction(truth, ab=strength * truth.ab + torch.tensor([4.0, -7.0])[:, None, None])
    oracle = [
        by_numpy(rendered, true)
        for rendered, true in zip(
            prediction.rgb8.movedim(1, -1).numpy(), truth.rgb8.movedim(1, -1).numpy(), strict=True
        )
    ]
    expected = {name: abs(np.mean([image[name] for image in oracle])) for name in oracle[0]}
    # The fourth image is gray and has no chroma to compare with.
    expected["chroma_ratio"] = 100 * sum(i["chroma"] for i in oracle[:3]) / sum(i["true_chroma"] for i in oracle[:3])
    found = values(scorer().score(prediction).columns)
    assert found.keys() == {metric.name for metric in METRICS}
    for name, value in found.items():
        # One pixel whose drift is 1 within rounding may be counted either way: 100 / (4 * 48 * 64) % = 0.008 %.
        assert value == pytest.approx(expected[name], abs=0.02 if name.endswith("share") else 1e-4), name


def test_the_column_of_a_metric_is_its_value_for_that_image_alone() -> None:
    truth = some_truth()
    columns = scorer().score(Prediction(truth, ab=0.7 * truth.ab)).columns
    for i in range(4):
        alone = values({name: column[i : i + 1] for name, column in columns.items()})
        for name, value in alone.items():
            assert columns[name][i] == pytest.approx(value, nan_ok=True, abs=1e-12), name


def test_truth_is_perfect_and_moves_nothing() -> None:
    truth = some_truth()
    found = values(scorer().score(Prediction(truth, rgb8=truth.rgb8)).columns)
    deltas = [name for name in found if name.startswith(("delta", "lightness"))]
    assert len(deltas) == 6
    assert all(found[name] == 0 for name in ("ciede2000", *deltas))
    assert found["psnr"] == pytest.approx(ROUNDING_BOUND)
    assert found["chroma_ratio"] == pytest.approx(100)


def test_gray_prediction_has_no_color_and_half_chroma_half() -> None:
    truth = some_truth()
    dull = values(scorer().score(gray(truth)).columns)
    # Not quite 0: the three channels of some grays round to 8 bits differently.
    assert max(dull["cf_hs"], dull["cf_abs"], dull["mean_chroma"]) < 0.1
    half = values(scorer().score(Prediction(truth, ab=truth.ab / 2)).columns)
    assert half["chroma_ratio"] == pytest.approx(50, abs=0.5)  # rounding to 8 bits
    assert dull["ciede2000"] > half["ciede2000"] > 1
    assert dull["psnr"] < half["psnr"]


def test_infinite_psnr_is_capped_or_dropped_by_name() -> None:
    truth = some_truth()
    exact_and_near = truth.rgb8.clone()
    exact_and_near[1, 0, 0, 0] ^= 1  # one step in one value: 87.8 dB, above the cap
    exact_and_near[2] = exact_and_near[2].flip(0)
    prediction = Prediction(truth, rgb8=exact_and_near)

    capped = scorer(psnr_infinite="cap")
    columns = capped.score(prediction).columns
    assert columns["psnr"][[0, 1, 3]].tolist() == [ROUNDING_BOUND] * 3
    assert columns["psnr"][2] < 20
    assert next(m for m in capped.metrics if m.name == "psnr").upper_bound == ROUNDING_BOUND

    dropped = scorer(psnr_infinite="drop")
    columns = dropped.score(prediction).columns
    oracle = [peak_signal_noise_ratio(truth.rgb8[i].numpy(), exact_and_near[i].numpy(), data_range=255) for i in (1, 2)]
    assert np.isnan(columns["psnr"]).tolist() == [True, False, False, True]
    assert columns["psnr"][1:3] == pytest.approx(oracle)
    assert values(columns)["psnr"] == pytest.approx(np.mean(oracle))
    assert next(m for m in dropped.metrics if m.name == "psnr").upper_bound is None
    assert dropped.identity != capped.identity


def test_notes_tell_the_other_averages_of_psnr_and_what_became_of_exact_matches() -> None:
    truth = some_truth()
    for policy, became in (("cap", "count as 58.92 dB"), ("drop", "are left out of PSNR")):
        s = scorer(psnr_infinite=policy)
        columns = s.score(gray(truth)).columns
        other, exact = s.summarize(columns, {}).notes
        errors = [
            np.mean((t.double() - g.double()).numpy() ** 2) for t, g in zip(truth.rgb8, gray(truth).rgb8, strict=True)
        ]
        assert f"pooled {10 * np.log10(255**2 / np.mean(errors)):.2f} dB" in other
        # The fourth image is gray, so a gray prediction equals it.
        assert exact == f"1 of 4 predictions equal the ground truth and {became}"
    same = s.score(Prediction(truth, rgb8=truth.rgb8)).columns
    assert s.summarize(same, {}).notes == ("4 of 4 predictions equal the ground truth and are left out of PSNR",)


def psnr_by_skimage(truth: Tensor, other: Tensor, border: int = 0) -> list[float]:
    inner = slice(border, -border or None)
    return [
        peak_signal_noise_ratio(t[:, inner, inner].numpy(), o[:, inner, inner].numpy(), data_range=255)
        for t, o in zip(truth, other, strict=True)
    ]


def test_published_variants_of_psnr_and_ssim() -> None:
    truth = some_truth()
    half = Prediction(truth, ab=truth.ab / 2)
    bordered = scorer(border="4", ssim="uniform7", ssim_range="225").score(half).columns
    assert bordered["psnr"][:3] == pytest.approx(psnr_by_skimage(truth.rgb8[:3], half.rgb8[:3], border=4))
    expected = [
        structural_similarity(r[4:-4, 4:-4], t[4:-4, 4:-4], channel_axis=-1, data_range=225)
        for r, t in zip(half.rgb8.movedim(1, -1).numpy(), truth.rgb8.movedim(1, -1).numpy(), strict=True)
    ]
    assert bordered["ssim"] == pytest.approx(expected, abs=1e-9)
    titles = {m.name: m.title for m in scorer(ssim="uniform7", ssim_range="225").metrics}
    assert titles["ssim"] == "SSIM (uniform7, range 225)"
    capped = scorer(psnr_infinite="cap50")
    assert capped.score(half).columns["psnr"].max() == 50
    assert next(m for m in capped.metrics if m.name == "psnr").upper_bound == 50
    # A border that leaves nothing defines nothing; the other metrics stay.
    nothing = scorer(border="24").score(half).columns
    assert np.isnan(nothing["psnr"]).all() and np.isnan(nothing["ssim"]).all()
    assert np.isfinite(nothing["ciede2000"]).all()


def test_pooled_psnr_is_that_of_the_mean_squared_error() -> None:
    truth = some_truth()
    half = Prediction(truth, ab=truth.ab / 2)
    for policy, kept in (("cap", 4), ("drop", 3)):  # the fourth image is gray and met exactly
        s = scorer(psnr="pooled", psnr_infinite=policy)
        columns = s.score(half).columns
        found = s.summarize(columns, {})
        assert found.statistics is not None
        errors = [np.mean((t.double() - r.double()).numpy() ** 2) for t, r in zip(truth.rgb8, half.rgb8, strict=True)]
        expected = 10 * np.log10(255**2 / np.mean(errors[:kept]))
        assert values({**columns, **found.statistics})["psnr"] == pytest.approx(expected, abs=1e-9)
        assert found.effective_n["psnr"] == kept
    same = s.score(Prediction(truth, rgb8=truth.rgb8)).columns
    assert np.isnan(s.summarize(same, {}).statistics["psnr"]).all()  # type: ignore[index]
    s = scorer(psnr="pooled")
    assert s.summarize(same, {}).statistics["psnr"] == pytest.approx([ROUNDING_BOUND] * 4)  # type: ignore[index]


def test_truncated_colors_are_those_of_a_cast() -> None:
    truth = some_truth()
    half = Prediction(truth, ab=truth.ab / 2)
    lab = torch.cat([truth.lightness, truth.ab / 2], dim=1)
    cast = (lab2rgb(lab.movedim(1, -1).double().numpy()) * 255).astype(np.uint8)
    expected = Prediction(truth, rgb8=torch.from_numpy(cast).movedim(-1, 1).contiguous())
    found, oracle = scorer(rounding="truncate").score(half).columns, scorer().score(expected).columns
    for name in oracle:
        # Grays lie on whole steps: a few of their pixels fall to either side.
        assert found[name] == pytest.approx(oracle[name], abs=5e-3, rel=1e-3, nan_ok=True), name
    assert (np.abs(found["psnr"][:3] - scorer().score(half).columns["psnr"][:3]) > 0.01).all()
    with pytest.raises(UserError, match="predictions are 8-bit RGB"):
        scorer(rounding="truncate").score(expected)
    scorer(rounding="truncate").score(Prediction(truth, rgb8=truth.rgb8))  # the truth was never rounded


def test_images_of_little_colorfulness_are_left_out_by_name() -> None:
    truth = some_truth()
    columns = scorer(cf_minimum="1").score(gray(truth)).columns
    assert all(np.isnan(columns[m.name]).all() for m in METRICS if "cf_" in m.name)
    columns = scorer(cf_minimum="1").score(Prediction(truth, ab=truth.ab / 2)).columns
    assert np.isnan(columns["cf_abs"]).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "given", [{"border": "-1"}, {"border": "1.5"}, {"ssim_range": "0"}, {"ssim_range": "nan"}, {"cf_minimum": "x"}]
)
def test_numbers_that_cannot_be_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(UserError, match=f"fidelity.{next(iter(given))} cannot be"):
        scorer(**given)


def test_effective_n_counts_images_with_a_value() -> None:
    truth = some_truth()
    s = scorer(psnr_infinite="drop")
    found = s.summarize(s.score(gray(truth)).columns, {}).effective_n
    assert found["ciede2000"] == found["delta_cf_hs_of_means"] == 4
    assert found["psnr"] == pytest.approx(3)
    assert 1 < found["chroma_ratio"] < 3  # colorful images weigh more


@pytest.mark.parametrize("size", [(48, 64), (32, 32)])
def test_stored_predictions_score_the_same_in_any_batch(size: tuple[int, int]) -> None:
    true = images(*size)[[0, 1, 2, 3, 2, 1, 0, 2]]
    rendered = (true.roll(1, 0) // 3 + true // 2).contiguous()
    s = scorer()
    together = s.score(Prediction(truth_of(true), rgb8=rendered)).columns
    for start, stop in [(i, i + 1) for i in range(8)] + [(0, 5), (5, 8)]:
        part = s.score(Prediction(truth_of(true[start:stop].clone()), rgb8=rendered[start:stop].clone())).columns
        for name, column in together.items():
            np.testing.assert_array_equal(part[name], column[start:stop], err_msg=name)


def test_the_truth_is_measured_once_for_all_models() -> None:
    truth = some_truth()
    fresh = scorer().score(Prediction(truth, ab=truth.ab / 2)).columns
    assert truth.cached
    again = scorer().score(Prediction(truth, ab=truth.ab / 2)).columns
    for name, column in fresh.items():
        np.testing.assert_array_equal(column, again[name], err_msg=name)


def test_bad_parameters_are_named() -> None:
    with pytest.raises(UserError, match="no parameter 'psnr_infinit'.*Did you mean `psnr_infinite`"):
        scorer(psnr_infinit="cap")
    with pytest.raises(UserError, match="psnr_infinite cannot be 'keep'.*Choose cap or cap50 or drop"):
        scorer(psnr_infinite="keep")


def test_it_is_what_the_engine_asks_for() -> None:
    protocol = FidelityProtocol()
    assert isinstance(protocol, ImageProtocol)
    assert isinstance(scorer(), Scorer)
    assert scorer().preprocessing == "squash256"
    assert scorer(preprocessing="native").preprocessing == "native"
    names = [metric.name for metric in protocol.spec.metrics]
    assert len(set(names)) == len(names)
    assert protocol.spec.headline in names
    columns = scorer().score(gray(some_truth())).columns
    assert all(column.dtype == np.float64 and column.shape == (4,) for column in columns.values())
    for metric in scorer().metrics:
        assert metric.explanation.endswith(".")
        column = columns[metric.name]
        inside = column[~np.isnan(column)]
        assert metric.lower_bound is None or (inside >= metric.lower_bound).all()
        assert metric.upper_bound is None or (inside <= metric.upper_bound).all()
