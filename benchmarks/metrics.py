"""Metrics of images and of sets against torchmetrics, scikit-image and pytorch-fid."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from skimage.color import deltaE_ciede2000
from skimage.data import astronaut, coffee
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    peak_signal_noise_ratio as torchmetrics_psnr,
)
from torchmetrics.functional.image import (
    structural_similarity_index_measure as torchmetrics_ssim,
)
from torchmetrics.image.kid import poly_mmd

from benchmarks.case import Case
from colorbench.color import rgb_to_lab
from colorbench.metrics import ciede2000, frechet_distance, kernel_distance, moments, psnr, ssim
from colorbench.stats import paired_interval

SIDE = 256


def cases(*, dimensions: int = 512, images: int = 2000) -> Iterator[Case]:
    """Yield the comparisons; ``dimensions`` and ``images`` are those of features."""
    a, b = (load()[:SIDE, :SIDE].copy() for load in (astronaut, coffee))
    one, two = (torch.from_numpy(image).permute(2, 0, 1)[None].contiguous() for image in (a, b))
    traffic = 2.0 * one.numel()
    skimage_ssim = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    alternatives: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "scikit-image": (
            lambda: peak_signal_noise_ratio(a, b),
            lambda: structural_similarity(a, b, data_range=255, **skimage_ssim),
        ),
        "torchmetrics": (
            lambda: torchmetrics_psnr(one.float(), two.float(), data_range=255.0),
            lambda: torchmetrics_ssim(one.float(), two.float(), data_range=255.0),
        ),
    }
    for library, (its_psnr, _) in alternatives.items():
        yield Case("PSNR, 256 x 256", lambda: psnr(one, two), library, its_psnr, limit="memory", work=traffic)
    for library, (_, its_ssim) in alternatives.items():
        yield Case("SSIM, 256 x 256", lambda: ssim(one, two), library, its_ssim)
    lab_one, lab_two = rgb_to_lab(one), rgb_to_lab(two)
    pixels_one, pixels_two = (lab[0].permute(1, 2, 0).numpy() for lab in (lab_one, lab_two))
    yield Case(
        "CIEDE2000, 256 x 256",
        lambda: ciede2000(lab_one, lab_two),
        "scikit-image",
        lambda: deltaE_ciede2000(pixels_one, pixels_two),
        limit="memory",
        work=2.0 * lab_one.numel() * 4,
    )
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(images, dimensions)), rng.normal(0.1, 1.1, (images, dimensions))
    p, q = moments(x), moments(y)
    yield Case(
        f"Fréchet distance, {dimensions} features",
        lambda: frechet_distance(p, q),
        "pytorch-fid",
        lambda: calculate_frechet_distance(p.mean, p.covariance, q.mean, q.covariance),
        limit="matrix",
        work=2 * 2 * dimensions**3,  # two products; the eigenvalues come on top
    )
    tensors = torch.from_numpy(x), torch.from_numpy(y)
    yield Case(
        f"kernel distance, {images} images",
        lambda: kernel_distance(x, y),
        "torchmetrics",
        lambda: poly_mmd(*tensors),
        limit="matrix",
        work=2 * 3 * images**2 * dimensions,
    )
    statistics = [np.stack([rng.normal(60, 12, images), np.ones(images)], axis=1) for _ in range(2)]
    yield Case(
        f"interval of a difference, {images} images, 1000 resamples",
        lambda: paired_interval(*statistics, "ratio", resamples=1000),
        "loop over resamples in numpy",
        lambda: _loop(*statistics, 1000),
    )


def _loop(a: np.ndarray, b: np.ndarray, resamples: int) -> np.ndarray:
    """Return the percentile interval of the difference of two ratios, resample by resample."""
    rng, found = np.random.default_rng(0), []
    for _ in range(resamples):
        chosen = rng.integers(0, len(a), len(a))
        (above, below), (other, under) = a[chosen].sum(axis=0), b[chosen].sum(axis=0)
        found.append(above / below - other / under)
    return np.quantile(found, [0.025, 0.975])
