"""A training that TensorBoard or Weights & Biases follows: what is written, and what a missing tracker says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colorbench.errors import UserError
from colorbench.training import accelerator
from colorbench.training.accelerator import TRACKING_FOLDER, TRACKING_PROJECT, check_trackers
from tests.support.training import Silent, make_trainer, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


def test_tensorboard_gets_what_the_log_has(images: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = make_trainer(images, tmp_path, track=("tensorboard",))
    trainer.run(Silent())
    folder = tmp_path / TRACKING_FOLDER / TRACKING_PROJECT
    written = accumulator.EventAccumulator(str(folder))
    written.Reload()
    assert trainer.validation is not None
    for prefix, rows in (("training", trainer.log.rows()), ("validation", trainer.validation.journal.rows())):
        for name in set(rows[0]) - {"step"}:
            scalars = written.Scalars(f"{prefix}/{name}")
            assert [one.step for one in scalars] == [row["step"] for row in rows]
            assert [one.value for one in scalars] == pytest.approx([row[name] for row in rows], rel=1e-4, abs=1e-5)
    assert list(folder.rglob("hparams.yml"))


def test_weights_and_biases_writes_offline_below_the_training(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    make_trainer(images, tmp_path / "out", track=("wandb",)).run(Silent())
    (run,) = (tmp_path / "out" / TRACKING_FOLDER / "wandb").glob("offline-run-*")
    assert os.path.getsize(next(run.glob("*.wandb"))) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_trackers_nothing_is_written(images: Path, tmp_path: Path) -> None:
    make_trainer(images, tmp_path).run(Silent())
    assert not (tmp_path / TRACKING_FOLDER).exists()


def test_a_tracker_that_is_unknown_or_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--track cannot be 'mlflow'. Choose tensorboard or wandb"):
        check_trackers(["mlflow"])
    monkeypatch.setattr(accelerator, "find_spec", lambda name: None)
    for name in accelerator.TRACKERS:
        with pytest.raises(UserError, match=rf"needs the package {name}. Install the extra `{name}`"):
            check_trackers([name])


def test_a_tracker_that_cannot_start_is_one_line(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    trainer = make_trainer(images, tmp_path, track=("tensorboard",))

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no\nlogin")

    monkeypatch.setattr(trainer.accelerator, "init_trackers", refuse)
    with pytest.raises(UserError, match="a tracker cannot start: no login"):
        trainer.run(Silent())
