"""``analysis.html``: numbers, plots and images of a study in one self-contained page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from colorbench.reporting import Plot, counted, format_number
from protocols.human_study.analysis.fooling_rates import EMPTY, SMOKE_TEST, Analysis, ImageResult, MethodResult
from protocols.human_study.analysis.methods_text import findings, format_p, methods_paragraph, percent, points

SHOWN = 6
"""Images per method with the highest and lowest rates."""
SIDE = 200
"""Side of an image on the page, in pixels."""
CAPTIONS = {
    "images": "Per-image rates, shrunk towards the rate of the method (empirical Bayes); band: 95 % interval of each "
    "image.",
    "participants": "Fooling rate of each participant over all methods.",
    "session": "Blocks of the session, with 95 % intervals. A decrease indicates learning during the session.",
    "reaction-times": "Reaction times of correct responses, and of responses that called the real image the fake.",
}


def page(analysis: Analysis, study: Path, drawn: Mapping[str, Plot]) -> str:
    """Render the page of an analysis as text; equal analyses give equal bytes.

    Args:
        analysis: what to show.
        study: folder of the study; images with missing files are only named.
        drawn: see ``analysis_plots.plots``.
    """
    from colorbench.reporting import page_environment

    environment = page_environment("protocols.human_study")
    environment.filters |= {"percent": percent, "points": points, "format_p": format_p, "number": format_number}
    environment.filters["counted"] = counted
    result = analysis.result
    first = next((note for note in analysis.notes if note.startswith((SMOKE_TEST, EMPTY))), None)
    text = environment.get_template("analysis.html.jinja").render(
        design=analysis.study_data.design,
        result=result,
        pairs=analysis.rows,
        rows=[row for _, row in analysis.rows if row is not None],
        first_note=first,
        notes=[note for note in analysis.notes if note != first],
        findings=findings(analysis),
        paragraphs=methods_paragraph(analysis),
        applied=analysis.applied,
        left_out=int((~analysis.applied.kept).sum()),
        total=len(analysis.study_data.responses),
        sentinels=int(analysis.applied.kept.sum()) - result.responses,
        rates_plot=drawn.get("rates"),
        plots=[(drawn[name], caption) for name, caption in CAPTIONS.items() if name in drawn],
        images=[_ends(analysis, row, study) for row in result.methods if not row.sentinel],
        facts=_facts(analysis),
    )
    return _unbroken(text)


def _unbroken(text: str) -> str:
    """Put a no-break space before percent signs and inside intervals."""
    text = re.sub(r"(?<=\d) (?=%)", "\u00a0", text)
    return re.sub(r"(\[[-+−]?\d[\d.]*,) (?=[-+−]?\d[\d.]*\])", "\\1\u00a0", text)


def _ends(analysis: Analysis, row: MethodResult, study: Path) -> dict[str, Any]:
    """Return the images with the highest and lowest rates of a method."""
    files = {(one.image, one.method): study / "stimuli" / one.file for one in analysis.study_data.design.stimuli}
    candidate = [one for one in analysis.images if one.method == row.method]
    count = min(SHOWN, len(candidate) // 2)
    spread = analysis.spread[row.method]
    return {
        "method": row.method,
        "most": [_shown(one, files) for one in candidate[:count]],
        "least": [_shown(one, files) for one in candidate[::-1][:count]],
        "alike": spread.deviation == 0,
        "deviation": spread.deviation,
    }


def _shown(one: ImageResult, files: Mapping[tuple[str, str | None], Path]) -> dict[str, Any]:
    pair = (("this method", files.get((one.image, one.method))), ("real", files.get((one.image, None))))
    stimuli = [{"label": label, "source": _embedded(file)} for label, file in pair if file and file.is_file()]
    return {"id": one.image, "one": one, "stimuli": stimuli}


def _embedded(path: Path) -> str:
    """Return a small WebP as a data URI."""
    buffer = io.BytesIO()
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(buffer, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _facts(analysis: Analysis) -> list[tuple[str, str]]:
    design = analysis.study_data.design
    settings = design.settings
    rows = [
        ("study", f"{design.name}, built {design.created} by colorbench {design.colorbench_version}"),
        ("preset", settings.preset or ""),
        ("assignment", settings.assignment),
        (
            "session",
            f"{counted(settings.practice, 'practice trial')}, then {counted(settings.trials, 'trial')} with "
            f"{counted(settings.sentinels, 'sentinel')}",
        ),
        ("stimuli", f"{settings.size} px, preprocessing {settings.preprocessing}, {settings.exposure_ms} ms each"),
        ("empty screen", f"{settings.lead_ms} ms before the first image, {settings.gap_ms} ms between the images"),
        ("images", f"{design.data.name} · fingerprint {design.data.fingerprint}"),
        ("design seed", str(design.seed)),
        ("responses (sha256)", analysis.study_data.sha256),
        ("bootstraps", f"{analysis.resamples} resamples, seed {analysis.seed}"),
    ]
    return [(name, value) for name, value in rows if value]
