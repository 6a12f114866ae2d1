"""Files of a training that are cut off, changed or replaced: named, and made again or refused, never used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from colorbench.data import open_dataset
from colorbench.errors import RunError, UserError
from colorbench.training import build_cache
from colorbench.training.journal import Journal
from tests.support.hostile_files import cut, emptied, flip, replaced_by_folder
from tests.support.training import TINY, Silent, make_trainer, write_images

SHORT = TINY.model_copy(update={"steps": 6, "start": "default", "head": "prior"})
RNG = np.random.default_rng(7)
DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"flip {i}": lambda path, share=share: flip(path, share) for i, share in enumerate(RNG.random(4))},
    "flip of the last byte": lambda path: flip(path, 1),
    **{f"cut {i}": lambda path, share=share: cut(path, share) for i, share in enumerate(RNG.random(2))},
    "empty": emptied,
    "a folder in its place": replaced_by_folder,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of six steps, of which a checkpoint has four."""
    folder = tmp_path_factory.mktemp("trained")
    trainer = make_trainer(images, folder, SHORT)
    trainer._save = lambda: None if trainer.step == 6 else type(trainer)._save(trainer)  # type: ignore[method-assign]
    trainer.run(Silent())
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_cache_is_made_again(damage: str, images: Path, trained: Path, tmp_path: Path) -> None:
    for name in ("pixels.npy", "hashes.npy", "sources.npy", "skipped.json", "index.json"):
        folder = tmp_path / name
        shutil.copytree(trained / "images", folder)
        DAMAGES[damage](folder / name)
        said: list[str] = []
        made = build_cache([open_dataset(images)], folder, TINY.cache_size, say=said.append)
        if name != "index.json":
            assert len(said) == 1 and str(folder / name) in said[0]
        whole = build_cache([open_dataset(images)], trained / "images", TINY.cache_size)
        np.testing.assert_array_equal(made.pixels, whole.pixels)
        np.testing.assert_array_equal(made.hashes, whole.hashes)
        assert made.skipped == whole.skipped
        build_cache([open_dataset(images)], folder, TINY.cache_size, say=pytest.fail)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line(damage: str, images: Path, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(UserError, match="checkpoint cannot be read") as error:
        make_trainer(images, tmp_path / "run", SHORT).begin()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("table", ["log.csv", "validation.csv"])
def test_a_damaged_table_is_restored_from_the_checkpoint(
    table: str, images: Path, trained: Path, tmp_path: Path
) -> None:
    for damage, change in DAMAGES.items():
        folder = tmp_path / damage
        shutil.copytree(trained, folder)
        length = len(torch.load(folder / "checkpoint.pt", weights_only=True)["tables"][table])
        (folder / table).write_bytes((folder / table).read_bytes()[:length])  # later rows are computed again
        if not length:
            continue
        change(folder / table)
        trainer = make_trainer(images, folder, SHORT)
        assert not trainer.begin()
        assert len(trainer.remarks) == 1 and str(folder / table) in trainer.remarks[0], damage
        assert len(list(folder.glob(f"{Path(table).stem}.damaged-*"))) == 1
        assert [row["step"] for row in Journal(folder / "log.csv").rows()] == [1, 2, 3, 4]


def test_a_table_that_is_damaged_while_it_is_written_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.csv")
    journal.append({"step": 1.0, "loss": 2.0})
    for content in (b"step,loss\r\n1,x\r\n", b"\xff,\r\n1\r\n", b"a,b\n1,\x002\n"):
        journal.path.write_bytes(content)
        with pytest.raises(RunError, match="a table of this training is damaged"):
            journal.rows()
