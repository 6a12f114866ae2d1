"""Test whether the paper's annealing (T = 0.38) is folded into the released weights.

The Caffe network multiplies its logits by 2.606 before the softmax; the PyTorch code has no such factor. Either the
factor is folded into the last layer of the released file, or the PyTorch demo decodes at T = 1. A network trained by
the rebalanced cross-entropy has its smallest loss at the scale of its training. The loss on a few images therefore
decides: it is smaller either for the logits or for the logits divided by 2.606.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from colorbench.color import load_prior, rebalancing_weights, rgb_to_lab, soft_encode
from colorbench.data import Sample, decode_image, open_dataset
from colorbench.errors import UserError
from colorbench.storage import cache_folder, write_atomic
from colorbench.training import rebalanced_cross_entropy

FACTOR = 2.606
SIZE = 128
"""Side in pixels of the test images; takes a quarter of the time of 256."""


class TemperatureEvidence(NamedTuple):
    """Results for a file's logits, in nats per pixel, means over the packaged images."""

    loss: float
    """Rebalanced cross-entropy of the logits."""
    loss_divided: float
    """Rebalanced cross-entropy of the logits divided by 2.606."""
    entropy: float
    """Entropy of the softmax of the logits."""
    entropy_multiplied: float
    """Entropy of the softmax of the logits times 2.606."""

    @property
    def folded(self) -> bool:
        """Whether the factor is part of the weights."""
        return self.loss_divided < self.loss

    def note(self) -> str:
        """Return the sentences for the card."""
        measured = (
            f"rebalanced cross-entropy on the packaged images {self.loss:.2f} nats per pixel unchanged, "
            f"{self.loss_divided:.2f} divided by {FACTOR}; mean entropy of the softmax {self.entropy:.2f}, "
            f"times {FACTOR} {self.entropy_multiplied:.2f}"
        )
        if self.folded:
            verdict = (
                f"The factor {FACTOR} (T = 0.38) is part of the file's logits: decode=mean gives the annealed mean"
            )
        else:
            verdict = f"The factor {FACTOR} (T = 0.38) is not part of the file's logits: decode=mean uses T = 1"
        return f"Decoded by the softmax of the file's own logits, as in the authors' demo. {verdict} ({measured})."


def temperature_note(network: nn.Module, sha256: str) -> str:
    """Return the card's note on the temperature, measured once per file and then cached."""
    remembered = cache_folder() / "notes" / f"eccv16-temperature-{sha256}.txt"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return remembered.read_text(encoding="utf-8")
    note = temperature_evidence(network).note()
    with contextlib.suppress(OSError, UserError):  # without a writable cache it only takes longer
        write_atomic(remembered, note.encode(), durable=False)
    return note


@torch.no_grad()
def temperature_evidence(network: nn.Module) -> TemperatureEvidence:
    """Measure a network of 313 logits on the packaged images, as evidence for its annealing temperature."""
    weights = torch.from_numpy(rebalancing_weights(load_prior().probabilities)).float()
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64)
    images = list(map(_lab, open_dataset("samples").samples))
    for lab in images:
        logits: Tensor = network(lab[:, :1].contiguous()).float()
        target = soft_encode(lab[:, 1:, ::4, ::4].contiguous())
        losses = [rebalanced_cross_entropy(logits / scale, target, weights).loss for scale in (1.0, FACTOR)]
        entropies = [_entropy(logits * scale) for scale in (1.0, FACTOR)]
        sums += torch.stack([*losses, *entropies]).double()
    return TemperatureEvidence(*(sums / len(images)).tolist())


def _entropy(logits: Tensor) -> Tensor:
    log_probabilities = logits.log_softmax(dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1).mean()


def _lab(sample: Sample) -> Tensor:
    """Return (1, 3, SIZE, SIZE) Lab of an image."""
    rgb = decode_image(sample).rgb
    small = np.array(Image.fromarray(rgb).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return rgb_to_lab(torch.from_numpy(small).permute(2, 0, 1)[None].contiguous())
