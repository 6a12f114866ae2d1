"""Bootstrap of the difference of two rates of yes/no responses from the same participants.

Participants and images are drawn with replacement, once for both rates, so that effects of a participant or an image on
both rates stay in both. Such a crossed bootstrap counts the noise of single responses about three times (Owen 2007);
the deviations of its draws are therefore scaled to the two-way clustered standard error of the difference.
``benchmarks/study_comparison.py`` measures how often the share of draws above 0 is misleading.
"""

from __future__ import annotations

import numpy as np

from colorbench.stats.clustered_rates import difference_parts
from colorbench.stats.clustered_resampling import CLUSTERED_RESAMPLES

_BLOCK = 1 << 21  # weights held at a time


def paired_resamples(
    responses: np.ndarray,
    participant: np.ndarray,
    image: np.ndarray,
    first: np.ndarray,
    *,
    resamples: int = CLUSTERED_RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Draw resamples of the rate of the ``first`` responses minus the rate of the others.

    Args:
        responses: (n,) 0/1.
        participant: (n,) labels.
        image: (n,) labels.
        first: (n,) bool.
        resamples: number of resamples.
        seed: seed of the draw.

    Returns:
        (resamples,); fewer where a resample has no response of one kind.
    """
    first = np.asarray(first, bool)
    values = np.asarray(responses, np.float64)
    participant, image = (np.unique(labels, return_inverse=True)[1] for labels in (participant, image))
    participants, images = int(participant.max()) + 1, int(image.max()) + 1
    tables = []
    for kind in (first, ~first):
        position = participant[kind] * images + image[kind]
        yes = np.bincount(position, weights=values[kind], minlength=participants * images)
        shown = np.bincount(position, minlength=participants * images).astype(np.float64)
        tables.append((yes.reshape(participants, images), shown.reshape(participants, images)))
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // max(participants, images))
    drawn = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        w = rng.multinomial(participants, np.full(participants, 1 / participants), count).astype(np.float64)
        v = rng.multinomial(images, np.full(images, 1 / images), count).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = [((w @ yes) * v).sum(axis=1) / ((w @ shown) * v).sum(axis=1) for yes, shown in tables]
        drawn.append(rates[0] - rates[1])
    found = np.concatenate(drawn)
    found = found[np.isfinite(found)]
    difference, variance, _ = difference_parts(values, participant, image, first, ~first)
    spread = float(found.std()) if len(found) else 0.0
    # Not below either one-way clustered variance. The variance of independent responses is no lower bound here, since
    # effects of a participant on both rates cancel.
    minimum = np.minimum(variance.participant, variance.image)
    error = float(np.sqrt(np.maximum(variance.raw, minimum)[0]))
    if not (spread > 0 and np.isfinite(error)):
        return np.asarray(found)
    return np.asarray(float(difference[0]) + (found - found.mean()) * (error / spread))


def share_above(differences: np.ndarray) -> float:
    """Return the share of draws of a paired difference (n,) above 0, ties counted half: 0..1, NaN for no draw."""
    if len(differences) == 0:
        return float("nan")
    return float(((differences > 0) + 0.5 * (differences == 0)).mean())
