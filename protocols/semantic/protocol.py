"""``SemanticProtocol`` and its scorer: parameters, scores of every image, and notes of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from colorbench.color import lab_to_rgb8
from colorbench.data import Dataset
from colorbench.evaluation import BatchScores, GroundTruth, Prediction, ProtocolSpec, Summary
from colorbench.models import PACKAGED_CLASSIFIER, Classifier, load_classifiers
from colorbench.reporting import classified
from colorbench.results import MetricSpec
from colorbench.stats import share_of_gap
from protocols.semantic.class_mapping import classes_for, has_labels
from protocols.semantic.semantic_metrics import AGREEMENT, GAP_SHARE, SCORES, metrics, scores

SUSPICIOUS = 20.0
"""Top-1 on the true colors, in percent, below which wrongly numbered labels are more likely than a hard dataset."""


class SemanticProtocol:
    """Classification of colorized images in the engine's pass."""

    spec = ProtocolSpec(
        name="semantic",
        version=1,
        title="Semantic interpretability: classification of colorized images",
        parameters={"classifiers": PACKAGED_CLASSIFIER, "preprocessing": "native", "crop": "none", "labels": "use"},
        metrics=SCORES,
        category="Semantics",
        headline=AGREEMENT.name,
        headline_reason="it needs no labels, and the mistakes that the classifier also makes on the true colors do not "
        "count against the model",
        networks={"classifiers": (PACKAGED_CLASSIFIER, "tf_efficientnet_lite1", "tf_efficientnet_lite2", "resnet50")},
        choices={"crop": ("none", "timm"), "labels": ("use", "ignore")},
        parameter_help={
            "classifiers": "timm names, separated by commas: NAME, NAME.TAG, or NAME:FILE with your own weights; "
            f"only {PACKAGED_CLASSIFIER} needs no download",
            "preprocessing": "from file to the image that is colorized: native (its own size), squash256, center256",
            "crop": "none (the whole image to the classifier's size, bicubic) or timm (the classifier's own "
            "resizing and center crop)",
            "labels": "use (top-1 and top-5 if images have classes) or ignore (only agreement and KL)",
        },
    )

    def resolve(self, parameters: Mapping[str, Any], dataset: Dataset) -> SemanticScorer:
        """Resolve parameters into a scorer.

        Raises:
            UserError: for an unknown parameter, value, classifier or class, and for weights that are not available.
        """
        chosen = self.spec.resolved(parameters)
        classifiers = load_classifiers(chosen["classifiers"], crop=chosen["crop"])  # type: ignore[arg-type]  # checked
        labeled = chosen["labels"] == "use" and has_labels(dataset)
        classes = {classifier.name: classes_for(dataset, classifier) for classifier in classifiers} if labeled else None
        return SemanticScorer(chosen, classifiers, classes)


@dataclass(frozen=True)
class SemanticScorer:
    """The protocol with its parameters resolved."""

    parameters: Mapping[str, str]
    classifiers: tuple[Classifier, ...]
    classes: Mapping[str, Mapping[int, int]] | None
    """Classifier -> class of the dataset -> class of the classifier; None without labels."""

    @property
    def preprocessing(self) -> str:
        """Name of the preprocessing."""
        return self.parameters["preprocessing"]

    @property
    def identity(self) -> Mapping[str, Any]:
        """The parameters, with the identity of each classifier (weights, preprocessing) in place of its name."""
        return {**self.parameters, "classifiers": [classifier.identity for classifier in self.classifiers]}

    @property
    def metrics(self) -> tuple[MetricSpec, ...]:
        """The metrics by classifier, and their means; those that need labels only if there are labels."""
        return metrics([classifier.name for classifier in self.classifiers], labeled=self.classes is not None)

    def score(self, colorization: Prediction) -> BatchScores:
        """Score the predictions of each classifier for each image."""
        columns: dict[str, np.ndarray] = {}
        by_classifier = []
        for classifier in self.classifiers:
            statistics, extra = self._classify(classifier, colorization)
            by_classifier.append(statistics)
            columns |= {self._name(name, classifier): values for name, values in extra.items()}
            columns |= _columns({self._name(name, classifier): values for name, values in statistics.items()})
        if len(self.classifiers) > 1:
            mean = {name: np.mean([one[name] for one in by_classifier], axis=0) for name in by_classifier[0]}
            columns |= _columns(mean)
        return BatchScores(columns)

    def summarize(self, columns: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Summary:
        """Return notes with the accuracy of each classifier on gray and ground truth, for comparison."""
        if not columns or len(columns[AGREEMENT.name]) == 0:
            return Summary()
        # A share uses every image, also those that are correct on gray and on ground truth: they determine the gap.
        effective = {
            metric.name: float(np.isfinite(columns[f"{metric.name}.s1"]).sum())
            for metric in self.metrics
            if metric.share_of_gap
        }
        return Summary(
            notes=tuple(self._note(classifier, columns) for classifier in self.classifiers), effective_n=effective
        )

    def _classify(
        self, classifier: Classifier, colorization: Prediction
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return the (2, N) statistics by score, and further (N,) columns, of one classifier."""
        truth = colorization.truth
        of_truth, of_gray = _logits_of_truth(truth, classifier), _logits_of_gray(truth, classifier)
        given = _logits(colorization, classifier, of_truth, of_gray)
        predictions = {"": given, "_truth": of_truth, "_gray": of_gray}
        first = {key: logits.argmax(dim=1) for key, logits in predictions.items()}
        ones = np.ones(len(truth.ids))
        statistics = {
            "agreement": np.stack([_percent(first[""] == first["_truth"]), ones]),
            "kl": np.stack([_divergence(of_truth, given), ones]),
        }
        extra = {f"class{key}": predicted.double().numpy() for key, predicted in first.items()}
        extra["agreement_gray"] = _percent(first["_gray"] == first["_truth"])
        extra["kl_gray"] = _divergence(of_truth, of_gray)
        if self.classes is not None:
            known = self.classes[classifier.name]
            wanted = torch.tensor([-1 if label is None else known[label] for label in truth.labels])
            with_class = np.where(wanted.numpy() >= 0, 1.0, np.nan)
            correct = {key: _percent(predicted == wanted) * with_class for key, predicted in first.items()}
            extra |= {f"top1{key}": values for key, values in correct.items() if key}
            gap = correct["_truth"] - correct["_gray"]
            statistics |= {
                "top1": np.stack([correct[""], with_class]),
                "top1_minus_truth": np.stack([correct[""] - correct["_truth"], with_class]),
                "top1_minus_gray": np.stack([correct[""] - correct["_gray"], with_class]),
                # In percent of the gap: the denominator is a fraction, not in percent.
                "top1_gap_share": np.stack([correct[""] - correct["_gray"], gap / 100]),
                "top5": np.stack([_percent(_among_first(given, wanted, 5)) * with_class, with_class]),
            }
        return {spec.name: statistics[spec.name] for spec in scores(labeled=self.classes is not None)}, extra

    def _name(self, score: str, classifier: Classifier) -> str:
        return score if len(self.classifiers) == 1 else classified(score, classifier.name)

    def _note(self, classifier: Classifier, columns: Mapping[str, np.ndarray]) -> str:
        if self.classes is None:
            same, kl = (columns[self._name(f"{score}_gray", classifier)].mean() for score in ("agreement", "kl"))
            return f"{classifier.name} on gray: agreement {same:.1f} %, KL from ground truth {kl:.3f} nats"
        true, gray = (np.nanmean(columns[self._name(f"top1_{key}", classifier)]) for key in ("truth", "gray"))
        name = self._name(GAP_SHARE.name, classifier)
        gap = share_of_gap(np.stack([columns[f"{name}.s0"], columns[f"{name}.s1"]], axis=1))
        message = f"{classifier.name}: top-1 {true:.1f} % on the true colors, {gray:.1f} % on gray"
        if np.isfinite(gap.gap_low):
            message += f"; gap {100 * gap.gap:.1f} points [{100 * gap.gap_low:.1f}, {100 * gap.gap_high:.1f}]"
        if true < SUSPICIOUS:
            message += "; low accuracy on the true colors: check that the class numbers are those of the classifier"
        return message


def _gray_images(truth: GroundTruth) -> Tensor:
    """Return the gray versions that ``semantic`` shows to a classifier, (N, 3, H, W) uint8."""
    return truth.shared(
        "gray_rgb8", lambda: lab_to_rgb8(torch.cat([truth.lightness, torch.zeros_like(truth.ab)], dim=1))
    )


def _divergence(of_truth: Tensor, given: Tensor) -> np.ndarray:
    """Compute KL(truth ‖ given) of softmax outputs, in nats.

    Args:
        of_truth: (N, C) logits.
        given: (N, C) logits.

    Returns:
        (N,) float64, 0 or more.
    """
    p, q = of_truth.double().log_softmax(dim=1), given.double().log_softmax(dim=1)
    return (p.exp() * (p - q)).sum(dim=1).clamp_min(0).numpy()


def _among_first(logits: Tensor, wanted: Tensor, count: int) -> Tensor:
    """Return (N,) bool: whether fewer than ``count`` of the (N, C) logits exceed that of the (N,) wanted class.

    False for a wanted class of -1.
    """
    own = logits.gather(1, wanted.clamp_min(0)[:, None])
    return ((logits > own).sum(dim=1) < count) & (wanted >= 0)


def _logits_of_truth(truth: GroundTruth, classifier: Classifier) -> Tensor:
    return truth.shared(f"classifier {classifier.key} truth", lambda: classifier.logits(truth.rgb8).cpu())


def _logits_of_gray(truth: GroundTruth, classifier: Classifier) -> Tensor:
    return truth.shared(f"classifier {classifier.key} gray", lambda: classifier.logits(_gray_images(truth)).cpu())


def _logits(colorization: Prediction, classifier: Classifier, of_truth: Tensor, of_gray: Tensor) -> Tensor:
    """Compute the (N, C) logits of the prediction.

    For images that equal ground truth or gray (as for baselines), the existing logits are returned. All other images of
    a batch are classified together, which does not change their logits: see ``Classifier``.
    """
    rendered, truth = colorization.rgb8, colorization.truth
    if rendered is truth.rgb8 or torch.equal(rendered, truth.rgb8):
        return of_truth
    if torch.equal(rendered, _gray_images(truth)):
        return of_gray
    return classifier.logits(rendered).cpu()


def _percent(hit: Tensor) -> np.ndarray:
    """Convert (N,) bool to 0 or 100."""
    return 100.0 * hit.numpy().astype(np.float64)


def _columns(statistics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of metrics from their (2, N) statistics; the share of the gap has no per-image score."""
    columns: dict[str, np.ndarray] = {}
    for name, (above, below) in statistics.items():
        if not name.startswith(GAP_SHARE.name):
            columns[name] = above / below
        columns |= {f"{name}.s0": above, f"{name}.s1": below}
    return columns
