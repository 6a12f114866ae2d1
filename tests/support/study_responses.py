"""A study and simulated people who answer it, for the tests of the analysis: no browser, no server, no colorizer."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas
from PIL import Image
from scipy.special import expit

from protocols.human_study.build.trial_assignment import draw_slots
from protocols.human_study.power.study_simulation import intercept
from protocols.human_study.study_folder.design_schema import (
    RESPONSES,
    Assignment,
    DataPart,
    Design,
    Exclusions,
    Method,
    Stimulus,
    StudyImage,
    StudySettings,
)

METHODS = ("zoo/cic.small", "zoo/l2", "zoo/constant")
SENTINEL = "zoo/random"


def make_design(
    *,
    participants: int = 20,
    trials: int = 40,
    sentinels: int = 4,
    images: int = 60,
    practice: int = 2,
    methods: tuple[str, ...] = METHODS,
    assignment: Assignment = "within",
    exclusions: Exclusions | None = None,
    seed: int = 0,
) -> Design:
    """A design as ``study build`` draws it, of images that exist by name only."""
    tests = [f"photo{i:03d}.png" for i in range(images)]
    warm_up = [f"practice{i}.png" for i in range(practice)]
    slots = draw_slots(
        participants=participants,
        trials=trials,
        sentinels=sentinels,
        methods=methods,
        sentinel_method=SENTINEL,
        images=tests,
        practice=warm_up,
        assignment=assignment,
        seed=seed,
    )
    known = [StudyImage(id=id, sha256=digest(id), practice=id in warm_up) for id in [*tests, *warm_up]]
    return Design(
        name="holiday-study",
        title="Real or fake?",
        seed=seed,
        created="2026-01-02T03:04:05Z",
        colorbench_version="0.1.0",
        settings=StudySettings(
            assignment=assignment, participants=participants, trials=trials, sentinels=sentinels, practice=practice
        ),
        exclusions=exclusions or Exclusions(),
        data=DataPart(name="holiday", n=images + practice, fingerprint=digest("all"), redistributable=True),
        methods=[
            *(Method(name=name, title=f"About {name}", card={"title": f"About {name}"}) for name in methods),
            Method(name=SENTINEL, title="Other colors", sentinel=True, role="baseline"),
        ],
        images=known,
        stimuli=[
            Stimulus(file=f"{digest(f'{id} {name}')[:16]}.png", image=id, method=name, sha256=digest(f"{id} {name}"))
            for id in tests
            for name in (None, *methods, SENTINEL)
        ],
        plates=[],
        slots=slots,
    )


def make_study_data(
    design: Design,
    rates: Mapping[str, float],
    *,
    participant_sd: float = 0.4,
    image_sd: float = 0.8,
    first_bias: float = 0.0,
    seed: int = 0,
) -> pandas.DataFrame:
    """What simulated people answer: the columns of ``responses``, a row an answer, practice included.

    Args:
        design: the study.
        rates: method -> marginal fooling rate.
        participant_sd, image_sd: on the logit scale; image effects are common to all methods.
        first_bias: added to the logit of calling the first image the fake.
        seed: of the people.
    """
    rng = np.random.default_rng(seed)
    sd = float(np.hypot(participant_sd, image_sd))
    image = {one.id: rng.normal(0, image_sd) for one in design.images}
    hashes = {one.id: one.sha256 for one in design.images}
    rows = []
    for slot in design.slots:
        participant = rng.normal(0, participant_sd)
        for index, trial in enumerate(slot.trials):
            logit = intercept(rates[trial.method], sd) + participant + image[trial.image]
            # Fooled means calling the other image the fake, so a leaning to the first works both ways.
            fooled = rng.random() < expit(logit + (first_bias if trial.fake == "second" else -first_bias))
            response = {"first": "second", "second": "first"}[trial.fake] if fooled else trial.fake
            rows.append(
                {
                    "participant": digest(slot.id)[:12],
                    "slot": slot.id,
                    "cell": slot.cell,
                    "platform": "lab",
                    "status": "complete",
                    "trial": index,
                    "kind": trial.kind,
                    "image": trial.image,
                    "image_sha256": hashes[trial.image],
                    "method": trial.method,
                    "fake": trial.fake,
                    "response": response,
                    "correct": not fooled,
                    "fooled": bool(fooled),
                    "reaction_ms": float(rng.lognormal(6.9, 0.5)) + 200,
                    "exposure_first_ms": 1000 + float(rng.normal(0, 8)),
                    "exposure_second_ms": 1000 + float(rng.normal(0, 8)),
                    "frame_ms": 16.7,
                    "focus_losses": 0,
                    "input": "key",
                    "presentations": 1,
                    "answered_at": "2026-01-03T00:00:00Z",
                }
            )
    return pandas.DataFrame(rows, columns=list(RESPONSES))


def write_study(folder: Path, design: Design, responses: pandas.DataFrame, *, stimuli: bool = False) -> Path:
    """The study's folder, with answers exported as CSV and, if asked, images made of real images."""
    (folder / "exports").mkdir(parents=True)
    (folder / "design.json").write_text(design.model_dump_json(indent=1))
    responses.to_csv(folder / "exports" / "responses.csv", index=False)
    if stimuli:
        write_stimuli(folder / "stimuli", design)
    return folder


def write_stimuli(folder: Path, design: Design) -> None:
    """Crops of two packaged images; a method's version has less color, a sentinel's other colors."""
    import skimage.data

    folder.mkdir()
    real = np.concatenate([skimage.data.astronaut()[:400, :400], skimage.data.coffee()[:400, :400]])
    rng = np.random.default_rng(0)
    position = {one.id: rng.integers(0, (540, 140)) for one in design.images}
    keep = {method.name: 0.25 + 0.25 * turn for turn, method in enumerate(design.methods)}
    for one in design.stimuli:
        top, left = position[one.image]
        crop = real[top : top + 256, left : left + 256].astype(float)
        gray = crop.mean(axis=2, keepdims=True)
        share = 1.0 if one.method is None else keep[one.method]
        seen = gray + share * (crop - gray)
        if one.method == SENTINEL:
            seen = gray + (crop - gray)[..., ::-1]
        Image.fromarray(seen.clip(0, 255).astype(np.uint8)).save(folder / one.file)


def digest(message: str) -> str:
    """A sha256 that stands for a file's."""
    return sha256(message.encode()).hexdigest()
