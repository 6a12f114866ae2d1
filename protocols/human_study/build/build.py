"""``study build``: build the folder of a study from models and images.

The colorizations are predictions, as in any evaluation. The ground truth is a prediction too, of the model
``zoo/ground-truth``, so real and fake images pass through the same pipeline.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from colorbench.data import Dataset, Sample, UnreadableImage, decode_image, get_preprocessing, id_hash
from colorbench.errors import UserError
from colorbench.evaluation import NullProgress, ProgressListener
from colorbench.models import TRUTH_MODEL, LoadedModel, load_model
from colorbench.storage import check_writable, content_fingerprint, file_sha256, write_atomic
from protocols.human_study.build.assignment import PRACTICE, SENTINEL_SHARE, draw_slots, sentinel_count
from protocols.human_study.build.color_vision_plates import DIGITS, draw_plate
from protocols.human_study.build.jspsych import jspsych_files
from protocols.human_study.build.predictions import write_predictions
from protocols.human_study.build.stimuli import files_of
from protocols.human_study.build.study_files import BUILDING, WRITTEN, clear, key_table, write_form, write_texts
from protocols.human_study.study.codebook import codebook
from protocols.human_study.study.paths import FORM_FOLDER, STIMULI, plate_name
from protocols.human_study.study.schema import (
    DESIGN,
    SENTINEL_MODEL,
    Assignment,
    DataPart,
    Design,
    Exclusions,
    Method,
    Stimulus,
    StudyImage,
    StudySettings,
)

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


class _Chosen(NamedTuple):
    sample: Sample
    sha256: str


def build(request: BuildRequest, listener: ProgressListener | None = None) -> Design:
    """Write the folder of a study.

    An interrupted build resumes when it is called again: finished colorizations are kept. All other files of a failed
    build are removed.

    Raises:
        UserError: for an invalid request; for a folder that already contains a study, since its responses would no
            longer match the design.
    """
    check(request)
    started = not request.output.exists()
    check_writable(request.output)
    try:
        (request.output / BUILDING).mkdir(exist_ok=True)
        return _build(request, listener or NullProgress())
    except BaseException:
        clear(request.output, started)
        raise


def _build(request: BuildRequest, listener: ProgressListener) -> Design:
    jspsych = jspsych_files()
    models = [one if isinstance(one, LoadedModel) else load_model(one) for one in request.models]
    sentinel, truth = load_model(SENTINEL_MODEL), load_model(TRUTH_MODEL)
    names = [model.full_name for model in models]
    for name in names:
        if names.count(name) > 1 or name == sentinel.full_name:
            hint = "it is the model of the sentinels" if name == sentinel.full_name else "name it once"
            raise UserError(f"{name} is given twice", hint=hint)
    settings = settings_of(request, len(models))
    tests, practice = _images(request)
    chosen = [*tests, *practice]
    slots = draw_slots(
        participants=settings.participants,
        trials=settings.trials,
        sentinels=settings.sentinels,
        methods=names,
        sentinel_method=sentinel.full_name,
        images=[one.sample.id for one in tests],
        practice=[one.sample.id for one in practice],
        assignment=request.assignment,
        seed=request.seed,
    )
    needed = {(trial.image, trial.method) for slot in slots for trial in slot.trials}
    rated = [*models, sentinel] if settings.sentinels else models
    shown = {one.full_name: one for one in [*rated, truth]}
    responses = _colorize(request, list(shown.values()), chosen, listener)
    stimuli = _write_stimuli(request, responses, [one.sample.id for one in chosen], needed, truth.full_name)
    digits = np.random.default_rng([request.seed, 1]).permutation(list(DIGITS))[: request.plates].tolist()
    for number, digit in enumerate(digits):
        buffer = io.BytesIO()
        Image.fromarray(draw_plate(digit, number, request.seed)).save(buffer, "PNG")
        write_atomic(request.output / FORM_FOLDER / plate_name(number), buffer.getvalue(), durable=False)
    design = Design(
        name=request.output.resolve().name,
        title=request.title,
        seed=request.seed,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        colorbench_version=version("colorbench"),
        settings=settings,
        exclusions=request.exclusions,
        data=DataPart(
            name=request.data.name,
            n=len(request.data),
            fingerprint=content_fingerprint(one.sha256 for one in tests),
            redistributable=request.data.redistributable,
        ),
        methods=[_method(model, sentinel.full_name) for model in rated],
        images=[
            StudyImage(id=one.sample.id, sha256=one.sha256, practice=number >= len(tests))
            for number, one in enumerate(chosen)
        ],
        stimuli=stimuli,
        plates=digits,
        slots=slots,
        command=list(request.command),
    )
    write_form(request.output, jspsych)
    write_texts(request.output, design)
    write_atomic(request.output / "codebook.md", codebook(design).encode())
    write_atomic(request.output / "key.csv", key_table(stimuli).encode())
    # The design is written last: a folder with a design is a complete study.
    write_atomic(request.output / DESIGN, design.model_dump_json(indent=1).encode())
    shutil.rmtree(request.output / BUILDING, ignore_errors=True)
    return design


def check(request: BuildRequest) -> None:
    """Refuse an invalid request before any long computation.

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
    """Return the settings of a session.

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


def _images(request: BuildRequest) -> tuple[list[_Chosen], list[_Chosen]]:
    """Choose the images of test and practice trials.

    They are a random subset of the dataset without gray, unreadable and duplicate images.
    """
    wanted = (IMAGES if request.images is None else request.images) + request.practice
    fewest = request.trials + request.practice
    if request.images is not None and request.images < request.trials:
        what = f"{request.trials} trials need {request.trials} images, but --images is {request.images}"
        raise UserError(what, hint="use more --images, or fewer --trials")
    found: dict[str, _Chosen] = {}
    for sample in sorted(request.data.samples, key=lambda sample: id_hash(f"{request.seed}\0{sample.id}")):
        if len(found) == wanted:
            break
        try:
            image = decode_image(sample)
        except UnreadableImage:
            continue
        if not image.gray:
            found.setdefault(image.sha256, _Chosen(sample, image.sha256))
    chosen = list(found.values())
    missing = (wanted if request.images is not None else fewest) - len(chosen)
    if missing > 0:
        what = (
            f"a session of {request.practice} practice trials and {request.trials} other trials needs {fewest} "
            f"different images with color, and there are {len(chosen)}"
        )
        hint = "use more images, or fewer --trials, --practice and --images"
        raise UserError(what, where=request.data.source or request.data.name, hint=hint)
    return chosen[request.practice :], chosen[: request.practice]


def _colorize(
    request: BuildRequest, models: list[LoadedModel], chosen: list[_Chosen], listener: ProgressListener
) -> dict[str, dict[str, Path]]:
    """Return the PNG of every model's prediction: model -> id of the image -> path."""
    samples = tuple(sorted((one.sample for one in chosen), key=lambda sample: sample.id))
    return write_predictions(
        request.output / BUILDING,
        models,
        replace(request.data, samples=samples),
        {one.sample.id: one.sha256 for one in chosen},
        listener,
        preprocessing=request.preprocessing,
        seed=request.seed,
        batch_size=request.batch_size,
        device=request.device,
        threads=request.threads,
        workers=request.workers,
    )


def _write_stimuli(
    request: BuildRequest,
    responses: Mapping[str, Mapping[str, Path]],
    ids: Sequence[str],
    needed: set[tuple[str, str]],
    truth: str,
) -> list[Stimulus]:
    """Write the needed versions of all images under random names."""
    rng = np.random.default_rng([request.seed, 2])
    folder = request.output / STIMULI
    shutil.rmtree(folder, ignore_errors=True)
    stimuli = []
    for id in ids:
        versions = {"": _read(responses[truth][id])}
        versions |= {model: _read(paths[id]) for model, paths in responses.items() if (id, model) in needed}
        if len(versions) == 1:
            continue  # an image that is not shown
        for name, data in files_of(versions).items():
            path = folder / f"{rng.bytes(8).hex()}.png"
            write_atomic(path, data, durable=False)
            digest = file_sha256(path)
            stimuli.append(Stimulus(file=path.name, image=id, method=name or None, sha256=digest))
    return sorted(stimuli, key=lambda stimulus: stimulus.file)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _method(model: LoadedModel, sentinel: str) -> Method:
    return Method(
        name=model.full_name,
        title=model.card.title,
        sentinel=model.full_name == sentinel,
        role=model.card.role,
        package=model.package,
        package_version=model.package_version,
        weights_sha256=model.weights_sha256,
        decoding=dict(model.decoding),
        card=model.card.model_dump(mode="json"),
    )
