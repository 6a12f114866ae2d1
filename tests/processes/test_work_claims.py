"""Claims on units of work: in lock files and in the store of a launch, by processes that live, die or stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorbench.processes import Launch, LaunchStore, Unit, WorkClaims, join_launch, launch_store, work_claims

HOLDER = """
import sys, time
from pathlib import Path
from colorbench.processes import Launch, LaunchStore, WorkClaims
rank, port, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
store = LaunchStore(Launch(rank, 2, address="127.0.0.1", port=port, token="test")) if port else None
if store is not None:
    store.begin()
claim = WorkClaims(store).take(folder, "part")
print("claimed" if claim else "refused", flush=True)
sys.stdin.readline()
claim.release()
print("released", flush=True)
time.sleep(100)
"""


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_store, "EXPIRY", 3.0)
    monkeypatch.setattr(work_claims, "EXPIRY", 3.0)
    monkeypatch.setattr(launch_store, "BEAT", 0.5)
    monkeypatch.setattr(work_claims, "PATIENCE", 0.5)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Other:
    """Another process that holds a claim."""

    def __init__(self, rank: int, port: int, folder: Path) -> None:
        arguments = [sys.executable, "-c", HOLDER, str(rank), str(port), str(folder)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == line

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.says("released")


@pytest.fixture
def others() -> Iterator[list[Other]]:
    found: list[Other] = []
    yield found
    for other in found:
        other.process.send_signal(signal.SIGKILL)
        other.process.communicate()


def store_of(rank: int, port: int) -> LaunchStore:
    store = LaunchStore(Launch(rank, 2, address="127.0.0.1", port=port, token="test"))
    store.begin()
    return store


@pytest.fixture(params=["lock files", "store"])
def two(request: pytest.FixtureRequest, port: int, tmp_path: Path, others: list[Other]) -> tuple[WorkClaims, Other]:
    """The claims of this process, and another process that holds ``part``."""
    store = store_of(0, port) if request.param == "store" else None
    other = Other(1, 0 if store is None else port, tmp_path)
    others.append(other)
    other.says("claimed")
    return WorkClaims(store, lines.append), other


lines: list[str] = []


@pytest.fixture(autouse=True)
def no_lines() -> None:
    lines.clear()


def taken_within(claims: WorkClaims, folder: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (claim := claims.take(folder, "part")) is not None:
            claim.release()
            return True
        claims.wait()
    return False


def test_a_part_has_one_process_until_it_is_released(two: tuple[WorkClaims, Other], tmp_path: Path) -> None:
    claims, other = two
    assert not taken_within(claims, tmp_path, 4.5), "its holder lives, and sends heartbeats beyond the expiry"
    assert f"process {other.process.pid} on {socket.gethostname()}" in lines[0]
    assert lines[0].startswith("waiting for parts that other processes compute: 1, the first: part in")
    assert claims.take(tmp_path, "another part") is not None
    other.release()
    assert claims.take(tmp_path, "part") is not None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_the_part_of_a_dead_or_stopped_process_passes_to_another_with_a_line(
    two: tuple[WorkClaims, Other], tmp_path: Path, end: signal.Signals
) -> None:
    claims, other = two
    other.process.send_signal(end)
    assert taken_within(claims, tmp_path, 10)
    told = [line for line in lines if "is dead or stopped: part in" in line]
    # The lock of a killed process is free at once.
    assert len(told) == (0 if end == signal.SIGKILL and claims._store is None else 1)
    assert all(f"process {other.process.pid} on" in line for line in told)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_without_the_process_that_serves_the_store_others_go_on_with_lock_files(
    port: int, tmp_path: Path, others: list[Other], end: signal.Signals
) -> None:
    others.append(Other(0, port, tmp_path))
    others[0].says("claimed")
    claims = WorkClaims(store_of(1, port), lines.append)
    assert claims.take(tmp_path, "part") is None
    others[0].process.send_signal(end)
    assert taken_within(claims, tmp_path, 10)
    assert "going on with lock files" in lines[-1]
    assert list(tmp_path.glob("part.lock"))


def test_who_finds_no_store_goes_on_with_lock_files(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_store, "JOINING", 0.5)
    launch = Launch(1, 2, address="127.0.0.1", port=port, token="nobody")
    assert join_launch(launch, lines.append) is None
    assert lines == [f"rank 1 cannot reach the other processes at 127.0.0.1:{port}: going on with lock files"]


def test_every_unit_is_made_once_and_one_that_fails_by_the_next(tmp_path: Path) -> None:
    made: list[str] = []

    def make(name: str) -> None:
        if name == "2" and "failed" not in made:
            made.append("failed")
            raise ValueError("no luck")
        made.append(name)
        (tmp_path / name).touch()

    units = [Unit(tmp_path, name, (tmp_path / name).exists, lambda name=name: make(name)) for name in "123"]
    with pytest.raises(ValueError, match="no luck"):
        WorkClaims().complete(units)
    WorkClaims().complete(units)
    WorkClaims().complete(units)
    assert made == ["1", "failed", "2", "3"]
    assert os.listdir(tmp_path)
    assert not list(tmp_path.glob("*.holder"))
