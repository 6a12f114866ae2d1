"""What the page of models says of each model of the zoo beside its card: use, limits, cost, results, images."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
TEXTS = REPOSITORY / "docs" / "model-cards.toml"
STRIPS = REPOSITORY / "docs" / "models"
RECORDS = REPOSITORY / "leaderboards" / "reference" / "records"
WATTS, GPU_WATTS, GRAMS = 15, 700, 400
"""Assumed power in W of a busy core and of a GPU, and grams of CO2 equivalents per kWh (about the mean of grids)."""


def texts() -> Mapping[str, Any]:
    """Return model -> what ``docs/model-cards.toml`` says of it."""
    return tomllib.loads(TEXTS.read_text(encoding="utf-8"))


def facts(name: str) -> list[tuple[str, str]]:
    """Return (fact, value) of a model: intended use, limits, license of its data and cost of its training."""
    read = texts()
    one = read.get(name)
    if one is None:  # a model of another package
        return []
    rows = [("intended use", one["use"]), ("what it cannot do", one["cannot"])]
    if one.get("data"):
        rows.append(("license of the data", read["data"]["license"]))
    if "cpu_hours" in one:
        rows.append(("cost of the training", cost(one["cpu_hours"], one.get("gpu_hours", 0))))
    return rows


def cost(cpu_hours: float, gpu_hours: float = 0) -> str:
    """Return hours of cores and of a GPU, energy and carbon as text."""
    energy = (cpu_hours * WATTS + gpu_hours * GPU_WATTS) / 1000
    hours, power = f"{cpu_hours:.1f} CPU core hours", f"{WATTS} W per core"
    if gpu_hours:
        hours, power = f"{hours} and {gpu_hours:.2g} hours of a GPU", f"{power}, {GPU_WATTS} W for the GPU"
    return (
        f"{hours}; about {energy:.2g} kWh and {energy * GRAMS:.2g} g of CO2 equivalents, "
        f"estimated with {power} and {GRAMS} g per kWh"
    )


def strip(name: str) -> str:
    """Return the strip of images of a model as Markdown, for a page in ``docs/reference``; empty without one."""
    file = f"{name.replace('/', '-')}.webp"
    if not (STRIPS / file).is_file():
        return ""
    return f"![{name} on the packaged images, below their ground truth](../models/{file})\n"


def results(name: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (tag and protocol, metric, value, difference from gray, record) of the shipped results of a model."""
    for path in sorted(RECORDS.glob("*/*/*/*/record.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["model"]["name"].partition(".")[0] != name:
            continue
        over = {one["metric"]: one for one in record["differences"] if one["minus"] == "zoo/gray"}
        where = f"`{path.parent.relative_to(REPOSITORY).as_posix()}`"
        what = f"{record['model']['name']}, {record['protocol']['name']}, n = {record['dataset']['n_evaluated']}"
        for metric in record["metrics"]:
            difference = over.get(metric["name"])
            unit = metric["unit"]
            shown = number(metric, unit), number(difference, unit, signed=True) if difference else ""
            yield what, f"`{metric['name']}` {unit}".strip(), *shown, where
            what = where = ""  # once per record


def number(part: Mapping[str, Any], unit: str, *, signed: bool = False) -> str:
    """Return a value with its interval, in the digits of every page and table."""
    from colorbench.reporting import format_interval, format_number

    shown = format_number(part["value"], unit, signed=signed)
    return f"{shown} {format_interval(part['ci_low'], part['ci_high'], unit, signed=signed)}".rstrip()
