"""The texts for participants say what the settings of the study are, and everything that is stored."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from protocols.human_study.build.study_files import fill_text
from protocols.human_study.server.request_schemas import Client, Response, Screening
from protocols.human_study.study_folder.design_schema import PARTICIPANTS, RESPONSES, StudySettings
from protocols.human_study.study_folder.file_names import TEXTS
from protocols.human_study.study_folder.study_database import open_database


def text_of(name: str, **changes: Any) -> str:
    settings: dict[str, Any] = {"participants": 2, "trials": 40, "sentinels": 4, "practice": 10} | changes
    template = (files("protocols.human_study") / "texts" / f"{name}.md").read_text()
    return " ".join(fill_text(template, "Real {or} fake?", StudySettings(**settings)).split())


@pytest.mark.parametrize(
    ("name", "changes", "present", "absent"),
    [
        ("consent", {}, "6 minutes**: 10 pairs for practice and 40 pairs that count.", "{{"),
        ("consent", {"practice": 0}, "minutes**: 40 pairs.", "practice"),
        ("consent", {"practice": 1}, "1 pair for practice", "1 pairs"),
        ("consent", {"exposure_ms": 5000}, "13 minutes", "6 minutes"),
        ("consent", {}, "in the color vision test, and what you say", "{%"),
        ("consent", {"plates": 0}, "what you say about your color vision", "test"),
        ("instructions", {}, "each for about a second", "0.5"),
        ("instructions", {"exposure_ms": 250}, "each for 0.25 seconds.", "about a second"),
        ("instructions", {}, "guess. The first 10 pairs are practice", "first pair is"),
        ("instructions", {"practice": 1}, "guess. The first pair is practice", "1 pairs"),
        ("instructions", {"practice": 0}, "guess. Please", "practice"),
        ("debrief", {}, "In 4 pairs that checked attention", "colors of the fake images"),
        ("debrief", {"sentinels": 1}, "In 1 pair that", "1 pairs"),
        ("debrief", {"sentinels": 0}, "The colors of the fake images were made", "attention"),
    ],
)
def test_texts_follow_the_settings(name: str, changes: dict[str, Any], present: str, absent: str) -> None:
    text = text_of(name, **changes)
    assert present in text and absent not in text


OF_THE_DESIGN = {"image", "image_sha256", "method", "fake", "kind", "correct", "fooled", "checksum", "rules"}
"""Columns that follow from the series of pairs and the answers, or repeat them."""
PHRASES = {
    "participant": "a random number in place of your name",
    **dict.fromkeys(("slot", "cell"), "which of the prepared series of pairs you got"),
    **dict.fromkeys(("status", "trial", "answered"), "how far you came"),
    "platform": "the way you came here (laboratory, Prolific or Mechanical Turk)",
    **dict.fromkeys(("worker_hash", "session_hash"), "IDs from your platform or laboratory are stored only as hashes"),
    **dict.fromkeys(("response", "body", "practice_correct", "sentinels_correct", "sentinels"), "your answers, "),
    "reaction_ms": "how long they took",
    "answered_at": "when you gave them",
    "input": "whether you used keys, mouse or touch",
    **dict.fromkeys(("exposure_first_ms", "exposure_second_ms"), "how long each image was visible"),
    "frame_ms": "the frame rate of your screen",
    "focus_losses": "how often you left the window during a pair",
    **dict.fromkeys(("presentations", "times"), "how often a pair was shown"),
    "loads": "how often you opened or reloaded the page",
    "color_vision": "what you say about your color vision",
    **dict.fromkeys(("plates", "plates_correct"), "your answers in the color vision test"),
    **dict.fromkeys(("consented", "consented_at"), "when you consented, "),
    "seen": "were last active",
    **dict.fromkeys(("finished", "finished_at"), "and finished"),
    **dict.fromkeys(("screen_width", "screen_height"), "the size of your screen"),
    **dict.fromkeys(("window_width", "window_height"), "and of the window"),
    "pixel_ratio": "the pixel ratio",
    **dict.fromkeys(("device", "client", "touch"), "the kind of your device"),
    "browser": "your browser type",
}
"""Stored column -> its words in the consent text."""


def test_the_consent_text_lists_everything_that_is_stored(tmp_path: Path) -> None:
    database = open_database(tmp_path / "study.sqlite")
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    stored = {row["name"] for table in tables for row in database.execute(f"PRAGMA table_info({table})")}
    database.close()
    sent = {*Client.model_fields, *Response.model_fields, *Screening.model_fields}
    columns = stored | sent | set(PARTICIPANTS) | set(RESPONSES)
    assert columns - OF_THE_DESIGN == set(PHRASES)
    consent = text_of("consent")
    assert {column for column, phrase in PHRASES.items() if phrase not in consent} == set()


def test_every_text_has_a_template() -> None:
    for name in TEXTS:
        assert text_of(name).startswith("# ")
