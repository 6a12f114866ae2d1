"""Deletion of a participant's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.human_study.study_folder.file_names import EXPORTS
from protocols.human_study.study_folder.outdated_analyses import note_withdrawal
from protocols.human_study.study_folder.response_export import export

if TYPE_CHECKING:
    from protocols.human_study.server.served_study import Study


def forget(study: Study, participant: str) -> bool:
    """Delete a participant, also from exported tables, and note that earlier analyses are outdated."""
    found = study.store.delete(participant)
    if found:
        note_withdrawal(study.folder)
    if (study.folder / EXPORTS).is_dir():
        export(study.folder)
    return found
