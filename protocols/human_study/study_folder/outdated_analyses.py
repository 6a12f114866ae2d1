"""Analyses and records that a withdrawal makes outdated."""

from __future__ import annotations

import json
import time
from pathlib import Path

from colorbench.storage import write_atomic
from protocols.human_study.study_folder.file_names import DATA

NOTED = "withdrawals.json"
ANALYSIS = "analysis"
RECORDS = "records"


def note_withdrawal(folder: Path) -> None:
    """Store that a participant's data were deleted, and when, but not whose."""
    noted = _noted(folder)
    after = {"withdrawals": noted.get("withdrawals", 0) + 1, "last": time.time()}
    write_atomic(Path(folder) / DATA / NOTED, json.dumps(after).encode())


def outdated(folder: Path) -> list[Path]:
    """List analyses and records in a study's folder that were made before the last withdrawal."""
    last = _noted(folder).get("last")
    if last is None:
        return []
    analysis, records = Path(folder) / ANALYSIS, Path(folder) / RECORDS
    found = [*analysis.glob("*.html"), *analysis.rglob("record.json"), *records.rglob("record.json")]
    return sorted({path.parent for path in found if path.stat().st_mtime < last})


def advice(folder: Path) -> list[str]:
    """Return lines on what to recompute or remove after a withdrawal; empty if nothing is outdated."""
    stale = outdated(folder)
    lines = [f"made before the data of a participant were deleted: {path}" for path in stale]
    if lines:
        lines.append(
            f"run `colorbench study analyze {folder}` again and remove the records above; also replace copies of "
            "tables, analyses and records elsewhere"
        )
    return lines


def _noted(folder: Path) -> dict[str, float]:
    try:
        noted = json.loads((Path(folder) / DATA / NOTED).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return noted if isinstance(noted, dict) else {}
