"""File names in the folder of a study, shared by building and serving."""

from __future__ import annotations

from protocols.human_study.study_folder.design_schema import Design, Slot

TEXTS = ("consent", "instructions", "debrief")
FORM = ("index.html", "study.css", "study.js", "pair.js", "screen.js", "server.js")
JSPSYCH = ("jspsych.js", "plugin-call-function.js", "LICENSE.txt")
STIMULI = "stimuli"
FORM_FOLDER = "form"
TEXTS_FOLDER = "texts"
DATA = "data"
DATABASE = "study.sqlite"
EXPORTS = "exports"


def plate_name(number: int) -> str:
    """Return the file of a color-vision plate, from 0."""
    return f"plate-{number + 1}.png"


def slots_by_cell(design: Design) -> dict[str, list[Slot]]:
    """Return the slots of each cell, in the order of the design."""
    cells: dict[str, list[Slot]] = {}
    for slot in design.slots:
        cells.setdefault(slot.cell, []).append(slot)
    return cells
