"""Colorfulness, chroma and lightness drift against plain numpy; and that no metric knows of the batch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee
from torch import Tensor

from colorbench.color import rgb_to_lab
from colorbench.metrics import (
    cf_abs,
    cf_hs,
    lightness_drift,
    lightness_drift_share,
    mean_chroma,
    mean_ciede2000,
    psnr,
)
from colorbench.metrics.pixel_mean import image_mean


def images(height: int = 90, width: int = 111) -> Tensor:
    """(3, 3, height, width) uint8."""
    rgb = np.stack(
        [image()[40 : 40 + 2 * height : 2, 30 : 30 + 2 * width : 2] for image in (astronaut, chelsea, coffee)]
    )
    return torch.from_numpy(rgb).movedim(-1, 1)


def colorfulness_by_numpy(image: np.ndarray, absolute: bool) -> float:
    """(3, H, W) uint8, as the papers and the tutorial write it."""
    r, g, b = image.astype(np.float64)
    rg, yb = r - g, 0.5 * (r + g) - b
    if absolute:
        rg, yb = np.absolute(rg), np.absolute(yb)
    deviation = np.sqrt(np.std(rg) ** 2 + np.std(yb) ** 2)
    return deviation + 0.3 * np.sqrt(np.mean(rg) ** 2 + np.mean(yb) ** 2)


@pytest.mark.parametrize(("metric", "absolute"), [(cf_hs, False), (cf_abs, True)])
def test_colorfulness_agrees_with_numpy(metric: Callable[[Tensor], Tensor], absolute: bool) -> None:
    rgb8 = images()
    oracle = [colorfulness_by_numpy(image.numpy(), absolute) for image in rgb8]
    np.testing.assert_allclose(metric(rgb8).numpy(), oracle, rtol=1e-12)


def test_the_two_forms_differ_where_opponents_meet() -> None:
    halves = torch.zeros(1, 3, 4, 8, dtype=torch.uint8)
    halves[:, 0, :, :4] = halves[:, 1, :, 4:] = 255  # red beside green
    # rg is +-255, yb 127.5 everywhere: signed it deviates by 255, absolute not at all.
    assert cf_hs(halves).item() == pytest.approx(255 + 0.3 * 127.5, abs=1e-12)
    assert cf_abs(halves).item() == pytest.approx(0.3 * np.hypot(255, 127.5), abs=1e-12)


@pytest.mark.parametrize("metric", [cf_hs, cf_abs])
def test_gray_has_no_colorfulness_at_all(metric: Callable[[Tensor], Tensor]) -> None:
    assert metric(images()[:, :1].expand(-1, 3, -1, -1)).tolist() == [0, 0, 0]


def test_chroma_agrees_with_numpy_and_halves_with_the_color() -> None:
    ab = rgb_to_lab(images())[:, 1:]
    a, b = ab.double().numpy().transpose(1, 0, 2, 3)
    oracle = np.hypot(a, b).mean(axis=(1, 2))
    np.testing.assert_allclose(mean_chroma(ab).numpy(), oracle, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mean_chroma(ab / 2).numpy(), oracle / 2, rtol=0, atol=1e-6)


def test_lightness_drift_counts_size_and_share() -> None:
    given = torch.full((2, 1, 2, 4), 50.0)
    rendered = given.clone()
    rendered[0, 0, 0, :2] += torch.tensor([3.0, -1.0])
    assert lightness_drift(rendered, given).tolist() == [0.5, 0]
    assert lightness_drift_share(rendered, given).tolist() == [12.5, 0]  # exactly 1 is not more than 1
    assert lightness_drift_share(rendered, given, above=0.5).tolist() == [25, 0]
    rendered[1, 0, 0, 0] = torch.nan
    assert lightness_drift_share(rendered, given).isnan().tolist() == [False, True]


def test_image_mean_is_the_mean_in_any_order() -> None:
    values = torch.rand(4, 5, 1001, generator=torch.Generator().manual_seed(0)) * 100
    np.testing.assert_allclose(image_mean(values).numpy(), values.double().mean(dim=(1, 2)).numpy(), rtol=0, atol=5e-7)
    shuffled = values.flatten(1)[:, torch.randperm(5005, generator=torch.Generator().manual_seed(1))]
    assert torch.equal(image_mean(shuffled), image_mean(values))
    with pytest.raises(ValueError, match="no pixels"):
        image_mean(torch.zeros(1, 0))


# Each of an (N, 3, H, W) uint8 answer and truth, and their float32 Lab.
BATCHED: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "psnr": lambda rgb, true_rgb, lab, true_lab: psnr(rgb, true_rgb),
    "cf_hs": lambda rgb, true_rgb, lab, true_lab: cf_hs(rgb),
    "cf_abs": lambda rgb, true_rgb, lab, true_lab: cf_abs(rgb),
    "ciede2000": lambda rgb, true_rgb, lab, true_lab: mean_ciede2000(lab, true_lab),
    "chroma": lambda rgb, true_rgb, lab, true_lab: mean_chroma(lab[:, 1:]),
    "drift": lambda rgb, true_rgb, lab, true_lab: lightness_drift(lab[:, :1], true_lab[:, :1]),
    "drift share": lambda rgb, true_rgb, lab, true_lab: lightness_drift_share(lab[:, :1], true_lab[:, :1]),
}


@pytest.mark.parametrize("size", [(64, 64), (37, 53)])
@pytest.mark.parametrize("metric", BATCHED.values(), ids=BATCHED)
def test_no_metric_depends_on_the_batch(metric: Callable[..., Tensor], size: tuple[int, int]) -> None:
    truth = images(*size)[[0, 1, 2, 0, 1, 2, 0, 1]]
    prediction = (truth.roll(1, 0) // 2 + truth // 2).contiguous()
    arguments = (prediction, truth, rgb_to_lab(prediction), rgb_to_lab(truth))
    together = metric(*arguments)
    assert together.dtype == torch.float64
    assert together.shape == (8,)
    for start, stop in [(i, i + 1) for i in range(8)] + [(0, 5), (5, 8)]:
        assert torch.equal(metric(*(image[start:stop].clone() for image in arguments)), together[start:stop])
    assert torch.equal(metric(*(image.contiguous(memory_format=torch.channels_last) for image in arguments)), together)


def test_what_it_refuses() -> None:
    rgb8 = images()
    for wrong in (rgb8.float(), rgb8[0], rgb8[:, :1], rgb8[:, :, :0]):
        with pytest.raises(ValueError, match="expected"):
            cf_hs(wrong)
    with pytest.raises(ValueError, match="expected"):
        mean_chroma(rgb_to_lab(rgb8))
    with pytest.raises(ValueError, match="of different shapes"):
        lightness_drift(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
