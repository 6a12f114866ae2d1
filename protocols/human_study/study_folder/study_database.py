"""SQLite database of a study: its tables, opening and reading."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Literal

from colorbench.errors import UserError

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
  PRIMARY KEY (participant, trial)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS started (
  participant TEXT NOT NULL REFERENCES participants ON DELETE CASCADE,
  trial INTEGER NOT NULL,
  times INTEGER NOT NULL,
  PRIMARY KEY (participant, trial)
) WITHOUT ROWID;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database of a study for writing from any thread; create it if missing."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.row_factory = sqlite3.Row
    # WAL with FULL: every commit waits for the disk. secure_delete: deleted data leaves no trace in the file.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        database.execute(f"PRAGMA {pragma}")
    database.executescript(_SCHEMA)
    return database


def read_table(database: sqlite3.Connection, table: Table) -> list[dict[str, Any]]:
    """Return a whole table of a study's database, in the order of consent and of trials."""
    return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY {_ORDER[table]}")]


def read_database(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return participants and responses of a database that may be in use.

    Raises:
        UserError: if there is none.
    """
    if not path.exists():
        hint = "serve it with `colorbench study serve`"
        raise UserError("this study was never served, so there are no responses", where=str(path), hint=hint)
    database = sqlite3.connect(path)
    database.row_factory = sqlite3.Row
    try:
        database.execute("BEGIN")  # one snapshot for both tables
        return read_table(database, "participants"), read_table(database, "responses")
    finally:
        database.close()
