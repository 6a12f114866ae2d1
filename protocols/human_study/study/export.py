"""The tables of a study: from the server's database to CSV and Parquet, with the codebook beside them."""

from __future__ import annotations

import io
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas

from colorbench.errors import UserError
from colorbench.storage.atomic import write_atomic
from protocols.human_study.study.codebook import codebook
from protocols.human_study.study.paths import DATA, DATABASE, EXPORTS
from protocols.human_study.study.schema import PARTICIPANTS, RESPONSES, Design, read_design

_INTEGERS = frozenset(
    ("trial", "focus_losses", "presentations", "answered", "practice_correct", "sentinels_correct", "sentinels")
    + ("plates_correct", "plates", "loads", "screen_width", "screen_height", "window_width", "window_height")
)
_REALS = frozenset(("reaction_ms", "exposure_first_ms", "exposure_second_ms", "frame_ms", "pixel_ratio"))
_TRUTHS = frozenset(("correct", "fooled"))

Rows = Iterable[Mapping[str, Any]]


def export(folder: Path) -> list[Path]:
    """Write ``exports/`` from the study's database, which may be in use meanwhile; the files written.

    Raises:
        UserError: where there is no study, or it was never served.
    """
    design = read_design(folder)
    participants, answers = _read(Path(folder) / DATA / DATABASE)
    return write_tables(folder, design, participants, answers)


def write_tables(folder: Path, design: Design, participants: Rows, answers: Rows) -> list[Path]:
    """Write both tables in both forms, and the codebook."""
    kept = list(participants)
    given = list(answers)
    tables = {
        "responses": responses_table(design, kept, given),
        "participants": participants_table(design, kept, given),
    }
    files = {"codebook.md": codebook(design).encode()}
    for name, table in tables.items():
        files |= {f"{name}.csv": as_csv(table), f"{name}.parquet": as_parquet(table)}
    written = []
    for name, data in files.items():
        path = Path(folder) / EXPORTS / name
        write_atomic(path, data)
        written.append(path)
    return written


def responses_table(design: Design, participants: Rows, answers: Rows) -> pandas.DataFrame:
    """One row an answer; the columns of ``schema.RESPONSES``."""
    slots = {slot.id: slot for slot in design.slots}
    sha256s = {one.id: one.sha256 for one in design.photographs}
    people = {one["participant"]: one for one in participants}
    rows = []
    for answer in answers:
        person, body = people[answer["participant"]], json.loads(answer["body"])
        slot = slots[person["slot"]]
        trial = slot.trials[answer["trial"]]
        correct = body["answer"] == trial.fake
        rows.append(
            {
                **body,
                "participant": answer["participant"],
                "slot": slot.id,
                "cell": slot.cell,
                "platform": person["platform"],
                "status": person["status"],
                "kind": trial.kind,
                "photograph": trial.photograph,
                "photograph_sha256": sha256s[trial.photograph],
                "method": trial.method,
                "fake": trial.fake,
                "correct": correct,
                "fooled": not correct,
                "presentations": answer["presentations"],
                "answered_at": _utc(answer["answered"]),
            }
        )
    return _table(rows, RESPONSES)


def participants_table(design: Design, participants: Rows, answers: Rows) -> pandas.DataFrame:
    """One row a participant; the columns of ``schema.PARTICIPANTS``."""
    slots = {slot.id: slot for slot in design.slots}
    people = list(participants)
    counts: dict[str, Counter[str]] = {one["participant"]: Counter() for one in people}
    where = {one["participant"]: one["slot"] for one in people}
    for answer in answers:
        trial = slots[where[answer["participant"]]].trials[answer["trial"]]
        count = counts[answer["participant"]]
        count.update(("answered", trial.kind))
        if json.loads(answer["body"])["answer"] == trial.fake:
            count.update((f"{trial.kind}s_correct",))
    rows = []
    for one in people:
        client, count = json.loads(one["client"]), counts[one["participant"]]
        plates = json.loads(one["plates"]) if one["plates"] else []
        rows.append(
            {
                **{name: client.get(name) for name in PARTICIPANTS if name in client},
                "participant": one["participant"],
                "slot": one["slot"],
                "cell": slots[one["slot"]].cell,
                "platform": one["platform"],
                "status": one["status"],
                "answered": count["answered"],
                "practice_correct": count["practices_correct"],
                "sentinels_correct": count["sentinels_correct"],
                "sentinels": count["sentinel"],
                "color_vision": one["color_vision"],
                "plates_correct": sum(said == digit for said, digit in zip(plates, design.plates, strict=False)),
                "plates": len(plates),
                "consented_at": _utc(one["consented"]),
                "finished_at": _utc(one["finished"]),
                "loads": one["loads"],
            }
        )
    return _table(rows, PARTICIPANTS)


def as_csv(table: pandas.DataFrame) -> bytes:
    """UTF-8, with a header line; truths as true and false."""
    plain = table.copy()
    for name in _TRUTHS & set(plain.columns):
        plain[name] = plain[name].map({True: "true", False: "false"})
    return plain.to_csv(index=False, lineterminator="\n").encode()


def as_parquet(table: pandas.DataFrame) -> bytes:
    """The same with types."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _table(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pandas.DataFrame:
    table = pandas.DataFrame(rows, columns=list(columns))
    kinds = dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_REALS, "Float64")
    kinds |= dict.fromkeys(_TRUTHS, "boolean")
    return table.astype({name: kinds.get(name, "string") for name in table.columns})


def _read(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if not path.exists():
        mend = "serve it with `colorbench study serve`"
        raise UserError("this study was never served: nobody has answered", where=str(path), mend=mend)
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("BEGIN")  # one snapshot for both tables
        participants = connection.execute("SELECT * FROM participants ORDER BY consented, participant").fetchall()
        answers = connection.execute("SELECT * FROM answers ORDER BY participant, trial").fetchall()
    finally:
        connection.close()
    return [dict(row) for row in participants], [dict(row) for row in answers]


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
