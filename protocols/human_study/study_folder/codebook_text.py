"""The codebook: the meaning of every column of the exported tables, stored with them."""

from __future__ import annotations

from colorbench.reporting import counted
from protocols.human_study.study_folder.design_schema import PARTICIPANTS, RESPONSES, Design


def codebook(design: Design) -> str:
    """Write ``codebook.md``: the settings of the study, and the columns of its tables."""
    settings, exclusions = design.settings, design.exclusions
    sentinels = f"with {counted(settings.sentinels, 'sentinel')}" if settings.sentinels else "no sentinels"
    lines = [
        f"# Codebook of the study {design.name}",
        "",
        f"Real or fake, one image after the other: {settings.size} x {settings.size} pixels, "
        f"{settings.exposure_ms} ms each, then the choice of the fake without time limit. "
        f"{counted(settings.practice, 'practice trial')} with feedback, then {settings.trials} without ({sentinels}). "
        f"Assignment: {settings.assignment}. Images: {len(design.tests)} of {design.data.name} "
        f"({settings.preprocessing}). Design seed {design.seed}; built {design.created} by colorbench "
        f"{design.colorbench_version}.",
        "",
        "## Methods",
        "",
        "| method | description |",
        "|---|---|",
        *(f"| `{one.name}` | {one.title}{' (sentinels)' if one.sentinel else ''} |" for one in design.methods),
        "",
        "## Exclusions of the analysis",
        "",
        "| rule | value |",
        "|---|---|",
        *(f"| {name} | {value if value is not None else 'not applied'} |" for name, value in exclusions),
        "",
        "## responses: one row per response",
        "",
        *_columns(RESPONSES),
        "",
        "## participants: one row per participant who consented",
        "",
        *_columns(PARTICIPANTS),
        "",
        "An empty cell is an unknown value. Times are UTC. CSV is UTF-8 with a header line; the Parquet files "
        "hold the same tables with types.",
        "",
    ]
    return "\n".join(lines)


def _columns(columns: dict[str, str]) -> list[str]:
    return ["| column | meaning |", "|---|---|", *(f"| `{name}` | {meaning} |" for name, meaning in columns.items())]
