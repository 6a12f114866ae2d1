"""Metrics, differences from the controls, and accuracy by depth, from the predictions of probes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from colorbench.data import Dataset
from colorbench.evaluation import Curve, Derived, Summary, metrics_of
from colorbench.results import Difference, Metric, MetricSpec, Record
from colorbench.stats import MINIMUM_IMAGES, Interval, paired_interval, two_way_variance
from protocols.linear_probe.fit_probes import PIXELS, Probed, Probes
from protocols.mean_curves import mean_columns

LEVEL = 0.95
SMALLEST = 1e-6
"""Tolerance, in percentage points, within which the accuracies of two layers are equal."""


@dataclass(frozen=True)
class Found:
    """Results for the record."""

    columns: Mapping[str, np.ndarray]
    metrics: Sequence[Metric]
    differences: Sequence[Difference]
    summary: Summary
    arrays: Mapping[str, np.ndarray]


def summarize(probed: Probed, test: Dataset, headline: MetricSpec) -> Found:
    """Compute the metrics of a probe with intervals over images, and over seeds for random weights.

    Args:
        probed: the predictions.
        test: the images, for their name.
        headline: metric of the best layer; the metrics of the other layers are derived from it.
    """
    layers = list(probed.model[0].layers)
    candidate = _correct(probed.model, probed.labels)
    pixels = _correct([probed.pixels], probed.labels)
    lightness = pixels[PIXELS]
    specs = [headline, *(_of_layer(headline, layer, probed.model[0].dims[layer]) for layer in layers)]
    scores = {headline.name: _best(probed.model, candidate), **{f"top1_{layer}": candidate[layer] for layer in layers}}
    raw = _of_pixels(headline, probed.pixels.dims[PIXELS])
    columns = _columns({**scores, raw.name: lightness})
    metrics = metrics_of([*specs, raw], columns, {})
    if len(probed.model) > 1:
        metrics = [_over_seeds(metric, scores.get(metric.name), headline) for metric in metrics]
    differences = [_difference(name, PIXELS, values, lightness) for name, values in scores.items()]
    lines: dict[str, tuple[float, ...]] = {}
    for control, probes in probed.controls.items():
        reference = _correct(probes, probed.labels)
        best = _best(probes, reference)
        for name, values in scores.items():
            layer = name.removeprefix("top1_")
            against = best if name == headline.name else reference.get(layer)
            if against is not None:
                differences.append(_difference(name, control, values, against))
        if all(layer in reference for layer in layers):
            lines[_short(control)] = tuple(float(reference[layer].mean()) for layer in layers)
    lines[PIXELS] = (float(lightness.mean()),) * len(layers)
    curve = Curve(
        name="depth",
        title="Probe against depth",
        x_label=f"layer, 1 = {layers[0]} ... {len(layers)} = {layers[-1]}",
        y_label="accuracy, %",
        x=tuple(float(position) for position in range(1, len(layers) + 1)),
        y=tuple(float(candidate[layer].mean()) for layer in layers),
        beside=lines,
    )
    arrays = {
        "labels": probed.labels.astype(np.int32),
        "predictions": np.stack(
            [np.stack([one.layers[layer].predictions for layer in layers], axis=1) for one in probed.model], axis=1
        ).astype(np.int32),
        "pixels": probed.pixels.layers[PIXELS].predictions.astype(np.int32),
    }
    summary = Summary(curves=(curve,) if len(layers) > 1 else (), notes=tuple(_notes(probed, layers)))
    return Found(columns, metrics, [one for one in differences if one is not None], summary, arrays)


def derived(record: Record, arrays: Mapping[str, np.ndarray], headline: MetricSpec) -> Derived:
    """Compute the accuracy of every layer from the stored predictions (n, seeds, layers).

    The best layer was selected on training images, whose accuracy is not stored. With one seed its accuracy must be
    that of one of the layers; with several seeds it cannot be derived.

    Raises:
        ValueError: for arrays with other layers than the record's metrics, or a best layer that is not one of them.
    """
    labels, predictions, pixels = arrays["labels"], arrays["predictions"], arrays["pixels"]
    own = {"top1", "top1_pixels"}
    layers = [metric.name for metric in record.metrics if metric.name not in own]
    if predictions.ndim != 3 or predictions.shape[2] != len(layers):
        raise ValueError("predictions and metrics have different layers")
    correct = 100.0 * (predictions == labels[:, None, None])  # (n, seeds, layers)
    scores = {name: correct[:, :, position].mean(axis=1) for position, name in enumerate(layers)}
    scores["top1_pixels"] = 100.0 * (pixels == labels)
    if predictions.shape[1] == 1:
        stored = {metric.name: metric.value for metric in record.metrics}
        best = [name for name in layers if abs(float(scores[name].mean()) - (stored.get("top1") or 0.0)) < SMALLEST]
        if not best:
            raise ValueError("top1 is not the accuracy of any layer")
        if len(best) == 1:
            scores["top1"] = scores[best[0]]
    specs = [_of_layer(headline, name.removeprefix("top1_"), 0) for name in layers]
    columns = _columns({name: values[None] for name, values in scores.items()})
    return Derived((columns,), specs=(*specs, _of_pixels(headline, 0)))


def seed_and_image_interval(values: np.ndarray, bounds: tuple[float, float]) -> Interval | None:
    """Compute the interval of the mean of (S, n) values over seeds and images, both random.

    Two-way clustered variance (seeds, images), Student's t with min(S, n) - 1 degrees of freedom.
    """
    seeds, n = values.shape
    if n < MINIMUM_IMAGES or seeds < 2:
        return None
    mean = float(values.mean())
    seed, image = (grid.ravel() for grid in np.meshgrid(np.arange(seeds), np.arange(n), indexing="ij"))
    variance = two_way_variance((values - mean).ravel() / values.size, seed, image)
    freedom = min(seeds, n) - 1
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(max(0.0, float(variance.total[0]))))
    low, high = max(bounds[0], mean - reach), min(bounds[1], mean + reach)
    return Interval(low, high, f"two-way (seeds x images), t({freedom})")


def _correct(probes: Sequence[Probes], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return 100 where the class is correct and 0 where not, (S, n), by layer."""
    return {
        layer: np.stack([100.0 * (one.layers[layer].predictions == labels) for one in probes])
        for layer in probes[0].layers
    }


def _best_layer(probes: Probes) -> str:
    """Return the layer with the highest accuracy on the validation split; the first of equal ones."""
    return max(probes.layers, key=lambda layer: probes.layers[layer].validation_accuracy)


def _best(probes: Sequence[Probes], correct: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the values of each seed's best layer, (S, n)."""
    return np.stack([correct[_best_layer(one)][seed] for seed, one in enumerate(probes)])


def _of_layer(headline: MetricSpec, layer: str, dims: int) -> MetricSpec:
    message = f"Accuracy of a linear classifier on the {dims} features of {layer}."
    return replace(headline, name=f"top1_{layer}", title=f"Probe, {layer}", explanation=message)


def _of_pixels(headline: MetricSpec, dims: int) -> MetricSpec:
    message = f"Accuracy of the same classifier on the lightness itself, {dims} pixels: the baseline without a network."
    return replace(headline, name="top1_pixels", title="Probe, pixels", explanation=message, comparable=False)


def _columns(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns of the rows: the mean over seeds, and its statistics."""
    columns: dict[str, np.ndarray] = {}
    for name, values in scores.items():
        columns |= mean_columns(name, values.mean(axis=0))
    return columns


def _over_seeds(metric: Metric, values: np.ndarray | None, spec: MetricSpec) -> Metric:
    if values is None:
        return metric
    found = seed_and_image_interval(values, (spec.lower_bound or 0.0, spec.upper_bound or 100.0))
    if found is None:
        return metric
    changes = {"ci_low": found.low, "ci_high": found.high, "ci_method": f"{found.method}, 95 %"}
    return metric.model_copy(update=changes)


def _difference(name: str, minus: str, candidate: np.ndarray, reference: np.ndarray) -> Difference:
    """Compute candidate (S, n) minus reference (S', n) on the same images.

    If one has a single seed, it is compared with every seed of the other.
    """
    draws = max(len(candidate), len(reference))
    if len(candidate) != len(reference) and min(len(candidate), len(reference)) > 1:
        draws = min(len(candidate), len(reference))
    values = np.broadcast_to(candidate[:draws], (draws, candidate.shape[1])) - reference[:draws]
    if draws == 1:
        ones = np.ones(values.shape[1])
        pair = paired_interval(np.stack([candidate[0], ones], 1), np.stack([reference[0], ones], 1), "ratio")
        found = pair.interval
    else:
        found = seed_and_image_interval(values, (-100.0, 100.0))
    return Difference(
        metric=name,
        minus=minus,
        value=float(values.mean()),
        ci_low=found.low if found else None,
        ci_high=found.high if found else None,
        ci_method=f"paired {found.method}, 95 %" if found else None,
        n=values.shape[1],
    )


def _short(control: str) -> str:
    return control.rpartition(".")[2]


def _notes(probed: Probed, layers: Sequence[str]) -> list[str]:
    """Return notes for the reader of the numbers."""
    best = [_best_layer(one) for one in probed.model]
    counts = probed.training_counts
    notes = [
        f"{probed.classes} classes, {int(counts.sum())} training images ({counts.min()} to {counts.max()} per "
        f"class); best layer, selected on held-out training images: {', '.join(dict.fromkeys(best))}",
        f"majority-class baseline: {100 * np.bincount(probed.labels).max() / len(probed.labels):.1f} %",
    ]
    chosen = {layer: probed.model[0].layers[layer].strength for layer in layers}
    if all(value is not None for value in chosen.values()):
        listed = ", ".join(f"{layer} {value:g}" for layer, value in chosen.items())
        notes.append(
            f"C selected on held-out training images: {listed}, pixels {probed.pixels.layers[PIXELS].strength:g}"
        )
    networks = [*probed.model, *(one for probes in probed.controls.values() for one in probes), probed.pixels]
    if unfinished := sum(not fitted.converged for one in networks for fitted in one.layers.values()):
        notes.append(f"classifiers that did not converge: {unfinished}")
    if probed.repeated:
        notes.append(f"{probed.repeated} test images are also in the training set, so scores are biased upwards")
    if len(probed.model) > 1:
        notes.append(f"means over {len(probed.model)} seeds of the weights; intervals are over seeds and images")
    return [*notes, *probed.notes]
