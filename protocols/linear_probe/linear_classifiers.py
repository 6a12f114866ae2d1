"""Linear classifiers on stored features, one per layer.

``logistic``  scikit-learn's multinomial logistic regression (L-BFGS, squared-norm penalty). C is selected on a
              validation split of the training images, then all of them are fitted. For datasets that fit in memory.
``sgd``       softmax regression by mini-batches read from disk, all layers in one pass, with the schedule of the
              released code. For large datasets.

Both get features with mean 0 and variance 1 over the training part, divided by the square root of their number. The
norm of an image is then about 1, so the same values of C are suitable for every layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from colorbench.results import FeatureMatrix, FeatureStore

BLOCK = 512  # rows that are converted to float32 at a time
MAX_ITERATIONS = 300


@dataclass(frozen=True)
class Fitted:
    """The predictions of the classifier of one layer."""

    predictions: np.ndarray
    """(n_test,) int class indices."""
    validation_accuracy: float
    """Accuracy on the validation split of a classifier that was not fitted on it, in 0..1."""
    strength: float | None = None
    """Selected C of scikit-learn (larger: less regularization)."""
    tried: Mapping[str, float] | None = None
    """C -> accuracy on the validation split."""
    converged: bool = True


@dataclass(frozen=True)
class Schedule:
    """Steps of ``sgd``."""

    steps: int
    batch_size: int = 256
    learning_rate: float = 0.01
    drop_every: int = 40_000
    """Steps after which the learning rate drops to a tenth."""
    weight_decay: float = 5e-4
    """Of the weights, not of the bias."""
    momentum: float = 0.9


def validation_part(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose the validation images, (n,) bool: the same share of every class (at least one, never all).

    Args:
        labels: (n,) classes.
        share: in 0..1.
        seed: of the selection.
    """
    rng = np.random.default_rng(seed)
    validation = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        count = min(len(positions) - 1, max(1, round(share * len(positions))))
        validation[rng.permutation(positions)[:count]] = True
    return validation


def moments(matrix: FeatureMatrix) -> tuple[np.ndarray, np.ndarray]:
    """Compute, for standardizing features, mean and standard deviation (dims,) float64 of (n, dims), in two passes.

    A constant feature has deviation 0.
    """
    n = len(matrix)
    mean, square = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for i in range(0, n, BLOCK):
        mean += matrix[i : i + BLOCK].sum(axis=0, dtype=np.float64)
    mean /= n
    for i in range(0, n, BLOCK):
        off = matrix[i : i + BLOCK].astype(np.float32) - mean.astype(np.float32)
        square += np.einsum("ij,ij->j", off, off, dtype=np.float64)
    return mean, np.sqrt(square / n)


def standardized(matrix: FeatureMatrix, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return (n, dims) float32 with mean 0 and variance 1, divided by the root of dims; constant features are 0."""
    dims = matrix.shape[1]
    # A variation close to the rounding of float32 counts as constant: dividing by it would only amplify rounding.
    known = deviation > 1e-6 * np.maximum(np.abs(mean), 1e-6)
    scale = np.where(known, 1 / np.where(known, deviation, 1), 0) / np.sqrt(dims)
    shift, scale = mean.astype(np.float32), scale.astype(np.float32)
    out = np.empty(matrix.shape, dtype=np.float32)
    for i in range(0, len(matrix), BLOCK):
        np.subtract(matrix[i : i + BLOCK], shift, out=out[i : i + BLOCK], casting="unsafe", dtype=np.float32)
        out[i : i + BLOCK] *= scale
    return out


def logistic(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, *, strengths: Sequence[float], validation: np.ndarray
) -> Fitted:
    """Fit a linear classifier by multinomial logistic regression; C is selected on the validation split.

    Values of C are tried from the strongest regularization on, each initialized with the previous solution. The search
    ends when two in a row were worse than the best. Ties are resolved in favor of the stronger regularization.

    Args:
        train: (n, dims) standardized.
        labels: (n,) classes.
        test: (m, dims).
        strengths: values of C.
        validation: (n,) bool, the rows that select C.
    """
    from sklearn.linear_model import LogisticRegression

    train, test = rotated(train, test)
    model = LogisticRegression(max_iter=MAX_ITERATIONS, tol=1e-4, warm_start=True)
    fit, fit_labels = train[~validation], labels[~validation]
    validation_rows, validation_labels = train[validation], labels[validation]
    tried: dict[float, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is read below, and noted
        for strength in sorted(strengths):
            model.set_params(C=strength)
            model.fit(fit, fit_labels)
            tried[strength] = float((model.predict(validation_rows) == validation_labels).mean())
            if all(score < max(tried.values()) for score in list(tried.values())[-2:]):
                break
        best = max(tried, key=lambda strength: (tried[strength], -strength))
        del fit
        model = LogisticRegression(C=best, max_iter=MAX_ITERATIONS, tol=1e-4)
        model.fit(train, labels)
    return Fitted(
        predictions=np.asarray(model.predict(test), dtype=np.int64),
        validation_accuracy=tried[best],
        strength=best,
        tried={f"{strength:g}": score for strength, score in tried.items()},
        converged=int(np.max(model.n_iter_)) < MAX_ITERATIONS,
    )


def rotated(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate both feature matrices of linear classifiers into axes that span the training rows.

    They are returned unchanged unless there are far fewer rows than dims.

    The solution is the same: with a squared-norm penalty the weights are in that span, and no length changes. The cost
    of an iteration then depends on the number of images, not of dims.

    Args:
        train: (n, dims).
        test: (m, dims).
    """
    n, dims = train.shape
    if n > min(dims / 2, 4000):
        return train, test
    values, vectors = np.linalg.eigh((train @ train.T).astype(np.float64))
    # A smaller axis is only rounding of float32.
    keep = values > values[-1] * 1e-6
    if not keep.any():
        return train[:, :1], test[:, :1]  # features without information: only the most common class can be predicted
    scale = np.sqrt(values[keep])
    axes = (vectors[:, keep] / scale).astype(np.float32)  # (n, r); train.T @ axes are the axes themselves
    return (vectors[:, keep] * scale).astype(np.float32), (test @ train.T) @ axes


def sgd(
    train: FeatureStore,
    test: FeatureStore,
    layers: Sequence[str],
    *,
    labels: np.ndarray,
    classes: int,
    validation: np.ndarray,
    schedule: Schedule,
    batch_norm: bool,
    device: torch.device,
    seed: int,
) -> dict[str, Fitted]:
    """Fit linear classifiers to all layers at once by streamed mini-batches, without the validation split.

    As in the released code: plain SGD with momentum, weights from a normal distribution (0.01), biases at twice the
    learning rate and without decay, and with ``batch_norm`` batch normalization without scale and shift.

    Args:
        train: stored features of n images.
        test: stored features of the images to be scored.
        layers: to probe.
        labels: (n,) classes of the training rows.
        classes: number of classes.
        validation: (n,) bool, the rows that are not used for training.
        schedule: steps and rates.
        batch_norm: normalize by the batch instead of fixed moments.
        device: device of the computation.
        seed: of weights and order.
    """
    generator = torch.Generator().manual_seed(seed)
    heads: dict[str, nn.Sequential] = {}
    for layer in layers:
        dims = train.layers[layer]
        linear = nn.Linear(dims, classes)
        linear.weight.data = 0.01 * torch.randn(classes, dims, generator=generator)
        linear.bias.data.zero_()
        norm = nn.BatchNorm1d(dims, affine=False) if batch_norm else _Fixed(*moments(train.matrix(layer)))
        heads[layer] = nn.Sequential(norm, linear).to(device)
    weights = [head[1].weight for head in heads.values()]
    biases = [head[1].bias for head in heads.values()]
    groups = [
        {"params": weights, "weight_decay": schedule.weight_decay, "times": 1},
        {"params": biases, "weight_decay": 0.0, "times": 2},
    ]
    optimizer = torch.optim.SGD(groups, lr=schedule.learning_rate, momentum=schedule.momentum)
    positions = np.flatnonzero(~validation)
    targets = torch.from_numpy(labels).to(device)
    matrices = {layer: train.matrix(layer) for layer in layers}
    order = np.empty(0, dtype=np.int64)
    rng = np.random.default_rng(seed)
    with torch.enable_grad():
        for step in range(schedule.steps):
            if len(order) < min(schedule.batch_size, len(positions)):
                order = rng.permutation(positions)
            # In the order of the file, so that the disk is read sequentially.
            picked, order = np.sort(order[: schedule.batch_size]), order[schedule.batch_size :]
            rate = schedule.learning_rate * 0.1 ** (step // schedule.drop_every)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"]
            optimizer.zero_grad(set_to_none=True)
            target = targets[torch.from_numpy(picked).to(device)]
            for layer, head in heads.items():
                rows = torch.from_numpy(matrices[layer][picked].astype(np.float32)).to(device)
                cross_entropy(head(rows), target).backward()  # type: ignore[no-untyped-call]  # torch's own
            optimizer.step()
    found = {}
    for layer, head in heads.items():
        head.eval()
        candidate = _predicted(head, matrices[layer], np.flatnonzero(validation), device)
        matrix = test.matrix(layer)
        found[layer] = Fitted(
            predictions=_predicted(head, matrix, np.arange(len(matrix)), device),
            validation_accuracy=float((candidate == labels[validation]).mean()),
        )
    return found


class _Fixed(nn.Module):
    """Standardization by the moments of the training part."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, mean: np.ndarray, deviation: np.ndarray) -> None:
        super().__init__()
        scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
        self.register_buffer("mean", torch.from_numpy(mean).float())
        self.register_buffer("scale", torch.from_numpy(scale).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) * self.scale


@torch.no_grad()
def _predicted(head: nn.Module, matrix: FeatureMatrix, positions: np.ndarray, device: torch.device) -> np.ndarray:
    predictions = [
        head(torch.from_numpy(matrix[positions[i : i + BLOCK]].astype(np.float32)).to(device))
        .argmax(dim=1)
        .cpu()
        .numpy()
        for i in range(0, len(positions), BLOCK)
    ]
    return np.concatenate(predictions) if predictions else np.empty(0, dtype=np.int64)
