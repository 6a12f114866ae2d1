"""Processes that are interrupted (Ctrl-C) at moments of their whole life, without the imports of each.

A server imports everything once. Each command then runs in a fork of it, with its own handlers of signals and its own
end of the interpreter, and is interrupted after a given time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = "from colorbench.cli import main; print('begun', flush=True); main()"
"""A command of its own process: the interrupt may come in the imports, too."""
LONGEST = 120.0
"""Seconds after which a command counts as hung."""


class End(NamedTuple):
    """How a command ended."""

    code: int
    lines: list[str]
    """Of its standard error."""
    seconds: float


class Server:
    """A process that forks for each command; it is a context manager."""

    def __init__(self, folder: Path, preload: Sequence[str]) -> None:
        """Start it.

        Args:
            folder: working folder of the commands; their temporary files go to ``temporary`` in it.
            preload: modules that are imported before the first fork.
        """
        (folder / "temporary").mkdir(exist_ok=True)
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__, *preload],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder / "temporary")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def run(self, arguments: Sequence[str], after: float | None = None) -> End:
        """Run a command in a fork; interrupt it ``after`` seconds, if it has not ended by then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(arguments), after]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the server of the commands has ended"
        return End(*json.loads(answer))


def _serve() -> None:
    """Fork for each request of a line; in the fork return to the caller, whose interpreter then ends as usual."""
    answers = os.fdopen(os.dup(1), "w")
    for request in sys.stdin:
        arguments, after = json.loads(request)
        ready, begun = os.pipe()
        with open("standard-error", "wb") as messages, open("standard-output", "wb") as output:
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                os.dup2(messages.fileno(), 2)
                os.dup2(output.fileno(), 1)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                sys.argv = ["colorbench", *arguments]
                os.write(begun, b".")
                return
        os.read(ready, 1)
        code = _end_of(child, start, after)
        for end in (ready, begun):
            os.close(end)
        lines = Path("standard-error").read_text(errors="replace").splitlines()
        print(json.dumps([code, lines, time.monotonic() - start]), file=answers, flush=True)
    sys.exit()


def _end_of(child: int, start: float, after: float | None) -> int:
    """Wait for a process, and interrupt it once; return its exit code."""
    told = False
    while time.monotonic() < start + LONGEST:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if after is not None and not told and time.monotonic() >= start + after:
            os.kill(child, signal.SIGINT)
            told = True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def interrupted(
    arguments: Sequence[str], folder: Path, after: float | None, times: int = 1, group: bool = False
) -> tuple[int, str, float]:
    """Run a command in a process of its own, and interrupt it seconds after its first line.

    Args:
        arguments: of the command line.
        folder: working folder, in which temporary files go to ``temporary``.
        after: seconds; None: it is not interrupted.
        times: number of interrupts.
        group: interrupt all processes of the command, as Ctrl-C in a terminal does.

    Returns:
        Exit code, standard error, and the seconds that it took.
    """
    (folder / "temporary").mkdir(exist_ok=True)
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(folder / "temporary")},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As a person's command has it: a shell's background jobs ignore interrupts and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    start = time.monotonic()
    if after is not None:
        time.sleep(after)
        for _ in range(times):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT) if group else process.send_signal(signal.SIGINT)
                time.sleep(0.005)
    _, message = process.communicate(timeout=LONGEST)
    return process.returncode, message, time.monotonic() - start


if __name__ == "__main__":
    from importlib import import_module

    for name in sys.argv[1:]:
        import_module(name)
    from colorbench.cli import main

    _serve()
    # A fork: a person's command does not ignore interrupts, as a shell's background jobs do.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
