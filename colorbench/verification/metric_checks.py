"""Recomputation of a record's scores, metrics, differences, curves and notes from its rows and arrays.

Everything that can be recomputed is compared; everything else is reported as unchecked with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeVar

import numpy as np

from colorbench.errors import OtherVersionError, PluginError, UnknownNameError, UserError
from colorbench.evaluation import (
    DatasetProtocol,
    Derived,
    DerivesFromArrays,
    ImageProtocol,
    Scorer,
    Summary,
    metric_aggregation,
)
from colorbench.results import LoadedRun, Metric, MetricSpec
from colorbench.storage import is_inside, read_plain
from colorbench.storage.limits import LARGEST_FILE
from colorbench.storage.safe_reading import InvalidTable, arrays_of, left_out
from colorbench.verification import recomputed_metrics as recomputed
from colorbench.verification import row_checks
from colorbench.verification.recorded_protocol import dataset_of, protocol_of, scorer_of, spec_of
from colorbench.verification.verification_schema import Findings

_Made = TypeVar("_Made")
_Beside = Callable[[str], LoadedRun | None]
"""Function that returns the record of another model beside the verified one, by the model's name."""
_UNRESOLVED = "a parameter names a file or model, which is opened only with --rerun"


@dataclass(frozen=True)
class _Known:
    """The installed protocol of a record, its specs and its scorer."""

    protocol: ImageProtocol | DatasetProtocol | None
    scorer: Scorer | None
    specs: Sequence[MetricSpec]
    """Metric specs of the installed protocol; empty if it is not installed."""

    @property
    def by_image(self) -> bool:
        """Whether it is an image protocol, run by the engine."""
        return isinstance(self.protocol, ImageProtocol)

    def of(self, name: str) -> list[MetricSpec]:
        """Return the possible specs of a metric; several if they depend on an unresolved parameter."""
        return [spec for spec in self.specs if spec.name == name]


def check_numbers(run: LoadedRun, findings: Findings, *, trusted: bool) -> None:
    """Check scores, metrics, differences, curves and notes by recomputation.

    Args:
        run: the record and its rows.
        findings: list to which findings are added.
        trusted: whether files named by parameters may be opened.
    """
    known = _protocol_of(run, findings, trusted=trusted)
    beside = cache(partial(recomputed.record_beside, run))  # read once for rows and differences
    with np.errstate(all="ignore"):
        arrays = _arrays_of(run, findings)
        derived = None if arrays is None else _derived_of(run, known, arrays, findings)
        summary = _summary_of(run, known.scorer, arrays, findings)
        _check_rows(run, known, derived, summary, beside, findings)
        _check_metrics(run, known, derived, summary, findings)
        _check_differences(run, known, beside, findings)
        _check_curves(run, known, summary, findings)
        _check_notes(run, summary, findings)


def _protocol_of(run: LoadedRun, findings: Findings, *, trusted: bool) -> _Known:
    """Return the installed protocol, with its scorer if the record's parameters may be used."""
    record = run.record
    try:
        protocol = protocol_of(record)
    except (UnknownNameError, PluginError, OtherVersionError) as error:
        findings.say("identity", "unchecked", str(error))
        return _Known(None, None, ())
    specs = protocol.spec.metrics
    if not isinstance(protocol, ImageProtocol):
        findings.say("identity", "unchecked", f"{protocol.spec.name} is not an image protocol: it is not resolved")
        return _Known(protocol, None, specs)
    try:
        scorer = scorer_of(record, protocol, lambda: dataset_of(run), trusted=trusted)
    except (UnknownNameError, PluginError) as error:  # a classifier whose package is not installed
        findings.say("identity", "unchecked", str(error))
        return _Known(protocol, None, specs)
    except UserError as error:
        findings.say("identity", "fails", str(error))
        return _Known(protocol, None, specs)
    except Exception as error:  # a protocol may raise any error for unexpected parameters
        findings.say("identity", "fails", f"the protocol refuses the parameters: {type(error).__name__}")
        return _Known(protocol, None, specs)
    if scorer is None:
        findings.say("identity", "unchecked", f"{protocol.spec.name} is not resolved: {_UNRESOLVED}")
        return _Known(protocol, None, specs)
    if scorer.preprocessing != record.dataset.preprocessing:
        findings.say(
            "identity", "fails", f"preprocessing {record.dataset.preprocessing!r} is stored, the protocol's is another"
        )
    return _Known(protocol, scorer, list(scorer.metrics))


def _arrays_of(run: LoadedRun, findings: Findings) -> dict[str, np.ndarray] | None:
    """Read the arrays; add a finding and return None if they are missing or unreadable."""
    names = run.record.files.arrays
    if names and all(left_out(run.folder, name) for name in names):
        return None  # `arrays` is unchecked already
    try:
        return load_arrays(run)
    except UserError as error:
        findings.say("arrays", "fails", str(error))
        return None


def _derived_of(run: LoadedRun, known: _Known, arrays: Mapping[str, np.ndarray], findings: Findings) -> Derived | None:
    """Return the values that the protocol recomputes from the arrays.

    The result is None if the protocol cannot, or the arrays do not have its form.
    """
    derives: object = known.scorer if known.by_image else known.protocol
    if not isinstance(derives, DerivesFromArrays):
        if arrays:
            findings.say("arrays", "unchecked", "the protocol does not state what follows from them")
            findings.claim("arrays")
        return None
    return _attempt("arrays", partial(derives.derived, run.record, arrays), findings)


def _summary_of(
    run: LoadedRun, scorer: Scorer | None, arrays: Mapping[str, np.ndarray] | None, findings: Findings
) -> Summary | None:
    """Return the protocol's summary of all rows; None if it fails."""
    if scorer is None or arrays is None:
        return None
    return _attempt("curves", partial(scorer.summarize, run.columns, arrays), findings)


def _attempt(name: str, make: Callable[[], _Made], findings: Findings) -> _Made | None:
    try:
        return make()
    except UserError as error:
        findings.say(name, "fails", str(error))
    except Exception as error:  # a protocol may raise any error for untrusted arrays
        message = f"{type(error).__name__}: {error}"
        findings.say(name, "fails", f"the protocol cannot summarize rows and arrays: {message}")
    return None


def _check_rows(
    run: LoadedRun, known: _Known, derived: Derived | None, summary: Summary | None, beside: _Beside, findings: Findings
) -> None:
    """Check the rows themselves, against the arrays, and against other records on the same images."""

    def wrong() -> list[str]:
        found = [*row_checks.row_findings(run, known.specs), *row_checks.score_findings(run)]
        if known.by_image:
            found += row_checks.truth_findings(run, known.specs)
            for name in dict.fromkeys(difference.minus for difference in run.record.differences):
                other = beside(name)
                found += [] if other is None else row_checks.weight_findings(run, other)
        for columns in () if derived is None else derived.columns:
            found += row_checks.column_findings(run, columns, "the arrays")
        if summary is not None and summary.statistics:
            found += row_checks.column_findings(run, summary.statistics, "the arrays of the whole set")
        return found

    findings.settle("scores", iter(wrong()), "each image's score follows from its statistics and arrays")


def _check_metrics(
    run: LoadedRun, known: _Known, derived: Derived | None, summary: Summary | None, findings: Findings
) -> None:
    """Recompute each metric, or report the reason why that is not possible."""
    metrics = run.record.metrics
    of_arrays = {} if derived is None else {metric.name: metric for metric in derived.metrics}
    effective = _effective(run, summary)
    wrong: list[str] = []
    names = [metric.name for metric in metrics]
    wrong += [f"{name} occurs twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    specs = {spec.name: spec for spec in known.specs}
    if known.scorer is not None:
        wrong += [f"{name} is missing" for name in specs if name not in names]
        wrong += [f"{name} is not a metric of this protocol" for name in names if name not in specs]
    elif known.by_image and known.specs and not any(spec.name in names for spec in known.specs if _ranks(spec)):
        wrong.append("none of its metrics is one by which the protocol ranks models")
    checked = 0
    for metric in metrics:
        candidates = [*known.of(metric.name), *_specs_of(derived, metric.name)]
        resolved = known.scorer is not None or not known.by_image
        if not candidates:
            findings.claim(f"title, unit and direction of {metric.name}")
        elif not resolved:
            findings.claim(f"title and classifier of {metric.name}")
        wrong += recomputed.fact_findings(metric, candidates, resolved=resolved)
        if metric.name in of_arrays:
            wrong += recomputed.departures(metric, of_arrays[metric.name])
            checked += 1
        elif row_checks.has_statistics(run, metric.name):
            wrong += _departures(run, metric, candidates, known, effective, findings)
            checked += 1
        elif known.by_image:
            wrong.append(f"the rows lack the statistics of {metric.name}")
        else:
            _cannot(metric.name, "the rows do not contain its statistics", findings)
    if wrong or checked:
        findings.settle("metrics", iter(wrong), f"{checked} of {len(metrics)} follow from the stored data")


def _ranks(spec: MetricSpec) -> bool:
    """Return whether models may be ranked by a metric, such as the headline or its replacement by a parameter."""
    return spec.comparable and spec.higher_is_better is not None


def _specs_of(derived: Derived | None, name: str) -> list[MetricSpec]:
    return [] if derived is None else [spec for spec in derived.specs if spec.name == name]


def _departures(
    run: LoadedRun,
    metric: Metric,
    candidates: Sequence[MetricSpec],
    known: _Known,
    effective: Mapping[str, float],
    findings: Findings,
) -> list[str]:
    """Return the deviations of a metric from its statistics, by the spec that fits best."""
    own_interval = not known.by_image and not recomputed.is_bootstrap(metric.ci_method) and metric.ci_method is not None
    fitting = [spec for spec in candidates or [spec_of(metric)] if spec.form == metric.form]
    found = [
        recomputed.departures(metric, recomputed.metric_of(run, spec, effective), interval=not own_interval)
        for spec in fitting
    ]
    if own_interval:
        _cannot(f"the interval of {metric.name}", f"it was made by {metric.ci_method}", findings)
    return min(found, key=len) if found else []


def _cannot(what: str, why: str, findings: Findings) -> None:
    findings.say("metrics", "unchecked", f"not recomputable: {what}: {why}")
    findings.claim(what)


def _effective(run: LoadedRun, summary: Summary | None) -> dict[str, float]:
    """Return effective sample sizes by the protocol, in place of those from the statistics."""
    if summary is not None:
        return dict(summary.effective_n)
    shares = [metric.name for metric in run.record.metrics if metric.share_of_gap]
    # A share of a gap counts every image, also those without an influence on the gap.
    return {
        name: float(np.isfinite(run.statistics(name)[:, 1]).sum())
        for name in shares
        if row_checks.has_statistics(run, name)
    }


def _check_differences(run: LoadedRun, known: _Known, beside: _Beside, findings: Findings) -> None:
    stored = run.record.differences
    if not stored:
        return
    pairs = [(one.metric, one.minus) for one in stored]
    wrong = [f"{a} minus {b} occurs twice" for a, b in dict.fromkeys(pairs) if pairs.count((a, b)) > 1]
    if known.protocol is not None and not known.by_image:
        why = f"{known.protocol.spec.name} makes its own comparisons, and their rows are not stored"
        findings.say("differences", "unchecked", f"not recomputable: {why}")
        findings.claim("differences")
        if wrong:
            findings.settle("differences", iter(wrong), "")
        return
    checked, absent = 0, []
    specs = [spec for metric in run.record.metrics for spec in (known.of(metric.name) or [spec_of(metric)])[:1]]
    for name in dict.fromkeys(one.minus for one in stored):
        other = beside(name)
        if other is None:
            absent.append(name)
            continue
        wrong += recomputed.difference_findings(run, other, specs)
        checked += sum(one.minus == name for one in stored)
    for name in absent:
        findings.say("differences", "unchecked", f"the record of {name} is not beside this one")
        findings.claim(f"differences from {name}")
    if wrong or checked:
        findings.settle("differences", iter(wrong), f"{checked} follow from both records' rows")


def _check_curves(run: LoadedRun, known: _Known, summary: Summary | None, findings: Findings) -> None:
    curves = run.record.curves
    if summary is not None:
        wrong = list(recomputed.curve_findings(run.record, summary))
        if wrong or curves:
            findings.settle("curves", iter(wrong), f"{len(curves)} follow from the arrays")
    elif curves and not any(
        check.name in ("curves", "arrays") and check.outcome == "fails" for check in findings.checks
    ):
        why = "they follow from arrays that are not here"
        if known.scorer is None:
            why = "the protocol is not resolved"
            if known.protocol is not None and not known.by_image:
                why = f"not recomputable: {known.protocol.spec.name} makes its own"
        findings.say("curves", "unchecked", why)
        findings.claim("curves")


_ON_FEW_IMAGES = re.compile(r"smoke test on \d+ images?:")


def _check_notes(run: LoadedRun, summary: Summary | None, findings: Findings) -> None:
    """Check that all notes that follow from the rows are present; other notes are claims of the submitter."""
    wanted = [*metric_aggregation.few_images_note(len(run.rows)), *(() if summary is None else summary.notes)]
    stored = run.record.notes
    missing = [note for note in wanted if note not in stored]
    extra = [note for note in stored if note not in wanted]
    wrong = [f"this note is missing: {note}" for note in missing]
    # A protocol may need more than images: too few participants cannot be seen in the rows.
    wrong += [f"this note is wrong: {note}" for note in extra if _ON_FEW_IMAGES.match(note) and not wanted]
    if wrong or wanted:
        findings.settle("notes", iter(wrong), f"{len(wanted)} follow from the rows")
    if extra:
        findings.claim(f"{len(extra)} notes" if len(extra) > 1 else "1 note")


def load_arrays(run: LoadedRun) -> dict[str, np.ndarray]:
    """Return the arrays from which metrics of a record are checked, (n, ...) each; empty if it has none.

    Raises:
        UserError: for a damaged file, a file that unpacks to more than 2 GB, or arrays for other images.
    """
    found: dict[str, np.ndarray] = {}
    for name in run.record.files.arrays:
        path = is_inside(run.folder, name)
        if path is None:
            raise UserError("the arrays of the record are missing", where=name[:200], hint="copy the whole folder")
        data = read_plain(path, LARGEST_FILE, missing="no arrays", hint="copy the whole folder")
        try:
            found |= arrays_of(data, len(run.rows))
        except InvalidTable as error:
            raise UserError(f"these arrays cannot be read: {error}", where=name, hint="get the record again") from error
    return found
