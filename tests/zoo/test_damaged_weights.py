"""Exported weights and their card, damaged: one line that names the file, and no model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from colorbench.errors import UserError
from colorbench.models import load_model
from tests.support.hostile_files import cut, emptied, flip, replaced_by_folder
from zoo.cic import CICClass

RNG = np.random.default_rng(11)
DAMAGES: dict[str, Callable[[Path], None]] = {
    **{f"flip {i}": lambda path, share=share: flip(path, share) for i, share in enumerate([0, 1, *RNG.random(4)])},
    **{f"cut {i}": lambda path, share=share: cut(path, share) for i, share in enumerate(RNG.random(2))},
    "empty": emptied,
    "missing": Path.unlink,
    "a folder in its place": replaced_by_folder,
}


# A card is a text that its owner may edit, without a checksum.
@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (suffix, damage)
        for suffix in (".safetensors", ".json")
        for damage in DAMAGES
        if suffix != ".json" or "flip" not in damage
    ],
)
def test_damaged_weights_and_cards_are_one_line(suffix: str, damage: str, tmp_path: Path) -> None:
    for file in (CICClass.shipped, CICClass.shipped.with_suffix(".json")):
        shutil.copy(file, tmp_path / f"net{file.suffix}")
    DAMAGES[damage](tmp_path / f"net{suffix}")
    with pytest.raises(UserError, match=r"net\.(safetensors|json)") as error:
        load_model(f"zoo/cic-class[weights={tmp_path / 'net.safetensors'}]")
    assert str(error.value).isprintable()
