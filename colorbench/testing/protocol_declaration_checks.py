"""Conformance checks of a protocol's declaration, and of the record of a run."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator

import numpy as np

from colorbench.errors import MissingWeightsError, RunError, UserError
from colorbench.evaluation import DatasetProtocol, ImageProtocol, Scorer, further_of
from colorbench.evaluation.predict import colorize
from colorbench.models import colorizer_interfaces as capabilities
from colorbench.models.fingerprint import protocol_code
from colorbench.models.weights_download import without_downloads
from colorbench.results import MetricSpec, protocol_identity
from colorbench.results.metric_spec import COUNT
from colorbench.results.rows_parquet import read_rows
from colorbench.testing.check_report import CheckFailed, CheckSkipped, ConformanceCheck
from colorbench.testing.protocol_subject import IMAGES, ProtocolSubject
from colorbench.verification import verify

NAME = re.compile(r"(?:[a-z0-9][a-z0-9._-]*/)?[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*")
WRONG = ("no-such-value", "nan", "-1")
"""Values that few parameters accept; the first two are not numbers."""
LONGEST_CATEGORY = 40
ROW_TOLERANCE = 1e-5
"""Tolerance for rows, relative to max(1, |value|), as in the whole library."""


def _spec(subject: ProtocolSubject) -> str:
    faults = list(_faults(subject))
    if faults:
        raise CheckFailed("; ".join(faults[:3]), "complete the ProtocolSpec")
    return f"{len(subject.spec.parameters)} parameters, {len(subject.spec.metrics)} metrics"


def _faults(subject: ProtocolSubject) -> Iterator[str]:
    spec = subject.spec
    if not NAME.fullmatch(spec.name):
        yield f"the name {spec.name!r} must contain only lowercase letters, digits, - and _"
    if isinstance(subject.given, str) and spec.name != subject.given.partition("@")[0]:
        yield f"it is installed as {subject.given.partition('@')[0]} but its spec is named {spec.name}"
    if not isinstance(spec.version, int) or spec.version < 1:
        yield f"the version is {spec.version!r}, not an integer of at least 1"
    if not spec.title.strip():
        yield "it has no title"
    if not (spec.category.strip() and spec.category.isprintable() and len(spec.category) <= LONGEST_CATEGORY):
        yield f"the category {spec.category!r} is not a heading of 1 to {LONGEST_CATEGORY} characters"
    if missing := sorted(set(spec.parameters) - set(spec.parameter_help)):
        yield f"the parameter {missing[0]!r} has no help"
    for what in ("parameter_help", "choices", "keywords"):
        if unknown := sorted(set(getattr(spec, what)) - set(spec.parameters)):
            yield f"{what} names {unknown[0]!r}, which is not a parameter"
    for name, values in spec.choices.items():
        if name in spec.parameters and str(spec.parameters[name]) not in values:
            yield f"the default of {name!r} is not one of its choices"
    if unknown := [need for need in spec.needs if not hasattr(capabilities, need)]:
        yield f"it needs {unknown[0]!r}, which is not a capability"
    if not spec.metrics:
        yield "it has no metrics"
    elif spec.headline not in [metric.name for metric in spec.metrics]:
        yield f"the headline {spec.headline!r} is not a metric"
    for metric in spec.metrics:
        yield from _metric_faults(metric)


def _metric_faults(metric: MetricSpec) -> Iterator[str]:
    low = -math.inf if metric.lower_bound is None else metric.lower_bound
    high = math.inf if metric.upper_bound is None else metric.upper_bound
    if not metric.title.strip():
        yield f"the metric {metric.name!r} has no title"
    if not metric.explanation.strip():
        yield f"the metric {metric.name!r} has no explanation"
    if not low < high:
        yield f"the bounds of {metric.name!r} are {metric.lower_bound} and {metric.upper_bound}"
    if metric.of_ground_truth is not None and not low <= metric.of_ground_truth <= high:
        yield f"the ground truth's {metric.name!r} is outside its bounds"
    if metric.form not in COUNT:
        yield f"the form of {metric.name!r} is {metric.form!r}, not {' or '.join(COUNT)}"


def _presets(subject: ProtocolSubject) -> str:
    spec = subject.spec
    if not spec.presets:
        raise CheckSkipped("it has no presets")
    for name in spec.preset_names:
        try:
            values = spec.preset(name)
            spec.resolved(values)
            if isinstance(subject.protocol, ImageProtocol):
                # A preset may name weights that are not available, since a check downloads nothing.
                with without_downloads(), contextlib.suppress(MissingWeightsError):
                    subject.resolve({**values, **subject.asked})
        except UserError as error:
            raise CheckFailed(f"{name}: {error.what}", "a preset sets parameters of the protocol") from error
    return ", ".join(spec.preset_names)


def _parameters(subject: ProtocolSubject) -> str:
    tried = 0
    for name, value in (("no_such_parameter", "1"), *_wrong_values(subject)):
        tried += 1
        given = {**subject.parameters, name: value}
        refused = _refusal(subject, given, f"{name}={value}")
        must = name not in subject.spec.parameters or name in subject.spec.choices or _is_number(subject, name, value)
        if refused is None and must:
            hint = "raise UserError, as ProtocolSpec.resolved does for unknown names and choices"
            raise CheckFailed(f"{name}={value} is accepted", hint)
        if refused is not None and len(str(refused).splitlines()) != 1:
            raise CheckFailed(f"{name}={value} is refused with a message of several lines", "use a one-line message")
    return f"{tried} wrong values are refused with one line, or accepted as text"


def _wrong_values(subject: ProtocolSubject) -> Iterator[tuple[str, str]]:
    for name in subject.spec.parameters:
        # A training for each value would take minutes.
        values = WRONG if isinstance(subject.protocol, ImageProtocol) else WRONG[:2]
        yield from ((name, value) for value in values)


def _is_number(subject: ProtocolSubject, name: str, value: str) -> bool:
    default = subject.spec.parameters[name]
    return isinstance(default, int | float) and not isinstance(default, bool) and value in WRONG[:2]


def _refusal(subject: ProtocolSubject, given: dict[str, object], what: str) -> UserError | None:
    """Return the error of a protocol for parameters; None if it accepts them."""
    try:
        if isinstance(subject.protocol, ImageProtocol):
            subject.resolve(given)
        else:
            subject.run(given, "refused")
    except RunError as error:
        hint = "check every parameter, and raise UserError naming it"
        raise CheckFailed(f"{what}: {error.what}", hint) from error
    except UserError as error:
        return error
    return None


def _identity(subject: ProtocolSubject) -> str:
    if not isinstance(subject.protocol, ImageProtocol):
        raise CheckSkipped("a dataset protocol makes its identity when it runs")
    subject.scored = subject.resolve(subject.parameters)
    first = _text(subject, subject.scored)
    if _text(subject, subject.resolve(subject.parameters)) != first:
        raise CheckFailed("equal parameters give different identities", "build it from values and hashes of files")
    for name, values in subject.spec.choices.items():
        for value in values:
            chosen = str(subject.parameters.get(name, subject.spec.parameters[name]))
            if value != chosen and _text(subject, subject.resolve({**subject.parameters, name: value})) == first:
                raise CheckFailed(f"{name}={value} has the identity of {name}={chosen}", "include it in the identity")
    code, reasons = protocol_code(subject.scored)
    if reasons:
        hint = "keep plain values, tensors or arrays, in classes defined in a file"
        raise CheckFailed(f"results cannot be reused: {reasons[0]}", hint)
    return f"{len(subject.scored.identity)} entries, code {code[:12]}"


def _text(subject: ProtocolSubject, scorer: Scorer) -> str:
    # It also raises for values that no record can hold.
    return protocol_identity(subject.spec.name, subject.spec.version, scorer.identity)


def _record(subject: ProtocolSubject) -> str:
    try:
        records = subject.run(subject.parameters, "runs")
    except RunError:
        raise
    except UserError as error:
        if isinstance(subject.protocol, DatasetProtocol) and subject.own_data:
            raise CheckSkipped(f"it does not run on the kit's images ({error.what}): give `data`") from error
        raise
    if not records:
        raise CheckSkipped("it has not made a record yet")
    subject.record = records[0]
    if subject.record.protocol.name != subject.spec.name or not subject.record.metrics:
        raise CheckFailed("the record belongs to another protocol, or has no metrics", "write it with write_result")
    return f"{subject.record.dataset.n_evaluated} images, {len(subject.record.metrics)} metrics"


def _rows(subject: ProtocolSubject) -> str:
    assert subject.record is not None
    sha256s, columns = read_rows(subject.record_folder() / "rows.parquet")
    if len(sha256s) != subject.record.dataset.n_evaluated:
        raise CheckFailed(f"{len(sha256s)} rows for {subject.record.dataset.n_evaluated} images", "one row per image")
    if subject.scored is None:
        return f"{len(sha256s)} rows, {len(columns)} columns"
    truth = subject.truth()
    sizes = (tuple(truth.rgb8.shape[-2:]),) * len(truth.ids)
    given = (subject.model, truth, sizes, 0, subject.scorer.preprocessing)
    prediction = colorize(*given, request=further_of(subject.scorer))  # type: ignore[arg-type]
    scored = subject.score(prediction).columns
    stored = {name: values[:IMAGES] for name, values in columns.items()}
    for name, values in scored.items():
        wide = np.maximum(1, np.abs(values))
        if name not in stored or not np.allclose(
            stored[name] / wide, values / wide, rtol=0, atol=ROW_TOLERANCE, equal_nan=True
        ):
            hint = "score each image separately, and keep no state between calls"
            raise CheckFailed(f"the rows contain another {name} than scoring the same images again", hint)
    return f"{len(sha256s)} rows, {len(columns)} columns, as scored again"


def _verify(subject: ProtocolSubject) -> str:
    # A dataset protocol may select among the given images, and has its own keys.
    images = subject.test if isinstance(subject.protocol, ImageProtocol) else None
    found = verify(subject.record_folder(), images=images)
    if wrong := [check for check in found.checks if check.outcome == "fails"]:
        hint = "rows, statistics, curves and arrays must be consistent; see docs/verification.md"
        raise CheckFailed(f"{wrong[0].name}: {wrong[0].detail}", hint)
    unchecked = [check.name for check in found.checks if check.outcome == "unchecked"]
    rest = f", not checked: {', '.join(unchecked)}" if unchecked else ""
    return f"{len(found.checks) - len(unchecked)} checks hold{rest}"


DECLARATION_CHECKS = [
    ConformanceCheck("spec", _spec, ("loads",)),
    ConformanceCheck("presets", _presets, ("spec",)),
    ConformanceCheck("parameters", _parameters, ("spec",)),
    ConformanceCheck("identity", _identity, ("spec",)),
]
RECORD_CHECKS = [
    ConformanceCheck("record", _record, ("spec",)),
    ConformanceCheck("rows", _rows, ("record",)),
    ConformanceCheck("verify", _verify, ("record", "rows")),
]
