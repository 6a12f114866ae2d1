"""Writing of one ``human-study`` record per method, in the format of all protocols."""

from __future__ import annotations

import math
import platform
import time
from pathlib import Path

import numpy as np
import pandas
from PIL import Image

from colorbench.evaluation import (
    RunDirectory,
    build_record,
    few_images_note,
    folder_of,
    protocol_part,
    thumbnail,
    write_index,
)
from colorbench.models import ModelCard, find_overlap
from colorbench.reporting import counted
from colorbench.results import (
    DatasetPart,
    Difference,
    Execution,
    Metric,
    ModelPart,
    SavedImage,
    Shard,
    extreme_ids,
    fixed_ids,
    protocol_identity,
    record_text,
    saved_names,
)
from colorbench.stats import MINIMUM_IMAGES, ClusteredRate, effective_n, is_defined
from colorbench.storage import content_fingerprint, digest_of, plain, version_of
from protocols.human_study.analysis.fooling_rates import SMOKE_TEST, Analysis, MethodResult
from protocols.human_study.analysis.study_metrics import HEADLINE, METRICS, NAME, VERSION, identity_of
from protocols.human_study.study_folder.design_schema import Method


def write_records(analysis: Analysis, root: Path, study: Path, command: tuple[str, ...] = ()) -> list[Path]:
    """Write the record of every method with responses, including sentinels, below ``root``.

    An existing record of the same responses is not changed.

    Args:
        analysis: of the study.
        root: a folder of records, as written by ``colorbench run --output``.
        study: the folder of the study; its images are saved with the records.
        command: the command line.

    Returns:
        The records' folders, in the order of the methods.
    """
    methods = {method.name: method for method in analysis.study_data.design.methods}
    return [_write(analysis, row, methods[row.method], root, study, command) for row in analysis.result.methods]


def _write(
    analysis: Analysis, row: MethodResult, method: Method, root: Path, study: Path, command: tuple[str, ...]
) -> Path:
    started = time.perf_counter()
    design = analysis.study_data.design
    identity = identity_of(design)
    key = digest_of(
        {
            "protocol": protocol_identity(NAME, VERSION, identity),
            "colorbench": version_of("colorbench") or "unknown",
            "method": method.model_dump(),
            "study": {"name": design.name, "seed": design.seed, "created": design.created},
            "responses": analysis.study_data.sha256,
            "resamples": [analysis.resamples, analysis.seed],
        }
    )
    folder = RunDirectory(root / folder_of(method.name, NAME, design.data.name, key))
    if folder.finished():
        return folder.path
    candidate = _candidate(analysis, row)
    rows, columns = _rows(analysis, candidate)
    files = folder.write_rows(rows, columns, {})
    record = build_record(
        key=key,
        model=ModelPart(
            name=method.name,
            package=method.package,
            package_version=method.package_version,
            weights_sha256=method.weights_sha256,
            decoding=plain(method.decoding),
            card=_card(method),
        ),
        protocol=protocol_part(NAME, VERSION, identity, identity),
        dataset=_dataset(analysis, method, rows),
        metrics=_metrics(row, columns),
        differences=_differences(analysis, row.method),
        curves=[],
        notes=_notes(analysis, row),
        execution=_execution(len(rows), analysis, time.perf_counter() - started),
        command=command,
        files=files.model_copy(update={"saved_images": _save_images(folder, analysis, row, rows, columns, study)}),
    )
    folder.write_record(record_text(record))
    folder.clear_shards()
    return folder.path


def _candidate(analysis: Analysis, row: MethodResult) -> pandas.DataFrame:
    kept = analysis.kept
    return kept[(kept["method"] == row.method) & (kept["kind"] == ("sentinel" if row.sentinel else "test"))]


def _rows(analysis: Analysis, candidate: pandas.DataFrame) -> tuple[Shard, dict[str, np.ndarray]]:
    """Return one row per test image of the study, in the design's order, and its columns.

    A value is NaN without responses.

    All images have a row, so that all records of a study have the same images, also if some had no response.
    """
    design = analysis.study_data.design
    counts = candidate.assign(chosen=candidate["response"] == "first").groupby("image")[["fooled", "chosen"]]
    known = design.tests
    ids = [one.id for one in known]
    sums, n = counts.sum().reindex(ids), counts.size().reindex(ids).to_numpy(np.float64)
    columns: dict[str, np.ndarray] = {}
    for metric, column in ((HEADLINE, "fooled"), ("first_chosen", "chosen")):
        total = 100.0 * sums[column].to_numpy(np.float64)
        columns |= {metric: total / n, f"{metric}.s0": total, f"{metric}.s1": n}
    size = design.settings.size
    shard = Shard(
        ids=tuple(ids),
        sha256s=tuple(one.sha256 for one in known),
        labels=(None,) * len(ids),
        gray=(False,) * len(ids),
        sizes=((size, size),) * len(ids),
    )
    return shard, columns


def _card(method: Method) -> ModelCard:
    """Return the model card stored in the design."""
    card = dict(method.card) or {"title": method.title, "role": method.role}
    return ModelCard.model_validate(card)


def _dataset(analysis: Analysis, method: Method, rows: Shard) -> DatasetPart:
    design = analysis.study_data.design
    return DatasetPart(
        name=design.data.name,
        n=len(rows),
        n_evaluated=len(rows),
        n_gray=0,
        gray_policy="keep",
        skipped=[],
        fingerprint=content_fingerprint(rows.sha256s),
        preprocessing=design.settings.preprocessing,
        overlap=find_overlap(_card(method), rows.sha256s),
        limit=None,
        redistributable=design.data.redistributable,
    )


def _metrics(row: MethodResult, columns: dict[str, np.ndarray]) -> list[Metric]:
    """Return the three metrics of a method."""
    statistics = np.stack([columns[f"{HEADLINE}.s0"], columns[f"{HEADLINE}.s1"]], axis=1)
    n, effective = int(is_defined(statistics).sum()), effective_n(statistics, "ratio")
    d = row.d_prime
    values = {
        HEADLINE: _percent(row.rate),
        "d_prime": (d.value, d.low, d.high, f"{_method(row.rate)}, transformed to d'" if d.low is not None else None),
        "first_chosen": _percent(row.bias.first),
    }
    return [
        Metric(
            name=spec.name,
            title=spec.title,
            value=values[spec.name][0],
            unit=spec.unit,
            higher_is_better=spec.higher_is_better,
            # An interval has two ends: if that of d' is open on one side, only the rate has an interval.
            ci_low=values[spec.name][1] if None not in values[spec.name][1:3] else None,
            ci_high=values[spec.name][2] if None not in values[spec.name][1:3] else None,
            ci_method=values[spec.name][3] if None not in values[spec.name][1:3] else None,
            n=n,
            effective_n=effective,
            form=spec.form,
            comparable=spec.comparable,
        )
        for spec in METRICS
    ]


def _percent(rate: ClusteredRate) -> tuple[float | None, float | None, float | None, str | None]:
    value = 100 * rate.value if math.isfinite(rate.value) else None
    if rate.interval is None:
        return value, None, None, None
    return value, 100 * rate.interval.low, 100 * rate.interval.high, _method(rate)


def _method(rate: ClusteredRate) -> str | None:
    if rate.interval is None:
        return None
    return f"{rate.interval.method} ({rate.participants} participants, {rate.images} images), 95 %"


def _differences(analysis: Analysis, method: str) -> list[Difference]:
    """Return this method minus every other, from the study's own comparisons."""
    found = []
    for comparison in analysis.result.comparisons:
        one = comparison.difference
        if method not in (comparison.first, comparison.second) or not math.isfinite(one.value):
            continue
        sign = 1 if method == comparison.first else -1
        ends = sorted(sign * 100 * end for end in (one.interval.low, one.interval.high)) if one.interval else None
        found.append(
            Difference(
                metric=HEADLINE,
                minus=comparison.second if sign > 0 else comparison.first,
                value=sign * 100 * one.value,
                ci_low=ends[0] if ends else None,
                ci_high=ends[1] if ends else None,
                ci_method=f"{one.interval.method}, 95 %" if one.interval else None,
                n=sum(one.responses),
            )
        )
    return found


def _notes(analysis: Analysis, row: MethodResult) -> list[str]:
    rate, design = row.rate, analysis.study_data.design
    what = "sentinel trials" if row.sentinel else f"{design.settings.assignment} participants"
    numbers = (
        f"{counted(rate.responses, 'response')} of {counted(rate.participants, 'participant')} on "
        f"{counted(rate.images, 'image')} ({what})"
    )
    removed, applied = counted(len(analysis.applied.reasons), "participant"), analysis.applied
    status = "" if applied.changes is None else f" ({applied.status})"
    excluded = f"exclusions{status} removed {removed}"
    # The smoke-test note is first: tables look for it there.
    first = few_images_note(len(analysis.study_data.design.tests)) or [
        note for note in analysis.notes if note.startswith(SMOKE_TEST)
    ]
    if not first and rate.images < MINIMUM_IMAGES:
        first = [f"{SMOKE_TEST}{counted(rate.images, 'image')}: scores are not meaningful"]
    rest = [note for note in analysis.notes if not note.startswith(SMOKE_TEST)]
    return [*first, numbers, excluded, *rest]


def _execution(n: int, analysis: Analysis, seconds: float) -> Execution:
    """Return the execution of the analysis; participants have no device."""
    return Execution(
        seed=analysis.seed,
        device=f"participants' own screens; analyzed on cpu ({platform.machine()})",
        dtype="float32",
        threads=1,
        batch_size=1,
        workers=0,
        processes=1,
        deterministic=True,
        seconds=round(seconds, 3),
        images_per_second=round(n / seconds, 3) if seconds > 0 else 0.0,
        stage_seconds={"aggregate": round(seconds, 3)},
    )


def _save_images(
    folder: RunDirectory,
    analysis: Analysis,
    row: MethodResult,
    rows: Shard,
    columns: dict[str, np.ndarray],
    study: Path,
) -> dict[str, str]:
    """Save thumbnails of a fixed subset and of the images with the highest and lowest rate; return path -> sha256.

    The extremes are those of the shrunken estimates: the raw share of an image with three responses is mostly chance.
    If the images of the study are missing, nothing is saved.
    """
    files = {(one.image, one.method): Path(study) / "stimuli" / one.file for one in analysis.study_data.design.stimuli}
    estimates = {one.image: one.estimate for one in analysis.images if one.method == row.method}
    with_response = tuple(np.array(rows.ids)[~np.isnan(columns[HEADLINE])].tolist())
    reasons: dict[str, list[str]] = {id: ["fixed"] for id in with_response if id in fixed_ids(with_response)}
    scores = np.array([estimates.get(id, math.nan) for id in with_response])
    for end, ids in extreme_ids(with_response, scores, higher_is_better=True).items():
        for position, id in enumerate(ids, start=1):
            reasons.setdefault(id, []).append(f"{HEADLINE} {end} {position}")
    location_of = {id: position for position, id in enumerate(rows.ids)}
    kept = []
    for id, why in reasons.items():
        fake, real = files.get((id, row.method)), files.get((id, None))
        if fake is None or real is None or not (fake.is_file() and real.is_file()):
            continue
        response, truth, gray = saved_names(id)
        with Image.open(fake) as image:
            folder.write(folder.thumbnails / response, thumbnail(image.convert("RGB")), durable=False)
        with Image.open(real) as image:
            folder.write(folder.thumbnails / truth, thumbnail(image.convert("RGB")), durable=False)
            folder.write(folder.thumbnails / gray, thumbnail(_gray(image.convert("RGB"))), durable=False)
        position = location_of[id]
        score = float(columns[HEADLINE][position])
        kept.append(SavedImage.of(id, rows.sha256s[position], why, {HEADLINE: score}))
    return write_index(folder, kept) if kept else {}


def _gray(image: Image.Image) -> Image.Image:
    """Return the input of the methods: the lightness only."""
    import torch

    from colorbench.color import lab_to_rgb8, rgb_to_lab

    rgb8 = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]
    lab = rgb_to_lab(rgb8) * torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    return Image.fromarray(lab_to_rgb8(lab)[0].permute(1, 2, 0).contiguous().numpy())
