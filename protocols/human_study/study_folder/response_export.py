"""Export the tables of a study from the database to CSV and Parquet, with the codebook."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas

from colorbench.storage import write_atomic
from protocols.human_study.study_folder.codebook_text import codebook
from protocols.human_study.study_folder.design_schema import PARTICIPANTS, RESPONSES, Design, read_design
from protocols.human_study.study_folder.file_names import DATA, DATABASE, EXPORTS
from protocols.human_study.study_folder.study_database import read_database

_INTEGERS = frozenset(
    ("trial", "focus_losses", "presentations", "answered", "practice_correct", "sentinels_correct", "sentinels")
    + ("plates_correct", "plates", "loads", "screen_width", "screen_height", "window_width", "window_height")
)
_REALS = frozenset(("reaction_ms", "exposure_first_ms", "exposure_second_ms", "frame_ms", "pixel_ratio"))
_TRUTHS = frozenset(("correct", "fooled"))

Rows = Iterable[Mapping[str, Any]]


def export_current(folder: Path) -> None:
    """Export the present responses; do nothing for a study that was never served here."""
    if (folder / DATA / DATABASE).is_file():
        export(folder)


def export(folder: Path) -> list[Path]:
    """Write ``exports/`` from the database, which may be in use; return the files.

    Raises:
        UserError: if there is no study, or it was never served.
    """
    design = read_design(folder)
    participants, responses = read_database(Path(folder) / DATA / DATABASE)
    return _write_tables(folder, design, participants, responses)


def _write_tables(folder: Path, design: Design, participants: Rows, responses: Rows) -> list[Path]:
    """Write both tables as CSV and Parquet, and the codebook."""
    kept = list(participants)
    given = list(responses)
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


def responses_table(design: Design, participants: Rows, responses: Rows) -> pandas.DataFrame:
    """Build a table with one row per response; the columns of ``design_schema.RESPONSES``."""
    slots = {slot.id: slot for slot in design.slots}
    sha256s = {one.id: one.sha256 for one in design.images}
    participant_table = {one["participant"]: one for one in participants}
    rows = []
    for response in responses:
        participant, body = participant_table[response["participant"]], json.loads(response["body"])
        slot = slots[participant["slot"]]
        trial = slot.trials[response["trial"]]
        correct = body["response"] == trial.fake
        rows.append(
            {
                **body,
                "participant": response["participant"],
                "slot": slot.id,
                "cell": slot.cell,
                "platform": participant["platform"],
                "status": participant["status"],
                "kind": trial.kind,
                "image": trial.image,
                "image_sha256": sha256s[trial.image],
                "method": trial.method,
                "fake": trial.fake,
                "correct": correct,
                "fooled": not correct,
                "presentations": response["presentations"],
                "answered_at": _utc(response["answered"]),
            }
        )
    return _table(rows, RESPONSES)


def participants_table(design: Design, participants: Rows, responses: Rows) -> pandas.DataFrame:
    """Build a table with one row per participant; the columns of ``design_schema.PARTICIPANTS``."""
    slots = {slot.id: slot for slot in design.slots}
    participant_table = list(participants)
    counts: dict[str, Counter[str]] = {one["participant"]: Counter() for one in participant_table}
    where = {one["participant"]: one["slot"] for one in participant_table}
    for response in responses:
        trial = slots[where[response["participant"]]].trials[response["trial"]]
        count = counts[response["participant"]]
        count.update(("answered", trial.kind))
        if json.loads(response["body"])["response"] == trial.fake:
            count.update((f"{trial.kind}s_correct",))
    rows = []
    for one in participant_table:
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
                "plates_correct": sum(stated == digit for stated, digit in zip(plates, design.plates, strict=False)),
                "plates": len(plates),
                "consented_at": _utc(one["consented"]),
                "finished_at": _utc(one["finished"]),
                "loads": one["loads"],
            }
        )
    return _table(rows, PARTICIPANTS)


def as_csv(table: pandas.DataFrame) -> bytes:
    """Return a study's responses or participants as UTF-8 CSV with a header line; booleans as true and false."""
    plain = table.copy()
    for name in _TRUTHS & set(plain.columns):
        plain[name] = plain[name].map({True: "true", False: "false"})
    return plain.to_csv(index=False, lineterminator="\n").encode()


def as_parquet(table: pandas.DataFrame) -> bytes:
    """Return a study's responses or participants as Parquet, with types."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _table(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pandas.DataFrame:
    table = pandas.DataFrame(rows, columns=list(columns))
    kinds = dict.fromkeys(_INTEGERS, "Int64") | dict.fromkeys(_REALS, "Float64")
    kinds |= dict.fromkeys(_TRUTHS, "boolean")
    return table.astype({name: kinds.get(name, "string") for name in table.columns})


def _utc(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
