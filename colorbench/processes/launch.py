"""What a launcher (``torchrun``, ``srun``) says of this process: its rank, and where the store of the launch is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from uuid import uuid4

from colorbench.errors import UserError
from colorbench.storage import digest_of

RESERVED_STEPS = 0xFFFFFFF0
"""Slurm's step ids from here on belong to batch scripts and interactive shells, which are single processes."""
PORTS = range(12_000, 30_000)
"""Ports for the store of a step of ``srun``, below those that Linux gives to outgoing connections."""


@dataclass(frozen=True)
class Launch:
    """Processes that one command of a launcher started, and the place of this process among them."""

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine."""
    local_processes: int = 1
    """Number of processes of this machine, as far as the launcher tells."""
    address: str | None = None
    """Host of the store; None if the launcher names none."""
    port: int = 0
    agent: bool = False
    """Whether the launcher serves the store (``torchrun``); otherwise rank 0 does."""
    token: str = ""
    """Text that is the same in all processes of one command, and in no other command."""


def current_launch() -> Launch:
    """Return the launch of this process, from the variables of ``torchrun`` or ``srun``; one process without them.

    Slurm sets rank and number of tasks in every job, also for a single script or shell, so only steps that ``srun``
    started count.

    Raises:
        UserError: for contradictory variables, naming them.
    """
    slurm = False
    names = _torch_variables()
    if names is None:
        names, slurm = _slurm_variables(), True
    if names is None:
        return Launch(local_rank=_local_rank(), token=uuid4().hex)
    try:
        rank, count = (int(os.environ[name]) for name in names)
    except ValueError:
        rank, count = -1, 0
    if not 0 <= rank < count:
        found = ", ".join(f"{name}={os.environ[name]}" for name in names)
        raise UserError(f"invalid process rank: {found}", hint=f"unset {' and '.join(names)} for a single process")
    if count == 1:
        return Launch(local_rank=_local_rank(), token=uuid4().hex)
    address = os.environ.get("MASTER_ADDR") or (_first_node() if slurm else None)
    return Launch(
        rank=rank,
        processes=count,
        local_rank=_local_rank(),
        local_processes=_local_processes(count),
        address=address,
        port=_port(slurm=slurm) if address else 0,
        agent=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        token=_token(),
    )


def export_launch(launch: Launch) -> None:
    """Set the variables of ``torchrun`` for libraries that know only these, in a process that ``srun`` started."""
    if launch.processes > 1 and launch.address is not None:
        values = {
            "RANK": launch.rank,
            "WORLD_SIZE": launch.processes,
            "LOCAL_RANK": launch.local_rank,
            "LOCAL_WORLD_SIZE": launch.local_processes,
            "MASTER_ADDR": launch.address,
            "MASTER_PORT": launch.port,
        }
        os.environ.update({name: str(value) for name, value in values.items()})


def _torch_variables() -> tuple[str, str] | None:
    """Return the names of the rank and size variables of a launcher such as ``torchrun``; None without them.

    Raises:
        UserError: if only one of them is set.
    """
    names = ("RANK", "WORLD_SIZE")
    given = [name for name in names if os.environ.get(name)]
    if len(given) == 1:
        (other,) = set(names) - set(given)
        what = f"{given[0]}={os.environ[given[0]]} is set and {other} is not"
        raise UserError(what, hint=f"start with torchrun, which sets both, or unset {given[0]}")
    return names if given else None


def _slurm_variables() -> tuple[str, str] | None:
    """Return the names of Slurm's variables in a step of several tasks; None otherwise."""
    if _slurm_step() >= RESERVED_STEPS or not os.environ.get("SLURM_PROCID"):
        return None
    count = "SLURM_STEP_NUM_TASKS" if os.environ.get("SLURM_STEP_NUM_TASKS") else "SLURM_NTASKS"
    return ("SLURM_PROCID", count) if os.environ.get(count) else None


def _slurm_step() -> int:
    try:
        return int(os.environ.get("SLURM_STEP_ID") or os.environ.get("SLURM_STEPID") or RESERVED_STEPS)
    except ValueError:
        return RESERVED_STEPS


def _local_rank() -> int:
    """Return the rank of this process among the processes of this machine.

    Raises:
        UserError: for an invalid value, naming the variable.
    """
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        if text := os.environ.get(name):
            if not text.isdecimal():
                raise UserError(
                    f"{name}={text} is not a valid process number", hint=f"unset {name} for a single process"
                )
            return int(text)
    return 0


def _local_processes(count: int) -> int:
    """Return the number of processes of this machine; ``count`` where the launcher does not tell."""
    if (text := os.environ.get("LOCAL_WORLD_SIZE", "")).isdecimal():
        return int(text)
    # "4(x2),3" for two machines with four tasks and one with three.
    largest = [int(n) for n in re.findall(r"(?:^|,)(\d+)", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))]
    return max(largest, default=count)


def _first_node() -> str | None:
    """Return the first machine of a step of ``srun``, on which rank 0 runs; this machine if it is the only one."""
    variables = ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
    nodes = next((os.environ[name] for name in variables if os.environ.get(name)), "")
    if (os.environ.get("SLURM_STEP_NUM_NODES") or os.environ.get("SLURM_NNODES")) == "1":
        return "127.0.0.1"
    # gpu[003-005,8],login: the first is gpu003. Commas within brackets do not separate machines.
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first) or None


def _port(*, slurm: bool) -> int:
    """Return the port of the store.

    Raises:
        UserError: for a missing or invalid MASTER_PORT.
    """
    text = os.environ.get("MASTER_PORT", "")
    if not text and slurm:
        step = [os.environ.get("SLURM_JOB_ID", ""), _slurm_step()]
        return PORTS[int(digest_of(step)[:8], 16) % len(PORTS)]
    if not (text.isdecimal() and 0 < int(text) < 1 << 16):
        what = f"MASTER_PORT={text} is not a port" if text else "MASTER_ADDR is set and MASTER_PORT is not"
        raise UserError(what, hint="start with torchrun, which sets both, or unset MASTER_ADDR")
    return int(text)


def _token() -> str:
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
    known = {name: os.environ.get(name, "") for name in (*names, "SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")}
    # Without a scheduler and a store, the processes of a launch have one parent, on one machine.
    return digest_of(known if known["SLURM_JOB_ID"] or known["MASTER_ADDR"] else {**known, "parent": os.getppid()})
