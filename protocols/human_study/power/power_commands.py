"""``colorbench study power``: plan from the flags, simulation, and output of the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorbench.errors import UserError
from colorbench.reporting import counted
from protocols.human_study.build.trial_assignment import SENTINEL_SHARE, sentinel_count
from protocols.human_study.power.simulated_power import MOST, Power, Sizes, participants_needed
from protocols.human_study.power.study_simulation import Plan
from protocols.human_study.study_folder.design_schema import read_design

if TYPE_CHECKING:
    from rich.console import Console

DEFAULTS: Mapping[str, Any] = {
    "participants": 40,
    "trials": 40,
    "sentinels": SENTINEL_SHARE,
    "images": 200,
    "methods": 2,
    "assignment": "within",
}
FACTORS = (0.5, 1, 2, 4)
"""Sizes in the table, relative to the given number of participants."""


def plan_of(study: Path | None, given: Mapping[str, Any], **truth: Any) -> tuple[Plan, int]:
    """Return the plan whose power is computed, and its number of sentinels per participant.

    Args:
        study: a built study that supplies missing values, or None.
        given: the given values of participants, trials, sentinels (a share of the trials), images, methods and
            assignment.
        truth: assumptions about participants and methods: the other fields of ``Plan``.

    Raises:
        UserError: if there is no study, or for an invalid plan.
    """
    values = {**DEFAULTS, **_of_study(study), **given}
    trials = values.pop("trials")
    sentinels = sentinel_count(trials, values.pop("sentinels"))
    if sentinels >= trials:
        raise UserError(f"{sentinels} sentinels leave none of {trials} trials", hint="increase --trials")
    if trials > values["images"]:
        what = f"{trials} trials need {trials} images, and there are {values['images']}"
        raise UserError(what, hint="increase --images, or decrease --trials: nobody sees an image twice")
    plan = Plan(tests=trials - sentinels, **values, **truth)
    plan.check()
    return plan, sentinels


def _of_study(study: Path | None) -> dict[str, Any]:
    if study is None:
        return {}
    design = read_design(study)
    settings = design.settings
    return {
        "participants": settings.participants,
        "trials": settings.trials,
        "sentinels": settings.sentinels / settings.trials,
        "images": sum(not one.practice for one in design.images),
        "methods": len(design.rated),
        "assignment": settings.assignment,
    }


def simulated(plan: Plan, *, alpha: float, target: float, studies: int, seed: int) -> dict[str, Any]:
    """Return the power of the plan and of other sizes, and the participants needed, as plain values.

    Args:
        plan: the study.
        alpha: level for all pairs together; the strictest step of Holm's correction uses alpha / pairs.
        target: power to reach.
        studies: number of simulated studies.
        seed: seed of the simulation.
    """
    pairs = plan.methods * (plan.methods - 1) // 2
    levels = {"alone": alpha, **({"strictest": alpha / pairs} if pairs > 1 else {})}
    sizes = Sizes(plan, studies=studies, seed=seed)
    step = plan.methods if plan.assignment == "between" else 1
    minimum = 2 * step
    counts = sorted({max(minimum, round(plan.participants * factor / step) * step) for factor in FACTORS})
    counts = sorted({*(count for count in counts if count <= MOST), plan.participants})
    table = [_row(sizes(count), levels) for count in counts]
    needed = {}
    if plan.effect:
        for name, level in levels.items():
            found = participants_needed(sizes, plan, target=target, alpha=level)
            needed[name] = None if found is None else found.plan.participants
    return {
        "studies": studies,
        "pairs": pairs,
        "levels": levels,
        "response": _row(sizes(plan.participants), levels),
        "sizes": table,
        "needed": needed,
        "most": MOST,
    }


def _row(found: Power, levels: Mapping[str, float]) -> dict[str, Any]:
    factor = found.exaggeration(levels["alone"])
    return {
        "participants": found.plan.participants,
        "power": {name: found.power(level) for name, level in levels.items()},
        "power_interval": {
            name: [found.interval(level).low, found.interval(level).high] for name, level in levels.items()
        },
        "difference_half_width_points": 100 * found.half_width,
        "rate_half_width_points": 100 * found.rate_half_width,
        "exaggeration": factor if math.isfinite(factor) else None,
    }


def print_power(terminal: Console, plan: Plan, sentinels: int, report: Mapping[str, Any]) -> None:
    """Print the assumptions, the table of sizes, and the participants needed."""
    from rich.table import Table

    within = plan.assignment == "within"
    each = f"{plan.tests / plan.methods:g} of each method" if within else "all of one method"
    terminal.print(
        f"{counted(plan.participants, 'participant')}, {counted(plan.tests + sentinels, 'trial')} each "
        f"({counted(sentinels, 'sentinel')}; {counted(plan.tests, 'test trial')}, {each}), "
        f"{counted(plan.images, 'image')}, {counted(plan.methods, 'method')}, {plan.assignment} participants"
    )
    terminal.print(
        f"fooling rates {100 * plan.rate:g} % and {100 * (plan.rate + plan.effect):g} %; standard deviations on "
        f"the logit scale: participants {plan.participant_sd:g}, images {plan.image_sd:g} "
        f"({100 * plan.shared:g} % of the variance is common to all methods)"
    )
    several = "strictest" in report["levels"]
    tested = f"two-sided test at {report['alpha']:g}"
    if several:
        tested += f"; the strictest of {report['pairs']} pairs by Holm at {report['levels']['strictest']:.2g}"
    terminal.print(f"{tested}; {report['studies']} simulated studies per line, seed {report['seed']}")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head in ("participants", "power", *(["strictest"] if several else []), "± difference", "± rate"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in report["sizes"]:
        cells = [f"{row['power'][name]:.2f} {_range(row['power_interval'][name])}" for name in report["levels"]]
        widths = [f"{row[f'{what}_half_width_points']:.1f} points" for what in ("difference", "rate")]
        bold = "bold" if row["participants"] == plan.participants else None
        table.add_row(str(row["participants"]), *cells, *widths, style=bold)
    terminal.print(table)
    for name, needed in report["needed"].items():
        which = " at the strictest level" if name == "strictest" else ""
        if needed is None:
            terminal.print(
                f"{100 * report['target']:g} % power{which} is not reached with {report['most']} participants: use "
                "more images, or plan for a larger difference"
            )
        else:
            terminal.print(f"for {100 * report['target']:g} % power{which}: about {needed} participants", style="bold")
    factor = report["response"]["exaggeration"]
    if factor is not None and factor >= 1.25:
        terminal.print(
            f"expected exaggeration of a significant difference (type M error) with {plan.participants} "
            f"participants: {factor:.1f}x",
            style="yellow",
        )
    terminal.print("±: half width of the 95 % interval. Plan additional participants for exclusions.", style="dim")


def _range(ends: list[float]) -> str:
    return f"[{ends[0]:.2f}, {ends[1]:.2f}]"
