"""Functions that both transfer protocols share: parameters, data, and a training with a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from colorbench.data import Dataset, check_contents, contents_digest, contents_of, get_preprocessing
from colorbench.evaluation import ProtocolContext, ThroughputMeter
from colorbench.models import model_identity
from colorbench.results import Metric, MetricSpec
from colorbench.stats import MINIMUM_IMAGES, weight_blocks
from colorbench.storage import digest_of
from protocols.transfer.backbone import Backbone
from protocols.transfer.fine_tuning import Images, TuningPlan, crop_of, load, tune

DEFAULTS: Mapping[str, Any] = {
    "tune": "head",
    "layer": "auto",
    "preprocessing": "squash128",
    "crop": 0.875,
    "epochs": 20,
    "batch": 32,
    "learning_rate": 1e-3,
    "below": 0.1,
    "weight_decay": 0.01,
    "train_set": "auto",
    "test_set": "auto",
}
HELP: Mapping[str, str] = {
    "tune": "head (the colorizer is frozen), a block such as conv5 (this one and all above), or all",
    "layer": "input layer of the head; auto: the deepest block of lowest resolution",
    "preprocessing": "from file to the input of the network",
    "crop": "side of the random training crops, as a share of the image's",
    "epochs": "passes over the training images",
    "batch": "images per step",
    "learning_rate": "of the head (AdamW, warm-up over 5 % of the steps, decay over the last half)",
    "below": "learning rate of the colorizer's weights, relative to that of the head",
    "weight_decay": "of AdamW",
    "train_set": "training list of a VOC devkit",
    "test_set": "test list of a VOC devkit",
}
LIMITS: Mapping[str, tuple[float, float]] = {
    "crop": (0.1, 1),
    "epochs": (1, 10_000),
    "batch": (2, 4096),
    "learning_rate": (1e-8, 10),
    "below": (0, 10),
    "weight_decay": (0, 10),
}
RESAMPLES = 1000


def _plan_of(figures: Mapping[str, float], size: int, seed: int) -> TuningPlan:
    """Return the training settings of these parameters for images of ``size`` pixels."""
    return TuningPlan(
        epochs=int(figures["epochs"]),
        batch_size=int(figures["batch"]),
        learning_rate=figures["learning_rate"],
        below=figures["below"],
        weight_decay=figures["weight_decay"],
        crop=crop_of(size, figures["crop"]),
        seed=seed,
    )


def identity_of(context: ProtocolContext, parameters: Mapping[str, str], train: Dataset, truth: Any) -> dict[str, Any]:
    """Return all settings of a transfer training that affect the numbers of a model.

    They include parameters, training images by content, and labels.
    """
    return {
        **parameters,
        "training_images": contents_digest(train, context.cache, context.settings.workers),
        "truth_sha256": digest_of(truth),
        "optimizer": "AdamW; warm-up 5 %, linear fall over the last half; frozen normalization",
    }


Loss = Callable[[Tensor, np.ndarray, tuple[int, int], np.ndarray], Tensor]
"""(predictions of the head, indices of the images, corner of their crop, which are mirrored) -> scalar."""


@dataclass(frozen=True)
class Tuned:
    """The predictions of a fine-tuned network for the test images."""

    train: Images
    test: Images
    predictions: list[Tensor]
    """Outputs of the head, batch by batch, on the CPU."""


def fine_tuned(
    context: ProtocolContext,
    identity: Mapping[str, Any],
    figures: Mapping[str, float],
    sets: tuple[Dataset, Dataset],
    head_of: Callable[[Backbone], nn.Module],
    loss_of: Callable[[Images, TuningPlan], Loss],
    *,
    ten: bool = False,
) -> Tuned:
    """Load both datasets, train a head (and the layers that ``tune`` selects), and predict the test images.

    The name of the checkpoint is a hash of all settings of the training.

    Args:
        context: context of the run.
        identity: resolved parameters, and everything else that determines the numbers.
        figures: the numeric parameters.
        sets: training and test dataset.
        head_of: creates the head; called after the seed is set.
        loss_of: creates the loss from the training images; raises for unsuitable ones.
        ten: predict from ten crops.
    """
    settings, preprocessing = context.settings, get_preprocessing(identity["preprocessing"])
    plan = _plan_of(figures, preprocessing.size, settings.seed)
    progress = ThroughputMeter(context.listener)
    context.listener.started(sum(map(len, sets)))
    train, test = (load(one, preprocessing.name, settings, progress) for one in sets)
    test = test.without_copies()
    check_contents(train.rows.ids, train.rows.sha256s, contents_of(sets[0], context.cache, settings.workers))
    loss = loss_of(train, plan)
    backbone = Backbone(context.model, identity["layer"], identity["tune"], plan.crop, settings.device)
    torch.manual_seed(settings.seed)
    head = head_of(backbone).to(settings.device)
    fingerprint = context.fingerprint_of(context.model)
    model = model_identity(context.model, fingerprint)
    key = digest_of({**identity, "model": model, "plan": vars(plan), "code": context.code[0]})
    checkpoint = context.cache / "transfer" / key[:16] / "checkpoint.pt"
    tune(backbone, head, train, loss, plan, checkpoint, key, settings.device, ThroughputMeter(context.listener))
    return Tuned(train, test, _predictions(backbone, head, test, context, plan, ten=ten))


def set_metric(
    spec: MetricSpec, value: float, resampled: Callable[[np.ndarray], np.ndarray], n: int, form: Any = "ratio"
) -> Metric:
    """Return a transfer metric of the whole dataset, with a percentile bootstrap over images.

    Args:
        spec: definition of the metric.
        value: over all images.
        resampled: weights (B, n) -> values (B,).
        n: images.
        form: as in the spec.
    """
    low = high = None
    if n >= MINIMUM_IMAGES and np.isfinite(value):
        found = np.concatenate([resampled(weights) for weights in weight_blocks(n, RESAMPLES, 0)])
        # An image that is drawn twice improves its own rank, and rare classes drop out: the resamples are biased,
        # so their mean is shifted to the value.
        found = found - np.nanmean(found) + value
        lowest, highest = (-np.inf if spec.lower_bound is None else spec.lower_bound), spec.upper_bound or np.inf
        low, high = (float(np.clip(end, lowest, highest)) for end in np.nanquantile(found, [0.025, 0.975]))
    return Metric(
        name=spec.name,
        title=spec.title,
        value=float(value) if np.isfinite(value) else None,
        unit=spec.unit,
        higher_is_better=spec.higher_is_better,
        ci_low=low,
        ci_high=high,
        ci_method=None if low is None else "bootstrap percentile, bias removed, 95 %",
        n=n,
        effective_n=float(n),
        form=form,
        comparable=spec.comparable,
    )


@torch.no_grad()
def _predictions(
    backbone: Backbone,
    head: nn.Module,
    images: Images,
    context: ProtocolContext,
    plan: TuningPlan,
    *,
    ten: bool = False,
) -> list[Tensor]:
    """Predict each image batch by batch, on the CPU; with ``ten``, the mean over ten crops.

    Ten crops are the four corners and the center, and their mirror images, as in jeffdonahue/voc-classification.
    """
    size, device, found = images.lightness.shape[-1], context.settings.device, []
    edge = size - plan.crop
    corners = [(0, 0), (0, edge), (edge, 0), (edge, edge), (edge // 2, edge // 2)]
    for start in range(0, len(images.lightness), context.settings.batch_size):
        batch = images.lightness[start : start + context.settings.batch_size].to(device).float()
        if ten:
            views = [batch[..., top : top + plan.crop, left : left + plan.crop] for top, left in corners]
            predictions = torch.stack([head(backbone(one)) for view in views for one in (view, view.flip(-1))]).mean(
                dim=0
            )
        else:
            predictions = head(backbone(batch))
        found.append(predictions.cpu())
    return found
