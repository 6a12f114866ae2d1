"""sRGB <-> Lab against scikit-image in float64."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import lab2rgb, rgb2lab

from colorbench.color.lab import lab_to_rgb, lab_to_rgb8, lightness_and_ab, rendered, rgb_to_lab


def cube(step: int) -> np.ndarray:
    """(n, 1, 3) uint8: every ``step``-th value of each channel, and 255."""
    values = np.unique(np.r_[np.arange(0, 256, step), 255])
    return np.stack(np.meshgrid(values, values, values, indexing="ij"), -1).reshape(-1, 1, 3).astype(np.uint8)


def channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@pytest.mark.parametrize("step", [5, 17])
def test_8bit_colors_are_within_a_thousandth_of_scikit_image(step: int) -> None:
    rgb = cube(step)
    ours = rgb_to_lab(channels_first(rgb)).permute(1, 2, 0).numpy()
    assert ours.dtype == np.float32
    assert np.abs(ours - rgb2lab(rgb.astype(np.float64) / 255)).max() < 1e-3


def test_float64_agrees_with_scikit_image_to_1e_9() -> None:
    rgb = np.random.default_rng(0).random((50, 40, 3))
    ours = rgb_to_lab(channels_first(rgb)).permute(1, 2, 0).numpy()
    assert np.abs(ours - rgb2lab(rgb)).max() < 1e-9


def test_every_8bit_color_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    for red in range(256):
        green, blue = torch.meshgrid(values, values, indexing="ij")
        rgb = torch.stack([torch.full_like(green, red), green, blue])
        assert torch.equal(lab_to_rgb8(rgb_to_lab(rgb)), rgb)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 100), st.floats(-128, 127), st.floats(-128, 127))
def test_the_way_back_agrees_with_scikit_image_in_and_out_of_gamut(lightness: float, a: float, b: float) -> None:
    lab = np.array([[[lightness, a, b]]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image warns of negative Z, which both clip
        expected = lab2rgb(lab)
    assert np.abs(lab_to_rgb(channels_first(lab)).permute(1, 2, 0).numpy() - expected).max() < 1e-6


def test_compiled_loops_agree_with_tensors() -> None:
    rgb = torch.randint(0, 256, (3, 400, 300), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    lab = rgb_to_lab(rgb)
    assert (lab - rgb_to_lab(rgb.double() / 255)).abs().max() < 1e-5  # float32's rounding of 100
    lab = lab * torch.tensor([1.1, 1.5, 1.5])[:, None, None]  # in and out of the gamut
    assert torch.equal(lab_to_rgb8(lab), (lab_to_rgb(lab.double()) * 255).round().to(torch.uint8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_seen_is_clipped_rounded_and_converted_back(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    rgb = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8, generator=generator)
    lightness = rgb_to_lab(rgb)[:, :1].to(dtype)
    ab = 60 * torch.randn(2, 2, 40, 30, generator=generator, dtype=dtype)  # in and out of the gamut
    shown, *found = rendered(lightness, ab)
    assert torch.equal(shown, lab_to_rgb8(torch.cat([lightness, ab], dim=1)))
    assert torch.equal(torch.cat(found, dim=1), rgb_to_lab(shown))


def test_lightness_and_ab_are_lab_in_two() -> None:
    rgb = torch.randint(0, 256, (2, 3, 40, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    for image in (rgb, rgb.double() / 255):
        lightness, ab = lightness_and_ab(image)
        assert torch.equal(torch.cat([lightness, ab], dim=1), rgb_to_lab(image))
        assert lightness.is_contiguous() and ab.is_contiguous()


@pytest.mark.parametrize("shape", [(3, 2, 8, 8), (2, 1, 8, 8), (2, 2, 4, 4), (2, 8, 8)])
def test_colors_that_do_not_fit_the_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rendered(torch.zeros(2, 1, 8, 8), torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (1, 8, 8), (2, 1, 8), (8, 8)])
def test_a_lightness_that_is_none_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        rendered(torch.zeros(shape), torch.zeros(2, 2, 8, 8))


def test_a_pixel_does_not_know_its_position() -> None:
    rgb = torch.randint(0, 256, (3, 37, 53), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    lab = rgb_to_lab(rgb)
    for row, column in ((0, 0), (17, 29), (36, 52)):
        one = rgb[:, row : row + 1, column : column + 1]
        assert torch.equal(rgb_to_lab(one), lab[:, row : row + 1, column : column + 1])
        assert torch.equal(lab_to_rgb8(lab * 1.3)[:, row, column], lab_to_rgb8((lab * 1.3)[:, row:, column:])[:, 0, 0])


def test_leading_dimensions_do_not_matter() -> None:
    rgb = torch.randint(0, 256, (2, 3, 3, 5, 4), dtype=torch.uint8)
    assert torch.equal(rgb_to_lab(rgb)[1, 2], rgb_to_lab(rgb[1, 2]))


@pytest.mark.parametrize("bad", [torch.zeros(4, 5, 5), torch.zeros(3, 5), torch.zeros(3, 5, 5, dtype=torch.int32)])
def test_wrong_shapes_and_dtypes_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected|must be uint8"):
        rgb_to_lab(bad)
