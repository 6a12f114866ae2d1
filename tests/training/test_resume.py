"""A training that is killed at any moment ends, resumed, in the weights of one that never was."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch

from colorbench.errors import RunError, UserError
from colorbench.training.checkpoint import load_checkpoint
from colorbench.training.journal import Journal
from colorbench.training.training_preset import TrainingPreset
from tests.support.training import TINY, Silent, make_trainer, train_and_die, write_images

# Each one goes on from what the one before has left. Checkpoints are saved at steps 0, 4, 8 and 12.
MOMENTS = (
    ("half", 1),  # nothing is left but half a file
    ("step", 3),
    ("half", 1),  # the checkpoint of step 4, half written
    ("unnamed", 1),  # the same, whole but not yet in its place
    ("step", 6),
    ("validation", 6),
    ("step", 9),
    ("half", 1),  # the last one
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """New processes that have the slow imports behind them (installed ones: the server knows no folder of tests)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["colorbench.training.trainer", "zoo.cic", "accelerate", "sklearn.cluster"])
    return context


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def figures(folder: Path) -> list[dict[str, float]]:
    """What both tables say, but for the clock."""
    clock = ("images_per_second", "waiting")
    rows = [*Journal(folder / "log.csv").rows(), *Journal(folder / "validation.csv").rows()]
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


def test_killed_at_any_moment_it_ends_in_the_same_weights(
    images: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    full = make_trainer(images, tmp_path / "full").run(Silent())
    killed = tmp_path / "killed"
    for moment, number in MOMENTS:
        child = processes.Process(target=train_and_die, args=(images, killed, moment, number))
        child.start()
        child.join(300)
        assert child.exitcode == -signal.SIGKILL, (moment, number)
    assert (killed / "checkpoint.partial").exists()
    resumed = make_trainer(images, killed)
    state = resumed.run(Silent())
    assert all(torch.equal(state[name], full[name]) for name in full)
    # Steps that were done twice stand once in the tables, with the same figures.
    assert figures(killed) == figures(tmp_path / "full") and len(figures(killed)) == 12 + 2


def test_killed_from_outside_it_ends_in_the_same_weights(
    images: Path, tmp_path: Path, processes: ForkServerContext
) -> None:
    full = make_trainer(images, tmp_path / "full").run(Silent())
    killed = tmp_path / "killed"
    for rows in (2, 6):
        child = processes.Process(target=train_and_die, args=(images, killed, "never", 0))
        child.start()
        deadline = time.monotonic() + 300
        while len(Journal(killed / "log.csv").rows()) < rows and child.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        child.kill()
        child.join()
    state = make_trainer(images, killed).run(Silent())
    assert all(torch.equal(state[name], full[name]) for name in full)


def test_a_finished_training_can_be_lengthened_and_does_nothing_otherwise(images: Path, tmp_path: Path) -> None:
    make_trainer(images, tmp_path, TINY.changed({"steps": 3})).run(Silent())
    content = (tmp_path / "checkpoint.pt").read_bytes()
    again = make_trainer(images, tmp_path, TINY.changed({"steps": 3}))
    assert again.begin() and (tmp_path / "checkpoint.pt").read_bytes() == content
    longer = make_trainer(images, tmp_path, TINY.changed({"steps": 5}))
    assert not longer.begin()
    longer.run(Silent())
    assert longer.step == 5 and longer.history == ["from step 3: steps 5 instead of 3"]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"width": 0.25}, {}, "other settings: width 0.25 instead of 0.125"),
        ({"batch_size": 2}, {}, "other settings: views"),
        ({}, {"seed": 1}, "other seed"),
        ({}, {"repeats": {0: 2}}, "other images"),
        ({}, {"resume": False}, "a training run already exists"),
    ],
)
def test_what_would_be_another_training_is_not_gone_on_with(
    images: Path, tmp_path: Path, change: dict, options: dict, message: str
) -> None:
    make_trainer(images, tmp_path, TINY.changed({"steps": 1})).run(Silent())
    other = make_trainer(images, tmp_path, TINY.changed({"steps": 1, **change}), **options)
    with pytest.raises(UserError, match=message):
        other.begin()


def test_a_damaged_checkpoint_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing that torch knows")
    with pytest.raises(UserError, match="checkpoint cannot be read"):
        make_trainer(images, tmp_path).begin()


class Broken(Silent):
    """After some steps, something in the network goes wrong."""

    def __init__(self, trainer, break_it) -> None:
        super().__init__()
        self.trainer, self.break_it = trainer, break_it

    def advanced(self, step: int, steps: int) -> None:
        if step == 6:
            self.break_it(self.trainer)


@pytest.mark.parametrize("preset", [TINY, TINY.model_copy(update={"clip": None})])
def test_what_is_not_finite_stops_with_the_last_good_checkpoint(
    images: Path, tmp_path: Path, preset: TrainingPreset
) -> None:
    trainer = make_trainer(images, tmp_path, preset)
    with pytest.raises(RunError, match="not finite at step 6"):
        trainer.run(Broken(trainer, lambda t: t.task.weights.fill_(float("nan"))))
    state = load_checkpoint(trainer.checkpoint)
    assert state["step"] == 4 and all(bool(value.isfinite().all()) for value in state["network"].values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_names_the_batch_and_keeps_the_checkpoint(images: Path, tmp_path: Path, error: Exception) -> None:
    def full(*_: object) -> None:
        raise error

    trainer = make_trainer(images, tmp_path)
    with pytest.raises(RunError, match="out of memory at step 6 with 4 images of 24 pixels.*--accumulate 2"):
        trainer.run(Broken(trainer, lambda t: t.task.network.register_forward_pre_hook(full)))
    assert load_checkpoint(trainer.checkpoint)["step"] == 4


def test_other_errors_of_the_network_are_not_called_memory(images: Path, tmp_path: Path) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    trainer = make_trainer(images, tmp_path)
    with pytest.raises(RuntimeError, match="mat1"):
        trainer.run(Broken(trainer, lambda t: t.task.network.register_forward_pre_hook(mistaken)))


def test_a_full_disk_is_named_and_the_checkpoint_stays(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(images, tmp_path)

    def fill(_: object) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("colorbench.training.checkpoint.torch.save", full)

    with pytest.raises(RunError, match="cannot write a checkpoint: No space left"):
        trainer.run(Broken(trainer, fill))
    assert load_checkpoint(trainer.checkpoint)["step"] == 4
