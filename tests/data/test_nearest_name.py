"""Which name an error message shows beside an id without a match."""

from __future__ import annotations

import pytest

from colorbench.data.name_matching import nearest_name

NAMES = ["zebra.png", "a/other_val_00347.png", "val_00361.PNG", "b/val_00580.png"]


@pytest.mark.parametrize(
    ("id", "nearest"),
    [
        ("val_00347.JPEG", "a/other_val_00347.png"),
        ("val_00361.jpg", "val_00361.PNG"),
        ("c/VAL_00580.jpg", "b/val_00580.png"),
        ("val_0058.jpg", "b/val_00580.png"),
        ("qqqqq.jpg", "zebra.png"),  # none is similar: the first, as an example
    ],
)
def test_the_most_similar_name_is_shown(id: str, nearest: str) -> None:
    assert nearest_name(id, NAMES) == nearest


def test_without_names_there_is_none() -> None:
    assert nearest_name("a.jpg", []) is None
