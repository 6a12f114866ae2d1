"""The ``human-study`` protocol: ``colorbench run`` builds a study of all given models.

    colorbench run --protocol human-study --model zoo/cic --model zoo/l2 --data images/ --param participants=60
    colorbench run --protocol human-study@cic2016 ...

Its metrics come from participants: ``colorbench study analyze`` writes the records.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from colorbench.evaluation import ProtocolSpec
from colorbench.models import deciding_identity
from colorbench.storage import digest_of
from protocols.human_study.analysis.study_metrics import HEADLINE, METRICS, NAME, VERSION
from protocols.human_study.build.build_request import PAPER_PARTICIPANTS, PRESETS, BuildRequest
from protocols.human_study.build.build_study import build
from protocols.human_study.study_folder.design_schema import DESIGN
from protocols.number_parameters import integer_parameter, number_parameter

if TYPE_CHECKING:
    from colorbench.evaluation import ProtocolContext

AUTO = "auto"


class HumanStudyProtocol:
    """Builds a study; joint, since all models are in one design."""

    roles = ("test",)
    joint = True
    gives_record = False
    spec = ProtocolSpec(
        name=NAME,
        version=VERSION,
        title="Real or fake: a study with participants",
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
        category="People",
        headline=HEADLINE,
        headline_reason="it is the measure of the paper, and says directly what people take for real",
        presets={
            name: {{"sentinel_share": "sentinels"}.get(key, key): value for key, value in preset.items()}
            for name, preset in PRESETS.items()
        },
        choices={"assignment": ("within", "between")},
        parameter_help={
            "participants": f"number of participants over all methods; auto: {PAPER_PARTICIPANTS}, or for "
            f"assignment=between {PAPER_PARTICIPANTS} per method as in the paper",
            "trials": "trials per participant, including sentinels",
            "assignment": "within (all methods per participant) or between (one method per participant)",
            "images": "test images; auto: up to 200",
            "practice": "practice trials with feedback",
            "sentinels": "share of trials against zoo/random",
            "preprocessing": "from file to image: center256, squash256",
            "exposure": "exposure of each image in milliseconds",
        },
    )

    def evaluate(self, context: ProtocolContext) -> Path:
        """Build the study of the context's models, or find an equal one; return its folder.

        Raises:
            UserError: for invalid parameters or images.
        """
        chosen = self.spec.resolved(context.parameters)
        data, request = context.data["test"], context.request
        between = chosen["assignment"] == "between"
        participants = PAPER_PARTICIPANTS * (len(context.models) if between else 1)
        if chosen["participants"] != AUTO:
            participants = integer_parameter(NAME, "participants", chosen["participants"], 1)
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
                trials=integer_parameter(NAME, "trials", chosen["trials"], 1),
                assignment="between" if between else "within",
                images=None if chosen["images"] == AUTO else integer_parameter(NAME, "images", chosen["images"], 1),
                practice=integer_parameter(NAME, "practice", chosen["practice"], 0),
                sentinel_share=number_parameter(NAME, "sentinels", chosen["sentinels"]),
                preprocessing=chosen["preprocessing"],
                exposure_ms=integer_parameter(NAME, "exposure", chosen["exposure"], 50),
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
