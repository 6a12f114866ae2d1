"""CIEDE2000: the published pairs, and scikit-image on images."""

import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.data import astronaut, chelsea, coffee
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.metrics import ciede2000, mean_ciede2000

# Sharma, Wu, Dalal (2005), table 1: L1 a1 b1 L2 a2 b2 and the difference to four digits. Pairs 9 to 15 stand on both
# sides of opposite hues, where the mean hue jumps; 1 to 6 test the rotation in the blues.
SHARMA = """
50.0000   2.6772 -79.7751  50.0000   0.0000 -82.7485   2.0425
50.0000   3.1571 -77.2803  50.0000   0.0000 -82.7485   2.8615
50.0000   2.8361 -74.0200  50.0000   0.0000 -82.7485   3.4412
50.0000  -1.3802 -84.2814  50.0000   0.0000 -82.7485   1.0000
50.0000  -1.1848 -84.8006  50.0000   0.0000 -82.7485   1.0000
50.0000  -0.9009 -85.5211  50.0000   0.0000 -82.7485   1.0000
50.0000   0.0000   0.0000  50.0000  -1.0000   2.0000   2.3669
50.0000  -1.0000   2.0000  50.0000   0.0000   0.0000   2.3669
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0009   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0010   7.1792
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0011   7.2195
50.0000   2.4900  -0.0010  50.0000  -2.4900   0.0012   7.2195
50.0000  -0.0010   2.4900  50.0000   0.0009  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0010  -2.4900   4.8045
50.0000  -0.0010   2.4900  50.0000   0.0011  -2.4900   4.7461
50.0000   2.5000   0.0000  50.0000   0.0000  -2.5000   4.3065
50.0000   2.5000   0.0000  73.0000  25.0000 -18.0000  27.1492
50.0000   2.5000   0.0000  61.0000  -5.0000  29.0000  22.8977
50.0000   2.5000   0.0000  56.0000 -27.0000  -3.0000  31.9030
50.0000   2.5000   0.0000  58.0000  24.0000  15.0000  19.4535
50.0000   2.5000   0.0000  50.0000   3.1736   0.5854   1.0000
50.0000   2.5000   0.0000  50.0000   3.2972   0.0000   1.0000
50.0000   2.5000   0.0000  50.0000   1.8634   0.5757   1.0000
50.0000   2.5000   0.0000  50.0000   3.2592   0.3350   1.0000
60.2574 -34.0099  36.2677  60.4626 -34.1751  39.4387   1.2644
63.0109 -31.0961  -5.8663  62.8187 -29.7946  -4.0864   1.2630
61.2901   3.7196  -5.3901  61.4292   2.2480  -4.9620   1.8731
35.0831 -44.1164   3.7933  35.0232 -40.0716   1.5901   1.8645
22.7233  20.0904 -46.6940  23.0331  14.9730 -42.5619   2.0373
36.4612  47.8580  18.3852  36.2715  50.5065  21.2231   1.4146
90.8027  -2.0831   1.4410  91.1528  -1.6435   0.0447   1.4441
90.9257  -0.5406  -0.9208  88.6381  -0.8985  -0.7239   1.5381
 6.7747  -0.2908  -2.4247   5.8714  -0.0985  -2.2286   0.6377
 2.0776   0.0795  -1.1350   0.9033  -0.0636  -0.5514   0.9082
"""
PAIRS = np.array([line.split() for line in SHARMA.strip().splitlines()], dtype=np.float64)


def pixels(lab: np.ndarray) -> Tensor:
    """(n, 3) -> (1, 3, 1, n)."""
    return torch.from_numpy(np.ascontiguousarray(lab.T))[None, :, None]


def images() -> np.ndarray:
    """(3, 90, 111, 3) uint8: an odd number of pixels across."""
    return np.stack([image()[40:220:2, 30:252:2] for image in (astronaut, chelsea, coffee)])


def test_all_34_published_pairs_both_ways() -> None:
    first, second = pixels(PAIRS[:, :3]), pixels(PAIRS[:, 3:6])
    assert len(PAIRS) == 34
    for one, other in ((first, second), (second, first)):
        # The table is rounded to four digits.
        np.testing.assert_allclose(ciede2000(one, other).flatten().numpy(), PAIRS[:, 6], rtol=0, atol=5.01e-5)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_agrees_with_scikit_image_on_images(dtype: torch.dtype, atol: float) -> None:
    lab = rgb2lab(images())
    other = np.roll(lab, 1, axis=0)
    found = ciede2000(*(torch.from_numpy(x).movedim(-1, 1).to(dtype) for x in (lab, other)))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.numpy(), deltaE_ciede2000(lab, other), rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_agrees_with_scikit_image_on_random_colors(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.uniform((0, -110, -110), (100, 110, 110), (20_000, 3)) for _ in range(2))
    found = ciede2000(pixels(one).to(dtype), pixels(other).to(dtype)).flatten().numpy()
    wrong = np.abs(found - deltaE_ciede2000(one, other))
    # In float32 a pair within rounding of opposite hues may fall on the other side of the jump.
    assert np.quantile(wrong, 0.999) < (1e-10 if dtype == torch.float64 else 2e-4)
    assert (dtype == torch.float32) or wrong.max() < 1e-10


def test_equal_colors_differ_by_nothing() -> None:
    lab = rgb_to_lab(torch.from_numpy(images()).movedim(-1, 1))
    assert mean_ciede2000(lab, lab).tolist() == [0, 0, 0]


def test_mean_of_each_image() -> None:
    lab = rgb_to_lab(torch.from_numpy(images()).movedim(-1, 1))
    plain = [ciede2000(lab[i : i + 1], lab[:1]).double().mean().item() for i in range(3)]
    found = mean_ciede2000(lab, lab[:1].expand_as(lab))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), plain, rtol=0, atol=5e-7)


def test_a_pixel_without_a_number_makes_its_image_and_no_other_undefined() -> None:
    lab = rgb_to_lab(torch.from_numpy(images()).movedim(-1, 1))
    broken = lab.clone()
    broken[1, 2, 3, 4] = torch.nan
    assert mean_ciede2000(broken, lab).isnan().tolist() == [False, True, False]


def test_what_it_refuses() -> None:
    lab = torch.zeros(1, 3, 2, 2)
    for one, other in ((lab, lab[:, :2]), (lab, torch.zeros(1, 3, 2, 3)), (lab.byte(), lab), (lab[0], lab[0])):
        with pytest.raises(ValueError, match="expected|of different shapes"):
            ciede2000(one, other)
