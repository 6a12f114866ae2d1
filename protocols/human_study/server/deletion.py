"""Deletion of a participant's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.human_study.study.export import export
from protocols.human_study.study.paths import EXPORTS
from protocols.human_study.study.withdrawal import note_withdrawal

if TYPE_CHECKING:
    from protocols.human_study.server.state import Study


def forget(study: Study, participant: str) -> bool:
    """Delete a participant, also from exported tables, and note that earlier analyses are outdated."""
    found = study.store.delete(participant)
    if found:
        note_withdrawal(study.folder)
    if (study.folder / EXPORTS).is_dir():
        export(study.folder)
    return found
