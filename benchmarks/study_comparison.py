"""Calibration of P(first is higher) of a study: ``python -m benchmarks.study_comparison``.

Two methods with equal rates are rated by the same participants. If P is calibrated, it is below 0.025 or above 0.975 in
5 % of the studies, and the central 95 % of the resampled differences contain the true difference in 95 %. For
comparison, the separate two-level bootstrap of each method ignores that participants rated both.
"""

from __future__ import annotations

import math

import numpy as np

from colorbench.stats import paired_resamples, share_above, two_level_bootstrap
from protocols.human_study.power.simulated_power import blocks
from protocols.human_study.power.study_simulation import Plan

STUDIES = 1000
RESAMPLES = 500
SETTINGS = [
    ("participants alike, images differ", {"participant_sd": 0.4, "image_sd": 0.8}),
    ("participants differ", {"participant_sd": 1.5, "image_sd": 0.4}),
    ("participants differ, few images", {"participant_sd": 1.5, "image_sd": 0.8, "images": 60}),
    ("20 participants", {"participant_sd": 1.0, "image_sd": 0.8, "participants": 20}),
    ("a difference of 10 points", {"participant_sd": 1.0, "image_sd": 0.8, "effect": 0.1}),
]


def calibration(plan: Plan, studies: int, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, float]:
    """Return the share of simulated studies with an extreme P, and the coverage, for both bootstraps."""
    extreme: dict[str, list[bool]] = {"together": [], "apart": []}
    covered: dict[str, list[bool]] = {"together": [], "apart": []}
    for block in blocks(plan, studies, seed):
        for number, (fooled, participant, image, method) in enumerate(
            zip(block.fooled, block.participant, block.image, block.method, strict=True)
        ):
            first = method == 0
            apart = [
                two_level_bootstrap(fooled[kind], participant[kind], resamples=resamples, seed=2 * number + turn).rates
                for turn, kind in enumerate((first, ~first))
            ]
            drawn = {
                "together": paired_resamples(fooled, participant, image, first, resamples=resamples, seed=number),
                "apart": apart[0] - apart[1],
            }
            for name, differences in drawn.items():
                extreme[name].append(abs(share_above(differences) - 0.5) > 0.475)
                low, high = np.quantile(differences, [0.025, 0.975])
                covered[name].append(bool(low <= -plan.effect <= high))
    found = {f"{name} extreme": float(np.mean(values)) for name, values in extreme.items()}
    return found | {f"{name} covers": float(np.mean(values)) for name, values in covered.items()}


if __name__ == "__main__":
    print(f"{STUDIES} studies a line (+- {196 * math.sqrt(0.0475 / STUDIES):.1f} points), 40 participants unless said")
    print(f"{'':36}{'together: extreme, covers':>28}{'apart: extreme, covers':>28}")
    for what, changes in SETTINGS:
        one = calibration(Plan(**{"rate": 0.32, "effect": 0.0, **changes}), STUDIES)  # type: ignore[arg-type]
        cells = "".join(
            f"{100 * one[f'{name} extreme']:16.1f} %{100 * one[f'{name} covers']:8.1f} %"
            for name in ("together", "apart")
        )
        print(f"{what:36}{cells}", flush=True)
