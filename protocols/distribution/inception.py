"""Inception v3 for FID: with the weights ported from TensorFlow, or with torchvision's.

Published code differs in the resizing of images and in the range of values. Each variant has a name; none is "the" FID.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from colorbench.errors import RunError, UserError, extra_hint
from colorbench.models import check_shapes, load_weights, resolve_weights
from colorbench.storage import file_sha256

SIDE = 299
Kind = Literal["inception", "inception-torchvision"]

ADDRESSES: Mapping[Kind, tuple[str, str | None]] = {
    "inception": (
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    # The file that CT2 and DDColor load; its full hash is not public, its name contains the first 8 digits.
    "inception-torchvision": ("https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth", None),
}
INCEPTIONS = tuple(ADDRESSES)
RESIZES: Mapping[Kind, tuple[str, ...]] = {
    "inception": ("tf", "bilinear", "clean"),
    "inception-torchvision": ("bilinear", "clean"),
}
"""Ways of resizing by network; the first is the network's own."""
RANGES: Mapping[Kind, tuple[str, ...]] = {"inception": ("own",), "inception-torchvision": ("own", "ct2", "ddcolor")}
STAGES = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Inception:
    """One of the two networks, with a way of resizing, a range of values and a layer."""

    kind: Kind
    network: nn.Module
    weights_sha256: str
    layer: str
    resize: str
    value_range: str
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name as given by the user."""
        return self.kind

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that determines the features, as plain data."""
        names = ("kind", "weights_sha256", "layer", "resize", "value_range")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def key(self) -> str:
        """Hash of the identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def shown(self) -> str:
        """Description of resizing and range of values."""
        return f"{self.resize} {SIDE}, range {'-1..1' if self.value_range == 'own' else self.value_range}"

    def features(self, rgb8: Tensor) -> Tensor:
        """Compute features of 8-bit images.

        Args:
            rgb8: (N, 3, h, w) uint8.

        Returns:
            (N, d) float32 on the same device; d is 2048 for the last layer.

        Raises:
            RunError: for features that contain NaN or infinity.
        """
        device = rgb8.device
        with self._lock:
            if next(self.network.parameters()).device != device:
                self.network.to(device)
        with torch.no_grad():
            at_once = 1 if device.type == "cpu" else len(rgb8)
            parts = [rgb8[start : start + at_once] for start in range(0, len(rgb8), at_once)]
            found = torch.cat([self._run(self.prepared(part)) for part in parts])
        if not bool(found.isfinite().all()):
            raise RunError(f"{self.name} gives features that are NaN or infinite", hint="give other weights")
        return found

    def prepared(self, rgb8: Tensor) -> Tensor:
        """Compute the input of the network, (N, 3, h, w) uint8 -> (N, 3, 299, 299) float32."""
        if self.resize == "tf":
            from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

            resized: Tensor = interpolate_bilinear_2d_like_tensorflow1x(
                rgb8.float(), size=(SIDE, SIDE), align_corners=False
            )
            return (resized - 128) / 128
        if self.resize == "clean":
            resized = torch.stack([_clean(one) for one in rgb8])
            shown = (resized - 128) / 128 if self.kind == "inception" else resized / 127.5 - 1
        else:
            values = rgb8.float() / 255
            shown = 2 * functional.interpolate(values, size=(SIDE, SIDE), mode="bilinear", align_corners=False) - 1
        if self.value_range == "own":
            return shown
        # The published wrapper maps x to x / 2 + 1/2 and then reverts a normalization that was never applied; CT2
        # passes -1..1, DDColor 0..1.
        given = shown if self.value_range == "ct2" else (shown + 1) / 2
        std, mean = (given.new_tensor(values)[:, None, None] for values in (_IMAGENET_STD, _IMAGENET_MEAN))
        return (given * 0.5 + 0.5) * (std / 0.5) + (mean - 0.5) / 0.5

    def _run(self, x: Tensor) -> Tensor:
        for stage in STAGES:
            x = functional.max_pool2d(x, 3, 2) if stage == "maxpool" else getattr(self.network, stage)(x)
            if stage == self.layer:
                break
        return x.mean(dim=(2, 3))


def load_inception(name: str, layer: str, resize: str, value_range: str) -> Inception:
    """Load ``inception`` or ``inception-torchvision``, with weights from a file (``:FILE``) or the published ones.

    Raises:
        UserError: for an unknown layer, resize or range, weights that are missing, do not fit or contain more than
            tensors, or a missing extra.
        RunError: for a download that fails.
    """
    text, _, file = name.partition(":")
    kind: Kind = "inception" if text == "inception" else "inception-torchvision"
    layers = ("pool", *(stage for stage in STAGES if stage != "maxpool"))
    chosen = RESIZES[kind][0] if resize == "own" else resize
    for what, value, known in (
        ("layer", layer, layers),
        ("resize", chosen, RESIZES[kind]),
        ("range", value_range, RANGES[kind]),
    ):
        if value not in known:
            hint = f"choose {' or '.join(known)}"
            raise UserError(f"distribution.{what} cannot be {value!r} with {kind}", hint=hint)
    address, sha256 = ADDRESSES[kind]
    path = resolve_weights(file or address, None if file else sha256)
    found = file_sha256(path)
    expected = Path(address).stem.rpartition("-")[2]
    if not file and not found.startswith(expected):
        raise UserError(f"the weights have sha256 {found}, expected {expected}...", where=str(path))
    state = load_weights(path)
    network = _ported(state, path) if kind == "inception" else _torchvision(state, path)
    return Inception(kind, network.eval().requires_grad_(False), found, layer, chosen, value_range)


def _ported(state: dict[str, Tensor], path: Path) -> nn.Module:
    """Build torch-fidelity's module from tensors only, since it would unpickle a whole file."""
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        hint = extra_hint("fid")
        raise UserError("the backend inception needs torch-fidelity, which is not installed", hint=hint) from error
    plain = io.BytesIO()
    torch.save(state, plain)
    plain.seek(0)
    try:
        network: nn.Module = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], plain)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise UserError(f"the weights do not fit Inception v3: {first[:200]}", where=str(path)) from error
    return network


def _torchvision(state: dict[str, Tensor], path: Path) -> nn.Module:
    from torchvision.models import inception_v3

    with torch.random.fork_rng(devices=[]):
        network: nn.Module = inception_v3(weights=None, aux_logits=True, init_weights=False, transform_input=False)
    wanted = network.state_dict()
    # Files from before 2018 have no batch counters.
    state = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")} | state
    check_shapes(state, wanted, path)
    network.load_state_dict(state)
    return network


def _clean(rgb8: Tensor) -> Tensor:
    """Resize (3, h, w) uint8 to (3, 299, 299) float32 in 0..255, by Pillow's bicubic in floating point per channel."""
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in rgb8.cpu().numpy()]
    resized = [np.asarray(plane.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(resized)).clamp_(0, 255).to(rgb8.device)
