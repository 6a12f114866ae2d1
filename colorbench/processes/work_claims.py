"""``WorkClaims``: which process does a unit of work, such as a shard, among processes that share a folder.

Two places can hold a claim. The processes of one launch use its store, since locks are slow or missing on many network
file systems. Independent commands use lock files. A process whose store is lost goes on with lock files.

A claim only avoids double work: units are written atomically, and doing one twice gives the same file. So the claim of
a process that was killed, or that is stopped and keeps it, passes to another process.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from colorbench.processes.launch_store import BEAT, EXPIRY, LaunchStore, StoreLost, this_process
from colorbench.storage import Lock
from colorbench.storage.atomic_files import writing

POLL = 0.1
"""Seconds between two attempts to take what other processes have claimed."""
PATIENCE = 60.0
"""Seconds of waiting after which a message names the process that is waited for."""


@dataclass
class Claim:
    """A claim of this process on a unit of work."""

    release: Callable[[], None]
    """Ends the claim, after the unit is written or after an error."""


@dataclass(frozen=True)
class Unit:
    """A unit of work that any process may do."""

    folder: Path
    """Where it is written."""
    name: str
    done: Callable[[], bool]
    make: Callable[[], object]


class WorkClaims:
    """Claims of this process, in the store of its launch or in lock files."""

    def __init__(self, store: LaunchStore | None = None, say: Callable[[str], None] = lambda line: None) -> None:
        """Set where claims are held.

        Args:
            store: of the launch; None for lock files.
            say: called with a line about processes that do not respond.
        """
        self._store, self._say = store, say
        self._count = itertools.count()
        self._files = _LockFiles()
        self._others: dict[str, str] = {}
        self._stopped: set[str] = set()
        self._waiting: float | None = None

    def take(self, folder: Path, name: str) -> Claim | None:
        """Claim a unit of work; None if another process does it. It may be done already: look after claiming it.

        Args:
            folder: in which the unit is written.
            name: of the unit in the folder.
        """
        taken: Claim | str
        if self._store is not None:
            try:
                taken = self._from_store(self._store, folder, name)
            except StoreLost:
                self._say("the process that keeps the list of claims does not respond: going on with lock files")
                self._store = None
        if self._store is None:
            taken = self._files.take(folder, name, self._tell_stopped)
        if isinstance(taken, str):
            self._others[f"{name} in {folder}"] = taken
            return None
        self._waiting = None
        return taken

    def wait(self) -> None:
        """Wait a moment for other processes, and report it after ``PATIENCE`` seconds."""
        now = time.monotonic()
        self._waiting = now if self._waiting is None else self._waiting
        held, self._others = self._others, {}
        if now - self._waiting > PATIENCE and held:
            what, who = next(iter(held.items()))
            self._say(f"waiting for parts that other processes compute: {len(held)}, the first: {what} ({who})")
            self._waiting = now
        time.sleep(POLL)

    def agreed(self, key: str, value: int) -> int:
        """Return the value of the first process of the launch that called this with the key."""
        if self._store is not None:
            with contextlib.suppress(StoreLost):
                return int(self._store.agreed(key, str(value)))
        return value

    def complete(self, units: Iterable[Unit], *, waiting: Callable[[], None] = lambda: None) -> None:
        """Make all units that no other process does, and wait for the rest.

        Args:
            units: in the order in which this process tries them.
            waiting: called while it waits.
        """
        left = list(units)
        while left := [unit for unit in left if not unit.done()]:
            made = 0
            for unit in left:
                if (claim := self.take(unit.folder, unit.name)) is None:
                    continue
                try:
                    if not unit.done():
                        unit.make()
                        made += 1
                finally:
                    claim.release()
            if not made:
                waiting()
                self.wait()

    def _tell_stopped(self, what: str, who: str) -> None:
        """Print one message for each process that does not respond; it may have claimed several parts."""
        if who not in self._stopped:
            self._stopped.add(who)
            state = f"has not responded for {EXPIRY:.0f} s and is dead or stopped"
            self._say(f"{who or 'a process'} {state}: {what} is computed here")

    def _from_store(self, store: LaunchStore, folder: Path, name: str) -> Claim | str:
        """Return a claim, or who holds it."""
        # Machines may see the folder at different paths; its last parts have the key of the run.
        key = f"claim/{'/'.join(folder.parts[-4:])}/{name}"
        mine = f"{store.launch.rank} {next(self._count)} {this_process()}"
        held = store.put_if(key, "", mine)
        if held != mine:
            rank, _, process = held.split(" ", 2)
            if not store.silent(int(rank)):
                return f"rank {rank}, {process}"
            if (held := store.put_if(key, held, mine)) == mine:
                self._tell_stopped(f"{name} in {folder}", f"rank {rank} ({process})")
            else:
                return f"rank {held.partition(' ')[0]}"

        def release() -> None:
            with contextlib.suppress(StoreLost):
                store.put_if(key, mine, "")

        return Claim(release)


class _LockFiles:
    """Claims in lock files, each with a file that names its holder and is touched as its heartbeat."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[float, float]] = {}
        """Holder file -> its time, and when this process first saw this time."""

    def take(self, folder: Path, name: str, tell_stopped: Callable[[str, str], None]) -> Claim | str:
        """Return a claim, or who holds it."""
        who = ""
        for turn in itertools.count():
            # The lock of a stopped process stays: others use the next file.
            lock_file = folder / (f"{name}.{turn}.lock" if turn else f"{name}.lock")
            holder = lock_file.with_suffix(".holder")
            try:
                with writing(folder):
                    folder.mkdir(parents=True, exist_ok=True)
                    lock = Lock.take(lock_file)
            except FileNotFoundError:  # another process has finished the work and removed the folder
                return "another process"
            if lock is not None:
                if turn:
                    tell_stopped(f"{name} in {folder}", who)
                return _held(lock, holder)
            who, silent = self._look(holder)
            if not silent:
                return who
        raise AssertionError  # count() has no end

    def _look(self, holder: Path) -> tuple[str, bool]:
        """Return who holds a lock, and whether its file was not touched for ``EXPIRY`` seconds of this clock."""
        try:
            with open(holder, "rb") as file:  # opened, since a network file system may serve stat from its cache
                who, stamp = file.read(200).decode(errors="replace"), os.fstat(file.fileno()).st_mtime
        except OSError:
            who, stamp = "another process", 0.0  # it has just taken or released it
        now = time.monotonic()
        if self._seen.get(holder, (-1.0, 0.0))[0] != stamp:
            self._seen[holder] = (stamp, now)
        return who, now - self._seen[holder][1] > EXPIRY


def _held(lock: Lock, holder: Path) -> Claim:
    with contextlib.suppress(OSError):  # only for other processes' messages; a full disk is reported by the work
        holder.write_text(this_process())
    _beating.add(holder)

    def release() -> None:
        _beating.discard(holder)
        holder.unlink(missing_ok=True)
        lock.release()

    return Claim(release)


class _Beating:
    """A thread that touches the holder files of this process."""

    def __init__(self) -> None:
        self._files: set[Path] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, file: Path) -> None:
        with self._lock:
            self._files.add(file)
            if self._thread is None or not self._thread.is_alive():  # a forked process has no threads
                self._thread = threading.Thread(target=self._beat, name="colorbench-heartbeat", daemon=True)
                self._thread.start()

    def discard(self, file: Path) -> None:
        with self._lock:
            self._files.discard(file)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT)
            with self._lock:
                files = list(self._files)
            for file in files:
                with contextlib.suppress(OSError):
                    os.utime(file)


_beating = _Beating()
