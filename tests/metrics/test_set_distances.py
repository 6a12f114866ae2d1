"""Kernel and Fréchet distances: plain definitions in float64, published code, and what must be exactly 0."""

import itertools
import math

import numpy as np
import pytest
from scipy.linalg import sqrtm

from colorbench.metrics import frechet_distance, kernel_distance, moments, paired_kernel_distance


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """(n, d) float32, skewed and non-negative as pooled features are."""
    return np.random.default_rng(seed).gamma(0.5, 1.0, (n, d)).astype(np.float32) + np.float32(shift)


def pair(n: int = 40, d: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """Features of predictions and truths that resemble one another image by image."""
    truth = features(n, d, 0)
    return (0.8 * truth + 0.3 * features(n, d, 1)).astype(np.float32), truth


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return (float(x.astype(float) @ y.astype(float)) / len(x) + 1) ** 3


def test_the_paired_distance_is_the_mean_over_pairs_of_images() -> None:
    x, y = pair(12)
    pairs = list(itertools.permutations(range(12), 2))
    h = {(i, j): kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(y[i], x[j]) for i, j in pairs}
    found = paired_kernel_distance(x, y)
    assert found.mean() == pytest.approx(np.mean(list(h.values())), rel=1e-12)
    terms = np.array([np.mean([h[i, j] for j in range(12) if j != i]) for i in range(12)])
    np.testing.assert_allclose(found, 2 * terms - terms.mean(), rtol=1e-10)


@pytest.mark.parametrize("n", [30, 1024, 1500])
def test_it_is_the_u_statistic_of_torch_fidelity(n: int) -> None:
    """More than one block, too."""
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = (one.astype(np.float64) for one in pair(n, 8))
    choices = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    kernels = (kid.kernel_poly(a, b, **choices) for a, b in ((x, x), (x, y), (y, y)))
    oracle = kid.mmd2(*kernels, mmd_est="u-statistic")
    assert paired_kernel_distance(x, y).mean() == pytest.approx(oracle, rel=1e-9)


@pytest.mark.parametrize("n", [2, 40, 1500])
def test_the_truth_is_exactly_0_from_itself(n: int) -> None:
    truth = features(n, 9, 3)
    assert paired_kernel_distance(truth, truth.copy()).tolist() == [0.0] * n


def test_pairs_of_one_image_do_not_count() -> None:
    """The usual estimator is pulled down by predictions near their own truth; this one is not, on average."""
    rng = np.random.default_rng(5)
    usual, paired = [], []
    for _ in range(300):
        truth = rng.gamma(0.5, 1.0, (20, 6))
        near = truth + rng.normal(0, 0.05, (20, 6))
        paired.append(paired_kernel_distance(near, truth).mean())
        usual.append(kernel_distance(near, truth).mean())
    assert np.mean(usual) < -10 * np.std(usual) / math.sqrt(300)
    assert abs(np.mean(paired)) < np.abs(np.mean(usual)) / 20


def test_the_unpaired_distance_is_the_unbiased_estimator() -> None:
    x, y = features(30, 7, 1), features(45, 7, 2, 0.1)
    found = kernel_distance(x, y)
    own = np.mean([kernel(x[i], x[j]) for i, j in itertools.permutations(range(30), 2)])
    theirs = np.mean([kernel(y[i], y[j]) for i, j in itertools.permutations(range(45), 2)])
    cross = np.mean([kernel(a, b) for a in x for b in y])
    assert found.mean() == pytest.approx(own + theirs - 2 * cross, rel=1e-10)
    assert len(found) == 30


def test_a_file_on_disk_is_read_in_blocks(tmp_path) -> None:
    x, y = pair(1100, 5)
    np.save(tmp_path / "x.npy", x)
    stored = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(paired_kernel_distance(stored, y), paired_kernel_distance(x, y))
    np.testing.assert_array_equal(moments(stored).covariance, moments(x).covariance)


def test_too_few_images_have_no_distance_and_other_shapes_are_refused() -> None:
    one = features(1, 4, 0)
    assert math.isnan(paired_kernel_distance(one, one)[0])
    assert math.isnan(kernel_distance(one, features(5, 4, 0))[0])
    with pytest.raises(ValueError, match="2 images"):
        moments(one)
    with pytest.raises(ValueError, match="one shape"):
        paired_kernel_distance(features(3, 4, 0), features(4, 4, 0))
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(4, 5\)"):
        kernel_distance(features(3, 4, 0), features(4, 5, 0))
    with pytest.raises(ValueError, match="4 and 5"):
        frechet_distance(moments(features(9, 4, 0)), moments(features(9, 5, 0)))


@pytest.mark.parametrize(("n", "d"), [(200, 12), (1100, 5), (9, 30)])
def test_the_frechet_distance_is_that_of_a_matrix_square_root(n: int, d: int) -> None:
    """Also for fewer images than dimensions, where the root is of a singular matrix."""
    x, y = features(n, d, 1).astype(float), features(n, d, 2, 0.2).astype(float)
    a, b = moments(x), moments(y)
    np.testing.assert_allclose(a.covariance, np.cov(x, rowvar=False), rtol=1e-10, atol=1e-12)
    eps = 0.0 if n > d else 1e-9
    root = sqrtm((a.covariance + eps * np.eye(d)) @ (b.covariance + eps * np.eye(d))).real
    shift = a.mean - b.mean
    oracle = shift @ shift + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(oracle, rel=1e-6 if n > d else 1e-3)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
