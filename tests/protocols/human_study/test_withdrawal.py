"""Withdrawal leaves nothing: not in the write-ahead log, not in tables; what is outdated by it is named."""

import json
import os
import sqlite3
from pathlib import Path

import pandas
import pytest

from protocols.human_study.server import response_store as stores
from protocols.human_study.server.admin_page import state_of
from protocols.human_study.study_folder.outdated_analyses import advice, note_withdrawal, outdated
from protocols.human_study.study_folder.response_export import export
from tests.support.study import ADMIN, Participant, build_small, copy_of, routes


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    patch = pytest.MonkeyPatch()
    try:
        return build_small(tmp_path_factory.mktemp("built") / "study", patch)
    finally:
        patch.undo()


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path / "study")


def stored(study: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (study / "data").glob("study.sqlite*"))


def reader_of(study: Path) -> sqlite3.Connection:
    """A program that reads the database and does not let go."""
    connection = sqlite3.connect(study / "data" / "study.sqlite", isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM responses").fetchone()
    return connection


@pytest.mark.parametrize("next_step", ["look", "change", "stop"])
def test_data_behind_a_reader_goes_as_soon_as_it_lets_go(
    study: Path, monkeypatch: pytest.MonkeyPatch, next_step: str
) -> None:
    monkeypatch.setattr(stores, "_READER_SECONDS", 0.05)
    with routes(study) as client:
        participant = Participant(client, "L1").join().play(2)
        reader = reader_of(study)
        assert participant.post("withdraw").json() == {"deleted": True, "pending": True}
        assert participant.id.encode() in stored(study)
        assert client.study.store.deletion_pending
        assert any("write-ahead log" in notice for notice in state_of(client.study)["notices"])
        reader.execute("COMMIT")
        reader.close()
        if next_step == "look":
            assert not client.study.store.deletion_pending
        elif next_step == "change":
            Participant(client, "L2").join()
        if next_step != "stop":
            assert participant.id.encode() not in stored(study)
    assert participant.id.encode() not in stored(study)
    assert not client.study.store.deletion_pending


def test_the_next_server_finishes_what_the_last_one_could_not(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_READER_SECONDS", 0.05)
    reader = None
    with routes(study) as client:
        participant = Participant(client, "L1").join().play(2)
        reader = reader_of(study)
        participant.post("withdraw")
    assert client.study.store.deletion_pending and participant.id.encode() in stored(study)
    # The reader is not the last to close: it leaves the log as it is.
    with routes(study) as client:
        assert client.study.store.deletion_pending
        reader.execute("COMMIT")
        assert not client.study.store.deletion_pending
        assert participant.id.encode() not in stored(study)
    reader.close()


def test_analyses_and_records_of_before_are_named(study: Path) -> None:
    old, new = study / "analysis", study / "analysis" / "records" / "zoo" / "gray" / "new"
    for path in (old / "analysis.html", old / "records" / "a" / "record.json", study / "records" / "b" / "record.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        os.utime(path, (1e9, 1e9))
    with routes(study) as client:
        participant = Participant(client, "L1").join().play(2)
        export(study)
        assert advice(study) == [] and state_of(client.study)["notices"] == []
        participant.post("withdraw")
        assert any("study analyze" in notice for notice in state_of(client.study)["notices"])
        page = client.get("/admin", headers={"Authorization": f"Bearer {ADMIN}"}).text
        assert f"<code>colorbench study analyze {study}</code>" in page and "`" not in page
    new.mkdir(parents=True)
    (new / "record.json").write_text("{}")
    stamp = (2e9, 2e9)
    os.utime(new / "record.json", stamp)
    assert outdated(study) == [old, old / "records" / "a", study / "records" / "b"]
    assert str(study) in advice(study)[-1]
    assert pandas.read_csv(study / "exports" / "responses.csv").empty
    noted = json.loads((study / "data" / "withdrawals.json").read_text())
    assert set(noted) == {"withdrawals", "last"} and noted["withdrawals"] == 1
    note_withdrawal(study)
    assert json.loads((study / "data" / "withdrawals.json").read_text())["withdrawals"] == 2
