"""Coverage of the intervals of the human study: ``uv run python -m benchmarks.study_coverage``.

Each line uses 1000 simulated studies with 40 participants x 36 responses and a known marginal fooling rate of .32. The
aim is that the two-way clustered interval contains it in 93-97 % of the studies; the binomial interval and the paper's
two-level bootstrap are printed for comparison.
"""

from __future__ import annotations

import time

import numpy as np

from colorbench.stats import (
    MINIMUM_PARTICIPANTS,
    binomial_interval,
    crossed_bootstrap,
    logit_bounds,
    mean_influence,
    two_level_bootstrap,
    two_way_variance,
)
from protocols.human_study.power.simulated_power import blocks
from protocols.human_study.power.study_simulation import Plan

STUDIES = 1000
BOOTSTRAPPED = 200
"""Number of studies with bootstraps, 1000 resamples each."""
AIM = (0.93, 0.97)
SETTINGS = [(images, *sds) for images in (200, 60) for sds in ((0.4, 0.8), (0.8, 0.4))]
BEYOND = [
    ("10 people", Plan(rate=0.32, participants=MINIMUM_PARTICIPANTS, images=200)),
    ("4 or 5 responses a participant", Plan(rate=0.32, tests=9)),
    ("no clustering", Plan(rate=0.32, participant_sd=0, image_sd=0)),
    ("a rate of .03", Plan(rate=0.03)),
    ("sd 1.5 both ways", Plan(rate=0.32, participant_sd=1.5, image_sd=1.5)),
]


def coverage(plan: Plan, studies: int = STUDIES, seed: int = 0) -> dict[str, float]:
    """Return the share of studies whose interval contains the first method's rate, by name, and the mean ``width``."""
    covered: dict[str, list[bool]] = {name: [] for name in ("clustered", "binomial", "two-level", "crossed")}
    widths = []
    for block in blocks(plan, studies, seed):
        measured = block.method == 0
        rate, influence = mean_influence(block.fooled, measured)
        low, high = logit_bounds(rate, two_way_variance(influence, block.participant, block.image, measured))
        covered["clustered"] += ((low <= plan.rate) & (plan.rate <= high)).tolist()
        widths += (high - low).tolist()
        for fooled, participant, image, own in zip(block.fooled, block.participant, block.image, measured, strict=True):
            independent = binomial_interval(int(fooled[own].sum()), int(own.sum()))
            covered["binomial"].append(independent.low <= plan.rate <= independent.high)
            if len(covered["crossed"]) < BOOTSTRAPPED:
                paper = two_level_bootstrap(fooled[own], participant[own], resamples=1000).interval
                crossed = crossed_bootstrap(fooled[own], participant[own], image[own], resamples=1000).interval
                covered["two-level"].append(paper.low <= plan.rate <= paper.high)
                covered["crossed"].append(crossed.low <= plan.rate <= crossed.high)
    return {**{name: float(np.mean(values)) for name, values in covered.items()}, "width": float(np.mean(widths))}


def line(what: str, found: dict[str, float], *, aimed: bool) -> str:
    """Return one line of the table."""
    verdict = ""
    if aimed:
        verdict = "reached" if AIM[0] <= found["clustered"] <= AIM[1] else "MISSED"
    names = ("clustered", "binomial", "two-level", "crossed")
    shares = "".join(f"{100 * found[name]:10.1f} %" for name in names)
    return f"{what:44}{shares}{100 * found['width']:10.1f}   {verdict}"


if __name__ == "__main__":
    print(f"coverage of nominal 95 %, {STUDIES} studies (bootstraps: {BOOTSTRAPPED}), 40 x 36 responses unless said")
    print(f"{'':44}{'two-way':>12}{'binomial':>12}{'two-level':>12}{'crossed':>12}{'width':>10}")
    for images, participant_sd, image_sd in SETTINGS:
        # A single method, which every participant rates in every trial.
        plan = Plan(rate=0.32, effect=0.0, images=images, participant_sd=participant_sd, image_sd=image_sd, methods=1)
        what = f"{images} images, sd {participant_sd:g} people, {image_sd:g} images"
        print(line(what, coverage(plan), aimed=True), flush=True)
    print("\nand beyond the aim, one method of two (18 responses a participant unless said)")
    for what, plan in BEYOND:
        print(line(what, coverage(plan), aimed=False), flush=True)
    block = next(blocks(Plan(rate=0.32, effect=0.0, methods=1), 1, 0))
    study_data = (block.fooled[0], block.participant[0], block.image[0])
    for name, work in (
        ("two-level", lambda: two_level_bootstrap(study_data[0], study_data[1])),
        ("crossed", lambda: crossed_bootstrap(*study_data)),
    ):
        started = time.process_time()
        work()
        spent = time.process_time() - started
        print(f"10,000 {name} resamples of 40 x 36 responses: {spent:.2f} s (aim 2{'' if spent < 2 else ', MISSED'})")
