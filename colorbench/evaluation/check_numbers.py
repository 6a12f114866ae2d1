"""Whether the numbers of a record follow from its rows and arrays: scores, metrics, differences, curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from colorbench.errors import UserError
from colorbench.evaluation import recompute
from colorbench.evaluation.protocol import MetricSpec, Scorer, Summary
from colorbench.evaluation.stored_rows import StoredRun
from colorbench.evaluation.untrusted import LARGEST_FILE, Unfit, arrays_of, inside, left_out, read_plain
from colorbench.evaluation.verification import Findings

_UNRESOLVED = "it does not go image by image, or a parameter names a file or a model, which only --rerun opens"


def check_numbers(run: StoredRun, findings: Findings, *, trusted: bool) -> None:
    """Scores, metrics, differences and curves, derived again."""
    specs, scorer = _protocol_of(run, findings, trusted=trusted)
    summary = None if scorer is None else _summary_of(run, scorer, findings)
    metrics = run.record.metrics
    absent = _absent_statistics(run)
    if absent:
        findings.say("metrics", "fails", f"the rows lack the statistics of {', '.join(absent)}")
        return
    with np.errstate(all="ignore"):
        findings.settle("scores", recompute.score_findings(run), "each photograph's score follows from its statistics")
        # Without the scorer the record's own effective numbers are taken: a protocol may know them better than we.
        effective = {metric.name: metric.effective_n for metric in metrics} if scorer is None else {}
        effective |= {} if summary is None else dict(summary.effective_n)
        findings.settle(
            "metrics", recompute.metric_findings(run, specs, effective), f"{len(metrics)}, with their intervals"
        )
        _check_differences(run, specs, findings)
        if summary is not None and run.record.curves:
            holds = f"{len(run.record.curves)} follow from the arrays"
            findings.settle("curves", recompute.curve_findings(run.record, summary), holds)


def _check_differences(run: StoredRun, specs: Sequence[MetricSpec], findings: Findings) -> None:
    found = list(recompute.difference_findings(run, specs))
    absent = [name for name, departure in found if departure is None]
    departures = [departure for _, departure in found if departure is not None]
    for name in absent:
        findings.say("differences", "unchecked", f"the record of {name} does not lie beside this one")
    if departures or len(absent) < len({difference.minus for difference in run.record.differences}):
        checked = sum(difference.minus not in absent for difference in run.record.differences)
        findings.settle("differences", iter(departures), f"{checked} follow from both records' rows")


def _absent_statistics(run: StoredRun) -> list[str]:
    absent = []
    for metric in run.record.metrics:
        try:
            run.statistics(metric.name)
        except UserError:
            absent.append(metric.name)
    return absent


def _protocol_of(run: StoredRun, findings: Findings, *, trusted: bool) -> tuple[list[MetricSpec], Scorer | None]:
    """What is known of the metrics, and the scorer where the record's parameters may be taken."""
    own = [recompute.spec_of(metric) for metric in run.record.metrics]
    try:
        spec, scorer = recompute.scorer_of(run.record, lambda: recompute.dataset_of(run), trusted=trusted)
    except UserError as error:
        findings.say("identity", "unchecked" if "installed" in str(error) else "fails", str(error))
        return own, None
    except Exception as error:  # a protocol that meets parameters it never thought of
        findings.say("identity", "fails", f"the protocol refuses the parameters: {type(error).__name__}")
        return own, None
    if scorer is None:
        findings.say("identity", "unchecked", f"{spec.name} is not resolved: {_UNRESOLVED}")
        return [*spec.metrics, *own], None
    return list(scorer.metrics), scorer


def _summary_of(run: StoredRun, scorer: Scorer, findings: Findings) -> Summary | None:
    """What the protocol says of all rows; None where it cannot."""
    arrays = run.record.files.arrays
    if arrays and all(left_out(run.folder, name) for name in arrays):
        findings.say("curves", "unchecked", "they follow from arrays that do not lie here")
        return None
    try:
        return scorer.summarize(run.columns, load_arrays(run))
    except UserError as error:
        findings.say("curves", "fails", str(error))
    except Exception as error:  # whatever a protocol makes of a stranger's arrays
        findings.say("curves", "fails", f"the protocol can make nothing of rows and arrays: {type(error).__name__}")
    return None


def load_arrays(run: StoredRun) -> dict[str, np.ndarray]:
    """The arrays of a record, (n, ...) each; none where it names none.

    Raises:
        UserError: for a damaged file, one that unpacks to more than 2 GB, or arrays of other photographs.
    """
    found: dict[str, np.ndarray] = {}
    for name in run.record.files.arrays:
        path = inside(run.folder, name)
        if path is None:
            raise UserError("the record has no arrays beside it", where=name[:200], mend="copy its whole folder")
        data = read_plain(path, LARGEST_FILE, missing="no arrays", mend="copy the whole folder")
        try:
            found |= arrays_of(data, len(run.rows))
        except Unfit as error:
            raise UserError(f"these arrays cannot be read: {error}", where=name, mend="get the record again") from error
    return found
