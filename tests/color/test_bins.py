"""The 313 bins, soft encoding and decoding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut
from sklearn.neighbors import NearestNeighbors

from colorbench.color import bins, encoding, grid
from colorbench.color.bins import decode, nearest_bin
from colorbench.color.encoding import soft_encode
from colorbench.color.grid import ab_bins
from colorbench.color.lab import rgb_to_lab

# The published set (richzhang/colorization, pts_in_hull.npy): a -> first b, last b; in steps of 10.
PUBLISHED = {
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100),
    -20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90),
    50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}  # fmt: skip


def image_of(points: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(n, 2) points as a (2, n, 1) image."""
    return torch.as_tensor(points).T[:, :, None].contiguous()


def dense_reference(points: np.ndarray, neighbors: int, sigma: float = 5.0) -> np.ndarray:
    """The public implementations' way: scikit-learn's nearest neighbors into a dense (n, 313) target."""
    bins = ab_bins().double().numpy()
    distance, index = NearestNeighbors(n_neighbors=neighbors).fit(bins).kneighbors(points)
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    dense = np.zeros((len(points), len(bins)))
    dense[np.arange(len(points))[:, None], index] = weights / weights.sum(1, keepdims=True)
    return dense


def brute_force(points: torch.Tensor, neighbors: int, sigma: float = 5.0) -> torch.Tensor:
    """All 313 distances in float64; ties by index."""
    squared = ((points.double()[:, None] - ab_bins().double()) ** 2).sum(-1)
    squared, index = squared.sort(dim=1, stable=True)
    weights = torch.softmax(-squared[:, :neighbors] / (2 * sigma**2), dim=1)  # far out, a bare exp is 0 everywhere
    return torch.zeros(len(points), 313, dtype=torch.float64).scatter_(1, index[:, :neighbors], weights)


def test_the_construction_gives_the_published_bins_in_the_published_order() -> None:
    expected = [(a, b) for a, (low, high) in PUBLISHED.items() for b in range(low, high + 1, 10)]
    assert len(expected) == 313
    assert ab_bins().tolist() == [list(point) for point in expected]
    assert ab_bins()[120].tolist() == [0, 0]


@pytest.mark.parametrize("neighbors", [1, 5, 10])
def test_soft_encoding_of_a_image_equals_scikit_learn(neighbors: int) -> None:
    ab = rgb_to_lab(torch.from_numpy(astronaut()[:400:3, :400:3].copy()).permute(2, 0, 1))[1:]
    points = ab.permute(1, 2, 0).reshape(-1, 2)
    ranked = ((points.double()[:, None] - ab_bins().double()) ** 2).sum(-1).sort(dim=1)[0]
    # scikit-learn breaks ties as it likes; exact gray has one for the tenth place.
    clear = (ranked[:, neighbors] - ranked[:, neighbors - 1] > 1e-4).numpy()
    assert clear.mean() > 0.9
    dense = soft_encode(ab, neighbors).dense().reshape(-1, 313).numpy()
    assert np.abs(dense - dense_reference(points.numpy(), neighbors))[clear].max() < 2e-6


@settings(max_examples=300, deadline=None)
@given(st.floats(-180, 180, width=32), st.floats(-180, 180, width=32), st.sampled_from([1, 5, 10, 12, 40]))
def test_soft_encoding_equals_brute_force_anywhere_in_the_plane(a: float, b: float, neighbors: int) -> None:
    point = torch.tensor([[a, b]])
    # Where two bins compete for the last place within float32's rounding, either is right; ties have a test below.
    ranked = ((point.double()[:, None] - ab_bins().double()) ** 2).sum(-1).sort()[0][0]
    if ranked[neighbors] - ranked[neighbors - 1] < 1e-2 and bool((point % 5).any()):
        return
    dense = soft_encode(image_of(point), neighbors).dense()[:, 0]
    assert (dense - brute_force(point, neighbors)).abs().max() < 1e-5


@pytest.mark.parametrize("neighbors", [5, 10])
def test_ties_go_to_the_lower_index(neighbors: int) -> None:
    half = torch.arange(-40, 41, 5.0)
    points = torch.cartesian_prod(half, half)  # bin centers, edges and corners of grid cells: ties everywhere
    dense = soft_encode(image_of(points), neighbors).dense()[:, 0]
    assert (dense - brute_force(points, neighbors)).abs().max() < 1e-6
    assert torch.equal(dense > 0, brute_force(points, neighbors) > 0)


@pytest.mark.parametrize("neighbors", range(1, 13))
def test_every_way_finds_the_same(neighbors: int) -> None:
    """Compiled, by tensors as on a GPU, and by all distances: over the whole gamut, its edge and beyond."""
    ab = (torch.rand(2, 150, 40, generator=torch.Generator().manual_seed(neighbors)) - 0.5) * 260
    a, b = (channel.reshape(-1) for channel in ab)
    plain = encoding._weigh(encoding._nearest(a, b, neighbors), 5.0)
    expected = encoding.SoftCode(plain.indices, plain.weights).dense()
    compiled = encoding._encode_on_cpu(ab, neighbors, 5.0).dense().flatten(0, 1)
    searched = encoding._encode_by_search(a, b, neighbors, 5.0).dense()
    assert (compiled - expected).abs().max() < 3e-6
    assert (searched - expected).abs().max() < 1e-9


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0, 5.0, 20.0, 500.0])
def test_any_width_of_the_weights(sigma: float) -> None:
    ab = rgb_to_lab(torch.from_numpy(astronaut()[:400:9, :400:9].copy()).permute(2, 0, 1))[1:]
    ab = ab + torch.tensor([0.013, 0.007])[:, None, None]  # off the ties of gray
    expected = brute_force(ab.permute(1, 2, 0).reshape(-1, 2), 10, sigma)
    assert (soft_encode(ab, 10, sigma).dense().reshape(-1, 313) - expected).abs().max() < 3e-6 * max(1, 10 / sigma**2)


def test_maps_of_any_shape_and_type() -> None:
    ab = torch.randn(3, 2, 2, 5, 7, generator=torch.Generator().manual_seed(0)) * 40
    full = soft_encode(ab)
    assert full.indices.shape == (3, 2, 5, 7, 10)
    one = soft_encode(ab[1, 1].clone().requires_grad_())
    assert torch.equal(one.indices, full.indices[1, 1]) and torch.equal(one.weights, full.weights[1, 1])
    turned = soft_encode(ab.transpose(-1, -2))
    assert torch.equal(turned.weights.transpose(-2, -3), full.weights)
    half = soft_encode(ab.bfloat16())
    assert half.weights.dtype == torch.bfloat16
    assert soft_encode(torch.zeros(4, 2, 0, 3)).indices.shape == (4, 0, 3, 10)


def test_what_is_no_number_spoils_its_own_pixel_alone() -> None:
    ab = torch.full((2, 3, 3), 12.0)
    ab[0, 0, 0], ab[1, 1, 1], ab[0, 2, 2] = torch.nan, torch.inf, 1e30
    code = soft_encode(ab)
    assert int(code.indices.min()) >= 0 and int(code.indices.max()) < 313
    assert torch.isfinite(code.weights).all(dim=-1).sum() >= 7
    assert torch.isnan(code.weights[0, 0]).all()


def test_weights_at_a_bin_centre_are_those_of_the_released_code() -> None:
    center = torch.zeros(2, 1, 1)
    ten, five = (soft_encode(center, k).dense()[0, 0] for k in (10, 5))
    assert ten[120] == pytest.approx(0.619, abs=5e-4) and five[120] == pytest.approx(0.649, abs=5e-4)
    assert ten[121] == pytest.approx(0.0838, abs=5e-5) and five[121] == pytest.approx(0.0878, abs=5e-5)


@settings(max_examples=200, deadline=None)
@given(st.floats(-140, 140, width=32), st.floats(-140, 140, width=32))
def test_nearest_bin_is_the_argmin_of_all_distances(a: float, b: float) -> None:
    squared = ((torch.tensor([a, b], dtype=torch.float64) - ab_bins().double()) ** 2).sum(-1)
    found = int(nearest_bin(torch.tensor([a, b]).reshape(2, 1, 1)))
    assert (
        squared[found] <= squared.min() + 1e-3
        and found <= int(squared.argmin()) + (squared[found] > squared.min()) * 313
    )


def test_nearest_bins_are_the_same_compiled_and_by_tensors() -> None:
    ab = (torch.rand(2, 2, 90, 80, generator=torch.Generator().manual_seed(3)) - 0.5) * 500
    assert torch.equal(nearest_bin(ab), bins._nearest_by_tensors(ab))
    assert torch.equal(nearest_bin(ab.double()), nearest_bin(ab))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_no_number_has_no_nearest_bin(bad: float, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        nearest_bin(torch.tensor([3.0, bad], dtype=dtype).reshape(2, 1, 1))


def test_nearest_bin_takes_the_lower_index_at_a_tie() -> None:
    tie = torch.tensor([5.0, -5.0]).reshape(2, 1, 1)
    assert ab_bins()[int(nearest_bin(tie))].tolist() == [0, -10]


def test_261_bins_are_nearest_to_some_8bit_color() -> None:
    values = torch.arange(0, 256, 3, dtype=torch.uint8)
    rgb = torch.cartesian_prod(values, values, values).T[:, :, None].contiguous()
    assert len(nearest_bin(rgb_to_lab(rgb)[1:]).unique()) == 261


def test_decoding_goes_from_mean_to_mode_as_the_temperature_falls() -> None:
    logits = torch.randn(2, 313, 4, 4, generator=torch.Generator().manual_seed(0)) * 3
    probabilities = logits.softmax(1)
    mean = torch.einsum("nqhw,qc->nchw", probabilities, ab_bins())
    assert torch.allclose(decode(logits, "mean"), mean, atol=1e-4)
    assert torch.allclose(decode(logits, "annealed-mean", 1.0), mean, atol=1e-4)
    mode = ab_bins()[probabilities.argmax(1)].movedim(-1, 1)
    assert torch.equal(decode(logits, "mode"), mode)
    assert torch.allclose(decode(logits, "annealed-mean", 1e-3), mode, atol=1e-2)
    annealed = probabilities ** (1 / 0.38)
    annealed /= annealed.sum(1, keepdim=True)
    assert torch.allclose(decode(logits), torch.einsum("nqhw,qc->nchw", annealed, ab_bins()), atol=1e-4)


def test_decoding_the_soft_code_gives_back_the_color() -> None:
    ab = rgb_to_lab(torch.from_numpy(astronaut()[::8, ::8].copy()).permute(2, 0, 1))[1:]
    back = decode(soft_encode(ab).dense().movedim(-1, 0)[None].clamp_min(1e-30).log(), "mean")[0]
    assert (back - ab).abs().mean() < 0.4 and (back - ab).abs().max() < 7.5


@pytest.mark.parametrize(("method", "temperature"), [("median", 0.38), ("annealed-mean", 0.0), ("annealed-mean", -1.0)])
def test_unknown_decodings_are_refused(method: str, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"decoding|temperature"):
        decode(torch.zeros(1, 313, 1, 1), method, temperature)  # type: ignore[arg-type]


@pytest.mark.parametrize(("neighbors", "sigma"), [(0, 5.0), (314, 5.0), (10, 0.0)])
def test_impossible_encodings_are_refused(neighbors: int, sigma: float) -> None:
    with pytest.raises(ValueError, match="neighbors"):
        soft_encode(torch.zeros(2, 1, 1), neighbors, sigma)


def test_what_is_kept_from_inference_serves_training() -> None:
    for cached in (ab_bins, grid.bin_of_grid_point, encoding._offsets, encoding._tables):
        cached.cache_clear()
    with torch.inference_mode():
        soft_encode(torch.zeros(1, 2, 2, 2))
    logits = torch.zeros(1, 313, 2, 2, requires_grad=True)
    decode(logits).sum().backward()
    assert logits.grad is not None
