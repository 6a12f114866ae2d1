"""The format of a study on disk: ``design.json``, and the columns of the exported tables.

    STUDY/
      design.json      all sessions in order; contains every solution, and is never served
      key.csv          neutral file name -> image and method, for the researchers
      codebook.md      the meaning of every column
      texts/           consent, instructions and debrief, to edit
      stimuli/         neutral names, one file size per image
      form/            the page with its scripts and style, and jsPsych
      data/            the server's database and secrets, made by ``study serve``
      exports/         ``responses`` and ``participants`` as CSV and Parquet

The design is written before the first participant, and the analysis follows it. The server stores its exclusions with
the first participant, so that the analysis can tell whether they were changed afterwards.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from colorbench.errors import UserError, first_problem, printable

DESIGN = "design.json"
SENTINEL_MODEL = "zoo/random"
"""An attentive participant nearly always detects its colors as fake."""

Position = Literal["first", "second"]
Kind = Literal["practice", "test", "sentinel"]
Assignment = Literal["within", "between"]
Platform = Literal["lab", "prolific", "mturk"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Exclusions(_Part):
    """Exclusions of the analysis, to be fixed before the first participant. None: not applied."""

    complete_only: bool = True
    """Leave out participants who did not finish."""
    min_sentinel_correct: float | None = Field(default=0.5, ge=0, le=1)
    """Leave out participants whose share of caught sentinels is below this."""
    max_same_position: float | None = Field(default=0.95, ge=0.5, le=1)
    """Leave out participants who chose one position (first or second) in more than this share of test trials."""
    min_reaction_ms: float | None = Field(default=100.0, ge=0)
    """Leave out trials with a faster response after the choice appeared."""
    max_exposure_error_ms: float | None = Field(default=100.0, ge=0)
    """Leave out trials in which an image's measured exposure is off by more than this."""
    max_focus_losses: int | None = Field(default=0, ge=0)
    """Leave out trials during which the window lost the focus more often than this."""
    color_vision: bool = False
    """Leave out participants who say that they do not see all colors. The plates are screening only and never
    exclude anyone by themselves."""


class StudySettings(_Part):
    """Settings of a session."""

    preset: str | None = None
    """``cic2016`` for the session of the paper."""
    assignment: Assignment = "within"
    """``within``: every method per participant (Latin square); ``between``: one method per participant."""
    participants: int = Field(ge=1)
    """Number of participants over all methods."""
    trials: int = Field(ge=2)
    """Trials per participant without feedback: test trials and sentinels."""
    sentinels: int = Field(ge=0)
    """Number of ``trials`` against ``zoo/random``."""
    practice: int = Field(ge=0)
    """Practice trials with feedback, on separate images."""
    size: int = 256
    """Side of every image in pixels."""
    preprocessing: str = "squash256"
    """From file to image, for the real image and for the lightness given to the models."""
    exposure_ms: int = Field(1000, ge=50)
    """Exposure of each image of a pair."""
    lead_ms: int = Field(900, ge=0)
    """Empty time before the first image."""
    gap_ms: int = Field(600, ge=0)
    """Empty time between the two images."""
    plates: int = Field(5, ge=0)
    """Color-vision plates, screening only."""


class Method(_Part):
    """A colorizer in the study, or the one of the sentinels."""

    name: str
    """Full name with its resolved tag: ``zoo/cic``. Content of the column ``method``."""
    title: str
    """The card's."""
    sentinel: bool = False
    """Whether it is used only in sentinel trials, which are not part of any method's rate."""
    role: str = "competitor"
    """The card's role."""
    package: str | None = None
    """The package that provides it."""
    package_version: str | None = None
    """Its version."""
    weights_sha256: str | None = None
    """Of its weights, or over its stored images."""
    decoding: dict[str, str | float] = {}
    """decode and temperature, if the model predicts a distribution."""
    card: dict[str, Any] = {}
    """The complete model card, for the record."""


class StudyImage(_Part):
    """An image of the study."""

    id: str
    """Its id in the dataset; content of the column ``image``."""
    sha256: str
    """Of its file; matches it with other records."""
    practice: bool = False
    """Whether it is a practice image, which is not in any test trial."""


class Stimulus(_Part):
    """A file in ``stimuli/``."""

    file: str
    """Neutral, random name."""
    image: str
    """Id of the image."""
    method: str | None
    """Name of the method; None: the real image."""
    sha256: str
    """Of the file."""


class Trial(_Part):
    """One trial: the real image and one method's colorization, one after the other."""

    kind: Kind
    """practice (with feedback, never analyzed), test, or sentinel."""
    image: str
    """Id of the image; no image is shown in two trials of a session."""
    method: str
    """Name of the method that made the fake."""
    fake: Position
    """Which of the two images is the fake."""


class Slot(_Part):
    """The session of one participant. An abandoned slot is given to another participant."""

    id: str
    """``s001`` ..."""
    cell: str
    """between: the method's name; within: ``all``."""
    trials: list[Trial]
    """In the order shown, practice first; the index in this list is the column ``trial``."""


class DataPart(_Part):
    """The dataset of the study."""

    name: str
    """Name of the dataset."""
    n: int
    """Images in the whole dataset."""
    fingerprint: str
    """sha256 over the content hashes of the study's test images."""
    redistributable: bool
    """Whether its images may be redistributed in pages."""


class Design(_Part):
    """``design.json``."""

    schema_version: Literal[2] = 2
    name: str
    """Name of the study's folder when it was built."""
    title: str
    """Title shown to participants; does not mention methods."""
    seed: int
    """Seed of all random choices of the design."""
    created: str
    """UTC, ISO 8601."""
    colorbench_version: str
    """Version that built it."""
    settings: StudySettings
    """Settings of a session."""
    exclusions: Exclusions
    """Rules of the analysis."""
    data: DataPart
    """Source of the images."""
    methods: list[Method]
    """The rated methods, in the order given, then that of the sentinels."""
    images: list[StudyImage]
    """Images of test and practice trials."""
    stimuli: list[Stimulus]
    """Every file in ``stimuli/``."""
    plates: list[str]
    """The digit on each color-vision plate, in the order shown; the first is visible to everybody."""
    slots: list[Slot]
    """The sessions."""
    command: list[str] = []
    """The command line that built it."""

    @property
    def rated(self) -> list[Method]:
        """The methods without that of the sentinels."""
        return [method for method in self.methods if not method.sentinel]

    @property
    def tests(self) -> list[StudyImage]:
        """The images of the test trials."""
        return [one for one in self.images if not one.practice]


RESPONSES: dict[str, str] = {
    "participant": "neutral id (12 hexadecimal digits), random; independent of the worker's id",
    "slot": "slot in the study (design.json, slots[].id)",
    "cell": "between: the method; within: all",
    "platform": "lab, prolific or mturk",
    "status": "of the participant: complete, active (in progress) or expired (abandoned)",
    "trial": "index in the session, from 0, practice included",
    "kind": "practice, test or sentinel; only test trials enter a method's rate",
    "image": "id in the dataset",
    "image_sha256": "of its file",
    "method": "full name of the colorizer behind the fake",
    "fake": "which image was the fake: first or second",
    "response": "which image was called the fake: first or second",
    "correct": "response equals fake",
    "fooled": "not correct: the real image was called the fake",
    "reaction_ms": "from the first frame of the choice to the response, milliseconds",
    "exposure_first_ms": "measured exposure of the first image, milliseconds",
    "exposure_second_ms": "measured exposure of the second image, milliseconds",
    "frame_ms": "median time between frames of the screen during the trial, milliseconds",
    "focus_losses": "times the window lost the focus or was hidden during the trial",
    "input": "key, mouse or touch (pen counts as touch)",
    "presentations": "number of times the pair was shown: 1, more after a reload during the trial",
    "answered_at": "UTC, ISO 8601, when the server stored it",
}
"""Columns of ``responses.csv`` and ``responses.parquet``: one row per response. The order is that of the columns."""

PARTICIPANTS: dict[str, str] = {
    "participant": "as in responses",
    "slot": "as in responses; empty without consent",
    "cell": "as in responses",
    "platform": "as in responses",
    "status": "as in responses",
    "answered": "responses stored, practice included",
    "practice_correct": "practice trials answered correctly",
    "sentinels_correct": "sentinels caught",
    "sentinels": "sentinels answered",
    "color_vision": "own statement: normal, deficient, unsure or unsaid; screening only",
    "plates_correct": "color-vision plates read correctly; screening only",
    "plates": "color-vision plates answered",
    "consented_at": "UTC, ISO 8601",
    "finished_at": "UTC, ISO 8601; empty if not finished",
    "loads": "times the page was opened, reloads included",
    "screen_width": "of the screen, CSS pixels",
    "screen_height": "of the screen, CSS pixels",
    "window_width": "of the window when the session began, CSS pixels",
    "window_height": "of the window when the session began, CSS pixels",
    "pixel_ratio": "device pixels for one CSS pixel (zoom included)",
    "device": "desktop, phone or tablet",
    "browser": "chrome, edge, firefox, safari or other",
}
"""Columns of ``participants.csv`` and ``participants.parquet``: one row per participant who consented."""


def read_design(folder: Path) -> Design:
    """Read the design of a study's folder.

    Raises:
        UserError: if it is missing or invalid.
    """
    path = Path(folder) / DESIGN
    try:
        return Design.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "use a folder written by `colorbench study build`"
        raise UserError("not a study folder", where=str(path), hint=hint) from error
    except ValidationError as error:
        what, hint = _problem(error)
        raise UserError(f"the design cannot be read: {what}", where=str(path), hint=hint) from error


def _problem(error: ValidationError) -> tuple[str, str]:
    """Return what is wrong in a design, and a hint. A misspelled key is named first: others may follow from it."""
    errors = error.errors()
    place = next((one["loc"] for one in errors if one["type"] == "extra_forbidden"), None)
    if place is not None:
        near = difflib.get_close_matches(str(place[-1]), _fields(place[:-1]), n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return f"unknown field {printable('.'.join(map(str, place)))}", hint
    if errors[0]["loc"][:1] == ("schema_version",):
        hint = "use the version of colorbench that built it, or, if it has no responses yet, build the study again"
        return "it is of another version", hint
    return first_problem(error), f"correct {DESIGN}"


def _fields(place: Sequence[str | int]) -> list[str]:
    """Return the names of the fields at a place in a design, such as ``("slots", 0)``."""
    model: Any = Design
    for name in place:
        if isinstance(name, str):
            annotation = model.model_fields[name].annotation
            model = next(iter(get_args(annotation)), annotation)
    return list(model.model_fields)
