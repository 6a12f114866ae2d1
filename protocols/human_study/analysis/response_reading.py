"""Reading of the responses of a study, and their check against the design."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas

from colorbench.errors import UserError
from protocols.human_study.study_folder.design_schema import Design, read_design
from protocols.human_study.study_folder.file_names import DATA, DATABASE, EXPORTS
from protocols.human_study.study_folder.response_export import export
from protocols.human_study.study_folder.study_database import read_exclusions

NEEDED = (
    "participant", "slot", "status", "trial", "kind", "image", "method", "fake", "response", "reaction_ms",
    "exposure_first_ms", "exposure_second_ms", "focus_losses",
)  # fmt: skip
"""Columns of ``responses`` that the analysis reads; the rest may be missing."""
NUMBERS = ("trial", "reaction_ms", "exposure_first_ms", "exposure_second_ms", "focus_losses")
TEXTS = ("participant", "slot", "status", "kind", "image", "method", "fake", "response")


@dataclass(frozen=True)
class StudyData:
    """The responses of the participants, without practice."""

    design: Design
    responses: pandas.DataFrame
    """One row per response to a test or sentinel trial, by participant and trial; ``fooled`` (bool) and ``order``
    (index among the session's trials after practice, from 0) are computed here."""
    participants: pandas.DataFrame
    """One row per participant; may be empty if only the responses are available."""
    sha256: str
    """Of the responses, independent of the file format: equal responses give an equal record."""
    first_exclusions: dict[str, Any] | None = None
    """Rule -> limit in the design before the first participant; None: unknown, as for a table from elsewhere."""


def read_study_data(folder: Path, responses: Path | None = None, participants: Path | None = None) -> StudyData:
    """Read a study's responses.

    Args:
        folder: the study's.
        responses: table from elsewhere, CSV or Parquet; default: that in ``exports/``, exported again if the study
            was served from this folder.
        participants: table from elsewhere, as ``responses``.

    Raises:
        UserError: if there is no study or no response, or the tables do not belong to this study.
    """
    design = read_design(folder)
    database = Path(folder) / DATA / DATABASE
    first_exclusions = None
    if responses is None and database.is_file():
        export(Path(folder))  # include responses since the last export
        first_exclusions = read_exclusions(database)
    path = responses or _exported(folder, "responses")
    if path is None:
        hint = f"run `colorbench study serve {folder}`, or use --responses FILE"
        raise UserError("there are no responses yet", where=str(Path(folder) / EXPORTS), hint=hint)
    who = participants or (None if responses else _exported(folder, "participants"))
    participant_table = pandas.DataFrame() if who is None else _table(who)
    study_data = study_data_of(design, _table(path), participant_table, str(path))
    return replace(study_data, first_exclusions=first_exclusions)


def study_data_of(design: Design, table: pandas.DataFrame, participants: pandas.DataFrame, where: str) -> StudyData:
    """Return responses from tables in memory; ``where`` is named in errors.

    Raises:
        UserError: see ``read_study_data``.
    """
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise UserError(f"the responses lack the column {missing[0]!r}", where=where, hint="export them again")
    table = table[table["kind"].isin(("test", "sentinel"))].copy()
    if table.empty:
        raise UserError("no responses to test trials", where=where, hint="wait for participants")
    for name in NUMBERS:
        # A missing value of any type becomes NaN.
        table[name] = pandas.to_numeric(table[name], errors="coerce").to_numpy("float64", na_value=float("nan"))
    for name in TEXTS:
        table[name] = table[name].astype(object).where(table[name].notna(), "")
    _check(design, table, where)
    table["trial"] = table["trial"].astype("int64")
    table["fooled"] = (table["response"] != table["fake"]).astype(bool)
    table["order"] = table["trial"] - design.settings.practice
    table = table.sort_values(["participant", "trial"], kind="stable", ignore_index=True)
    digest = sha256(table[list(NEEDED)].to_csv(index=False, float_format="%.6g").encode()).hexdigest()
    return StudyData(design, table, participants, digest)


def _check(design: Design, table: pandas.DataFrame, where: str) -> None:
    """Check that every response matches the trial at its index in the design, and occurs once."""
    planned = {
        (slot.id, index): (trial.kind, trial.image, trial.method, trial.fake)
        for slot in design.slots
        for index, trial in enumerate(slot.trials)
    }
    found = table[["slot", "trial", "kind", "image", "method", "fake"]].itertuples(index=False, name=None)
    for slot, trial, *rest in found:
        if planned.get((slot, trial)) != tuple(rest):
            what = f"the response to trial {trial:g} of slot {slot} does not match the pair in the design"
            raise UserError(what, where=where, hint="use the responses of this study")
    twice = table.duplicated(["participant", "trial"])
    if twice.any():
        row = table[twice].iloc[0]
        what = f"two responses of participant {row['participant']} to trial {row['trial']:g}"
        raise UserError(what, where=where, hint="export the responses again")
    wrong = ~table["response"].isin(("first", "second"))
    if wrong.any():
        what = f"a response must be first or second, not {table['response'][wrong].iloc[0]!r}"
        raise UserError(what, where=where, hint="export the responses again")
    slots = table.groupby("participant")["slot"].nunique()
    if (slots > 1).any():
        raise UserError(f"participant {slots.idxmax()} has responses in two slots", where=where)


def _exported(folder: Path, name: str) -> Path | None:
    paths = (Path(folder) / EXPORTS / f"{name}.{form}" for form in ("parquet", "csv"))
    return next((position for position in paths if position.is_file()), None)


def _table(path: Path) -> pandas.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pandas.read_parquet(path)
        # Neutral ids are hexadecimal: without a type, "12e4" and "0012" would become numbers.
        return pandas.read_csv(path, dtype={"participant": str, "slot": str, "image": str, "method": str})
    except FileNotFoundError as error:
        raise UserError("no such table", where=str(path), hint="use a .csv or .parquet file") from error
    except (ValueError, OSError) as error:
        raise UserError("this table cannot be read", where=str(path), hint="use a .csv or .parquet file") from error
