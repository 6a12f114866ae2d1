"""Files with a checksum: any change is seen, the file is set aside, and it counts as missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colorbench.storage import is_intact, read_checked, write_checked
from tests.support.hostile_files import cut, emptied, replaced_by_folder

READERS: dict[str, Callable[..., object]] = {
    "read": lambda path, say: read_checked(path, say) is not None,
    "stream": is_intact,
}


@pytest.mark.parametrize("reader", READERS)
def test_what_was_written_is_read(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.npz"
    assert not READERS[reader](path, pytest.fail), "a missing file is no damage"
    for data in (b"", b"x", bytes(range(256)) * 100):
        write_checked(path, data)
        assert READERS[reader](path, pytest.fail) and read_checked(path) == data


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), bit=st.integers(0, 8 * 232 - 1))
def test_any_flipped_bit_is_seen(reader: str, tmp_path_factory: pytest.TempPathFactory, data: bytes, bit: int) -> None:
    path = tmp_path_factory.mktemp("checked") / "file.npz"
    write_checked(path, data)
    written = bytearray(path.read_bytes())
    written[bit // 8 % len(written)] ^= 1 << (bit % 8)
    path.write_bytes(written)
    said: list[str] = []
    assert not READERS[reader](path, said.append)
    (aside,) = path.parent.iterdir()
    assert said == [f"{path} is damaged: it is now {aside.name}, and is made again"]
    assert aside.read_bytes() == written


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "damage", [emptied, replaced_by_folder, *(lambda path, share=share: cut(path, share) for share in (0.2, 0.9, 0.99))]
)
def test_what_is_cut_off_or_no_file_is_set_aside(reader: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    write_checked(path, b"data" * 100)
    damage(path)
    said: list[str] = []
    assert not READERS[reader](path, said.append) and len(said) == 1
    assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    write_checked(path, b"data")
    assert read_checked(path) == b"data"


def test_a_folder_in_its_place_does_not_stop_writing(tmp_path: Path) -> None:
    (tmp_path / "file.npz").mkdir()
    write_checked(tmp_path / "file.npz", b"data")
    assert read_checked(tmp_path / "file.npz") == b"data"
