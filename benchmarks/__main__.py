"""The performance suite: ``uv run --group test python -m benchmarks``, under ten minutes, on an idle machine.

Prints one table. Each part of colorbench is compared with a simple, fair alternative that gives the same result; both
are timed in turn in one process. The table has the ratio of times, the aim, the peak memory of both, and the share of
the machine's limit that is reached (matrix products, memory traffic, or decoding on all cores, each measured first).
At the end it prints how well a whole run uses the cores.

    --images DIR   real images for the run [default: crops of the packaged images]
    --limit N      images of them for comparisons; three times as many for the efficiency of a run [64]
    --seconds S    time for each comparison [10]
    --only TEXT    comparisons whose names contain the text
    --quick        tiny sizes: shows only that everything works
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.case import Case, Timing, measure
from benchmarks.packaged import crops
from benchmarks.physical_limits import PhysicalLimits, cores, measure_limits
from colorbench.data import Dataset, open_dataset

EFFICIENCY = 0.92
"""Aim of the share of a run's cores x seconds that decode, colorize or score."""
LONGER = 3
"""Times as many images for the efficiency of a run, whose start and end take a second or two."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args(arguments)
    limit = given.limit or (4 if given.quick else 64)
    budget = given.seconds if given.seconds is not None else (0.01 if given.quick else 10)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.images or crops(Path(scratch) / "crops", LONGER * limit, side=256, suffix=".jpg")
        more = open_dataset(folder).limit(LONGER * limit)
        dataset = more.limit(limit)
        limits = measure_limits(dataset.samples)
        load = os.getloadavg()[0]
        print(
            f"{cores()} cores, {torch.get_num_threads()} threads, load {load:.1f}; measured limits: "
            f"{limits.matrix / 1e9:.0f} GFLOP/s, {limits.memory / 1e9:.1f} GB/s, {limits.decode:.0f} images/s decoded"
        )
        sizes = {"dimensions": 64, "images": 100} if given.quick else {}
        chosen = (case for case in _all_cases(dataset, sizes) if given.only in case.name)
        timings = []
        for case in chosen:
            print(f"  {case.name} ...", file=sys.stderr)
            timings.append(measure(case, budget))
        # Wide, so that no row breaks in a file.
        Console(width=None if sys.stdout.isatty() else 200).print(_table(timings, limits))
        if not given.only:
            _print_efficiency(more, rounds=1 if given.quick else 2)


def _all_cases(dataset: Dataset, sizes: dict[str, int]) -> Iterator[Case]:
    """Yield the cases of all modules; one whose alternative is not installed is named and left out."""
    families: dict[str, Callable[[Any], Iterator[Case]]] = {
        "benchmarks.color": lambda module: module.cases(),
        "benchmarks.auc": lambda module: module.cases(),
        "benchmarks.metrics": lambda module: module.cases(**sizes),
        "benchmarks.run": lambda module: module.cases(module.Parts.of(dataset)),
    }
    for name, made in families.items():
        try:
            yield from made(import_module(name))
        except ModuleNotFoundError as error:
            print(f"left out: {name}: {error.name} is not installed; start with uv run --group test", file=sys.stderr)


def _table(timings: Sequence[Timing], limits: PhysicalLimits) -> Table:
    table = Table("what", "alternative", box=None, pad_edge=False)
    for title in ("ours", "alternative's", "ratio", "aim", "MiB", "alternative's MiB", "share of limit"):
        table.add_column(title, justify="right")
    for timing in timings:
        case = timing.case
        share = "" if case.limit is None else f"{limits.share(case.limit, case.work, timing.ours):.0%} {case.limit}"
        table.add_row(
            case.name,
            case.alternative,
            _time(timing.ours),
            _time(timing.reference),
            f"{timing.ratio:.1f}",
            f"{case.aim:g}{'' if timing.ratio >= case.aim else ' MISSED'}",
            _mib(timing.ours_peak),
            _mib(timing.reference_peak),
            share,
        )
    return table


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3f} ms"


def _mib(peak: float | None) -> str:
    return "" if peak is None else f"{peak:.1f}"


def _print_efficiency(dataset: Dataset, rounds: int) -> None:
    run: Any = import_module("benchmarks.run")
    share, spent, wall = run.efficiency(run.Parts.of(dataset), rounds)
    parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in spent.items())
    verdict = "reached" if share >= EFFICIENCY else "MISSED"
    print(
        f"whole run of {len(dataset)} images: CPU {parts}; {wall:.2f} s x {cores()} cores: "
        f"efficiency {share:.2f} (aim {EFFICIENCY}, {verdict})"
    )


if __name__ == "__main__":
    main()
