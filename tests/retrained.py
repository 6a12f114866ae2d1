"""Killed, trained again, resumed: whether the new model's numbers come out, at random times of death.

    python -m tests.retrained [--kills 10] [--jobs 2] [PROTOCOL ...]

Each run is a process of its own. One is killed (SIGKILL) at a random time: every fourth between the start of measuring
and the first part on the disk, the others between that part and the end. Then the model's weights (two kills of four)
or its source are replaced, and a second process resumes in the same folder. Its numbers and its key must be those of a
run of the new model in an empty folder.

Each line: protocol, how many resumed runs gave the new model's numbers, where the kills hit, and the seconds it took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

# Each process is forked from one that has imported the libraries and done nothing else.
PROCESSES = multiprocessing.get_context("forkserver")
LOADED = ["tests.evaluation.test_retrained", "colorbench.evaluation.runner", "colorbench.models.model_loading"]
LOADED += ["timm", "sklearn.linear_model", "scipy.stats", "pandas", "pyarrow.parquet"]
LOADED += ["protocols.auc", "protocols.fidelity", "protocols.semantic"]
OLD, NEW_WEIGHTS, NEW_SOURCE = "old", "new weights", "new source"
CHANGED = ("lightness / 50 - 1", "lightness / 40 - 1")
"""What the new source computes otherwise."""
SLOWED = ("        first = self", "        __import__('time').sleep(0.3)\n        first = self")
"""Each batch takes so long that kills hit between shards, too."""


def train(folder: Path, state: str) -> str:
    """Write the model in one of its three states; the name to run it by."""
    from tests.evaluation import test_retrained

    name = test_retrained.train(folder, seed=int(state == NEW_WEIGHTS))
    source = folder / "model.py"
    text = source.read_text()
    assert CHANGED[0] in text and SLOWED[0] in text
    text = text.replace(*SLOWED)
    source.write_text(text.replace(*CHANGED) if state == NEW_SOURCE else text)
    return name


def measure(protocol: str, sets: Path, model: str, output: Path, told: Connection) -> None:
    """Run in this process: tells when measuring begins, and the key and the numbers at the end."""
    from colorbench.evaluation import runner, task_records
    from colorbench.models import load_model
    from colorbench.results import shard
    from tests.evaluation import test_retrained

    shard.SHARD = 2
    task_records.check_models = lambda *_: {}  # writes nothing, and would take most of the time
    request = test_retrained.requests(sets)[protocol](load_model(model), output)
    told.send(None)
    record = runner.run(request)[0]
    told.send((record.key, test_retrained.numbers(record)))


@dataclass(frozen=True)
class Ended:
    """What came of a process."""

    numbers: tuple[str, list[tuple[str, float | None]]] | None
    """The record's key and (metric, value); None where it was killed before."""
    seconds: float
    """From the start of measuring to the end."""


def start(
    protocol: str, sets: Path, model: str, output: Path, kill_after: float | None = None, *, first_part: bool = False
) -> Ended:
    """Measure in a process of its own; kill it so many seconds after measuring began, or after its first part.

    Raises:
        RuntimeError: where it fails by itself.
    """
    told, telling = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=measure, args=(protocol, sets, model, output, telling))
    process.start()
    telling.close()
    try:
        told.recv()
        begun = time.perf_counter()
        if kill_after is not None:
            while first_part and process.is_alive() and parts(output) == 0:
                time.sleep(0.005)
            time.sleep(kill_after)
            process.kill()
        numbers = told.recv()
    except EOFError:
        numbers = None
    process.join()
    if numbers is None and process.exitcode != -signal.SIGKILL:
        raise RuntimeError(f"{protocol}: a process ended with exit code {process.exitcode}")
    return Ended(numbers, time.perf_counter() - begun)


def files(output: Path) -> set[str]:
    """Finished files below an output folder."""
    return {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}


def parts(output: Path) -> int:
    """How many finished parts lie below: shards, shards of features, probes, checkpoints of a training."""
    there = files(output)
    return sum(name.endswith((".npz", "checkpoint.pt")) or "/done/" in name for name in there)


def stage(output: Path, most: int) -> str:
    """Where a kill hit, by what lies in the output folder; ``most`` parts lie there before the record is written."""
    if any(name.endswith("record.json") for name in files(output)):
        return "after the record"
    count = parts(output)
    if count == 0:
        return "before the first part"
    return "between parts" if count < most else "after the last part"


def check(protocol: str, sets: Path, folder: Path, kills: int) -> tuple[int, Counter[str], list[str]]:
    """Kill, train again and resume so many times.

    Returns:
        how many gave the new model's numbers, where the kills hit, and a line for each that did not.
    """
    draw = random.Random(protocol)
    fresh = {}
    for state in (OLD, NEW_WEIGHTS, NEW_SOURCE):
        model = train(folder / "model", state)
        fresh[state] = start(protocol, sets, model, folder / state)
    assert len({str(ended.numbers) for ended in fresh.values()}) == 3, "the three models must differ"
    most, until_first, whole = watched(protocol, sets, folder)
    held, where, wrong = 0, Counter[str](), []
    for index in range(kills):
        output = folder / f"killed {index}"
        late = index % 4 != 0  # most of the time passes before the first part
        moment = draw.uniform(0, whole - until_first if late else until_first)
        start(protocol, sets, train(folder / "model", OLD), output, moment, first_part=late)
        output.mkdir(exist_ok=True)
        hit = stage(output, most)
        where[hit] += 1
        state = (NEW_WEIGHTS, NEW_SOURCE)[index // 2 % 2]
        resumed = start(protocol, sets, train(folder / "model", state), output)
        if resumed.numbers == fresh[state].numbers:
            held += 1
        else:
            wrong.append(f"{protocol}: killed after {moment:.2f} s ({hit}), {state}: {resumed.numbers}")
        shutil.rmtree(output)
    return held, where, wrong


def watched(protocol: str, sets: Path, folder: Path) -> tuple[int, float, float]:
    """What an uninterrupted run does.

    Returns:
        the largest number of parts that lie in its folder before its record, the seconds from the start of measuring
        to the first part, and those to the end.
    """
    output, most, first = folder / "watched", 0, 0.0
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(start, protocol, sets, train(folder / "model", OLD), output)
        while not going.done():
            most = max(most, count := parts(output))
            first = first or (time.perf_counter() if count else 0.0)
            time.sleep(0.01)
        whole = going.result().seconds
    return most, max(0.0, whole - (time.perf_counter() - first)), whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; 1 where a resumed run gave other numbers than the new model's."""
    from tests.evaluation import test_retrained

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="protocols at a time")
    parser.add_argument("protocols", nargs="*", default=list(test_retrained.PROTOCOLS))
    chosen = parser.parse_args(arguments)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(["", *sys.path])}
    PROCESSES.set_forkserver_preload(LOADED)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        test_retrained.write_sets(root / "sets")

        def checked(protocol: str) -> str:
            begun = time.perf_counter()
            held, where, wrong = check(protocol, root / "sets", root / protocol, chosen.kills)
            hits = ", ".join(f"{count} {place}" for place, count in sorted(where.items()))
            line = f"{protocol}: {held} of {chosen.kills}; {hits}; {time.perf_counter() - begun:.0f} s"
            return "\n".join([line, *wrong])

        with ThreadPoolExecutor(chosen.jobs) as pool:
            for lines in pool.map(checked, chosen.protocols):
                print(lines, flush=True)  # noqa: T201
                failed |= "\n" in lines
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
