"""The fine-tuning loop: images in memory, random crops and mirrors, one checkpoint to resume from.

The random choices of an epoch depend only on the seed and its number, so a resumed training gives the same result as
one that was not interrupted.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.color import rgb_to_lab
from colorbench.data import Dataset, get_preprocessing, load_batches
from colorbench.errors import READABLE, InputError, RunError, UserError
from colorbench.evaluation import ExecutionConfig, ThroughputMeter
from colorbench.results import Shard, first_positions, without_copies
from colorbench.storage import read_checked, write_checked
from colorbench.training import trapezoid
from protocols.number_parameters import number_parameter
from protocols.transfer.backbone import Backbone

STRIDE = 8
"""Crops are multiples of it: the networks of the paper halve their maps three times."""


@dataclass(frozen=True)
class Images:
    """A dataset in memory."""

    rows: Shard
    lightness: Tensor
    """(n, 1, S, S) float16 L in 0..100."""

    def without_copies(self) -> Images:
        """Return each distinct image once, for a dataset that is evaluated."""
        rows = without_copies(self.rows)
        return self if rows is self.rows else Images(rows, self.lightness[first_positions(self.rows.sha256s)])


@dataclass(frozen=True)
class TuningPlan:
    """Training settings."""

    epochs: int
    batch_size: int
    learning_rate: float
    """Of the head."""
    below: float
    """Learning rate of the colorizer's weights, relative to that of the head."""
    weight_decay: float
    crop: int
    """Side of the training crops in pixels; the whole image has side S."""
    seed: int

    def steps(self, n: int) -> int:
        """Return the number of steps for n images."""
        return self.epochs * max(1, n // self.batch_size)


def load(dataset: Dataset, preprocessing_name: str, settings: ExecutionConfig, progress: ThroughputMeter) -> Images:
    """Load all images of a dataset for fine-tuning.

    Raises:
        UserError: for a preprocessing of mixed sizes.
        RunError: if no image can be read.
    """
    preprocessing = get_preprocessing(preprocessing_name)
    if preprocessing.mixed_sizes or preprocessing.size % STRIDE:
        raise UserError(
            f"transfer cannot use the preprocessing {preprocessing_name}",
            hint="use one with a side divisible by 8, such as squash128",
        )
    kept: dict[str, list[Any]] = {"ids": [], "sha256s": [], "labels": [], "gray": [], "sizes": [], "skipped": []}
    maps = []
    for batch in load_batches(
        dataset.samples,
        preprocessing,
        batch_size=settings.batch_size,
        workers=settings.workers,
        gray_policy=settings.gray_policy,
    ):
        for name, values in kept.items():
            values.extend(getattr(batch, name))
        if batch.ids:
            maps.append(rgb_to_lab(batch.rgb8)[:, :1].half())
        progress.advance(len(batch.ids) + len(batch.skipped))
    if not maps:
        first = f"the first: {kept['skipped'][0][0]}: {kept['skipped'][0][1]}" if kept["skipped"] else dataset.source
        raise InputError("no image could be read", where=first, hint=READABLE)
    rows = Shard(
        ids=tuple(kept["ids"]),
        sha256s=tuple(kept["sha256s"]),
        labels=tuple(kept["labels"]),
        gray=tuple(kept["gray"]),
        sizes=tuple(kept["sizes"]),
        skipped=tuple((id, reason) for id, reason in kept["skipped"]),
    )
    return Images(rows, torch.cat(maps))


def tune(
    backbone: Backbone,
    head: nn.Module,
    images: Images,
    loss: Callable[[Tensor, np.ndarray, tuple[int, int], np.ndarray], Tensor],
    plan: TuningPlan,
    checkpoint: Path,
    key: str,
    device: torch.device,
    progress: ThroughputMeter,
) -> None:
    """Fine-tune the head, and the backbone as far as it is tuned, in place.

    Args:
        backbone: computes feature maps.
        head: maps -> prediction.
        images: of the role ``train``.
        loss: (prediction, indices of the batch, (top, left) of the crop, (N,) bool mirrored) -> scalar.
        plan: training settings.
        checkpoint: file of the state, written after each epoch.
        key: hash of all settings of the training; a checkpoint with another key is ignored.
        device: of the computation.
        progress: is told of every image.

    Raises:
        RunError: for a loss that is not finite.
    """
    groups = [{"params": list(head.parameters()), "times": 1.0}]
    if backbone.tuned:
        groups.append({"params": backbone.tuned, "times": plan.below})
    optimizer = torch.optim.AdamW(groups, lr=plan.learning_rate, weight_decay=plan.weight_decay)
    n, size = len(images.lightness), images.lightness.shape[-1]
    each = max(1, n // plan.batch_size)
    total = plan.steps(n)
    begin = _restore(checkpoint, key, backbone, head, optimizer, progress.listener.message)
    progress.listener.started((plan.epochs - begin) * each * min(n, plan.batch_size))
    for epoch in range(begin, plan.epochs):
        rng = np.random.default_rng([plan.seed, epoch])
        torch.manual_seed(int(rng.integers(2**31)))  # of the dropout
        order = rng.permutation(n)
        head.train()
        for index in range(each):
            step = epoch * each + index
            rate = plan.learning_rate * trapezoid(step, total, warmup=max(1, total // 20), decay=0.5)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"]
            positions = order[index * plan.batch_size : (index + 1) * plan.batch_size]
            top, left = (int(rng.integers(0, size - plan.crop + 1)) for _ in range(2))
            mirrored = rng.random(len(positions)) < 0.5
            batch = images.lightness[torch.from_numpy(positions), :, top : top + plan.crop, left : left + plan.crop]
            batch = mirror(batch.to(device).float(), mirrored)
            with torch.enable_grad():
                value = loss(head(backbone(batch)), positions, (top, left), mirrored)
                optimizer.zero_grad(set_to_none=True)
                value.backward()  # type: ignore[no-untyped-call]  # torch's own
            if not torch.isfinite(value):
                what = f"the loss is not finite in epoch {epoch + 1}"
                raise RunError(what, hint="give a lower rate with --param learning_rate=...")
            optimizer.step()
            progress.advance(len(positions))
        _save(checkpoint, key, epoch + 1, backbone, head, optimizer)
    head.eval()


def mirror(batch: Tensor, mirrored: np.ndarray) -> Tensor:
    """Mirror, for fine-tuning, the images of (N, ..., W) that (N,) selects."""
    chosen = torch.from_numpy(mirrored).to(batch.device).view(-1, *[1] * (batch.dim() - 1))
    return torch.where(chosen, batch.flip(-1), batch)


def crop_of(size: int, share: float) -> int:
    """Return the side of a crop for fine-tuning: a share of the image's, rounded to a multiple of 8."""
    return max(STRIDE, min(size, round(share * size / STRIDE) * STRIDE))


def numbers(parameters: Mapping[str, str], name: str, limits: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Convert the parameters of fine-tuning to numbers.

    Raises:
        UserError: for a value that is not a number, or outside its limits.
    """
    return {key: number_parameter(name, key, parameters[key], *limits[key]) for key in limits}


def training_overlap(train: Sequence[str], test: Sequence[str]) -> list[str]:
    """Return a note if images are in both datasets of a fine-tuning, by content."""
    both = len(set(train) & set(test))
    return [f"{both} test images are also in the training set, so scores are biased upwards"] if both else []


def _save(
    path: Path, key: str, epoch: int, backbone: Backbone, head: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    state = {
        "key": key,
        "epoch": epoch,
        "head": head.state_dict(),
        "tuned": [one.detach() for one in backbone.tuned],
        "optimizer": optimizer.state_dict(),
    }
    file = io.BytesIO()
    torch.save(state, file)
    write_checked(path, file.getvalue())


def _restore(
    path: Path,
    key: str,
    backbone: Backbone,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    say: Callable[[str], None],
) -> int:
    """Restore a checkpoint; return the number of finished epochs, 0 for one that is damaged."""
    if (data := read_checked(path, say)) is None:
        return 0
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    if state.get("key") != key:
        return 0
    head.load_state_dict(state["head"])
    with torch.no_grad():
        for parameter, value in zip(backbone.tuned, state["tuned"], strict=True):
            parameter.copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])
