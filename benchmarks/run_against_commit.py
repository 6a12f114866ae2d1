"""CPU time of a whole run against an earlier commit: ``python -m benchmarks.run_against_commit FOLDER [COMMIT]``.

Both commits are unpacked and run in turn in the same environment, each run in its own process. CPU seconds (user and
system) are measured, which other programs disturb less than wall-clock time. The result is the median of the ratios of
neighboring runs; the aim is at most 1.05.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

BASE = "3dbe4aa"
"""Before the redesign: the last commit with several models' work in parallel threads."""
ROUNDS = 5
ARGUMENTS = ("run", "--model", "zoo/cic", "--protocol", "auc")


def main(folder: str, commit: str = BASE, limit: str = "200", rounds: str = str(ROUNDS)) -> None:
    """Time both in turn and print seconds, ratios and the machine's load."""
    with tempfile.TemporaryDirectory() as scratch:
        trees = {name: unpack(name, Path(scratch) / name) for name in (commit, "HEAD")}
        for tree in trees.values():  # compiles cached routines; not counted
            cpu_seconds(tree, folder, "8")
        times: dict[str, list[float]] = {name: [] for name in trees}
        for _ in range(int(rounds)):
            for name, tree in trees.items():
                times[name].append(cpu_seconds(tree, folder, limit))
            print(", ".join(f"{name} {spent[-1]:.2f} s" for name, spent in times.items()), flush=True)
    ratios = [now / before for before, now in zip(*times.values(), strict=True)]
    medians = {name: statistics.median(spent) for name, spent in times.items()}
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{limit} images, {rounds} rounds, load {load}: medians of CPU time {medians}")
    print(f"ratio of neighboring runs: median {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def unpack(commit: str, target: Path) -> Path:
    """Unpack a commit with the entry points that an installation would have."""
    target.mkdir()
    archive = subprocess.run(["git", "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive, check=True)
    project = tomllib.loads((target / "pyproject.toml").read_text())["project"]
    metadata = target / f"colorbench-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: colorbench\nVersion: {project['version']}\n")
    groups = {"console_scripts": project["scripts"], **project["entry-points"]}
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in one.items()) for group, one in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    return target


def cpu_seconds(tree: Path, folder: str, limit: str) -> float:
    """Return the user and system seconds of one run without existing results."""
    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, "-m", "colorbench", *ARGUMENTS, "--data", folder, "--limit", limit]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [*command, "--output", output],
            cwd=output,
            # Compiled modules are kept, as in an installation, for any setting of the shell.
            env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""},
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
