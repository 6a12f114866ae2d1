"""Settings of ``study build``, and their check before any long computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from colorbench.data import Dataset, get_preprocessing
from colorbench.errors import UserError
from colorbench.models import LoadedModel
from protocols.human_study.build.color_vision_plates import DIGITS
from protocols.human_study.build.study_files import BUILDING, WRITTEN
from protocols.human_study.build.trial_assignment import PRACTICE, SENTINEL_SHARE, sentinel_count
from protocols.human_study.study_folder.design_schema import DESIGN, Assignment, Exclusions, StudySettings
from protocols.human_study.study_folder.file_names import FORM_FOLDER, STIMULI

IMAGES = 200
"""Maximum number of test images by default."""
TRIALS = 40
PAPER_PARTICIPANTS = 40
"""Participants per method in the paper."""


@dataclass(frozen=True)
class BuildRequest:
    """All settings of ``study build``."""

    models: Sequence[str | LoadedModel]
    data: Dataset
    output: Path
    participants: int | None = None
    """None: 40 per method in the preset of the paper."""
    trials: int = TRIALS
    assignment: Assignment = "within"
    images: int | None = None
    """Number of test images; None: 200, or all if there are fewer."""
    practice: int = PRACTICE
    sentinel_share: float = SENTINEL_SHARE
    preprocessing: str = "center256"
    exclusions: Exclusions = field(default_factory=lambda: Exclusions())
    seed: int = 0
    title: str = "Real or fake colors?"
    preset: str | None = None
    plates: int = 5
    exposure_ms: int = 1000
    lead_ms: int = 900
    gap_ms: int = 600
    batch_size: int = 16
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    command: tuple[str, ...] = ()


PRESETS: Mapping[str, Mapping[str, object]] = {
    "cic2016": {
        "assignment": "between",
        "trials": 40,
        "practice": 10,
        "sentinel_share": 0.1,
        "preprocessing": "squash256",
    }
}


def check(request: BuildRequest) -> None:
    """Check a request to build a study, and refuse an invalid one before any long computation.

    Raises:
        UserError: naming the invalid setting.
    """
    if (request.output / DESIGN).exists():
        what = "this folder already contains a study, whose responses belong to it"
        raise UserError(what, where=str(request.output), hint="use another --output")
    unfinished = (request.output / BUILDING).is_dir()
    for name in (STIMULI, FORM_FOLDER, *WRITTEN):
        # Files of an unfinished build may be replaced; other files under these names may not.
        if not unfinished and (request.output / name).exists():
            what = f"this folder already contains {name}, which is not of an unfinished build"
            raise UserError(what, where=str(request.output), hint="use a new folder for --output")
    if not request.models:
        raise UserError("a study needs models", hint="for example --models zoo/cic")
    if get_preprocessing(request.preprocessing).mixed_sizes:
        raise UserError("all images of a study need the same size", hint="use --preprocessing center256")
    if not 0 <= request.plates <= len(DIGITS):
        raise UserError(f"--plates cannot be {request.plates}", hint=f"choose 0 to {len(DIGITS)}")
    if not 0 <= request.sentinel_share < 1:
        raise UserError(f"--sentinels cannot be {request.sentinel_share}", hint="use a share such as 0.1")


def settings_of(request: BuildRequest, methods: int) -> StudySettings:
    """Return the settings of a session that a request to build a study asks for.

    Raises:
        UserError: if the number of participants is not given.
    """
    participants = request.participants
    if participants is None:
        if request.preset is None:
            raise UserError("--participants is required", hint="`colorbench study power` helps to choose it")
        participants = PAPER_PARTICIPANTS * methods
    return StudySettings(
        preset=request.preset,
        assignment=request.assignment,
        participants=participants,
        trials=request.trials,
        sentinels=sentinel_count(request.trials, request.sentinel_share),
        practice=request.practice,
        size=get_preprocessing(request.preprocessing).size,
        preprocessing=request.preprocessing,
        exposure_ms=request.exposure_ms,
        lead_ms=request.lead_ms,
        gap_ms=request.gap_ms,
        plates=request.plates,
    )
