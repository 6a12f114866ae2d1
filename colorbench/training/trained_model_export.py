"""Export of a trained model: ``NAME.safetensors``, its card, its prior and the hashes of its training images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from colorbench.color import Prior, rgb_to_lab, save_prior
from colorbench.color.prior import from_counts, hard_counts, smooth, soft_counts
from colorbench.models import ModelCard, save_weights
from colorbench.storage import write_atomic
from colorbench.training.training_plots import prior_plot
from colorbench.training.training_preset import TrainingPreset


def _half_convolutions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert convolution filters to float16, which halves the file.

    BatchNorm, biases and counters are not changed.
    """
    return {
        name: (value.half() if value.dim() > 1 else value).detach().cpu().contiguous() for name, value in state.items()
    }


def export(
    state: Mapping[str, Tensor], path: Path, card: ModelCard, prior: Prior, hashes: np.ndarray, *, frozen: int = 0
) -> ModelCard:
    """Export a trained model: weights, card, prior and the hashes of the training images, into one folder.

    The card is written last and contains the hash of the weights, so that its presence shows completeness.

    Args:
        state: the network's state dict.
        path: ``NAME.safetensors``; the other files take its stem.
        card: without hash and number of parameters, which are added here.
        prior: color prior of the rebalancing weights.
        hashes: (n,) uint64 hashes of the training images.
        frozen: parameters of pretrained parts, which the state does not have.
    """
    filled = card.model_copy(
        update={
            "weights_sha256": save_weights(_half_convolutions(state), path),
            "parameters": frozen + sum(value.numel() for name, value in state.items() if _is_parameter(name)),
        }
    )
    save_prior(prior, path.with_name(f"{path.stem}-prior.npy"))
    prior_plot(prior).write(path.with_name(f"{path.stem}-prior.png"))
    np.save(path.with_name(f"{path.stem}-training_hashes.npy"), np.sort(hashes))
    text = json.dumps(filled.model_dump(mode="json", exclude_defaults=True), indent=2, ensure_ascii=False) + "\n"
    write_atomic(path.with_suffix(".json"), text.encode())
    return filled


def _is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def count_prior(pixels: np.ndarray, indices: np.ndarray, preset: TrainingPreset, name: str) -> Prior:
    """Count the color prior of a trained model from every second pixel of the training images in both directions.

    Args:
        pixels: (n, S, S, 3) uint8.
        indices: indices of the images to use; repeated ones count several times, as in the training.
        preset: gives the kind of prior, K, and the floor.
        name: name of the prior.
    """
    which, times = np.unique(indices, return_counts=True)
    counts = torch.zeros(313, dtype=torch.float64)
    for repeats in np.unique(times):
        group = which[times == repeats]
        for start in range(0, len(group), 64):
            rgb = pixels[group[start : start + 64], ::2, ::2].transpose(0, 3, 1, 2)
            ab = rgb_to_lab(torch.from_numpy(np.ascontiguousarray(rgb)))[:, 1:].contiguous()
            part = soft_counts(ab, preset.neighbors) if preset.prior == "soft" else hard_counts(ab)
            counts += int(repeats) * part
    if preset.prior == "soft":
        return from_counts(counts, "soft", name, images=len(which), floor=preset.prior_floor)
    smoothed = smooth(from_counts(counts, "hard", name, images=len(which)))
    return from_counts(smoothed.probabilities, "smoothed", name, images=len(which), floor=preset.prior_floor)
