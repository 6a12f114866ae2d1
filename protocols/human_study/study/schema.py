"""What a study is on disk: ``design.json``, and the columns of the tables that it exports.

    STUDY/
      design.json      who sees what, in which order; holds every answer, and is never served
      key.csv          neutral file name -> image and method, for people
      codebook.md      what every column means
      texts/           consent, instructions and debrief, to edit
      thumbnails/        neutral names, one size an image
      form/            the page, its script and style, jsPsych
      data/            the server's database and secrets, made by ``study serve``
      exports/         ``responses`` and ``participants`` as CSV and Parquet

The design is written before anyone takes part and is what the analysis goes by: its exclusions are pre-registered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from colorbench.errors import UserError

DESIGN = "design.json"
SENTINEL_MODEL = "zoo/random"
"""Against its colors a watchful participant is nearly always right."""

Position = Literal["first", "second"]
Kind = Literal["practice", "test", "sentinel"]
Assignment = Literal["within", "between"]
Platform = Literal["lab", "prolific", "mturk"]
Status = Literal["active", "complete", "expired"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Exclusions(_Part):
    """What the analysis leaves out, fixed before the first participant. None: not applied."""

    complete_only: bool = True
    """Leave out participants who did not finish."""
    min_sentinel_correct: float | None = Field(default=0.5, ge=0, le=1)
    """Leave out participants whose share of caught sentinels is below this."""
    max_same_position: float | None = Field(default=0.95, ge=0.5, le=1)
    """Leave out participants who chose one place (first or second) in more than this share of test trials."""
    min_reaction_ms: float | None = Field(default=100.0, ge=0)
    """Leave out trials answered faster than this after the choice appeared."""
    max_exposure_error_ms: float | None = Field(default=100.0, ge=0)
    """Leave out trials in which an image's measured exposure is off by more than this."""
    max_focus_losses: int | None = Field(default=0, ge=0)
    """Leave out trials during which the window lost the focus more often than this."""
    color_vision: bool = False
    """Leave out participants who say that they do not see all colors. The plates are screening only and never
    exclude anyone by themselves."""


class StudySettings(_Part):
    """How a session goes."""

    preset: str | None = None
    """``cic2016`` where the paper's session was asked for."""
    assignment: Assignment = "within"
    """``within``: everybody judges every method (Latin square); ``between``: one method a participant."""
    participants: int = Field(ge=1)
    """Number of participants over all methods."""
    trials: int = Field(ge=2)
    """Judgments a participant that are asked for without feedback: test trials and sentinels."""
    sentinels: int = Field(ge=0)
    """How many of ``trials`` are against ``zoo/random``."""
    practice: int = Field(ge=0)
    """Trials before them, with feedback, on images of their own."""
    size: int = 256
    """Pixels a side of every image."""
    preprocessing: str = "squash256"
    """From file to image, for the real one and for the lightness that the models were given."""
    exposure_ms: int = Field(1000, ge=50)
    """How long each image of a pair is seen."""
    lead_ms: int = Field(900, ge=0)
    """Empty time before the first image."""
    gap_ms: int = Field(600, ge=0)
    """Empty time between the two."""
    plates: int = Field(5, ge=0)
    """Color-vision plates, screening only."""


class Method(_Part):
    """A colorizer that is judged, or the one behind the sentinels."""

    name: str
    """Full name with its resolved tag: ``zoo/cic``. What the column ``method`` holds."""
    title: str
    """The card's."""
    sentinel: bool = False
    """Whether it stands only in sentinel trials: never in a method's rate."""
    role: str = "competitor"
    """The card's role."""
    package: str | None = None
    """The package that brings it."""
    package_version: str | None = None
    """Its version."""
    weights_sha256: str | None = None
    """Of its weights, or over its stored images."""
    decoding: dict[str, str | float] = {}
    """decode and temperature, where the model predicts a distribution."""
    card: dict[str, Any] = {}
    """The model's whole card, for the record on the board."""


class StudyImage(_Part):
    """An image of the study."""

    id: str
    """Its id in the data set. What the column ``image`` holds."""
    sha256: str
    """Of its file: what pairs it with other records."""
    practice: bool = False
    """Whether it is one of the practice images, which are in no test."""


class Stimulus(_Part):
    """A file below ``thumbnails/``."""

    file: str
    """Neutral name, drawn at random."""
    image: str
    """Id of the image."""
    method: str | None
    """Name of the method; None: the real image."""
    sha256: str
    """Of the file."""


class Trial(_Part):
    """A pair to be judged: the real image and one method's colors, one after the other."""

    kind: Kind
    """practice (with feedback, never analyzed), test, or sentinel."""
    image: str
    """Id of the image; no image comes twice in a session."""
    method: str
    """Name of the method that made the fake."""
    fake: Position
    """Which of the two images is the fake."""


class Slot(_Part):
    """A place in the study: what one participant sees. A place that was given up is given to another."""

    id: str
    """``s001`` ..."""
    cell: str
    """between: the method's name; within: ``all``."""
    trials: list[Trial]
    """In the order shown, practice first; the index in this list is the column ``trial``."""


class DataPart(_Part):
    """The set of images that the study's were drawn from."""

    name: str
    """The set's name."""
    n: int
    """Images in the whole set."""
    fingerprint: str
    """sha256 over the content hashes of the study's test images."""
    redistributable: bool
    """Whether its images may be passed on in pages."""


class Design(_Part):
    """``design.json``."""

    schema_version: Literal[2] = 2
    name: str
    """Name of the study's folder when it was built."""
    title: str
    """What participants read on top of the page; says nothing of methods."""
    seed: int
    """Everything random in the design follows from it."""
    created: str
    """UTC, ISO 8601."""
    colorbench_version: str
    """That built it."""
    settings: StudySettings
    """How a session goes."""
    exclusions: Exclusions
    """Pre-registered."""
    data: DataPart
    """Where the images come from."""
    methods: list[Method]
    """Those judged, in the order given, then the sentinels' one."""
    images: list[StudyImage]
    """Those of the tests and of the practice."""
    stimuli: list[Stimulus]
    """Every file below ``thumbnails/``."""
    plates: list[str]
    """The digit on each color-vision plate, in the order shown; the first is seen by everybody."""
    slots: list[Slot]
    """What each participant sees."""
    command: list[str] = []
    """The command line that built it."""

    @property
    def rated(self) -> list[Method]:
        """The methods without the sentinels' one."""
        return [method for method in self.methods if not method.sentinel]

    @property
    def tests(self) -> list[StudyImage]:
        """The images of the test trials."""
        return [one for one in self.images if not one.practice]


RESPONSES: dict[str, str] = {
    "participant": "neutral id (12 hexadecimal digits), random; nothing of the worker's id is in it",
    "slot": "place in the study (design.json, slots[].id)",
    "cell": "between: the method; within: all",
    "platform": "lab, prolific or mturk",
    "status": "of the participant: complete, active (still at it) or expired (gave up)",
    "trial": "index in the session, from 0, practice included",
    "kind": "practice, test or sentinel; only test trials enter a method's rate",
    "image": "id in the data set",
    "image_sha256": "of its file",
    "method": "full name of the colorizer behind the fake",
    "fake": "which image was the fake: first or second",
    "response": "which image was called the fake: first or second",
    "correct": "answer equals fake",
    "fooled": "not correct: the real image was called the fake",
    "reaction_ms": "from the choice's first frame to the answer, milliseconds",
    "exposure_first_ms": "measured time for which the first image was seen, milliseconds",
    "exposure_second_ms": "the same of the second",
    "frame_ms": "the screen's median time between frames during the trial, milliseconds",
    "focus_losses": "times the window lost the focus or was hidden during the trial",
    "input": "key, mouse or touch (pen counts as touch)",
    "presentations": "times the pair was shown from its start: 1, more after a reload in the middle of the trial",
    "answered_at": "UTC, ISO 8601, when the server stored it",
}
"""Columns of ``responses.csv`` and ``responses.parquet``: one row an answer. Order is the order of the columns."""

PARTICIPANTS: dict[str, str] = {
    "participant": "as in responses",
    "slot": "as in responses; empty for one who never consented",
    "cell": "as in responses",
    "platform": "as in responses",
    "status": "as in responses",
    "answered": "answers stored, practice included",
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
"""Columns of ``participants.csv`` and ``participants.parquet``: one row a participant who consented."""


def read_design(folder: Path) -> Design:
    """Read the design of a study's folder.

    Raises:
        UserError: where there is none, or it is not one.
    """
    path = Path(folder) / DESIGN
    try:
        return Design.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "give a folder that `colorbench study build` wrote"
        raise UserError("no study here", where=str(path), hint=hint) from error
    except ValueError as error:
        raise UserError("this is no design of this version", where=str(path), hint="build the study again") from error
