"""Stand-ins for Slurm: ``sbatch`` and ``srun`` that start processes of this machine with Slurm's variables.

A job of several nodes gets loopback addresses as their names.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SRUN = """\
import os, subprocess, sys
options = {"--ntasks": os.environ["SLURM_NTASKS"]}
command = sys.argv[1:]
while command and command[0].startswith("-"):
    name, _, value = command.pop(0).partition("=")
    options[name] = value
tasks, nodes = int(options["--ntasks"]), int(os.environ["SLURM_NNODES"])
step = os.environ.get("FAKE_STEP", "0")
processes = []
for rank in range(tasks):
    node, local = divmod(rank, -(-tasks // nodes))
    variables = {
        "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(local), "SLURM_NODEID": str(node),
        "SLURM_NTASKS": str(tasks), "SLURM_STEP_NUM_TASKS": str(tasks), "SLURM_STEP_ID": step,
        "SLURM_STEPID": step, "SLURM_STEP_NUM_NODES": str(nodes),
        "SLURM_STEP_NODELIST": os.environ["SLURM_JOB_NODELIST"],
        "SLURM_STEP_TASKS_PER_NODE": f"{-(-tasks // nodes)}(x{nodes})", "SLURMD_NODENAME": f"127.0.0.{2 + node}",
    }
    processes.append(subprocess.Popen(command, env={**os.environ, **variables}))
    if "FAKE_PIDS" in os.environ:
        with open(os.environ["FAKE_PIDS"], "a") as file:
            print(processes[-1].pid, file=file)
codes = [process.wait() for process in processes]
sys.exit(max(abs(code) for code in codes))
"""
SBATCH = """\
import os, re, subprocess, sys
text = open(sys.argv[1]).read()
asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\\S+)", text, re.M))
# No more processes than this machine has cores.
nodes = min(2, int(asked.get("nodes", 1)))
each = min(2 // nodes, int(asked.get("ntasks-per-node", 1)))
first, _, last = asked.get("array", "0-0").partition("-")
names = "127.0.0.[2-3]" if nodes == 2 else "127.0.0.2"
jobs = []
for element in range(int(first), min(int(last), int(first) + 1) + 1):
    variables = {
        "SLURM_JOB_ID": str(os.getpid() * 10 + element), "SLURM_NNODES": str(nodes), "SLURM_NTASKS": str(nodes * each),
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": names, "SLURM_NODELIST": names,
        "SLURM_NTASKS_PER_NODE": str(each),
    }
    if "array" in asked:
        variables["SLURM_ARRAY_TASK_ID"] = str(element)
    jobs.append(subprocess.Popen(["bash", "-eu", sys.argv[1]], env={**os.environ, **variables}))
sys.exit(max(job.wait() for job in jobs))
"""
SCONTROL = """\
import re, sys
prefix, numbers, = re.fullmatch(r"([\\d.]*\\.)(?:\\[(.*)\\]|\\d+)", sys.argv[-1]).groups()
first, _, last = (numbers or sys.argv[-1].rpartition(".")[2]).partition("-")
# Written at once, since ``head -n 1`` closes the pipe after the first line.
sys.stdout.write("".join(f"{prefix}{number}\\n" for number in range(int(first), int(last or first) + 1)))
"""
REPOSITORY = Path(__file__).parents[2]


def write_programs(folder: Path) -> dict[str, str]:
    """Write the programs of a cluster, and ``colorbench`` and ``torchrun``; return the environment that finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    main = "import sys; from colorbench.cli import main; main()"
    programs = {
        "colorbench": f'exec "{sys.executable}" -P -c "{main}" "$@"',
        "torchrun": f'exec "{sys.executable}" -m torch.distributed.run "$@"',
    }
    for name, source in (("srun", SRUN), ("sbatch", SBATCH), ("scontrol", SCONTROL)):
        (folder / f"{name}.py").write_text(source)
        programs[name] = f'exec "{sys.executable}" "{folder / name}.py" "$@"'
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return {
        **without_launcher(os.environ),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
    }


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without variables of launchers."""
    started = ("SLURM", "MASTER_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC")
    return {name: value for name, value in environment.items() if not name.startswith(started)}
