"""SQLite database of a study: its tables, opening and reading."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from colorbench.errors import UserError, printable
from protocols.human_study.study_folder.design_schema import Exclusions

Table = Literal["participants", "responses"]
_ORDER: dict[Table, str] = {"participants": "consented, participant", "responses": "participant, trial"}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS participants (
  participant TEXT PRIMARY KEY,
  worker_hash TEXT NOT NULL UNIQUE,
  session_hash TEXT NOT NULL,
  platform TEXT NOT NULL,
  slot TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('active', 'complete', 'expired')),
  seen REAL NOT NULL,
  consented REAL NOT NULL,
  finished REAL,
  loads INTEGER NOT NULL,
  color_vision TEXT,
  plates TEXT,
  client TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS one_participant_a_slot ON participants (slot) WHERE status != 'expired';
CREATE TABLE IF NOT EXISTS responses (
  participant TEXT NOT NULL REFERENCES participants ON DELETE CASCADE,
  trial INTEGER NOT NULL,
  answered REAL NOT NULL,
  presentations INTEGER NOT NULL,
  body TEXT NOT NULL,
  checksum TEXT NOT NULL,
  PRIMARY KEY (participant, trial)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS started (
  participant TEXT NOT NULL REFERENCES participants ON DELETE CASCADE,
  trial INTEGER NOT NULL,
  times INTEGER NOT NULL,
  PRIMARY KEY (participant, trial)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS exclusions (
  rules TEXT NOT NULL,
  checksum TEXT NOT NULL
);
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database of a study for writing from any thread; create it if missing.

    Raises:
        UserError: for a damaged file, or one that is no database.
    """
    with _damage_named(path):
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        database.row_factory = sqlite3.Row
        # WAL with FULL: every commit waits for the disk. secure_delete: deleted data leaves no trace in the file.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            database.execute(f"PRAGMA {pragma}")
        database.executescript(_SCHEMA)
        _check(database)
        read_table(database, "responses")  # raises for one that is not as it was written
    return database


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged database into one line."""
    try:
        yield
    except (sqlite3.Error, UnicodeError, DamagedResponse) as error:
        hint = "restore it from a backup, or recover what is in it with the program sqlite3 (.recover)"
        what = f"the database of the study cannot be read: {printable(str(error))[:200]}"
        raise UserError(what, where=str(path), hint=hint) from error


def _check(database: sqlite3.Connection) -> None:
    """Raise for pages and indices that do not fit together; values are not checked."""
    ((found, *_), *_) = database.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise sqlite3.DatabaseError(found)


class DamagedResponse(Exception):
    """A stored response, participant or rule that is not what was written."""


def response_checksum(participant: str, trial: int, answered: float, presentations: int, body: str) -> str:
    """Return the sha256 of a row of responses, for its last column: SQLite does not see a flipped bit of a value."""
    return sha256(json.dumps([participant, trial, float(answered), presentations, body]).encode()).hexdigest()


def read_table(database: sqlite3.Connection, table: Table) -> list[dict[str, Any]]:
    """Return a whole table of a study's database, in the order of consent and of trials.

    Raises:
        DamagedResponse: for a row that is not what was written.
    """
    found = database.execute(f"SELECT * FROM {table} ORDER BY {_ORDER[table]}")
    if [name for name, *_ in found.description] != _columns(table):
        raise DamagedResponse(f"the columns of {table} were changed")
    rows = [dict(row) for row in found]
    for row in rows:
        if table == "participants":
            for column in ("client", "plates"):
                _check_json(row, column)
        elif row.pop("checksum", None) != response_checksum(**row):
            raise DamagedResponse(f"response {row['trial']} of participant {row['participant']} was changed")
    return rows


def _columns(table: Table) -> list[str]:
    """Return the names of the columns of a table as they are created: SQLite does not see a flipped bit of a name."""
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(_SCHEMA)
        return [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]


def _check_json(row: dict[str, Any], column: str) -> None:
    try:
        json.loads(row[column] or "null")
    except ValueError as error:
        raise DamagedResponse(f"{column} of participant {row['participant']} was changed") from error


def read_database(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return participants and responses of a database that may be in use.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    if not path.exists():
        hint = "serve it with `colorbench study serve`"
        raise UserError("this study was never served, so there are no responses", where=str(path), hint=hint)
    with _damage_named(path), contextlib.closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN")  # one snapshot for both tables
        _check(database)
        return read_table(database, "participants"), read_table(database, "responses")


def store_exclusions(database: sqlite3.Connection, exclusions: Exclusions) -> None:
    """Store the exclusions of the design before the first participant; with participants, change nothing.

    Call it before adding a participant, in the same transaction.
    """
    if database.execute("SELECT 1 FROM participants").fetchone():
        return
    rules = exclusions.model_dump_json()
    database.execute("DELETE FROM exclusions")
    database.execute("INSERT INTO exclusions VALUES (?, ?)", (rules, sha256(rules.encode()).hexdigest()))


def read_exclusions(path: Path) -> dict[str, Any] | None:
    """Return the exclusions (rule -> limit) that the design had before the first participant.

    None if this is unknown, since a server of an earlier version stored the participants.

    Raises:
        UserError: if the database is damaged.
    """
    with _damage_named(path), contextlib.closing(sqlite3.connect(path)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'exclusions'").fetchone():
            return None
        row = database.execute("SELECT rules, checksum FROM exclusions").fetchone()
        if row is None:
            return None
        if sha256(str(row[0]).encode()).hexdigest() != row[1]:
            raise DamagedResponse("the exclusions were changed")
        rules: dict[str, Any] = json.loads(row[0])
        return rules
