"""SSIM: scikit-image on real images, in both windows, and what it does not see."""

import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee
from skimage.metrics import structural_similarity
from torch import Tensor

from colorbench.metrics.ssim import Window, _by_tensors, ssim


def images(height: int = 90, width: int = 111) -> Tensor:
    """(3, 3, height, width) uint8."""
    rgb = np.stack(
        [image()[40 : 40 + 2 * height : 2, 30 : 30 + 2 * width : 2] for image in (astronaut, chelsea, coffee)]
    )
    return torch.from_numpy(rgb).movedim(-1, 1).contiguous()


def gray_of(rgb8: Tensor) -> Tensor:
    return rgb8.float().mean(dim=1, keepdim=True).round().byte().expand_as(rgb8).contiguous()


def oracle(a: Tensor, b: Tensor, **choices: object) -> list[float]:
    pairs = zip(a.movedim(1, -1).numpy(), b.movedim(1, -1).numpy(), strict=True)
    return [structural_similarity(x, y, channel_axis=-1, **choices) for x, y in pairs]


CHANGES = [gray_of, lambda rgb8: rgb8 ^ 1, lambda rgb8: rgb8.flip(0), lambda rgb8: 255 - rgb8, lambda rgb8: rgb8 // 2]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("size", [(90, 111), (64, 64), (11, 13)])
def test_the_gaussian_window_agrees_with_scikit_image(change, size: tuple[int, int]) -> None:
    truth = images(*size)
    choices = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    found = ssim(change(truth), truth).numpy()
    np.testing.assert_allclose(found, oracle(change(truth), truth, **choices), atol=1e-9, rtol=0)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("data_range", [255, 225, 510])
def test_the_uniform_window_agrees_with_scikit_images_default(change, data_range: float) -> None:
    truth = images()
    found = ssim(change(truth), truth, window="uniform7", data_range=data_range).numpy()
    np.testing.assert_allclose(found, oracle(change(truth), truth, data_range=data_range), atol=1e-9, rtol=0)


def test_a_range_for_floats_is_the_same_range_in_steps() -> None:
    """Images divided by 255 without a range are taken to have a range of 2."""
    truth = images()
    floats = [structural_similarity(a / 255, b / 255, channel_axis=-1, data_range=2.0) for a, b in pairs_of(truth)]
    np.testing.assert_allclose(
        ssim(gray_of(truth), truth, window="uniform7", data_range=510).numpy(), floats, atol=1e-9
    )


def pairs_of(truth: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(gray_of(truth).movedim(1, -1).numpy(), truth.movedim(1, -1).numpy(), strict=True))


def test_equal_images_have_1_and_images_below_the_window_no_value() -> None:
    truth = images()
    assert ssim(truth, truth).tolist() == pytest.approx([1.0] * 3, abs=1e-7)
    flat = torch.full((1, 3, 20, 20), 7, dtype=torch.uint8)
    assert ssim(flat, flat).tolist() == [1.0]
    small = images(10, 30)
    assert all(math.isnan(value) for value in ssim(small, small).tolist())
    assert not torch.isnan(ssim(small, small, window="uniform7")).any()
    assert ssim(truth[:0], truth[:0]).shape == (0,)


def test_no_image_knows_its_batch() -> None:
    truth = images().repeat(3, 1, 1, 1)
    together = ssim(gray_of(truth), truth)
    for i in range(len(truth)):
        assert ssim(gray_of(truth[i : i + 1]), truth[i : i + 1]).item() == together[i].item()


@pytest.mark.parametrize("window", ["gaussian", "uniform7"])
@pytest.mark.parametrize("size", [(90, 111), (11, 13)])
def test_compiled_loops_agree_with_tensors(window: Window, size: tuple[int, int]) -> None:
    truth = images(*size)
    for change in CHANGES:
        changed = change(truth)
        by_tensors = [_by_tensors(a, b, window, 225.0).item() for a, b in zip(changed, truth, strict=True)]
        found = ssim(changed, truth, window=window, data_range=225.0).tolist()
        assert found == pytest.approx(by_tensors, abs=1e-12)


def test_parts_of_larger_tensors_are_compared_as_they_are() -> None:
    """A border that is cut off leaves tensors whose rows do not follow one another in memory."""
    truth = images()
    part, whole = truth[:, :, 4:-4, 4:-4], truth[:, :, 4:-4, 4:-4].contiguous()
    assert ssim(gray_of(truth)[:, :, 4:-4, 4:-4], part).tolist() == ssim(gray_of(whole), whole).tolist()


def test_it_hardly_sees_color() -> None:
    truth = images(120, 120)
    assert ssim(gray_of(truth), truth).mean() > 0.85


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 20), "float32"),
        (torch.zeros(1, 1, 20, 20).byte(), torch.zeros(1, 1, 20, 20).byte(), r"\(1, 1, 20, 20\)"),
        (torch.zeros(1, 3, 20, 20).byte(), torch.zeros(1, 3, 20, 21).byte(), "of different shapes"),
    ],
)
def test_other_things_than_8_bit_images_are_refused(a: Tensor, b: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ssim(a, b)
    with pytest.raises(ValueError, match="range"):
        ssim(images(), images(), data_range=0)
