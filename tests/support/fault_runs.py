"""Runs of the command line with faults, each in a process of its own that is forked from one that has imported it all.

A new interpreter takes seconds to import torch, a fork milliseconds: that is what makes it possible to kill a run at
each of its writes. ``Runs`` is used by tests; the module run as a program is the process that forks.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

GET_PROTOCOL = "colorbench.evaluation.requested_models_and_protocols.get_protocol"
SECONDS = 300
"""After which a run is ended that waits for something forever."""
REPOSITORY = Path(__file__).parents[2]
RUN = (
    *("run", "-m", "zoo/half-chroma", "-p", "auc", "--param", "preprocessing=squash16", "--no-baselines"),
    *("--threads", "1", "-j", "0", "-b", "2"),
)
"""A tiny run, without ``--data``."""
ENGINE = ("engine",)
"""A run of the engine under the protocol of its tests, without the command line; the folder of images follows."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of standard error that report an error."""
        return [line for line in self.err.splitlines() if line.startswith(("error:", "interrupted:", "terminated:"))]

    def one_line(self, *parts: str) -> None:
        """Check that it ended in one line that names all parts, without a traceback."""
        assert "Traceback" not in self.err, self.err
        assert len(self.errors) == 1, f"exit {self.code}: {self.err}"
        for part in parts:
            assert part in self.errors[0], self.errors[0]

    def done(self) -> None:
        """Check that it did its work."""
        assert self.code == 0 and "Traceback" not in self.err, f"exit {self.code}: {self.err}"


class Runs:
    """Starts commands in forked processes; closed by ``close``."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fault_runs"],
            cwd=REPOSITORY,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._count = 0

    def start(self, folder: Path, *arguments: str, fault: tuple[Any, ...] = (), **environment: str) -> Started:
        """Start ``colorbench`` with arguments in a folder, under a fault: the name in ``fault_shims`` and arguments."""
        self._count += 1
        log = folder / f".log-{self._count}"
        order = {"folder": str(folder), "arguments": arguments, "fault": fault, "log": str(log), "env": environment}
        return Started(self, self._ask(order), log)

    def run(self, folder: Path, *arguments: str, fault: tuple[Any, ...] = (), **environment: str) -> Ended:
        """Run ``colorbench`` and wait for its end; see ``start``."""
        return self.start(folder, *arguments, fault=fault, **environment).wait()

    def all(self, orders: Iterable[tuple[Path, tuple[str, ...], tuple[Any, ...]]]) -> list[Ended]:
        """Run many commands, two at a time: (folder, arguments, fault) each."""
        ended: list[Ended] = []
        waiting: deque[Started] = deque()
        for folder, arguments, fault in orders:
            waiting.append(self.start(folder, *arguments, fault=fault))
            if len(waiting) == 2:
                ended.append(waiting.popleft().wait())
        return ended + [started.wait() for started in waiting]

    def ended(self, pid: int) -> int:
        """Wait for the end of a process and return its exit code."""
        return self._ask({"wait": pid})

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)


@dataclass
class Started:
    """A running command."""

    runs: Runs
    pid: int
    log: Path

    def wait(self) -> Ended:
        """Wait for its end."""
        code = self.runs.ended(self.pid)
        texts = [Path(f"{self.log}.{name}").read_text() for name in ("out", "err")]
        for name in ("out", "err"):
            Path(f"{self.log}.{name}").unlink()
        return Ended(code, *texts)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> Started:
        """Wait until something is so."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, Path(f"{self.log}.err").read_text()
            time.sleep(0.005)
        return self

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def _serve() -> None:
    """Fork a process for each line of standard input, and print its id; or wait for one, and print its exit code."""
    import gc
    import tempfile

    import torch

    from colorbench import registry
    from tests.support import fault_shims
    from tests.support.engine import DistanceProtocol, write_images

    torch.set_num_threads(1)
    for name, value in (("shard.SHARD", 2), ("saved_image_index.FIXED", 1), ("saved_image_index.EXTREMES", 0)):
        fault_shims.put(f"colorbench.results.{name}", value)
    protocol, known = DistanceProtocol(), fault_shims.get(GET_PROTOCOL)
    fault_shims.put(GET_PROTOCOL, lambda name: protocol if name == "distance" else known(name))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), open(os.devnull, "w") as nowhere:
        # A whole run imports and loads what runs need; its threads have ended before the first fork.
        write_images(Path(folder, "images"), 3, 32)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            _command([*RUN, "-d", "images"])
            _command([*ENGINE, "images"])
    # The page's plots and the search for plugins take most of the time of a tiny run.
    fault_shims.put("colorbench.reporting.record_page.record_plots", lambda *_, **__: {})
    registry.registered = lru_cache(registry.registered)
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            _answer(os.waitstatus_to_exitcode(status))
            continue
        if pid := os.fork():
            _answer(pid)
            continue
        _child(order, fault_shims)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _command(arguments: list[str]) -> int:
    from colorbench.cli import main
    from colorbench.errors import UserError
    from tests.support.engine import Noise, evaluate, read_folder

    if arguments[0] == "engine":
        try:
            evaluate(read_folder(Path(arguments[1])), Path("runs"), Noise(), save="gallery", batch_size=2, workers=0)
        except UserError as error:
            sys.stderr.write(f"error: {error}\n")
            return error.exit_code
        return 0
    sys.argv = ["colorbench", *arguments]
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _child(order: dict[str, Any], shims: Any) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "out"), (2, "err")):
            descriptor = os.open(f"{order['log']}.{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(descriptor, number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(SECONDS)
        os.chdir(order["folder"])
        os.environ.update(order["env"])
        if order["fault"]:
            name, *values = order["fault"]
            getattr(shims, name)(*values)
        code = _command(order["arguments"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
