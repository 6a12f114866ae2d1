"""The ``transfer-segmentation`` protocol: semantic segmentation with a small fully convolutional head.

    colorbench run -m zoo/cic -p transfer-segmentation --data train=VOCdevkit/VOC2012 --data test=VOCdevkit/VOC2012

Mean intersection over union of one confusion matrix over the dataset, at the images' own size, without void.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from colorbench.data import get_preprocessing
from colorbench.errors import UserError
from colorbench.evaluation import (
    Derived,
    ProtocolContext,
    ProtocolResult,
    ProtocolSpec,
    Summary,
    location_of,
    metrics_of,
    write_result,
)
from colorbench.results import Metric, MetricSpec, Record
from protocols.transfer.backbone import Backbone
from protocols.transfer.fine_tuning import Images, TuningPlan, mirror, numbers, training_overlap
from protocols.transfer.transfer_training import DEFAULTS, HELP, LIMITS, Loss, fine_tuned, identity_of, set_metric
from protocols.transfer.voc import CLASSES, SEGMENTED, VOID, devkit_root, mask, voc_sets

NAMES = ("background", *CLASSES)
MEAN_IOU = MetricSpec(
    name="mean_iou",
    title="Transfer, mean IoU",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Intersection over union per class, mean over classes (background included), from one confusion matrix "
    "over all images. Favors features that help to outline objects, rare classes as much as common ones.",
    comparable=False,
)
PIXELS = MetricSpec(
    name="pixel_accuracy",
    title="Pixel accuracy",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Share of pixels with the correct class, without void. Favors the common classes: a prediction of only "
    "background scores high.",
)


class FullyConvolutional(nn.Module):
    """Normalization, a 3x3 convolution and a 1x1 convolution: classes at the map's own resolution."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels, affine=False),
            nn.Conv2d(channels, hidden, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, SEGMENTED, 1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Predict the class of every position: (N, C, h, w) -> (N, 21, h, w)."""
        found: Tensor = self.layers(maps)
        return found


class TransferSegmentationProtocol:
    """Fine-tuning for segmentation."""

    roles = ("train", "test")
    joint = False
    spec = ProtocolSpec(
        name="transfer-segmentation",
        version=2,
        title="Transfer to segmentation",
        parameters={**DEFAULTS, "hidden": 128},
        metrics=(MEAN_IOU, PIXELS),
        category="Representation",
        headline="mean_iou",
        headline_reason="it is the measure of PASCAL VOC, and small classes count as much as the background",
        parameter_help={**HELP, "hidden": "channels of the head's 3x3 convolution"},
        needs=("HasFeatures",),
    )

    def evaluate(self, context: ProtocolContext) -> Record:
        """Fine-tune one model and score it.

        Raises:
            UserError: for invalid parameters or images.
            RunError: for a training that failed.
        """
        parameters = self.spec.resolved(context.parameters)
        figures = numbers(parameters, self.spec.name, {**LIMITS, "hidden": (1, 4096)})
        preprocessing = get_preprocessing(parameters["preprocessing"])
        if preprocessing.kind != "squash":
            what = f"transfer-segmentation cannot use the preprocessing {preprocessing.name}"
            raise UserError(what, hint="masks are scored whole: use squash128 or another size")
        sets = voc_sets(context, "Segmentation", parameters, ("train", "val"))
        if sets is None:
            hint = "use --data train=VOCdevkit/VOC2012 --data test=VOCdevkit/VOC2012"
            raise UserError("transfer-segmentation needs the masks of a VOC devkit", hint=hint)
        roots = [root for one in sets if (root := devkit_root(one)) is not None]
        mask_hashes = {sample.id: _mask_sha256(roots[0], sample.id) for sample in sets[0].samples}
        identity = identity_of(context, parameters, sets[0], mask_hashes)
        location = location_of(context, self.spec, identity, sets[1])
        if (record := location.finished()) is not None:
            return record
        device = context.settings.device

        def head_of(backbone: Backbone) -> FullyConvolutional:
            return FullyConvolutional(backbone.channels, int(figures["hidden"]))

        def loss_of(train: Images, plan: TuningPlan) -> Loss:
            targets = np.stack([_small_mask(roots[0], id, preprocessing.size) for id in train.rows.ids])
            if len(np.unique(targets[targets != VOID])) < 2:
                raise UserError("the training masks have fewer than two classes", where=sets[0].source)
            return _loss(targets, plan.crop, device)

        tuned = fine_tuned(context, identity, figures, sets, head_of, loss_of)
        train, test = tuned.train, tuned.test
        predictions = (one for batch in tuned.predictions for one in batch)
        matrices = np.stack(list(_matrices(predictions, roots[1], test.rows.ids, test.rows.sizes)))  # (n, 21, 21)
        each = 100 * intersection_over_union(matrices.sum(axis=0))
        columns, metric = score(matrices)
        occurring = [f"{name} {value:.1f}" for name, value in zip(NAMES, each, strict=True) if not np.isnan(value)]
        notes = (
            f"IoU in %: {', '.join(occurring)}",
            "one training run: intervals are over images, not over training seeds",
            *training_overlap(train.rows.sha256s, test.rows.sha256s),
        )
        outcome = ProtocolResult(
            parameters=parameters,
            identity=identity,
            preprocessing=preprocessing.name,
            rows=test.rows,
            columns=columns,
            metrics=[metric, *metrics_of([PIXELS], columns, {})],
            summary=Summary(notes=notes),
            arrays={"confusion": matrices},
        )
        return write_result(context, self.spec, location, sets[1], outcome)

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Compute mean IoU and the share of correct pixels from the stored confusion matrices."""
        matrices = arrays["confusion"]
        integers = np.issubdtype(matrices.dtype, np.integer)
        if matrices.shape[1:] != (SEGMENTED, SEGMENTED) or not integers or (matrices < 0).any():
            raise ValueError("not confusion matrices")
        columns, metric = score(matrices)
        return Derived((columns,), (metric,))


def score(matrices: np.ndarray) -> tuple[dict[str, np.ndarray], Metric]:
    """Compute the rows' columns and mean IoU of a segmentation from (n, 21, 21) confusion matrices."""
    hit, all_pixels = (matrices.trace(axis1=1, axis2=2), matrices.sum(axis=(1, 2)))
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "pixel_accuracy": 100 * hit / all_pixels,
            "pixel_accuracy.s0": 100.0 * hit,
            "pixel_accuracy.s1": all_pixels.astype(np.float64),
        }
    flat = matrices.reshape(len(matrices), -1).astype(np.float64)

    def resampled(weights: np.ndarray) -> np.ndarray:
        return 100 * mean_iou((weights @ flat).reshape(-1, SEGMENTED, SEGMENTED))

    return columns, set_metric(MEAN_IOU, float(100 * mean_iou(matrices.sum(axis=0))), resampled, len(matrices))


def _loss(targets: np.ndarray, crop: int, device: torch.device) -> Loss:
    """Return the cross-entropy over all pixels except void, with the prediction resized to the crop."""
    truth = torch.from_numpy(targets)

    def of(predictions: Tensor, positions: np.ndarray, corner: tuple[int, int], mirrored: np.ndarray) -> Tensor:
        top, left = corner
        wanted = truth[torch.from_numpy(positions), top : top + crop, left : left + crop].to(device)
        wanted = mirror(wanted, mirrored).long()
        resized = interpolate(predictions, (crop, crop), mode="bilinear", align_corners=False)
        total = cross_entropy(resized, wanted, ignore_index=VOID, reduction="sum")
        return total / (wanted != VOID).sum().clamp_min(1)

    return of


def _matrices(
    predictions: Iterator[Tensor], root: Path, ids: Sequence[str], sizes: Sequence[tuple[int, int]]
) -> Iterator[np.ndarray]:
    """Yield the confusion matrix of each image at its own size."""
    for prediction, id, size in zip(predictions, ids, sizes, strict=True):
        truth = mask(root, id)
        if truth.shape != tuple(size):
            what = f"the mask has {truth.shape[1]} x {truth.shape[0]} pixels, its image {size[1]} x {size[0]}"
            raise UserError(what, where=id, hint="use the original files of the devkit")
        resized = interpolate(prediction[None].float(), truth.shape, mode="bilinear", align_corners=False)
        yield confusion(truth, resized[0].argmax(dim=0).numpy(), SEGMENTED, VOID)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int, void: int = VOID) -> np.ndarray:
    """Count the pixels of each true class (rows) by predicted class (columns) of a segmentation.

    Args:
        truth: integer labels of any shape; ``void`` is left out.
        predicted: labels 0 .. classes - 1 of the same shape.
        classes: number of classes.
        void: the label that is not counted.

    Returns:
        (classes, classes) int64.

    Raises:
        ValueError: for unequal shapes, or labels that are not a class.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"labels {truth.shape} and predictions {predicted.shape} must have the same shape")
    counted = truth != void
    for name, labels in (("true", truth[counted]), ("predicted", predicted[counted])):
        if labels.size and not (labels.min() >= 0 and labels.max() < classes):
            raise ValueError(f"a {name} label is not in 0 .. {classes - 1}: {labels.min()} to {labels.max()}")
    if not counted.any():
        return np.zeros((classes, classes), dtype=np.int64)
    return np.asarray(confusion_matrix(truth[counted], predicted[counted], labels=range(classes)), dtype=np.int64)


def intersection_over_union(matrix: np.ndarray) -> np.ndarray:
    """Return intersection over union per class, (..., classes) in 0..1; NaN for a class that occurs in neither.

    Args:
        matrix: (..., classes, classes) of pixels, or their sums over images.
    """
    hit = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    union = matrix.sum(axis=-1) + matrix.sum(axis=-2) - hit
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(union > 0, hit / union, np.nan)


def mean_iou(matrix: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that occur, of one matrix summed over the dataset; (...) in 0..1."""
    values = intersection_over_union(matrix)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1))


def _small_mask(root: Path, id: str, size: int) -> np.ndarray:
    """Return the mask resized like its image, by nearest neighbor, (size, size) uint8."""
    return np.asarray(Image.fromarray(mask(root, id)).resize((size, size), Image.Resampling.NEAREST))


def _mask_sha256(root: Path, id: str) -> str:
    return hashlib.sha256(mask(root, id).tobytes()).hexdigest()
