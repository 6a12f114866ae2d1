"""Several processes and micro-batches train as one does: real ``torchrun``, real gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from colorbench.errors import UserError
from colorbench.training.journal import Journal
from tests.support.cluster import write_programs
from tests.support.training import TINY, Silent, make_trainer, write_images

SUPPORT = Path(__file__).parents[1] / "support" / "training.py"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def two(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, dict]]]:
    """The folder of a training on two processes, and what each ended with."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SUPPORT)]
    done = subprocess.run([*command, str(images), str(folder), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder, [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def one(images: Path, folder: Path, accumulate: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses of one process, and its averaged weights with their BatchNorm statistics."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    trainer = make_trainer(images, folder, accumulate=accumulate)
    state = trainer.run(Silent())
    torch.set_num_threads(threads)
    return losses(folder), state


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in Journal(folder / "log.csv").rows()]


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest difference of any weight or running statistic, relative where they are above 1."""
    return max(float(((a[n] - b[n]).abs() / a[n].abs().clamp_min(1)).max()) for n in a if a[n].is_floating_point())


def test_two_processes_follow_one_with_two_micro_batches(two, images: Path, tmp_path: Path) -> None:
    folder, predictions = two
    expected_losses, expected = one(images, tmp_path / "one", accumulate=2)
    assert losses(folder) == pytest.approx(expected_losses, rel=1e-5) and len(expected_losses) == TINY.steps
    assert distance(expected, predictions[0]["state"]) < 1e-5
    assert all(torch.equal(expected[n], predictions[0]["state"][n]) for n in expected if "num_batches" in n)
    # The bound can fail: where BatchNorm sees the whole batch at once, it is another training.
    _, full = one(images, tmp_path / "full", accumulate=1)
    assert distance(expected, full) > 1e-4


def test_gradients_weights_and_statistics_are_equal_on_all_processes(two) -> None:
    _, (first, second) = two
    assert all(torch.equal(first["gradients"][n], second["gradients"][n]) for n in first["gradients"])
    assert any(float(gradient.abs().max()) > 1e-4 for gradient in first["gradients"].values())
    assert all(torch.equal(first["state"][n], second["state"][n]) for n in first["state"])


def test_a_batch_that_cannot_be_split_evenly_is_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch of 8 images cannot be split into 3 equal parts"):
        make_trainer(images, tmp_path, accumulate=3)


def test_srun_starts_a_training_as_torchrun_does(two, images: Path, tmp_path: Path) -> None:
    environment = {
        **write_programs(tmp_path / "bin"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "127.0.0.[2-3]",
    }
    command = ["srun", sys.executable, str(SUPPORT), str(images), str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    states = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)["state"] for rank in (0, 1)]
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])
    assert distance(states[0], two[1][0]["state"]) < 1e-5
