"""The LPIPS metric: distance in network features, weighted by human similarity judgments.

Source: Zhang, Isola, Efros, Shechtman and Wang, "The unreasonable effectiveness of deep features as a perceptual
metric", CVPR 2018. The linear heads (version 0.1) are part of the package ``lpips``. The weights of the trunks are a
given file, or the published one, which is downloaded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colorbench.errors import UserError, extra_hint
from colorbench.models import check_shapes, load_weights, resolve_weights
from colorbench.results import MetricSpec
from colorbench.storage import file_sha256

TRUNKS = {
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}
"""Name -> published file, whose name ends in the first 8 digits of its sha256; 233, 528 and 4.7 MB."""
RANGES = ("-1..1", "0..1")
SMALLEST = 32
"""Minimum shorter side in pixels: below it, feature maps of a trunk are empty."""

SPEC = MetricSpec(
    name="lpips",
    title="LPIPS",
    unit="",
    higher_is_better=False,
    lower_bound=0,
    explanation="Difference from the true image in the features of a network, weighted by human judgments of "
    "similarity. Favors the true colors less strictly than PSNR: a plausible other color costs less, but compare with "
    "gray. Compare only values of the same network (trunk).",
    of_ground_truth=0,
    ground_truth_margin=1e-4,
)


@dataclass(frozen=True)
class Lpips:
    """LPIPS with one trunk."""

    trunk: str
    network: nn.Module
    weights_sha256: str
    value_range: str
    """Range of the input: ``-1..1`` is correct, ``0..1`` reproduces published code."""

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines its values, as plain data."""
        return {"trunk": self.trunk, "weights_sha256": self.weights_sha256, "heads": "0.1", "range": self.value_range}

    @property
    def spec(self) -> MetricSpec:
        """Spec of the metric, named after the trunk."""
        beside = "" if self.value_range == RANGES[0] else f", range {self.value_range}"
        return replace(SPEC, name=f"lpips_{self.trunk}", title=f"LPIPS ({self.trunk}{beside})")

    def distance(self, rgb8_a: Tensor, rgb8_b: Tensor) -> Tensor:
        """Compute the LPIPS distance of each pair of images.

        Args:
            rgb8_a: (N, 3, H, W) uint8.
            rgb8_b: (N, 3, H, W) uint8.

        Returns:
            (N,) float64, 0 or more; NaN for images with a side below 32.
        """
        device = rgb8_a.device
        if min(rgb8_a.shape[2:]) < SMALLEST:
            return torch.full((len(rgb8_a),), math.nan, dtype=torch.float64, device=device)
        if next(self.network.parameters()).device != device:
            self.network.to(device)
        a, b = (self._given(rgb8) for rgb8 in (rgb8_a, rgb8_b))
        # One image at a time on a CPU, so that values do not depend on the batch.
        at_once = 1 if device.type == "cpu" else len(a)
        with torch.no_grad():
            parts = [self.network(a[i : i + at_once], b[i : i + at_once]) for i in range(0, len(a), at_once)]
        return torch.cat(parts).flatten().double()

    def _given(self, rgb8: Tensor) -> Tensor:
        values = rgb8.float() / 255
        return 2 * values - 1 if self.value_range == RANGES[0] else values


def load_lpips(name: str, value_range: str) -> Lpips | None:
    """Load a trunk of LPIPS: ``alex``, ``vgg`` or ``squeeze``, each also as ``NAME:FILE``; None for ``none``.

    Raises:
        UserError: for an unknown name or range, a missing extra, or weights that are missing or do not fit.
        RunError: for a download that fails.
    """
    if value_range not in RANGES:
        raise UserError(f"fidelity.lpips_range cannot be {value_range!r}", hint=f"choose {' or '.join(RANGES)}")
    if name == "none":
        return None
    trunk, _, file = name.partition(":")
    if trunk not in TRUNKS:
        hint = f"choose none or {' or '.join(TRUNKS)}, or NAME:FILE"
        raise UserError(f"fidelity.lpips cannot be {name!r}", hint=hint)
    try:
        import lpips
    except ImportError as error:
        what = "fidelity.lpips needs the package lpips, which is not installed"
        raise UserError(what, hint=extra_hint("lpips")) from error
    path = resolve_weights(file or TRUNKS[trunk])
    sha256, expected = file_sha256(path), Path(TRUNKS[trunk]).stem.rpartition("-")[2]
    if not file and not sha256.startswith(expected):
        raise UserError(f"the weights have sha256 {sha256}, expected {expected}...", where=str(path))
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = lpips.LPIPS(net=trunk, pnet_rand=True, verbose=False)
    _put_in(network.net, load_weights(path), path)
    return Lpips(trunk, network.eval().requires_grad_(False), sha256, value_range)


def _put_in(trunk: Any, state: dict[str, Tensor], path: Path) -> None:
    """Load torchvision's ``features.3.weight`` into ``slice2.3.weight``; its classifier is not used."""
    wanted = trunk.state_dict()
    names = {f"features.{name.partition('.')[2]}": name for name in wanted}
    given = {name: value for name, value in state.items() if name.startswith("features.")}
    check_shapes(given, {published: wanted[own] for published, own in names.items()}, path)
    trunk.load_state_dict({names[name]: value for name, value in given.items()})
