"""``LaunchStore``: torch.distributed's key-value store of a launch, and the heartbeats of its processes.

A thread of its own makes all requests, one by one, and sends a heartbeat between them. A request that fails or gets no
response means that the store is lost, since its process was killed or is stopped: the process goes on without it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from colorbench.errors import UserError
from colorbench.processes.launch import Launch

BEAT = 2.0
"""Seconds between heartbeats."""
EXPIRY = 20.0
"""Seconds without a heartbeat after which a process counts as dead or stopped."""
JOINING = 180.0
"""Seconds in which the processes of a launch must find its store."""

Responses = queue.SimpleQueue[Any]


class StoreLost(Exception):
    """Raised by a request to a store that does not respond."""


class LaunchStore:
    """The store of a launch, as one of its processes sees it."""

    def __init__(self, launch: Launch) -> None:
        """Serve the store or connect to it.

        Raises:
            StoreLost: if it cannot be reached within ``JOINING`` seconds.
            UserError: if this process cannot serve it, since its port is taken.
        """
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # torch exports them

        assert launch.address is not None
        self.launch, self.hosts = launch, launch.rank == 0 and not launch.agent
        self.lost = False
        host = "127.0.0.1" if self.hosts else launch.address
        if not self.hosts:
            _wait_for_port(host, launch.port)
        try:
            store = TCPStore(
                host,
                launch.port,
                None,
                self.hosts,
                timedelta(seconds=EXPIRY),
                wait_for_workers=False,
                multi_tenant=True,
            )
        except RuntimeError as error:
            if not self.hosts:
                raise StoreLost from error
            what = f"port {launch.port} of this machine is in use by another program"
            raise UserError(what, hint="set MASTER_PORT to a free port") from error
        # Another command may have served its store at this port before.
        self._store = PrefixStore(f"colorbench/{launch.token[:16]}", store)
        self._requests: queue.Queue[tuple[Callable[[], Any], Responses]] = queue.Queue()
        self._beats: dict[int, tuple[int, float]] = {}
        self.run = 0
        """Number of the run, of several in one process; keys are its own."""
        threading.Thread(target=self._serve, name="colorbench-store", daemon=True).start()

    def _serve(self) -> None:
        beaten = 0.0
        while not self.lost:
            request = None
            with contextlib.suppress(queue.Empty):
                request = self._requests.get(timeout=BEAT)
            try:
                if time.monotonic() - beaten >= BEAT:
                    beaten = time.monotonic()
                    self._store.add(f"beats/{self.launch.rank}", 1)
                if request is not None:
                    request[1].put(request[0]())
            except RuntimeError:  # torch.distributed.DistError
                self.lost = True

    def _ask(self, do: Callable[[], Any]) -> Any:
        """Return the result of a request.

        Raises:
            StoreLost: if the store does not respond.
        """
        responses: Responses = queue.SimpleQueue()
        self._requests.put((do, responses))
        end = time.monotonic() + EXPIRY
        while not self.lost and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                return responses.get(timeout=0.1)
        self.lost = True
        raise StoreLost

    def put_if(self, key: str, expected: str, value: str) -> str:
        """Set a key if it has the expected value ("" for a new key), and return its value afterwards."""
        found: bytes = self._ask(lambda: self._store.compare_set(f"{self.run}/{key}", expected, value))
        return found.decode()

    def add(self, key: str, n: int) -> int:
        """Add to a counter, which starts at 0, and return its value afterwards."""
        return int(self._ask(lambda: self._store.add(f"{self.run}/{key}", n)))

    def agreed(self, key: str, value: str) -> str:
        """Return the value of the first process that called this with the key."""
        return self.put_if(key, "", value)

    def silent(self, rank: int) -> bool:
        """Return whether a process has sent no heartbeat for ``EXPIRY`` seconds, since this was asked first."""
        count, now = int(self._ask(lambda: self._store.add(f"beats/{rank}", 0))), time.monotonic()
        if self._beats.get(rank, (-1, 0.0))[0] != count:
            self._beats[rank] = (count, now)
        return now - self._beats[rank][1] > EXPIRY

    def begin(self) -> str:
        """Start the next run of this process, and return a text that all processes have for this run alone.

        Raises:
            StoreLost: if the store does not respond.
        """
        self.run += 1
        return self.agreed("token", uuid4().hex)

    def finish(self) -> None:
        """Report that this process has finished a run; the process that serves the store waits for the others."""
        with contextlib.suppress(StoreLost):
            self.add(f"finished/{self.launch.rank}", 1)
            others = [rank for rank in range(self.launch.processes) if rank != self.launch.rank] if self.hosts else []
            while others := [rank for rank in others if not self.add(f"finished/{rank}", 0)]:
                if all(self.silent(rank) for rank in others):
                    break
                time.sleep(0.05)


_joined: dict[str, LaunchStore] = {}


def join_launch(launch: Launch, say: Callable[[str], None]) -> LaunchStore | None:
    """Return the store of a launch, one per process; None for a single process, or if there is no store.

    Args:
        launch: of this process.
        say: called with a line if the store cannot be reached.

    Raises:
        UserError: if this process cannot serve the store.
    """
    if launch.processes == 1 or launch.address is None:
        return None
    if launch.token not in _joined:
        try:
            _joined[launch.token] = LaunchStore(launch)
        except StoreLost:
            where = f"{launch.address}:{launch.port}"
            say(f"rank {launch.rank} cannot reach the other processes at {where}: going on with lock files")
            return None
    store = _joined[launch.token]
    return None if store.lost else store


def this_process() -> str:
    """Return the name of this process for other users of the machine or the cluster."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _wait_for_port(host: str, port: int) -> None:
    """Wait until a program listens; torch's own attempts print a traceback each.

    Raises:
        StoreLost: after ``JOINING`` seconds.
    """
    end = time.monotonic() + JOINING
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            unknown = isinstance(error, socket.gaierror)
            if time.monotonic() > (end - JOINING + EXPIRY if unknown else end):
                raise StoreLost from error
            time.sleep(0.2)
