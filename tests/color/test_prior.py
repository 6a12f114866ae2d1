"""Priors, smoothing and rebalancing weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import coffee

from colorbench.color.encoding import soft_encode
from colorbench.color.grid import ab_bins
from colorbench.color.lab import rgb_to_lab
from colorbench.color.prior import (
    Prior,
    from_counts,
    hard_counts,
    load_prior,
    rebalancing_weights,
    save_prior,
    smooth,
    soft_counts,
)
from colorbench.errors import UserError

OFFICIAL = Path(__file__).resolve().parents[3] / "shared" / "reference" / "prior_probs.npy"
needs_official = pytest.mark.skipif(not OFFICIAL.is_file(), reason="the authors' prior is not at hand")


def image() -> torch.Tensor:
    return rgb_to_lab(torch.from_numpy(coffee()[::4, ::4].copy()).permute(2, 0, 1))[None, 1:]


@needs_official
@pytest.mark.parametrize(
    ("lam", "minimum", "most", "median"), [(0.5, 0.0965, 6.175, 5.999), (0.0, 0.01588, 5.26e5, 34.05), (1.0, 1, 1, 1)]
)
def test_weights_of_the_official_prior(lam: float, minimum: float, most: float, median: float) -> None:
    prior = load_prior(OFFICIAL)
    weights = rebalancing_weights(prior.probabilities, lam)
    assert weights.min() == pytest.approx(minimum, rel=1e-3)
    assert weights.max() == pytest.approx(most, rel=1e-3)
    assert np.median(weights) == pytest.approx(median, rel=1e-3)


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.5, 1.0])
def test_the_expected_weight_is_one(lam: float) -> None:
    p = load_prior().probabilities
    assert (p * rebalancing_weights(p, lam)).sum() == pytest.approx(1)


def test_a_bin_that_never_occurs_gets_a_finite_weight() -> None:
    p = np.zeros(313)
    p[:3] = 0.5, 0.3, 0.2
    weights = rebalancing_weights(p, 0.0)
    assert np.isfinite(weights).all() and weights[10] == weights[2] == weights.max()
    assert weights[:3] == pytest.approx(np.array([2, 1 / 0.3, 5]) / 3)


def test_the_shipped_prior_is_gray_first_and_floored() -> None:
    prior = load_prior()
    assert prior.kind == "soft" and prior.images == 17339
    assert prior.probabilities.argmax() == 120 and 0.15 < prior.probabilities[120] < 0.25
    assert prior.probabilities.min() == pytest.approx(1e-5, rel=0.01)


def test_soft_counts_are_the_summed_soft_encodings() -> None:
    ab = image()
    dense = soft_encode(ab).dense().double().sum((0, 1, 2))
    assert torch.allclose(soft_counts(ab), dense, atol=1e-6)


def test_hard_counts_count_the_nearest_bins() -> None:
    ab = image()
    points = ab.permute(0, 2, 3, 1).reshape(-1, 1, 2)
    brute = ((points - ab_bins()) ** 2).sum(-1).argmin(1).bincount(minlength=313)
    assert torch.equal(hard_counts(ab), brute.double())


def test_smoothing_keeps_mass_and_flattens() -> None:
    hard = from_counts(hard_counts(image()), "hard", "coffee", images=1)
    smoothed = smooth(hard)
    assert smoothed.kind == "smoothed" and smoothed.probabilities.sum() == pytest.approx(1)
    assert smoothed.entropy > hard.entropy


@pytest.mark.parametrize("kind", ["soft", "smoothed", "unknown"])
def test_smoothing_twice_is_refused(kind: str) -> None:
    prior = Prior(np.full(313, 1 / 313), kind, "x", 1)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="only hard counts"):
        smooth(prior)


def test_a_prior_survives_the_disk(tmp_path: Path) -> None:
    prior = from_counts(hard_counts(image()), "hard", "coffee.npy", images=1)
    save_prior(prior, tmp_path / "coffee.npy")
    back = load_prior(tmp_path / "coffee.npy")
    assert back.kind == "hard" and back.images == 1 and back.sha256 == prior.sha256


def test_bad_prior_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no prior"):
        load_prior(tmp_path / "missing.npy")
    (tmp_path / "text.npy").write_text("hello")
    with pytest.raises(UserError, match="cannot read"):
        load_prior(tmp_path / "text.npy")
    np.save(tmp_path / "short.npy", np.ones(3) / 3)
    with pytest.raises(UserError, match="313 numbers"):
        load_prior(tmp_path / "short.npy")
    np.save(tmp_path / "negative.npy", np.r_[-1.0, 2.0, np.zeros(311)])
    with pytest.raises(UserError, match="at least 0"):
        load_prior(tmp_path / "negative.npy")
