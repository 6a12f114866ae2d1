"""``study build``: building of a study's folder from models and images.

The colorizations are predictions, as in any evaluation. The ground truth is a prediction too, of the model
``zoo/ground-truth``, so real and fake images pass through the same pipeline.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from colorbench.data import Sample, UnreadableImage, decode_image, id_hash
from colorbench.errors import UserError
from colorbench.evaluation import NullProgress, ProgressListener
from colorbench.models import TRUTH_MODEL, LoadedModel, load_model
from colorbench.storage import check_writable, content_fingerprint
from protocols.human_study.build.build_request import IMAGES, BuildRequest, check, settings_of
from protocols.human_study.build.jspsych import jspsych_files
from protocols.human_study.build.stimulus_files import draw_digits, write_plates, write_stimuli
from protocols.human_study.build.study_files import BUILDING, clear, write_study
from protocols.human_study.build.study_predictions import write_predictions
from protocols.human_study.build.trial_assignment import draw_slots
from protocols.human_study.study_folder.design_schema import SENTINEL_MODEL, DataPart, Design, Method, StudyImage


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
    stimuli = write_stimuli(
        request.output, responses, [one.sample.id for one in chosen], needed, truth.full_name, request.seed
    )
    digits = draw_digits(request.plates, request.seed)
    write_plates(request.output, digits, request.seed)
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
    write_study(request.output, design, jspsych)
    return design


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
