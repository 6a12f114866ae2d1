"""Two-way clustered variance and bootstraps of rates of yes/no responses, over participants and images.

Responses of one participant are correlated, and so are responses to one image. The variance of a mean is therefore
computed over both ways of clustering (Cameron, Gelbach and Miller 2011; Miglioretti and Heagerty 2007),

    V = V_participant + V_image - V_cell,   V_c = G / (G - 1) * sum over the G clusters c of (sum of influences in c)^2,

where a cell is one participant on one image and the influence of a response on a mean is (response - mean) / n. The
factor G / (G - 1) is the small-sample correction of each part, and t has min(participants, images) - 1 degrees of
freedom. V may come out below V_cell, even below 0, if responses happen to be more even than independent ones; then
V_cell is used, so that an interval is never narrower than that of independent responses. The interval of a rate is made
on the logit scale, where it stays within 0 and 1 and is skewed near them. ``benchmarks/study_coverage.py`` measures its
coverage.

The leading batch dimension S (many simulated studies at once) serves the planning of a study.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from colorbench.stats.bootstrap import Interval

MINIMUM_PARTICIPANTS = 10
"""Fewer participants get no interval, since their spread is too poorly known."""
CLUSTERED_RESAMPLES = 10_000
"""Default number of bootstrap resamples over participants."""
_BLOCK = 1 << 21  # weights in memory at a time
_DENSE = 1 << 22  # largest number of cells that are counted in a table


@dataclass(frozen=True)
class TwoWayVariance:
    """The parts of the variance of an estimate, each (S,)."""

    participant: np.ndarray
    image: np.ndarray
    cell: np.ndarray
    participants: np.ndarray
    """Number of participants with counted responses."""
    images: np.ndarray
    """Number of images with counted responses."""

    @property
    def raw(self) -> np.ndarray:
        """V_participant + V_image - V_cell; may be negative."""
        return np.asarray(self.participant + self.image - self.cell)

    @property
    def total(self) -> np.ndarray:
        """The variance that intervals use: never below that of independent responses."""
        return np.asarray(np.maximum(self.raw, self.cell))

    @property
    def degrees_of_freedom(self) -> np.ndarray:
        """min(participants, images) - 1."""
        return np.asarray(np.minimum(self.participants, self.images) - 1)


def two_way_variance(
    influence: np.ndarray, participant: np.ndarray, image: np.ndarray, counted: np.ndarray | None = None
) -> TwoWayVariance:
    """Compute the two-way clustered variance of estimates that are sums of influences.

    Args:
        influence: (S, n) or (n,), each summing to 0.
        participant: of the same shape, whole numbers from 0.
        image: of the same shape, whole numbers from 0.
        counted: of the same shape, whether a response is counted; default: all.

    Returns:
        Each part (S,); (1,) for one study. NaN for fewer than two clusters.
    """
    influence, participant, image = (np.atleast_2d(array) for array in (influence, participant, image))
    counted = np.ones(influence.shape, bool) if counted is None else np.atleast_2d(counted)
    study = np.broadcast_to(np.arange(len(influence))[:, None], influence.shape)[counted]
    values, participant, image = influence[counted], participant[counted], image[counted]
    participant_count, image_count = (int(codes.max(initial=0)) + 1 for codes in (participant, image))
    cell = participant * image_count + image
    if len(influence) * participant_count * image_count <= _DENSE:
        of_cells, cells = _squares(values, study, cell, participant_count * image_count, len(influence))
    else:
        of_cells, cells = _squares_of_few(values, study, study * participant_count * image_count + cell, len(influence))
    by_participant, participants = _squares(values, study, participant, participant_count, len(influence))
    by_image, images = _squares(values, study, image, image_count, len(influence))
    with np.errstate(divide="ignore", invalid="ignore"):
        of_participants, of_images, of_cells = (
            np.where(count > 1, total * count / (count - 1), np.nan)
            for total, count in ((by_participant, participants), (by_image, images), (of_cells, cells))
        )
    return TwoWayVariance(of_participants, of_images, of_cells, participants, images)


def _squares(
    values: np.ndarray, study: np.ndarray, codes: np.ndarray, count: int, studies: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the squared sums of each cluster, (studies,), and count the clusters that occur."""
    position = study * count + codes
    sums = np.bincount(position, weights=values, minlength=studies * count).reshape(studies, count)
    occurring = np.bincount(position, minlength=studies * count).reshape(studies, count) > 0
    return (sums**2).sum(axis=1), occurring.sum(axis=1)


def _squares_of_few(
    values: np.ndarray, study: np.ndarray, codes: np.ndarray, studies: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the result of ``_squares`` if there are far more codes than values; codes differ between studies.

    Only the codes that occur are counted.
    """
    _, first, position = np.unique(codes, return_index=True, return_inverse=True)
    squares, owner = np.bincount(position, weights=values) ** 2, study[first]
    return np.bincount(owner, weights=squares, minlength=studies), np.bincount(owner, minlength=studies)


def mean_influence(responses: np.ndarray, counted: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Compute the means (S,) of the counted responses (S, n), and each response's influence on them, (S, n).

    The influence is 0 where a response is not counted.
    """
    responses = np.atleast_2d(np.asarray(responses, dtype=np.float64))
    counted = np.ones(responses.shape, bool) if counted is None else np.atleast_2d(counted)
    n = counted.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(counted, responses, 0).sum(axis=1) / n
        influence = np.where(counted, (responses - mean[:, None]) / n[:, None], 0)
    return mean, influence


@dataclass(frozen=True)
class Resampled:
    """Result of a bootstrap of a rate."""

    rates: np.ndarray
    """(resamples,), the rate in each resample."""
    interval: Interval

    @property
    def standard_error(self) -> float:
        """Standard deviation of the resampled rates: the paper's +- value."""
        return float(self.rates.std(ddof=1))


def two_level_bootstrap(
    responses: np.ndarray,
    participant: np.ndarray,
    *,
    resamples: int = CLUSTERED_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Resample clustered responses as in the paper: participants with replacement, then the responses of each.

    Images are not resampled, so the result holds for these images only. Resampling responses within resampled
    participants counts their noise about twice. The resampled sum of a participant is binomial and is drawn directly.

    Args:
        responses: (n,) 0/1.
        participant: (n,) labels.
        resamples: number of resamples.
        seed: seed of the draw.
        level: nominal coverage, such as 0.95.

    Source: ``analyze.m`` of phillipi/AMT_Real_vs_Fake, written for the paper.
    """
    values, participant, _ = checked_responses(responses, participant, participant)
    rng = np.random.default_rng(seed)
    n = np.bincount(participant)
    share = np.bincount(participant, weights=values) / n
    drawn = rng.integers(0, len(n), (resamples, len(n)))
    rates = rng.binomial(n[drawn], share[drawn]).sum(axis=1) / n[drawn].sum(axis=1)
    return Resampled(
        rates, _percentiles(rates, level, "two-level bootstrap (participants, then their responses), percentile")
    )


def crossed_bootstrap(
    responses: np.ndarray,
    participant: np.ndarray,
    image: np.ndarray,
    *,
    resamples: int = CLUSTERED_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Resampled:
    """Resample participants and images independently, with replacement (pigeonhole bootstrap).

    A response counts as often as its participant was drawn times as often as its image was drawn.

    Conservative: the noise of single responses is counted about three times (Owen 2007).

    Args:
        responses: (n,) 0/1.
        participant: (n,) labels.
        image: (n,) labels.
        resamples: number of resamples.
        seed: seed of the draw.
        level: nominal coverage, such as 0.95.
    """
    values, participant, image = checked_responses(responses, participant, image)
    participants, images = int(participant.max()) + 1, int(image.max()) + 1
    position = participant * images + image
    yes = np.bincount(position, weights=values, minlength=participants * images).reshape(participants, images)
    shown = np.bincount(position, minlength=participants * images).reshape(participants, images).astype(np.float64)
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(participants, images))
    rates = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        w = rng.multinomial(participants, np.full(participants, 1 / participants), count).astype(
            np.float64
        )  # (count, participants)
        v = rng.multinomial(images, np.full(images, 1 / images), count).astype(np.float64)  # (count, images)
        with np.errstate(divide="ignore", invalid="ignore"):
            rates.append(((w @ yes) * v).sum(axis=1) / ((w @ shown) * v).sum(axis=1))
    found = np.concatenate(rates)
    found = found[np.isfinite(found)]  # a resample without any response has no rate
    return Resampled(found, _percentiles(found, level, "crossed bootstrap (participants x images), percentile"))


def _percentiles(rates: np.ndarray, level: float, method: str) -> Interval:
    low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), method)


def checked_responses(
    responses: np.ndarray, participant: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return responses as float64, and participants and images as consecutive numbers from 0; each (n,)."""
    values = np.asarray(responses, dtype=np.float64)
    if values.ndim != 1 or np.shape(participant) != values.shape or np.shape(image) != values.shape:
        raise ValueError(f"need three (n,) arrays, got {values.shape}, {np.shape(participant)} and {np.shape(image)}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError("responses must be 0 or 1")
    return values, np.unique(participant, return_inverse=True)[1], np.unique(image, return_inverse=True)[1]
