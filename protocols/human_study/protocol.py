"""The ``human-study`` protocol: ``colorbench run`` builds a study of all models asked for, to be served and analyzed.

    colorbench run --protocol human-study --model zoo/cic --model zoo/l2 --data images/ --param participants=60
    colorbench run --protocol human-study@cic2016 ...

Its metrics come later, from people: ``colorbench study analyze`` writes the records.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from colorbench.errors import UserError
from colorbench.evaluation import ProtocolSpec, deciding_identity
from colorbench.storage import digest_of
from protocols.human_study.analysis.metrics import HEADLINE, METRICS, NAME, VERSION
from protocols.human_study.build.build import PAPER_PARTICIPANTS, PRESETS, BuildRequest, build
from protocols.human_study.study.schema import DESIGN

if TYPE_CHECKING:
    from colorbench.evaluation import ProtocolContext

AUTO = "auto"


class HumanStudyProtocol:
    """Builds a study; joint, since the models are judged in one design."""

    roles = ("test",)
    joint = True
    gives_record = False
    spec = ProtocolSpec(
        name=NAME,
        version=VERSION,
        title="Real or fake: a study with people",
        parameters={
            "participants": AUTO,
            "trials": 40,
            "assignment": "within",
            "images": AUTO,
            "practice": 10,
            "sentinels": 0.1,
            "preprocessing": "center256",
            "exposure": 1000,
        },
        metrics=METRICS,
        headline=HEADLINE,
        presets={
            name: {{"sentinel_share": "sentinels"}.get(key, key): value for key, value in preset.items()}
            for name, preset in PRESETS.items()
        },
        choices={"assignment": ("within", "between")},
        parameter_help={
            "participants": f"places in the study, all methods together; auto: {PAPER_PARTICIPANTS}, or the paper's "
            f"{PAPER_PARTICIPANTS} a method for assignment=between",
            "trials": "a participant's judgments, sentinels among them",
            "assignment": "within (everybody judges every method) or between (one method a participant)",
            "images": "images in the tests; auto: up to 200",
            "practice": "trials with feedback before the others",
            "sentinels": "share of the trials against zoo/random",
            "preprocessing": "from file to image: center256, squash256",
            "exposure": "milliseconds that each image is seen",
        },
    )

    def evaluate(self, context: ProtocolContext) -> Path:
        """Build the study of the context's models; its folder, of an equal study that is there already too.

        Raises:
            UserError: for parameters or images that cannot be.
        """
        chosen = self.spec.resolved(context.parameters)
        data, request = context.data["test"], context.request
        between = chosen["assignment"] == "between"
        participants = PAPER_PARTICIPANTS * (len(context.models) if between else 1)
        if chosen["participants"] != AUTO:
            participants = _integer(chosen, "participants")
        key = digest_of(
            [chosen, [deciding_identity(one) for one in context.models], data.name, len(data), request.seed]
        )[:12]
        folder = request.output / f"study-{data.name}-{key}"
        if (folder / DESIGN).exists():
            return folder
        paper = {name: str(value) for name, value in self.spec.presets["cic2016"].items()}
        build(
            BuildRequest(
                models=context.models,
                data=data,
                output=folder,
                participants=participants,
                trials=_integer(chosen, "trials"),
                assignment="between" if between else "within",
                images=None if chosen["images"] == AUTO else _integer(chosen, "images"),
                practice=_integer(chosen, "practice", minimum=0),
                sentinel_share=_number(chosen, "sentinels"),
                preprocessing=chosen["preprocessing"],
                exposure_ms=_integer(chosen, "exposure", minimum=50),
                seed=request.seed,
                preset="cic2016" if paper.items() <= chosen.items() else None,
                batch_size=context.settings.batch_size,
                device=str(context.settings.device),
                threads=request.threads,
                workers=request.workers,
                command=tuple(request.command),
            ),
            context.listener,
        )
        return folder


def _number(chosen: dict[str, str], name: str) -> float:
    try:
        value = float(chosen[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{NAME}.{name} is no number: {chosen[name]!r}", hint="give a number")
    return value


def _integer(chosen: dict[str, str], name: str, minimum: int = 1) -> int:
    value = _number(chosen, name)
    if value != int(value) or value < minimum:
        raise UserError(f"{NAME}.{name} cannot be {chosen[name]}", hint=f"give a whole number from {minimum} on")
    return int(value)
