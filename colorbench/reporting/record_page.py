"""``report.html``: the page of one record with numbers, curve and images in one self-contained file.

It is made from the record's folder, and from those of gray, constant and ground truth in the same output, if present.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colorbench.errors import UserError
from colorbench.evaluation import name_with_preset
from colorbench.models import display_name, hashed_part
from colorbench.reporting.baseline_columns import baseline_records, baselines, difference_from, values
from colorbench.reporting.model_table import shown_metrics
from colorbench.reporting.number_formatting import format_interval, format_number
from colorbench.reporting.record_plots import record_plots
from colorbench.reporting.record_remarks import low_effective_n, meaning_of_intervals, remarks
from colorbench.results import Record, SavedImage, read_record, too_few_images
from colorbench.results.saved_image_index import read_index, saved_file
from colorbench.storage import write_atomic

NAME = "report.html"
FIXED_SHOWN = 12
"""Number of images of the fixed part on the page, in addition to the best and worst."""


def write_report(folder: Path, *, explanations: Mapping[str, str] | None = None, headline: str = "") -> Path:
    """Write ``report.html`` into a record's folder.

    Args:
        folder: folder with ``record.json`` and ``thumbnails/``.
        explanations: metric name -> explanation in one sentence.
        headline: metric by which leaderboards sort.

    Returns:
        The page's path.

    Raises:
        UserError: if there is no record or the page cannot be written.
    """
    record = read_record(folder)
    try:
        saved, missing = read_index(folder, record.files.saved_images), None
    except UserError as error:
        saved, missing = [], str(error)
    shown = _images(folder, record, headline, saved)
    text = page(
        record,
        beside=baseline_records(folder, record),
        explanations=explanations,
        headline=headline,
        images=shown,
        extent=_extent(record, headline, len(shown), len(saved)),
        missing=missing,
    )
    path, data = folder / NAME, text.encode()
    # An unchanged page is not written again, since the folder may be read-only.
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)
    return path


def _images(folder: Path, record: Record, headline: str, saved: Sequence[SavedImage]) -> list[dict[str, Any]]:
    """Return the images for the page of those that are saved: some fixed ones, then best and worst by the headline."""
    hashes = record.files.saved_images
    fixed = [image for image in saved if "fixed" in image.reasons][:FIXED_SHOWN]
    # "best 1", "best 2" ..., then "worst 1" ...
    ends = sorted((image for image in saved if _positions(image, headline)), key=lambda one: _positions(one, headline))
    shown = []
    for image in fixed + [image for image in ends if image not in fixed]:
        score = image.scores.get(headline)
        message = [] if score is None else [f"{headline} {score:.2f}"]
        files = (("gray", image.gray), ("this model", image.prediction), ("ground truth", image.truth))
        images = [{"label": label, "source": _embedded(folder, file, hashes)} for label, file in files]
        shown.append({"id": image.id, "caption": ", ".join(message + _positions(image, headline)), "images": images})
    return shown


def _extent(record: Record, headline: str, count: int, saved: int) -> str:
    """Return how many of the images are on the page, how they were selected, and where others are.

    Args:
        record: the record.
        headline: metric by which images are best and worst.
        count: images on the page.
        saved: images of which a thumbnail is saved.
    """
    n = record.dataset.n_evaluated
    if count >= n:
        return f"All {n} images."
    text = f"{count} of {n} images: a fixed random sample, and the best and the worst by {headline or 'each metric'}."
    if saved > count:
        text += f" All {saved} saved thumbnails are in the folder thumbnails/ beside this page, and colorbench view "
        text += f"--gallery-images {saved} shows them."
    if not record.files.has_predictions and saved < n:
        text += " colorbench run --save predictions saves the predictions of all images."
    return text


def _positions(image: SavedImage, headline: str) -> list[str]:
    """Return the position of an image among the best and worst by the headline: ``best 1``, ``worst 2``."""
    return [reason.removeprefix(f"{headline} ") for reason in image.reasons if reason.startswith(f"{headline} ")]


def _embedded(folder: Path, file: str, hashes: Mapping[str, str]) -> str | None:
    """Return a saved image as a data URI; None if it is not a WebP image of this record."""
    data = saved_file(folder, f"thumbnails/{file}", hashes)
    if data is None or data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def page(
    record: Record,
    *,
    beside: Sequence[Record] = (),
    explanations: Mapping[str, str] | None = None,
    headline: str = "",
    images: Sequence[Mapping[str, Any]] = (),
    extent: str = "",
    missing: str | None = None,
) -> str:
    """Render the page of a record as text.

    The same record gives the same bytes.

    Args:
        record: the record.
        beside: records of other models on the same images; gray, constant and ground truth are plotted.
        explanations: metric name -> explanation in one sentence.
        headline: metric by which leaderboards sort.
        images: ``id``, ``caption`` and ``images`` (each a ``label`` and a ``source``: a data address, or None).
        extent: how many of how many images these are.
        missing: reason why saved images are not shown.
    """
    from colorbench.reporting.html_templates import page_environment

    environment = page_environment("colorbench.reporting")
    environment.filters["number"] = lambda value, unit, signed=False: _minus(format_number(value, unit, signed=signed))
    environment.filters["interval"] = lambda m, unit, signed=False: _minus(
        format_interval(m.ci_low, m.ci_high, unit, signed=signed)
    )
    environment.tests["low_effective_n"] = low_effective_n
    shown = baselines(record, beside)
    return environment.get_template("report.html.jinja").render(
        record=record,
        name=display_name(record.model.name),
        metrics=shown_metrics([record], headline),
        headline=headline,
        explanations=explanations or {},
        too_few_images=too_few_images(record),
        minus=[{"head": head, "differences": differences} for head, differences in difference_from(record)],
        baselines=[{"head": head, "scores": values(other)} for head, other in shown],
        captions=_captions(record),
        remarks=remarks(record),
        plots=list(record_plots(record, shown, one_legend=True).values()),
        images=images,
        extent=extent,
        missing=missing,
        facts=_facts(record),
    )


def _captions(record: Record) -> list[str]:
    """Return the sentences on the signs in the table of results; none on a sign that it does not contain."""
    different = any(one.ci_low is not None for _, found in difference_from(record) for one in found.values())
    captions = []
    if intervals := meaning_of_intervals(record):
        captions.append(f"[low, high]: {intervals}.")
    if different:
        captions.append("Bold differences exclude zero.")
    if any(map(low_effective_n, record.metrics)):
        captions.append("n_eff: effective sample size: images of equal weight that would be as precise.")
    return captions


def _minus(text: str) -> str:
    """Return formatted numbers with minus signs instead of hyphens."""
    return text.replace("-", "−")


def _facts(record: Record) -> list[tuple[str, str]]:
    """Return the settings that determined the numbers, for the end of the page."""
    model, data, run, made = record.model, record.dataset, record.execution, record.provenance
    evaluated = str(data.n) if data.n_evaluated == data.n else f"{data.n_evaluated} of {data.n}"
    protocol = name_with_preset(record.protocol.name, record.protocol.version, record.protocol.parameters)
    speed = f"{run.images_per_second:.1f} images per second and thread, {run.seconds:.1f} seconds of all threads"
    rows = [
        ("model", f"{display_name(model.name)} · {model.card.role_name}"),
        ("package", " ".join(word for word in (model.package, model.package_version) if word)),
        (f"{hashed_part(model.name)} (sha256)", model.weights_sha256 or ""),
        ("decoding", ", ".join(f"{key} = {value}" for key, value in model.decoding.items())),
        ("pretrained parts", ", ".join(part.name for part in model.card.pretrained)),
        ("trained on", model.card.training_data or ""),
        ("protocol", f"{protocol} v{record.protocol.version}"),
        ("parameters", ", ".join(f"{key} = {value}" for key, value in record.protocol.parameters.items())),
        ("identity (sha256)", record.protocol.identity_sha256),
        ("images", f"{data.name} · {evaluated} evaluated · fingerprint {data.fingerprint}"),
        ("run", f"{run.device}, {run.dtype}, seed {run.seed}, batches of {run.batch_size}"),
        ("speed", speed if run.seconds else ""),  # a protocol that trains measures none
        ("colorbench", f"{made.colorbench_version} · Python {made.python} · {made.time}"),
        ("command", " ".join(made.command)),
    ]
    return [(name, value) for name, value in rows if value]
