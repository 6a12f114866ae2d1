"""Names of datasets on a leaderboard: images of equal content are one dataset, whatever their folders are called."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from colorbench.results import Record, column_key
from leaderboards.collected_records import Entry
from leaderboards.untrusted_text import clean

Names = Mapping[str, Sequence[str]]
"""Fingerprint of the images -> names of their folders; the first is shown."""
TOLERANCE = 1e-5
"""Relative difference of values between runs of one model that differ in batches or threads only."""


def dataset_names(entries: Iterable[Entry]) -> Names:
    """Return the names of each dataset, the most common first, and of equally common names the first in text order."""
    often: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        often[entry.record.dataset.fingerprint][entry.record.dataset.name] += 1
    return {key: sorted(names, key=lambda name: (-names[name], name)) for key, names in often.items()}


def without_repeats(entries: Sequence[Entry], names: Names) -> list[Entry]:
    """Return the entries, of each result that was also measured under another name of the same images only one.

    Such results have the same model, protocol, images by content, seed, dtype and values. The one whose dataset has the
    shown name is kept, with the folders of the others. Results with other values are never merged, since one may be of
    somebody else.
    """
    alike: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[repr((column_key(entry.record), _made_by(entry.record)))].append(entry)
    kept: list[Entry] = []
    for members in alike.values():
        chosen: list[Entry] = []
        for entry in sorted(members, key=lambda one: (_place(one.record, names), one.sha256)):
            same = next((i for i, other in enumerate(chosen) if _repeats(entry.record, other.record)), None)
            if same is None:
                chosen.append(entry)
            else:
                first = chosen[same]
                repeats = (*first.repeats, f"{clean(entry.record.dataset.name, 60)} (record {entry.sha256[:8]})")
                chosen[same] = replace(first, outputs=first.outputs | entry.outputs, repeats=repeats)
        kept += chosen
    order = {entry.sha256: position for position, entry in enumerate(entries)}
    return sorted(kept, key=lambda entry: order[entry.sha256])


def _place(record: Record, names: Names) -> int:
    return names[record.dataset.fingerprint].index(record.dataset.name)


def _made_by(record: Record) -> tuple[object, ...]:
    """Return what decides the numbers beside protocol and images."""
    model, run = record.model, record.execution
    weights = model.weights_sha256, model.package_version, sorted(model.decoding.items())
    return model.name, *weights, model.card.role, run.dtype, run.seed


def _repeats(one: Record, other: Record) -> bool:
    """Return whether two results of one model differ in the name of the dataset, and not in a value."""
    values, others = ({metric.name: metric.value for metric in record.metrics} for record in (one, other))
    return (
        one.dataset.name != other.dataset.name
        and values.keys() == others.keys()
        and all(_close(value, others[name]) for name, value in values.items())
    )


def _close(a: float | None, b: float | None) -> bool:
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE))
