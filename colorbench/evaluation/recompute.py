"""Numbers of a record derived once more from its rows and arrays, to be held against what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from colorbench.data.dataset import Dataset, Sample
from colorbench.data.recipes import get_recipe
from colorbench.errors import UserError
from colorbench.evaluation import aggregate
from colorbench.evaluation.identity import folder_of, plain, protocol_identity
from colorbench.evaluation.protocol import ImageProtocol, MetricSpec, ProtocolSpec, Scorer, Summary
from colorbench.evaluation.record import CurvePart, Difference, Metric, Record
from colorbench.evaluation.request import get_protocol
from colorbench.evaluation.stored_rows import StoredRun, load_stored
from colorbench.evaluation.untrusted import MEGABYTE

TOLERANCE = 1e-6
"""Relative departure that other versions of numpy may make in a sum, a quantile or a square root."""
_LARGEST_PARAMETER = 64 * MEGABYTE


def same(stored: float | None, again: float | None, scale: float = 1.0) -> bool:
    """Whether two numbers agree, or neither is there."""
    if stored is None or again is None:
        return stored is again
    return abs(stored - again) <= TOLERANCE * max(abs(stored), abs(again), scale)


def score_findings(run: StoredRun) -> Iterator[str]:
    """Columns of single scores that do not follow from the statistics beside them."""
    for metric in run.record.metrics:
        stored = run.columns.get(metric.name)
        if stored is None:
            continue
        again = run.scores(metric.name)
        with np.errstate(invalid="ignore"):
            apart = np.abs(stored - again) > TOLERANCE * np.maximum(np.abs(again), 1.0)
        apart |= np.isfinite(stored) != np.isfinite(again)
        if apart.any():
            id = run.rows["id"].iloc[int(np.argmax(apart))]
            yield f"{metric.name} of {int(apart.sum())} photographs is not what their statistics give, first {id}"


def metric_findings(run: StoredRun, specs: Sequence[MetricSpec], effective: Mapping[str, float]) -> Iterator[str]:
    """Metrics that do not follow from the rows.

    Args:
        run: the record and its rows.
        specs: what the installed protocol says of its metrics, for bounds of intervals; may hold a name twice, with
            the bounds of different parameters.
        effective: effective numbers of images that the protocol knows itself.
    """
    for metric in run.record.metrics:
        candidates = [spec for spec in specs if spec.name == metric.name] or [spec_of(metric)]
        found = [aggregate.metrics_of([spec], run.columns, effective)[0] for spec in _of_form(candidates, metric)]
        if not found:
            yield f"{metric.name} is of form {metric.form}, the protocol's is {candidates[0].form}"
            continue
        departures = [_departures(metric, again) for again in found]
        yield from min(departures, key=len)


def difference_findings(run: StoredRun, specs: Sequence[MetricSpec]) -> Iterator[tuple[str, str | None]]:
    """(model that was subtracted, departure) of the stored differences; None: that model's record is not beside."""
    for name in dict.fromkeys(difference.minus for difference in run.record.differences):
        other = record_beside(run, name)
        if other is None:
            yield name, None
            continue
        again = aggregate.differences_from(name, specs, (run.sha256s, run.columns), (other.sha256s, other.columns))
        by_metric = {difference.metric: difference for difference in again}
        for stored in run.record.differences:
            if stored.minus == name:
                departure = _difference_departure(stored, by_metric.get(stored.metric))
                if departure:
                    yield name, departure


def curve_findings(record: Record, summary: Summary) -> Iterator[str]:
    """Curves that do not follow from the arrays."""
    again = {curve.name: curve for curve in aggregate.curves_of(summary)}
    for curve in record.curves:
        other = again.pop(curve.name, None)
        if other is None or len(other.x) != len(curve.x):
            yield f"the curve {curve.name} is not one that the arrays give"
        elif curve.beside.keys() != other.beside.keys() or not all(
            len(a) == len(b) and np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)
            for a, b in zip(_lines(curve), _lines(other), strict=True)
        ):
            yield f"the curve {curve.name} is not the one that the arrays give"
    for name in again:
        yield f"the curve {name} is missing"


def _lines(curve: CurvePart) -> list[list[float]]:
    return [curve.x, curve.y, *(curve.beside[name] for name in sorted(curve.beside))]


def record_beside(run: StoredRun, model: str) -> StoredRun | None:
    """The record of another model in the same output, with equal protocol and photographs; None where there is none.

    Raises:
        UserError: never; a damaged one counts as none.
    """
    record, folder = run.record, run.folder.absolute()
    own = folder_of(record.model.name, record.protocol.name, record.dataset.name, record.key)
    if len(folder.parts) <= len(own.parts):
        return None
    output = folder.parents[len(own.parts) - 1]
    for place in sorted(output.joinpath(folder_of(model, record.protocol.name, "any", record.key).parent).glob("*")):
        try:
            other = load_stored(place)
        except UserError:
            continue
        same_protocol = other.record.protocol.identity_sha256 == record.protocol.identity_sha256
        if same_protocol and other.record.dataset.fingerprint == record.dataset.fingerprint:
            return other
    return None


def scorer_of(record: Record, rows_of: Callable[[], Dataset], *, trusted: bool) -> tuple[ProtocolSpec, Scorer | None]:
    """The installed protocol that a record names, and its scorer with the record's parameters.

    Args:
        record: whose protocol.
        rows_of: gives the photographs as a data set.
        trusted: whether parameters may name files and models, which are then opened. Without, only defaults, listed
            choices and recipes are taken: a stranger's record opens nothing.

    Returns:
        The scorer is None where the parameters are not taken, and for a protocol that does not go image by image.

    Raises:
        UserError: for a protocol that is not installed, is of another version, or refuses the parameters.
    """
    protocol = get_protocol(record.protocol.name)
    spec = protocol.spec
    if spec.version != record.protocol.version:
        what = f"protocol {spec.name} is installed in version {spec.version}, not {record.protocol.version}"
        raise UserError(what, mend="verify with the version of colorbench that made the record")
    parameters = record.protocol.parameters
    if not isinstance(protocol, ImageProtocol) or not all(
        _harmless(spec, name, value, trusted=trusted) for name, value in parameters.items()
    ):
        return spec, None
    scorer = protocol.resolve(parameters, rows_of())
    identity = protocol_identity(spec.name, spec.version, scorer.identity)
    if identity != record.protocol.identity_sha256:
        mine, theirs = plain(scorer.identity), record.protocol.identity
        apart = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
        what = f"the parameters give another identity here: {', '.join(sorted(apart)) or 'same text, other hash'}"
        raise UserError(what, mend="give the same files (the prior's sha256 stands in the record)")
    return spec, scorer


def goes_image_by_image(protocol: str) -> bool:
    """Whether a protocol of this name is installed and goes through the engine's pass."""
    try:
        return isinstance(get_protocol(protocol), ImageProtocol)
    except UserError:
        return False


def dataset_of(run: StoredRun) -> Dataset:
    """The photographs of a record as a data set whose files are not at hand."""
    labels = [None if pd.isna(label) else int(label) for label in run.rows["label"]]
    ids = run.rows["id"]
    samples = [Sample(id, Path(PurePosixPath(id).name), label) for id, label in zip(ids, labels, strict=True)]
    return Dataset(run.record.dataset.name, tuple(samples))


def _harmless(spec: ProtocolSpec, name: str, value: Any, *, trusted: bool) -> bool:
    text = str(value)
    if name not in spec.parameters or text == str(spec.parameters[name]) or text in spec.choices.get(name, ()):
        return True  # unknown names are refused by the protocol itself
    if name == "recipe":
        try:
            get_recipe(text)
        except UserError:
            return False
        return True
    path = Path(text)
    try:
        plain_file = not path.exists() or (path.is_file() and path.stat().st_size <= _LARGEST_PARAMETER)
    except (OSError, ValueError):
        plain_file = False
    return trusted and plain_file


def spec_of(metric: Metric) -> MetricSpec:
    """What a record says of a metric whose protocol is not installed."""
    return MetricSpec(
        name=metric.name,
        title=metric.title,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        form=metric.form,
        comparable=metric.comparable,
        interval=metric.ci_method is not None,
        judge=metric.judge,
        share_of_gap=metric.share_of_gap,
    )


def _of_form(specs: Sequence[MetricSpec], metric: Metric) -> list[MetricSpec]:
    return [spec for spec in specs if spec.form == metric.form]


def _departures(stored: Metric, again: Metric) -> list[str]:
    width = 1.0 if stored.ci_low is None or stored.ci_high is None else abs(stored.ci_high - stored.ci_low)
    found = []
    for name in ("value", "ci_low", "ci_high", "effective_n"):
        mine, theirs = getattr(stored, name), getattr(again, name)
        if not same(mine, theirs, 0.0 if name in ("value", "effective_n") else width):
            found.append(f"{stored.name}: {name} {_shown(mine)} is stored, the rows give {_shown(theirs)}")
    for name in ("n", "unit", "higher_is_better", "comparable", "ci_method"):
        mine, theirs = getattr(stored, name), getattr(again, name)
        if mine != theirs:
            found.append(f"{stored.name}: {name} {mine!r} is stored, the rows give {theirs!r}")
    return found


def _difference_departure(stored: Difference, again: Difference | None) -> str | None:
    if again is None:
        return f"{stored.metric} minus {stored.minus}: the rows give no such difference"
    width = 1.0 if stored.ci_low is None or stored.ci_high is None else abs(stored.ci_high - stored.ci_low)
    for name in ("value", "ci_low", "ci_high"):
        mine, theirs = getattr(stored, name), getattr(again, name)
        if not same(mine, theirs, width):
            return f"{stored.metric} minus {stored.minus}: {name} {_shown(mine)} is stored, not {_shown(theirs)}"
    return None if stored.n == again.n else f"{stored.metric} minus {stored.minus}: n {stored.n} is not {again.n}"


def _shown(value: float | None) -> str:
    return "none" if value is None or not math.isfinite(value) else f"{value:.6g}"
