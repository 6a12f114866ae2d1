"""``Store``: participants and responses of a served study in one SQLite file.

A response is acknowledged only after it is on disk. Nothing is written before consent. A participant who consents gets
a slot of the design with a lease that every request renews. A slot with an expired lease is given to the next
participant; the responses to it so far are kept.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from protocols.human_study.server.request_schemas import Response, Screening
from protocols.human_study.server.secrets_and_tokens import Secrets
from protocols.human_study.study_folder.design_schema import Design, Slot, Trial
from protocols.human_study.study_folder.file_names import DATABASE
from protocols.human_study.study_folder.study_database import (
    Table,
    open_database,
    read_table,
    response_checksum,
    store_exclusions,
)

Stage = Literal["new", "consented", "ready", "complete"]
ENDED_PER_SLOT = 50
"""Number of participants per slot after which it is not reassigned any more, so that the data stay bounded."""

TAKEN = "All places in this study are taken at the moment. Thank you for your interest."
ELSEWHERE = (
    "You have already started. Please continue in the browser in which you started, or write to the researchers."
)
RETURN = {"prolific": "Please return your submission on Prolific.", "mturk": "Please return the HIT."}
"""Platform -> what somebody does who cannot or does not want to take part."""

_BUSY_MS = 5000
_READER_SECONDS = 1.0
"""Seconds that a deletion waits for a reader; other participants wait meanwhile."""


class Refusal(Exception):
    """A refused request, with an HTTP status and a sentence for the participant."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(detail)


@dataclass(frozen=True)
class Known:
    """Progress of a participant."""

    participant: str
    stage: Stage
    next: int
    """Index of the first trial without a response."""
    slot: Slot


class Store:
    """Participants and responses of the study; safe to call from any thread of one process."""

    def __init__(
        self,
        folder: Path,
        design: Design,
        secrets: Secrets,
        *,
        lease_seconds: float = 1800.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open or create the database in ``folder``."""
        self.design, self.secrets, self.lease_seconds, self.clock = design, secrets, lease_seconds, clock
        self.slots = {slot.id: slot for slot in design.slots}
        self._lock, self._closed = threading.Lock(), False
        self._db = open_database(folder / DATABASE)
        # Finish a deletion that an earlier server could not finish.
        self._log_holds_deleted = not self._empty_log()

    @property
    def deletion_pending(self) -> bool:
        """Whether the write-ahead log may still hold deleted data, because another program reads the database.

        Emptying the log is tried again at every change, at every access to this property, and when the server stops.
        """
        with self._lock:
            if not self._closed:
                self._finish_deletion()
            return self._log_holds_deleted

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if not self._closed:
                self._finish_deletion()
            self._closed = True
            self._db.close()

    def _finish_deletion(self) -> None:
        if self._log_holds_deleted:
            self._log_holds_deleted = not self._empty_log()

    def _empty_log(self, seconds: float = 0.0) -> bool:
        """Move the write-ahead log into the database and empty it; False if a reader prevents this.

        Args:
            seconds: time to wait for the reader.
        """
        self._db.execute(f"PRAGMA busy_timeout={round(1000 * seconds)}")
        try:
            (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:  # another program writes a checkpoint
            busy = 1
        finally:
            self._db.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
        return not busy

    def find(self, platform: str, worker: str, session: str) -> str | None:
        """Return the participant of a worker; None for a new one.

        Raises:
            Refusal: for a known worker with another session than the one that consented.
        """
        digest, proof = self._hashes(platform, worker, session)
        with self._lock:
            row = self._by_worker(digest)
        if row is None:
            return None
        # Laboratory ids are not secret: only the browser that started, with its token, may continue.
        if row["session_hash"] != proof or (platform == "lab" and worker):
            raise _known_elsewhere(row)
        return str(row["participant"])

    def check_free(self, platform: str) -> None:
        """Check that a new participant would get a slot.

        Raises:
            Refusal: if all slots are taken.
        """
        with self._lock:
            self._free_slot(platform)

    def open(self, participant: str) -> Known:
        """Count a load of the page; return the progress of the participant.

        Raises:
            Refusal: for an unknown participant, or one whose slot was given to another.
        """
        with self._transaction() as db:
            row = self._alive(db, participant)
            db.execute("UPDATE participants SET loads = loads + 1 WHERE participant = ?", (participant,))
            return self._known(db, row)

    def trial_of(self, participant: str, index: int) -> Trial:
        """Return a trial whose images the participant may load: it is in the session and has no response yet.

        Raises:
            Refusal: for any other.
        """
        with self._lock:
            row = self._db.execute(
                "SELECT slot, status, (SELECT count(*) FROM responses a WHERE a.participant = p.participant) AS done "
                "FROM participants p WHERE participant = ?",
                (participant,),
            ).fetchone()
        if row is None:
            raise Refusal(401, "Unknown participant.")
        trials = self.slots[row["slot"]].trials
        if row["status"] != "active" or not row["done"] <= index < len(trials):
            raise Refusal(404, "No such image.")
        return trials[index]

    def consent(self, platform: str, worker: str, session: str, client: dict[str, Any]) -> str:
        """Assign a slot to a new participant; the same one again for the same session.

        Raises:
            Refusal: if all slots are taken.
        """
        digest, proof = self._hashes(platform, worker, session)
        with self._transaction() as db:
            row = self._by_worker(digest)
            if row is not None:
                if row["session_hash"] != proof:
                    raise _known_elsewhere(row)
                return str(row["participant"])
            free, now = self._free_slot(platform), self.clock()
            expired = (now - self.lease_seconds,)
            db.execute("UPDATE participants SET status = 'expired' WHERE status = 'active' AND seen < ?", expired)
            store_exclusions(db, self.design.exclusions)
            participant = token_hex(6)
            db.execute(
                "INSERT INTO participants VALUES (?, ?, ?, ?, ?, 'active', ?, ?, NULL, 1, NULL, NULL, ?)",
                (participant, digest, proof, platform, free, now, now, json.dumps(client)),
            )
        return participant

    def screening(self, participant: str, body: Screening) -> None:
        """Store the first responses about color vision; later ones change nothing.

        Raises:
            Refusal: see ``open``.
        """
        with self._transaction() as db:
            self._alive(db, participant)
            db.execute(
                "UPDATE participants SET color_vision = ?, plates = ? WHERE participant = ? AND color_vision IS NULL",
                (body.color_vision, json.dumps(body.plates[: len(self.design.plates)]), participant),
            )

    def started(self, participant: str, index: int) -> None:
        """Count that the next trial's pair is being shown.

        Raises:
            Refusal: for a trial that is not the next.
        """
        with self._transaction() as db:
            known = self._known(db, self._alive(db, participant))
            if index != known.next or known.stage != "ready":
                raise Refusal(409, "This is not the next trial.")
            db.execute(
                "INSERT INTO started VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1", (participant, index)
            )

    def response(self, participant: str, body: Response) -> Trial:
        """Store a response; it is on disk when this returns. The same response again changes nothing.

        Raises:
            Refusal: for a trial that is not the next, and for another response to an answered trial.
        """
        with self._transaction() as db:
            known = self._known(db, self._alive(db, participant))
            text = body.model_dump_json()
            kept = db.execute(
                "SELECT body FROM responses WHERE participant = ? AND trial = ?", (participant, body.trial)
            ).fetchone()
            if kept is not None and kept["body"] != text:
                raise Refusal(409, "This trial already has another response.")
            if kept is None:
                if body.trial != known.next or known.stage != "ready":
                    raise Refusal(409, "This is not the next trial.")
                times = db.execute(
                    "SELECT times FROM started WHERE participant = ? AND trial = ?", (participant, body.trial)
                ).fetchone()
                shown = 1 if times is None else times["times"]
                values = (participant, body.trial, self.clock(), shown, text)
                db.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", (*values, response_checksum(*values)))
            return known.slot.trials[body.trial]

    def finish(self, participant: str) -> str:
        """Mark a session complete; return its platform.

        Raises:
            Refusal: while responses are missing.
        """
        with self._transaction() as db:
            row = self._alive(db, participant)
            known = self._known(db, row)
            platform = str(row["platform"])
            if known.stage == "complete":
                return platform
            if known.next < len(known.slot.trials):
                raise Refusal(409, "Some pairs are not answered yet.")
            db.execute(
                "UPDATE participants SET status = 'complete', finished = ? WHERE participant = ?",
                (self.clock(), participant),
            )
        return platform

    def delete(self, participant: str) -> bool:
        """Delete a participant with all responses; return whether there was one.

        If a reader prevents emptying the write-ahead log, ``deletion_pending`` is true and the log is emptied later.
        """
        with self._transaction() as db:
            found = db.execute("DELETE FROM participants WHERE participant = ?", (participant,)).rowcount
        with self._lock:
            if found:
                self._log_holds_deleted = not self._empty_log(_READER_SECONDS)
        return bool(found)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        """Return a whole table, in the order of consent and of trials."""
        with self._lock:
            return read_table(self._db, table)

    def _hashes(self, platform: str, worker: str, session: str) -> tuple[str, str]:
        # Without an id, the session (a random number of the page) is the id.
        return self.secrets.worker_hash(platform, worker or f"\0{session}"), self.secrets.worker_hash(
            f"{platform} session", session
        )

    def _by_worker(self, digest: str) -> sqlite3.Row | None:
        query = "SELECT participant, session_hash, platform, status FROM participants WHERE worker_hash = ?"
        row: sqlite3.Row | None = self._db.execute(query, (digest,)).fetchone()
        return row

    def _free_slot(self, platform: str) -> str:
        """Return the first slot that nobody has, or whose lease has expired; refuse if there is none."""
        query = "SELECT slot FROM participants WHERE status = 'complete' OR status = 'active' AND seen >= ?"
        taken = {slot for (slot,) in self._db.execute(query, (self.clock() - self.lease_seconds,))}
        (total,) = self._db.execute("SELECT count(*) FROM participants").fetchone()
        free = next((slot.id for slot in self.design.slots if slot.id not in taken), None)
        if free is None or total >= ENDED_PER_SLOT * len(self.design.slots):
            raise Refusal(409, _then(TAKEN, platform))
        return free

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self._finish_deletion()

    def _alive(self, db: sqlite3.Connection, participant: str) -> sqlite3.Row:
        """Return the participant's row and renew the lease.

        A participant whose lease has expired continues if the slot is still free.
        """
        row: sqlite3.Row | None = db.execute(
            "SELECT * FROM participants WHERE participant = ?", (participant,)
        ).fetchone()
        if row is None:
            raise Refusal(401, "Your data was deleted, because you withdrew or asked for it.")
        if row["status"] == "expired":
            query = "SELECT 1 FROM participants WHERE slot = ? AND status != 'expired'"
            if db.execute(query, (row["slot"],)).fetchone():
                told = "You were inactive for too long, and another participant has your place. Thank you."
                raise Refusal(410, _then(told, row["platform"]))
            db.execute("UPDATE participants SET status = 'active' WHERE participant = ?", (participant,))
        if row["status"] != "complete":
            db.execute("UPDATE participants SET seen = ? WHERE participant = ?", (self.clock(), participant))
        return row

    def _known(self, db: sqlite3.Connection, row: sqlite3.Row) -> Known:
        participant = row["participant"]
        (done,) = db.execute("SELECT count(*) FROM responses WHERE participant = ?", (participant,)).fetchone()
        stage: Stage = "ready" if row["color_vision"] is not None else "consented"
        if row["status"] == "complete":
            stage = "complete"
        return Known(participant, stage, done, self.slots[row["slot"]])


def _known_elsewhere(row: sqlite3.Row) -> Refusal:
    """Return the refusal of a known worker who comes with another browser or session."""
    if row["status"] != "complete":
        return Refusal(409, ELSEWHERE)
    return Refusal(409, _then("You have already finished. Thank you.", row["platform"]))


def _then(message: str, platform: str) -> str:
    """Append to a message what somebody does on the platform that they came from."""
    return f"{message} {RETURN[platform]}" if platform in RETURN else message
