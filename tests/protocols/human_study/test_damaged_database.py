"""A damaged database or file of secrets of a study: one line, or the very same responses; never other ones."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from colorbench.errors import UserError
from protocols.human_study.server.secrets_and_tokens import load_secrets
from protocols.human_study.study_folder.study_database import open_database, read_database, response_checksum
from tests.support.hostile_files import cut, emptied, replaced_by_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of 12 participants with 20 responses each."""
    path = tmp_path_factory.mktemp("study") / "study.sqlite"
    database = open_database(path)
    for number in range(12):
        name, client, plates = f"p{number:03d}", json.dumps({"touch": False, "n": number}), json.dumps([6, 9])
        values = (name, f"w{number}", f"s{number}", "lab", f"slot{number}", "complete", 5.0, 1.0 + number, 9.5, 1)
        database.execute(f"INSERT INTO participants VALUES ({', '.join('?' * 13)})", (*values, "ok", plates, client))
        for trial in range(20):
            row = (name, trial, 1.25 * trial, 1, json.dumps({"trial": trial, "response": "left", "ms": 31 * trial}))
            database.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", (*row, response_checksum(*row)))
    database.close()
    return path


def test_flipped_bits_change_no_response(whole: Path, tmp_path: Path) -> None:
    rng, data = random.Random(20), whole.read_bytes()
    expected, refused = read_database(whole), []
    path = tmp_path / "study.sqlite"
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            participants, responses = read_database(path)
        except UserError as error:
            refused.append(str(error))
        else:
            assert responses == expected[1]
            assert len(participants) == len(expected[0])
    assert len(refused) > 30
    assert [text for text in refused if str(path) not in text or not text.isprintable() or len(text) > 600] == []


@pytest.mark.parametrize(("old", "new"), [(b"answered REAL", b"ansgered REAL"), (b"client TEXT", b"cliend TEXT")])
def test_a_column_with_a_changed_name_is_one_line(whole: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "study.sqlite"
    assert old in whole.read_bytes()
    path.write_bytes(whole.read_bytes().replace(old, new))
    with pytest.raises(UserError, match="the database of the study cannot be read"):
        read_database(path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_database_that_is_cut_off_is_one_line(whole: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "study.sqlite"
    path.write_bytes(whole.read_bytes())
    cut(path, share)
    for read in (read_database, open_database):
        with pytest.raises(UserError, match="the database of the study cannot be read"):
            read(path)


def test_what_is_no_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite"
    for content in (b"x" * 3000, b"SQLite format 3\0" * 40, b"\0" * 5000):
        path.write_bytes(content)
        for read in (read_database, open_database):
            with pytest.raises(UserError, match="the database of the study cannot be read"):
                read(path)
    replaced_by_folder(path)
    with pytest.raises(UserError, match="the database of the study cannot be read"):
        open_database(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"salt": "00"}',
        b'{"salt": 3, "key": "zz", "admin_token": "x"}',
        b"\xff",
        b"[" * 9999,
    ],
)
def test_damaged_secrets_are_one_line_and_are_not_replaced(content: bytes, tmp_path: Path) -> None:
    kept = load_secrets(tmp_path)
    assert load_secrets(tmp_path) == kept
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match="the secrets of the study cannot be read"):
        load_secrets(tmp_path)
    assert path.read_bytes() == content
    (emptied if content else replaced_by_folder)(path)
    with pytest.raises(UserError, match="the secrets of the study cannot be read"):
        load_secrets(tmp_path, "a new token")
