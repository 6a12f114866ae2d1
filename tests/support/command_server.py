"""Runs ``colorbench`` for shell commands: a process that has imported everything forks one for each command.

A new interpreter takes seconds to import torch, a fork milliseconds. ``CommandServer`` writes a program that stands in
for ``colorbench`` on the PATH; the module run as a program is the process that forks.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

IMPORTED = (
    *("matplotlib.pyplot", "pandas", "pyarrow.parquet", "scipy.stats", "timm", "torchvision", "skimage.data"),
    *(
        "colorbench.evaluation.runner",
        "colorbench.reporting.record_page",
        "colorbench.verification",
        "colorbench.cli.run",
    ),
    *("leaderboards.cli", "protocols.auc", "protocols.fidelity", "zoo.cic", "zoo.baselines"),
)
CLIENT = """#!{python} -SE
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = {{"folder": os.getcwd(), "arguments": sys.argv[1:], "environment": dict(os.environ)}}
    socket.send_fds(server, [b"0"], [0, 1, 2])
    server.sendall(json.dumps(order).encode())
    server.shutdown(socket.SHUT_WR)
    code = server.recv(10)  # nothing from a process that was killed
sys.exit(int(code or 1))
"""
SECONDS = 120
"""In which everything must be imported."""


class CommandServer:
    """The process that forks; ended by ``close``."""

    def __init__(self, program: Path, environment: Mapping[str, str]) -> None:
        """Write the program and start the process.

        Args:
            program: path of the program.
            environment: while everything is imported; commands have their own.
        """
        self._folder = tempfile.mkdtemp()  # short: the address of a socket has at most 107 characters
        address = os.path.join(self._folder, "socket")
        program.write_text(CLIENT.format(python=sys.executable, address=address))
        program.chmod(0o755)
        command = [sys.executable, "-P", "-m", "tests.support.command_server", address]
        self._process = subprocess.Popen(command, env=dict(environment), start_new_session=True)
        end = time.monotonic() + SECONDS
        while not os.path.exists(address):
            assert self._process.poll() is None and time.monotonic() < end
            time.sleep(0.05)

    def close(self) -> None:
        """End the process, and commands that have not ended."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder)


def _serve(address: str) -> None:
    for name in IMPORTED:
        import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the commands' processes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen()
        listening.settimeout(5)
        parent = os.getppid()
        os.replace(f"{address}.new", address)
        while True:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                if os.getppid() != parent:  # killed, without closing this
                    return
                continue
            connection.setblocking(True)
            if os.fork():
                connection.close()
                continue
            listening.close()
            _run(connection)


def _run(connection: socket.socket) -> None:
    """Run one command in this process, and end the process."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        with connection.makefile("rb") as sent:
            order: dict[str, Any] = json.loads(sent.read())
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = ["colorbench", *order["arguments"]]
        from colorbench.cli import main

        try:
            main(order["arguments"])
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
