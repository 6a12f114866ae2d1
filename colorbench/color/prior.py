"""The color prior: share of each bin among pixels, its smoothing, and the rebalancing weights (paper, section 2.2)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from colorbench.color.bins import nearest_bin
from colorbench.color.encoding import NEIGHBORS, SIGMA, soft_encode
from colorbench.color.grid import ab_bins
from colorbench.errors import UserError, one_line_errors, printable
from colorbench.storage import InvalidTable, array_of

Kind = Literal["hard", "soft", "smoothed", "unknown"]
SHIPPED_PRIOR = "shipped"
"""Name of the prior that is included."""


@dataclass(frozen=True)
class Prior:
    """A color prior: the share of each bin among the pixels of images."""

    probabilities: np.ndarray = field(repr=False)
    """(313,) float64, summing to 1."""
    kind: Kind
    """``hard``:

    counts of nearest bins; ``soft``: mean soft encoding; ``smoothed``: hard, then smoothed; ``unknown``.
    """
    name: str
    images: int | None = None
    """Number of images it was counted on."""
    notes: str = ""

    def __post_init__(self) -> None:
        p = self.probabilities
        if p.shape != (len(ab_bins()),) or not np.isfinite(p).all() or (p < 0).any() or not abs(p.sum() - 1) <= 1e-6:
            raise UserError(
                f"a prior must be {len(ab_bins())} numbers of at least 0 that sum to 1, "
                f"got shape {p.shape} with sum {p.sum():.6g}",
                where=self.name,
                hint="create one with `colorbench prior`",
            )

    @property
    def sha256(self) -> str:
        """Hash of the probabilities as little-endian float64; independent of the file format."""
        return hashlib.sha256(self.probabilities.astype("<f8").tobytes()).hexdigest()

    @property
    def entropy(self) -> float:
        """Entropy in nats."""
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log(p)).sum())


def hard_counts(ab: Tensor) -> Tensor:
    """Count pixels per nearest bin, for a color prior: (N, 2, H, W) -> (313,) float64."""
    return torch.bincount(nearest_bin(ab).flatten(), minlength=len(ab_bins())).double()


def soft_counts(ab: Tensor, neighbors: int = NEIGHBORS, sigma: float = SIGMA) -> Tensor:
    """Sum soft encodings over pixels, for a color prior: (N, 2, H, W) -> (313,) float64.

    Soft counts are smooth already and must not be smoothed again (issue 47 of the released code).
    """
    code = soft_encode(ab, neighbors, sigma)
    return torch.bincount(code.indices.flatten(), weights=code.weights.double().flatten(), minlength=len(ab_bins()))


def from_counts(counts: Tensor | np.ndarray, kind: Kind, name: str, *, images: int, floor: float = 0.0) -> Prior:
    """Normalize counts (313,) into a color prior; ``floor`` is a bin's least probability before normalization."""
    p = np.asarray(counts, dtype=np.float64)
    if p.sum() <= 0:
        raise UserError("a prior needs at least one pixel", where=name)
    p = np.maximum(p / p.sum(), floor)
    return Prior(p / p.sum(), kind, name, images)


def smooth(prior: Prior, sigma: float = SIGMA) -> Prior:
    """Spread a hard color prior with a Gaussian of ``sigma`` ab units over the bins; total mass is preserved.

    Raises:
        UserError: for a smoothed or soft-encoded prior: smoothing twice flattens it (the share of gray falls from .21
            to .155).
    """
    if prior.kind != "hard":
        raise UserError(
            f"the prior is {prior.kind}, and soft counts are already smooth: only hard counts can be smoothed",
            where=prior.name,
            hint="use --hard, or remove --smooth",
        )
    bins = ab_bins().double().numpy()
    squared = ((bins[:, None] - bins) ** 2).sum(-1)
    kernel = np.exp(-squared / (2 * sigma * sigma))
    kernel /= kernel.sum(axis=1, keepdims=True)
    return Prior(prior.probabilities @ kernel, "smoothed", prior.name, prior.images)


def rebalancing_weights(probabilities: np.ndarray, lam: float = 0.5, alpha: float = 1.0) -> np.ndarray:
    """Compute the weight of every bin, ((1 - lam) p + lam u)^-alpha scaled so that E_p[w] = 1 (paper, equation 4).

    ``u`` is uniform over the bins that occur (released code: PriorFactor). At lam = 0 the formula gives no finite
    weight for a bin that never occurs; it gets the weight of the rarest bin that does.

    Args:
        probabilities: (313,) summing to 1.
        lam: 0 as in the metric (pure inverse), 0.5 as in training, 1 for equal weights.
        alpha: exponent.

    Returns:
        (313,) float64.

    Raises:
        ValueError: for lam outside 0..1.
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lambda must be in 0..1, got {lam}")
    p = np.asarray(probabilities, dtype=np.float64)
    occurs = p > 0
    mixed = (1 - lam) * p + lam * occurs / occurs.sum()
    mixed[~occurs] = mixed[occurs].min()
    weights = mixed**-alpha
    return np.asarray(weights / (p * weights).sum(), dtype=np.float64)


@one_line_errors()
def load_prior(name: str | Path = SHIPPED_PRIOR) -> Prior:
    """Load the included color prior, or one from a ``.npy`` file with (313,) numbers and its ``.json`` file.

    Raises:
        UserError: for a missing file, a file without an array of 313 numbers, or a damaged description.
    """
    if name == SHIPPED_PRIOR:
        resource = files("colorbench.color") / "data"
        with (resource / "shipped_prior.npy").open("rb") as file:
            probabilities = np.load(file, allow_pickle=False)
        about = json.loads((resource / "shipped_prior.json").read_text())
        return Prior(probabilities, about["kind"], SHIPPED_PRIOR, about["images"], about["notes"])
    path = Path(name)
    if not path.is_file():
        raise UserError(
            f"no prior {str(name)!r}",
            hint=f"give `{SHIPPED_PRIOR}`, `dataset`, or a .npy file made by `colorbench prior`",
        )
    try:
        probabilities = np.asarray(array_of(path.read_bytes()), dtype=np.float64).squeeze()
    except (InvalidTable, ValueError, TypeError, OSError) as error:
        raise UserError(f"cannot read a prior: {error}", where=str(path), hint="give a .npy file") from error
    description = path.with_suffix(".json")
    if not description.is_file():
        return Prior(probabilities, "unknown", path.name)
    try:
        about = json.loads(description.read_text(encoding="utf-8"))
        prior = Prior(probabilities, about["kind"], path.name, about["images"], about.get("notes", ""))
        if about.get("sha256", prior.sha256) != prior.sha256:
            raise ValueError(f"it describes other numbers than those in {path.name}")
        return prior
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = printable(repr(error))[:200]
        raise UserError(f"cannot read a prior's description: {reason}", where=str(description)) from error


def save_prior(prior: Prior, path: Path) -> None:
    """Write a color prior to ``path`` (.npy) and its description beside it (.json)."""
    np.save(path, prior.probabilities)
    about = asdict(prior) | {"sha256": prior.sha256}
    del about["probabilities"]
    path.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n")
