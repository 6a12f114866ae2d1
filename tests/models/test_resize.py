"""A model's own working size: what it is shown, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.models.resize import at_working_size


@pytest.fixture(scope="module")
def lightness(astronaut: np.ndarray) -> Tensor:
    """(1, 1, 300, 512) L of a real image."""
    return rgb_to_lab(torch.from_numpy(astronaut[:300].transpose(2, 0, 1).copy())[None])[:, :1]


@pytest.mark.parametrize(("size", "working"), [(96, (96, 96)), ((64, 128), (64, 128)), (640, (640, 640))])
def test_the_model_sees_what_pillows_bicubic_makes(
    lightness: Tensor, size: int | tuple[int, int], working: tuple[int, int]
) -> None:
    seen: list[Tensor] = []

    def model(shown: Tensor) -> Tensor:
        seen.append(shown)
        return shown.repeat(1, 2, 1, 1)

    ab = at_working_size(model, lightness, size)
    assert ab.shape == (1, 2, 300, 512)
    # Pillow resizes single-channel float images with the same antialiased kernel.
    oracle = np.asarray(Image.fromarray(lightness[0, 0].numpy()).resize(working[::-1], Image.Resampling.BICUBIC))
    assert seen[0].shape == (1, 1, *working)
    assert np.abs(seen[0][0, 0].numpy() - oracle.clip(0, 100)).max() < 0.01


def test_overshoot_is_no_lightness() -> None:
    edge = torch.zeros(1, 1, 16, 16)
    edge[..., 8:] = 100

    def model(shown: Tensor) -> Tensor:
        assert shown.min() >= 0 and shown.max() <= 100
        return shown.repeat(1, 2, 1, 1)

    at_working_size(model, edge, 20)


@pytest.mark.parametrize("prediction", [16, 64])
def test_ab_of_any_size_comes_back_bilinear(lightness: Tensor, prediction: int) -> None:
    generator = torch.Generator().manual_seed(0)
    small = torch.randn(1, 2, prediction, prediction, generator=generator) * 40
    ab = at_working_size(lambda shown: small, lightness, 64)
    for channel in range(2):
        image = Image.fromarray(small[0, channel].numpy())
        oracle = np.asarray(image.resize((512, 300), Image.Resampling.BILINEAR))
        assert np.abs(ab[0, channel].numpy() - oracle).max() < 1e-3


def test_a_model_that_works_at_the_given_size_is_left_alone(lightness: Tensor) -> None:
    def model(shown: Tensor) -> Tensor:
        assert shown is lightness
        return torch.cat([shown, -shown], dim=1)

    assert torch.equal(at_working_size(model, lightness, (300, 512)), torch.cat([lightness, -lightness], dim=1))


def test_a_large_prediction_is_averaged_not_sampled() -> None:
    fine = torch.zeros(1, 2, 64, 64)
    fine[..., ::2] = 10  # stripes of one pixel
    ab = at_working_size(lambda shown: fine, torch.full((1, 1, 16, 16), 50.0), 64)
    assert (ab - 5).abs().max() < 1
