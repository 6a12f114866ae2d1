"""From trained weights to the two files that make a model: ``NAME.safetensors`` and its card, ``NAME.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from colorbench.color.lab import rgb_to_lab
from colorbench.color.prior import FLOOR, Prior, from_counts, save_prior, soft_counts
from colorbench.models.card import ModelCard
from colorbench.models.weights import file_sha256


def half_convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolution filters in float16, which halves the file; BatchNorm, biases and counters as they are."""
    return {
        name: (value.half() if value.dim() > 1 else value).detach().cpu().contiguous() for name, value in state.items()
    }


def export(state: Mapping[str, Tensor], path: Path, card: ModelCard, prior: Prior, hashes: np.ndarray) -> ModelCard:
    """Write weights, card, prior and the hashes of the training photographs beside one another.

    Args:
        state: the network's state dict.
        path: ``NAME.safetensors``; the other files take its stem.
        card: without hash and hash list, which are filled in here.
        prior: what the training was balanced with.
        hashes: (n,) uint64 of the training photographs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(half_convolutions(state), path)
    filled = card.model_copy(
        update={
            "weights_sha256": file_sha256(path),
            "parameters": sum(value.numel() for name, value in state.items() if _is_parameter(name)),
        }
    )
    path.with_suffix(".json").write_text(
        json.dumps(filled.model_dump(mode="json", exclude_defaults=True), indent=2) + "\n"
    )
    save_prior(prior, path.with_name(f"{path.stem}-prior.npy"))
    np.save(path.with_name(f"{path.stem}-photographs.npy"), np.sort(hashes))
    return filled


def _is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def count_prior(pixels: np.ndarray, neighbours: int, name: str, floor: float = FLOOR) -> Prior:
    """Mean soft encoding of every second pixel of (n, S, S, 3) uint8 photographs, floored."""
    counts = torch.zeros(313, dtype=torch.float64)
    for start in range(0, len(pixels), 64):
        rgb = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 64, ::2, ::2].transpose(0, 3, 1, 2)))
        counts += soft_counts(rgb_to_lab(rgb)[:, 1:].contiguous(), neighbours)
    return from_counts(counts, "soft", name, images=len(pixels), floor=floor)
