"""The ``transfer-classification`` protocol: the colorizer's network, fine-tuned for image classification.

    colorbench run -m zoo/cic -p transfer-classification --data train=imagewoof/train --data test=imagewoof/val
    colorbench run -m zoo/cic -p transfer-classification --data train=VOCdevkit/VOC2007 --data test=VOCdevkit/VOC2007

Folders of classes have one class per image and are scored by top-1 and mAP; the VOC devkit has several classes per
image and is scored by mAP only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from colorbench.data import Dataset
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
from colorbench.metrics import AveragePrecisionRule, average_precision
from colorbench.models import Pooling
from colorbench.results import Metric, MetricSpec, Record
from protocols.label_alignment import aligned
from protocols.mean_curves import mean_columns
from protocols.transfer.backbone import Backbone
from protocols.transfer.fine_tuning import Images, TuningPlan, numbers, training_overlap
from protocols.transfer.transfer_training import DEFAULTS, HELP, LIMITS, Loss, fine_tuned, identity_of, set_metric
from protocols.transfer.voc import CLASSES, DIFFICULT, PRESENT, devkit_root, presence, voc_sets

TOP1 = MetricSpec(
    name="top1",
    title="Transfer, top-1",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Accuracy of the fine-tuned network. Favors features that help to recognize objects, whatever the "
    "model's colors look like.",
)
MAP = MetricSpec(
    name="map",
    title="Transfer, mAP",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Mean over classes of the average precision of a ranking of all images by the score of the class. "
    "Favors features that help to recognize objects, rare classes as much as common ones.",
    comparable=False,
)


class PooledLinear(nn.Module):
    """Pooling, normalization and one linear layer: the head of the linear probe, trained with the network."""

    def __init__(self, channels: int, side: int, classes: int, shrinking: Pooling) -> None:
        super().__init__()
        self.shrinking = Pooling(channels * side**2, shrinking.pooling)
        self.norm = nn.BatchNorm1d(channels * side**2, affine=False)
        self.linear = nn.Linear(channels * side**2, classes)
        nn.init.normal_(self.linear.weight, 0, 0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Classify pooled maps: (N, C, h, w) -> (N, classes)."""
        found: Tensor = self.linear(self.norm(self.shrinking.apply(maps)))
        return found


@dataclass(frozen=True)
class Truth:
    """The classes of the images of both datasets."""

    train: Dataset
    test: Dataset
    classes: tuple[str, ...]
    known: Mapping[str, Mapping[str, np.ndarray]]
    """Role -> id -> (classes,) int8: present 1, absent 0, difficult -1."""
    single: bool
    """Whether every image shows one class."""

    def of(self, role: str, ids: tuple[str, ...]) -> np.ndarray:
        """Return the labels of images, (n, classes) int8."""
        return np.stack([self.known[role][id] for id in ids])


class TransferClassificationProtocol:
    """Fine-tuning for classification."""

    roles = ("train", "test")
    joint = False
    spec = ProtocolSpec(
        name="transfer-classification",
        version=1,
        title="Transfer to classification",
        parameters={**DEFAULTS, "dims": 4000, "rule": "auto", "views": "full"},
        metrics=(MAP, TOP1),
        category="Representation",
        headline="map",
        headline_reason="it is the measure of PASCAL VOC, on which papers report this test",
        choices={"rule": ("auto", "voc07", "voc10", "sklearn"), "views": ("full", "ten-crop")},
        parameter_help={
            **HELP,
            "dims": "approximate number of features under the linear layer",
            "rule": "average precision: voc07 (11 points), voc10 (envelope), sklearn (step-wise); auto: voc07 for "
            "VOC2007, voc10 for later years, sklearn elsewhere",
            "views": "of a test image: full, or ten-crop (corners, center, mirrored; mean of the scores)",
        },
        needs=("HasFeatures",),
    )

    def evaluate(self, context: ProtocolContext) -> Record:
        """Fine-tune one model and score it.

        Raises:
            UserError: for invalid parameters or images.
            RunError: for a training that failed.
        """
        parameters = self.spec.resolved(context.parameters)
        figures = numbers(parameters, self.spec.name, {**LIMITS, "dims": (1, 1e6)})
        truth = _read_truth(context, parameters)
        labels_by_id = {id: row.tolist() for id, row in truth.known["train"].items()}
        identity = identity_of(context, parameters, truth.train, [truth.classes, labels_by_id])
        location = location_of(context, self.spec, identity, truth.test)
        if (record := location.finished()) is not None:
            return record
        device = context.settings.device

        def head_of(backbone: Backbone) -> PooledLinear:
            shrinking = Pooling(int(figures["dims"]))
            side = shrinking.side(backbone.channels, backbone.height, backbone.height)
            return PooledLinear(backbone.channels, side, len(truth.classes), shrinking)

        def loss_of(train: Images, _plan: TuningPlan) -> Loss:
            return _loss(truth.of("train", train.rows.ids), truth.single, device)

        sets, ten = (truth.train, truth.test), parameters["views"] == "ten-crop"
        tuned = fine_tuned(context, identity, figures, sets, head_of, loss_of, ten=ten)
        train, test = tuned.train, tuned.test
        scores = torch.cat(tuned.predictions).double().numpy()
        labels = truth.of("test", test.rows.ids)
        rule: Any = parameters["rule"]
        columns, metrics, notes = score(scores, labels, truth.classes, rule, single=truth.single)
        outcome = ProtocolResult(
            parameters=parameters,
            identity=identity,
            preprocessing=parameters["preprocessing"],
            rows=test.rows,
            columns=columns,
            metrics=metrics,
            summary=Summary(notes=(*notes, *training_overlap(train.rows.sha256s, test.rows.sha256s))),
            arrays={"scores": scores.astype(np.float32), "labels": labels},
        )
        return write_result(context, self.spec, location, truth.test, outcome)

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Compute average precision and top-1 from the stored scores and labels."""
        scores, labels = arrays["scores"].astype(np.float64), arrays["labels"]
        if scores.ndim != 2 or scores.shape != labels.shape or not np.isfinite(scores).all():
            raise ValueError("scores and labels have different classes")
        rule: Any = record.protocol.parameters["rule"]
        names = [str(index) for index in range(scores.shape[1])]
        single = any(metric.name == TOP1.name for metric in record.metrics)
        columns, metrics, _ = score(scores, labels, names, rule, single=single)
        return Derived((columns,), tuple(metrics[:1]))


def _read_truth(context: ProtocolContext, parameters: dict[str, str]) -> Truth:
    """Read both datasets with their labels; replace ``auto`` in the parameters.

    Raises:
        UserError: for datasets that do not match.
    """
    sets = voc_sets(context, "Main", parameters, ("trainval", "test"))
    if sets is not None:
        known = {}
        for role, one in zip(("train", "test"), sets, strict=True):
            root = devkit_root(one)
            assert root is not None
            ids = [sample.id for sample in one.samples]
            known[role] = dict(zip(ids, presence(root, ids), strict=True))
            if parameters["rule"] == "auto":
                parameters["rule"] = "voc07" if root.resolve().name == "VOC2007" else "voc10"
        absent = ~(np.stack(list(known["train"].values())) == PRESENT).any(axis=0)
        shown = (np.stack(list(known["test"].values())) == PRESENT).any(axis=0)
        if (lost := absent & shown).any():
            what = f"no training images of class {CLASSES[int(np.argmax(lost))]!r}"
            raise UserError(what, where=sets[0].source, hint="use a larger list, or remove --limit")
        return Truth(*sets, CLASSES, known, single=False)
    train, test = aligned(context.data["train"], context.data["test"], minimum=1)
    if parameters["rule"] == "auto":
        parameters["rule"] = "sklearn"
    for key in ("train_set", "test_set"):
        if parameters[key] != "auto":
            raise UserError(f"{key} needs a VOC devkit, and these are folders of classes", hint=f"remove {key}")
        parameters[key] = "all"
    names = train.class_names or ()
    one_hot = np.eye(len(names), dtype=np.int8)
    known = {
        role: {sample.id: one_hot[sample.label or 0] for sample in one.samples}
        for role, one in (("train", train), ("test", test))
    }
    return Truth(train, test, names, known, single=True)


def _loss(targets: np.ndarray, single: bool, device: torch.device) -> Loss:
    """Return the cross-entropy over classes.

    With several classes per image it is binary, per class, without images marked difficult.
    """
    truth = torch.from_numpy(targets).to(device)

    def of(predictions: Tensor, positions: np.ndarray, _corner: tuple[int, int], _mirrored: np.ndarray) -> Tensor:
        wanted = truth[torch.from_numpy(positions).to(device)]
        if single:
            return cross_entropy(predictions, wanted.argmax(dim=1))
        counted = (wanted != DIFFICULT).float()
        each = binary_cross_entropy_with_logits(predictions, (wanted == PRESENT).float(), reduction="none")
        return (each * counted).sum() / counted.sum().clamp_min(1)

    return of


def score(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], rule: AveragePrecisionRule, *, single: bool
) -> tuple[dict[str, np.ndarray], list[Metric], list[str]]:
    """Compute the columns of the rows, metrics and notes of a transfer to classification.

    Args:
        scores: (n, classes).
        labels: (n, classes) present, absent or difficult.
        classes: their names.
        rule: of average precision.
        single: whether every image shows one class.
    """
    n = len(scores)
    columns: dict[str, np.ndarray] = {}
    metrics: list[Metric] = []
    if single:
        # Softmax probabilities: a ranking across images needs a common scale.
        scores = scores - scores.max(axis=1, keepdims=True)
        scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    each = {name: float(_precision(scores[:, index], labels[:, index], rule)) for index, name in enumerate(classes)}
    value = float(np.nanmean(list(each.values()))) if not all(np.isnan(v) for v in each.values()) else float("nan")

    def resampled(weights: np.ndarray) -> np.ndarray:
        of_classes = [_precision(scores[:, i], labels[:, i], rule, weights) for i in range(len(classes))]
        stacked = np.stack(of_classes)
        known = ~np.isnan(stacked)
        return np.asarray(100 * np.where(known, stacked, 0).sum(axis=0) / np.maximum(1, known.sum(axis=0)))

    metrics.append(set_metric(MAP, 100 * value, resampled, n))
    notes = [
        f"average precision ({rule}) in %: "
        + ", ".join(f"{name} {100 * v:.1f}" for name, v in each.items() if not np.isnan(v)),
        "one training run: intervals are over images, not over training seeds",
    ]
    if single:
        columns = mean_columns("top1", 100.0 * (scores.argmax(axis=1) == labels.argmax(axis=1)))
        metrics += metrics_of([TOP1], columns, {})
    return columns, metrics, notes


def _precision(
    scores: np.ndarray, labels: np.ndarray, rule: AveragePrecisionRule, weights: np.ndarray | None = None
) -> np.ndarray:
    """Compute the average precision of one class, without images marked difficult."""
    counted = labels != DIFFICULT
    part = None if weights is None else weights[:, counted]
    return average_precision(scores[counted], labels[counted] == PRESENT, rule, part)
