"""AuC: the histogram against the plain loop over thresholds."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee
from torch import Tensor

from colorbench.color import nearest_bin, rgb_to_lab
from colorbench.metrics.auc import (
    Convention,
    ab_distance,
    auc,
    auc_statistics,
    pooled_statistics,
    weighted_histogram,
)

THRESHOLDS = range(151)


def images() -> Tensor:
    """(3, 2, 96, 80) ab of three images."""
    rgb = np.stack([image()[20:212:2, 40:200:2] for image in (astronaut, chelsea, coffee)])
    return rgb_to_lab(torch.from_numpy(rgb).permute(0, 3, 1, 2))[:, 1:]


def predictions(truth: Tensor) -> dict[str, Tensor]:
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return {
        "gray": torch.zeros_like(truth),
        "truth": truth.clone(),
        "half chroma": truth / 2,
        "near": truth + noise,
        "far": truth + 60 * noise,
        "beyond the last threshold": truth + 200,
    }


def curve_by_loop(predicted: Tensor, truth: Tensor, weight: Tensor | None = None) -> Tensor:
    """(N, 151): F(t) as the paper words it, one threshold at a time."""
    distance = ((predicted - truth) ** 2).sum(dim=1).sqrt()
    w = torch.ones_like(distance, dtype=torch.float64) if weight is None else weight
    points = [((distance <= t) * w).sum(dim=(1, 2)) / w.sum(dim=(1, 2)) for t in THRESHOLDS]
    return torch.stack(points, dim=1)


def auc_by_loop(predicted: Tensor, truth: Tensor, convention: Convention) -> Tensor:
    curve = curve_by_loop(predicted, truth)
    distance = ((predicted - truth) ** 2).sum(dim=1).sqrt().double()
    if convention == "trapezoid":
        return 100 * torch.trapezoid(curve, dim=1) / 150
    return 100 * (1 - distance.clamp(max=150).mean(dim=(1, 2)) / 150)


@pytest.mark.parametrize("convention", ["trapezoid", "exact"])
@pytest.mark.parametrize("prediction", predictions(torch.zeros(1, 2, 1, 1)))
def test_equals_the_loop_over_thresholds(prediction: str, convention: Convention) -> None:
    truth = images()
    predicted = predictions(truth)[prediction]
    expected = auc_by_loop(predicted, truth, convention)
    torch.testing.assert_close(auc(predicted, truth, convention), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("convention", ["trapezoid", "exact"])
def test_truth_gives_100_and_hopeless_colors_0(convention: Convention) -> None:
    truth = images()
    assert auc(truth, truth, convention).tolist() == [100, 100, 100]
    assert auc(truth + 200, truth, convention).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("a", "b", "full"), [(3, 4, 5), (-6, 8, 10), (20, -21, 29), (90, 120, 150), (7, 0, 7)])
def test_a_distance_that_is_a_full_number_is_within_that_threshold(a: int, b: int, full: int) -> None:
    # 2 * area of a step at d = 5 by the trapezoid: 301 - 2 * 5 of 300.
    predicted = torch.tensor([a, b], dtype=torch.float32).view(1, 2, 1, 1)
    truth = torch.zeros(1, 2, 1, 1)
    assert ab_distance(predicted, truth).item() == full
    assert auc(predicted, truth).item() == 100 * (301 - 2 * full) / 300
    farther = predicted * (1 + 1e-5)
    assert auc(farther, truth).item() == 100 * max(0, 299 - 2 * full) / 300


def test_full_distances_between_colors_off_the_origin() -> None:
    """Every integer vector, at places whose sums and differences float32 holds exactly."""
    steps = torch.arange(-110, 111, dtype=torch.float32)
    difference = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))[None]
    truth = torch.full_like(difference, 12.375)
    squared = (difference.double() ** 2).sum(dim=1)
    below = (squared.sqrt() + 1e-9).floor()  # the whole number at or below the distance
    ceiling = torch.where(below * below == squared, below, below + 1)
    assert torch.equal(ab_distance(truth + difference, truth).ceil().double(), ceiling)


def test_half_precision_is_compared_as_float32_and_float64_as_it_is() -> None:
    truth = images()
    half = (truth / 2).half()
    assert torch.equal(auc(half, truth), auc(half.float(), truth))
    assert ab_distance(truth.double(), truth).dtype == torch.float64
    # ceil(d) of the nearest float64 above 5 is 6; float32 cannot tell it from 5.
    beyond = torch.tensor([np.nextafter(5, 6), 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    assert ab_distance(beyond, torch.zeros(1, 2, 1, 1)).ceil().item() == 6


def test_nan_and_unequal_shapes_are_refused_and_infinity_is_far() -> None:
    truth = images()
    broken = truth.clone()
    broken[1, 0, 5, 5] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        auc(broken, truth)
    with pytest.raises(ValueError, match=r"\(N, 2, H, W\)"):
        auc(truth[:1], truth)
    with pytest.raises(ValueError, match="trapezoid, exact"):
        auc(truth, truth, "simpson")  # type: ignore[arg-type]
    broken[1, 0, 5, 5] = torch.inf
    assert auc(broken, truth)[1].item() == pytest.approx(100 * (1 - 1 / (96 * 80)))


def test_statistics_are_the_counts_of_a_loop_over_pixels() -> None:
    truth = images()[:, :, ::4, ::4].contiguous()
    predicted = predictions(truth)["far"]
    bins = nearest_bin(truth)
    statistics = auc_statistics(predicted, truth, bins)
    joint = np.zeros((3, 313, 152), np.int64)
    distances = np.zeros((3, 313))
    for image, row, column in np.ndindex(*bins.shape):
        distance = float(np.hypot(*(predicted - truth)[image, :, row, column].numpy()))
        bin_ = int(bins[image, row, column])
        joint[image, bin_, min(int(np.ceil(distance)), 151)] += 1
        distances[image, bin_] += min(distance, 150)
    assert np.array_equal(statistics.joint, joint)
    assert np.array_equal(statistics.counts, joint.sum(axis=2))
    assert np.array_equal(statistics.histogram, joint.sum(axis=1))
    np.testing.assert_allclose(statistics.distances, distances, rtol=0, atol=1e-4)
    assert statistics.pixels.tolist() == [24 * 20] * 3


@pytest.mark.parametrize("prediction", ["gray", "truth", "near", "far", "beyond the last threshold"])
def test_the_compiled_loop_counts_as_tensors_do(prediction: str) -> None:
    truth = images()
    predicted, bins = predictions(truth)[prediction], nearest_bin(truth)
    compiled = auc_statistics(predicted, truth, bins)
    # A float64 goes the way of tensors; values that came from float32 give the distances of float64, so near ones.
    tensors = auc_statistics(predicted.double(), truth.double(), bins)
    assert np.abs(compiled.joint - tensors.joint).sum() <= 2
    np.testing.assert_allclose(compiled.distances, tensors.distances, rtol=0, atol=1e-3)


def test_unweighted_statistics_are_the_raw_score() -> None:
    truth = images()
    predicted = predictions(truth)["far"]
    statistics = auc_statistics(predicted, truth, nearest_bin(truth))
    trapezoid = pooled_statistics(statistics.doubled_scores, statistics.counts, 300)
    assert trapezoid[:, 1].tolist() == [1, 1, 1]
    assert trapezoid[:, 0].tolist() == auc(predicted, truth).tolist()
    exact = pooled_statistics(150 * statistics.counts - statistics.distances, statistics.counts, 150)
    np.testing.assert_allclose(exact[:, 0], auc(predicted, truth, "exact").numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("prediction", ["gray", "half chroma", "far"])
def test_rebalanced_score_and_curve_equal_the_weighted_loop(prediction: str) -> None:
    truth = images()
    predicted = predictions(truth)[prediction]
    bins = nearest_bin(truth)
    weights = np.random.default_rng(0).lognormal(0, 3, 313)
    weight = torch.from_numpy(weights)[bins]  # (N, H, W)
    statistics = auc_statistics(predicted, truth, bins)
    pooled = pooled_statistics(statistics.doubled_scores, statistics.counts, 300, weights)
    curve = curve_by_loop(predicted, truth, weight)
    expected = 100 * torch.trapezoid(curve, dim=1) / 150
    np.testing.assert_allclose(pooled[:, 0] / pooled[:, 1], expected.numpy(), rtol=0, atol=1e-6)
    candidate = weighted_histogram(statistics, weights).cumsum(axis=1)[:, :151] / pooled[:, 1:]
    np.testing.assert_allclose(candidate, curve.numpy(), rtol=0, atol=1e-12)


def test_pooling_divides_sums_and_gives_large_and_small_images_one_voice() -> None:
    weights = np.zeros(313)
    weights[:2] = 1, 3
    counts = np.zeros((2, 313), np.int64)
    counts[0, :2] = 90, 10  # 100 pixels
    counts[1, :2] = 0, 4  # 4 pixels
    scores = np.zeros((2, 313), np.int64)
    scores[0, :2] = 300 * 45, 300 * 5
    scores[1, 1] = 300 * 4
    statistics = pooled_statistics(scores, counts, 300, weights)
    # By hand: (45 + 3 * 5) / 100 and 3 * 4 / 4 over (90 + 3 * 10) / 100 and 3 * 4 / 4.
    np.testing.assert_allclose(statistics, [[60, 1.2], [300, 3]], rtol=1e-15)
    assert statistics[:, 0].sum() / statistics[:, 1].sum() == pytest.approx(100 * 3.6 / 4.2)


def test_batching_changes_nothing_at_all() -> None:
    truth = images()
    predicted = predictions(truth)["near"]
    bins = nearest_bin(truth)
    together = auc_statistics(predicted, truth, bins)
    weights = np.random.default_rng(1).lognormal(0, 3, 313)
    for i in range(len(truth)):
        alone = auc_statistics(predicted[i : i + 1], truth[i : i + 1], bins[i : i + 1])
        assert np.array_equal(alone.joint[0], together.joint[i])
        assert np.array_equal(alone.distances[0], together.distances[i])
        pairs = [pooled_statistics(s.doubled_scores, s.counts, 300, weights) for s in (alone, together)]
        np.testing.assert_allclose(pairs[0][0], pairs[1][i], rtol=1e-12)
        np.testing.assert_allclose(
            weighted_histogram(alone, weights)[0], weighted_histogram(together, weights)[i], rtol=1e-12
        )
        for convention in ("trapezoid", "exact"):
            one = auc(predicted[i : i + 1], truth[i : i + 1], convention)  # type: ignore[arg-type]
            assert one.item() == pytest.approx(auc(predicted, truth, convention)[i].item(), rel=1e-12)  # type: ignore[arg-type]


def test_the_order_of_the_pixels_changes_nothing_at_all() -> None:
    truth = images()
    predicted = predictions(truth)["near"]
    order = torch.randperm(truth[0, 0].numel(), generator=torch.Generator().manual_seed(0))
    mixed_truth, mixed = (x.flatten(2)[..., order].view(x.shape) for x in (truth, predicted))
    plain = auc_statistics(predicted, truth, nearest_bin(truth))
    moved = auc_statistics(mixed, mixed_truth, nearest_bin(mixed_truth))
    assert np.array_equal(plain.distances, moved.distances)
    assert torch.equal(auc(predicted, truth, "exact"), auc(mixed, mixed_truth, "exact"))


def test_bins_that_do_not_exist_are_refused() -> None:
    truth = images()
    bins = nearest_bin(truth)
    for wrong in (-1, 313):
        broken = bins.clone()
        broken[0, 0, 0] = wrong
        with pytest.raises(ValueError, match="bin|negative"):
            auc_statistics(truth, truth, broken)
    with pytest.raises(ValueError, match="int64"):
        auc_statistics(truth, truth, bins.int())


@pytest.mark.parametrize("shape", [(1,), (312,), (314,), (313, 1)])
def test_weights_of_another_number_of_bins_are_refused(shape: tuple[int, ...]) -> None:
    truth = images()
    with pytest.raises(ValueError, match="313 weights"):
        weighted_histogram(auc_statistics(truth, truth, nearest_bin(truth)), np.ones(shape))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_numbers() -> None:
    truth = images()
    predicted = predictions(truth)["near"]
    bins = nearest_bin(truth)
    host, device = (auc_statistics(predicted.to(d), truth.to(d), bins.to(d)) for d in ("cpu", "cuda"))
    assert np.array_equal(host.joint, device.joint)
    assert np.array_equal(host.distances, device.distances)
    assert torch.equal(auc(predicted, truth), auc(predicted.cuda(), truth.cuda()).cpu())
