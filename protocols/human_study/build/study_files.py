"""Writing of a study's files apart from images: design, key, texts, form."""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import StrictUndefined, Template

from colorbench.reporting import counted
from colorbench.storage import write_atomic
from protocols.human_study.study_folder.codebook_text import codebook
from protocols.human_study.study_folder.design_schema import DESIGN, Design, Stimulus, StudySettings
from protocols.human_study.study_folder.file_names import FORM, FORM_FOLDER, STIMULI, TEXTS, TEXTS_FOLDER

SECONDS_A_CHOICE = 3.0
"""Estimate for the duration in the consent text."""
WRITTEN = ("codebook.md", "key.csv")
BUILDING = ".building"
"""Folder of the predictions until the study is complete."""


def clear(output: Path, started: bool) -> None:
    """Remove the files of a study whose build failed, except what the next build can use and edited texts.

    Args:
        output: the study's folder.
        started: whether the build created the folder.
    """
    if (output / DESIGN).exists():
        return  # it is complete
    for name in (STIMULI, FORM_FOLDER):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in WRITTEN:
        (output / name).unlink(missing_ok=True)
    for name in TEXTS:
        path = output / TEXTS_FOLDER / f"{name}.md"
        if _is_ours(output, name):
            path.unlink(missing_ok=True)
    if not any((output / BUILDING).rglob("*.png")):
        shutil.rmtree(output / BUILDING, ignore_errors=True)
    for folder in (output / TEXTS_FOLDER, output):
        if folder != output or started:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty


def _is_ours(output: Path, name: str) -> bool:
    """Return whether a text of an unfinished build was not edited."""
    try:
        return (output / TEXTS_FOLDER / f"{name}.md").read_bytes() == (output / BUILDING / f"{name}.md").read_bytes()
    except OSError:
        return False


def write_study(output: Path, design: Design, jspsych: Mapping[str, bytes]) -> None:
    """Write all files of a study but images and plates; the design last, since it marks a complete study.

    Args:
        output: the study's folder.
        design: of the study.
        jspsych: name -> bytes of the files of jsPsych.
    """
    _write_form(output, jspsych)
    write_texts(output, design)
    write_atomic(output / "codebook.md", codebook(design).encode())
    write_atomic(output / "key.csv", key_table(design.stimuli).encode())
    write_atomic(output / DESIGN, design.model_dump_json(indent=1).encode())
    shutil.rmtree(output / BUILDING, ignore_errors=True)


def _write_form(output: Path, jspsych: Mapping[str, bytes]) -> None:
    """Write the files of the form and of jsPsych below a study's folder."""
    source = files("protocols.human_study") / FORM_FOLDER
    for name in FORM:
        write_atomic(output / FORM_FOLDER / name, (source / name).read_bytes(), durable=False)
    for name, data in jspsych.items():
        write_atomic(output / FORM_FOLDER / name, data, durable=False)


def write_texts(output: Path, design: Design) -> None:
    """Write the files of a study's texts to edit; texts that were edited before an interruption are kept.

    Until the study is complete, a copy beside the colorizations shows which texts were not edited.
    """
    source = files("protocols.human_study") / TEXTS_FOLDER
    for name in TEXTS:
        path = output / TEXTS_FOLDER / f"{name}.md"
        if not path.exists() or _is_ours(output, name):
            text = fill_text((source / f"{name}.md").read_text(), design.title, design.settings).encode()
            write_atomic(output / BUILDING / f"{name}.md", text, durable=False)
            write_atomic(path, text)


def fill_text(template: str, title: str, settings: StudySettings) -> str:
    """Return a text for participants in Markdown, from its Jinja template and the settings of the study."""
    seconds = (settings.lead_ms + settings.gap_ms + 2 * settings.exposure_ms) / 1000 + SECONDS_A_CHOICE
    exposure = "about a second" if settings.exposure_ms == 1000 else f"{settings.exposure_ms / 1000:g} seconds"
    text: str = Template(template, keep_trailing_newline=True, undefined=StrictUndefined).render(
        title=title,
        minutes=max(1, round((settings.trials + settings.practice) * seconds / 60) + 1),
        practice=settings.practice,
        trials=settings.trials,
        sentinels=settings.sentinels,
        plates=settings.plates,
        exposure=exposure,
        counted=counted,
    )
    return text


def key_table(stimuli: Sequence[Stimulus]) -> str:
    """Return the key file of a study as CSV: image, method and sha256 of every stimulus file."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "image", "method", "sha256"])
    for one in stimuli:
        writer.writerow([one.file, one.image, one.method or "(real)", one.sha256])
    return buffer.getvalue()
