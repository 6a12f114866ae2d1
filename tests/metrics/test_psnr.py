"""PSNR: scikit-image on images, and known errors."""

import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from colorbench.metrics.psnr import ROUNDING_BOUND, mean_squared_error, psnr


def images() -> Tensor:
    """(3, 3, 90, 111) uint8."""
    rgb = np.stack([image()[40:220:2, 30:252:2] for image in (astronaut, chelsea, coffee)])
    return torch.from_numpy(rgb).movedim(-1, 1)


def gray_of(rgb8: Tensor) -> Tensor:
    return rgb8.float().mean(dim=1, keepdim=True).round().byte().expand_as(rgb8)


@pytest.mark.parametrize("prediction", [gray_of, lambda rgb8: rgb8 ^ 1, lambda rgb8: rgb8.flip(0)])
def test_agrees_with_scikit_image(prediction) -> None:
    truth = images()
    found = psnr(prediction(truth), truth)
    oracle = [
        peak_signal_noise_ratio(t.numpy(), a.numpy(), data_range=255)
        for t, a in zip(truth, prediction(truth), strict=True)
        if not torch.equal(t, a)
    ]
    np.testing.assert_allclose(found[found.isfinite()].numpy(), oracle, rtol=1e-13)


def test_identical_images_are_infinitely_near_and_opposite_ones_have_0_dB() -> None:
    truth = images()
    assert psnr(truth, truth).tolist() == [math.inf] * 3
    black = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    assert psnr(black, black + 255).tolist() == [0, 0]


def test_the_error_is_exact_in_full_numbers() -> None:
    # Adding 1.9 million squares in float32 would lose this one step of one channel of one pixel.
    a = torch.zeros(1, 3, 700, 900, dtype=torch.uint8)
    b = a + 255
    b[0, 0, 0, 0] = 254
    n = b.numel()
    assert mean_squared_error(a, b).item() == ((n - 1) * 255**2 + 254**2) / n


def test_the_rounding_bound_is_what_rounding_gives() -> None:
    # Real-valued images against themselves rounded to 8 bits.
    values = np.random.default_rng(0).uniform(0, 255, 1_000_000)
    error = np.mean((values - values.round()) ** 2)
    assert abs(10 * math.log10(255**2 / error) - ROUNDING_BOUND) < 0.02


def test_what_it_refuses() -> None:
    rgb8 = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    for one, other in ((rgb8, rgb8.float()), (rgb8, rgb8[:, :1]), (rgb8, rgb8[..., :1]), (rgb8[0], rgb8[0])):
        with pytest.raises(ValueError, match="expected|of different shapes"):
            psnr(one, other)
