"""``verify --rerun K``: are the stored numbers those of the named model?

K photographs, drawn at random, are colorized and scored once more by the engine itself, and every number of their rows
is compared. On the machine that made a record the numbers come out equal. On another a network's last digits differ,
and with them, after rounding to 8 bits, some pixels: hence a tolerance. It is wide for a pixel and narrow for a lie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from colorbench.data.dataset import Dataset, Sample
from colorbench.errors import UserError
from colorbench.evaluation.recompute import goes_image_by_image
from colorbench.evaluation.record import Record
from colorbench.evaluation.request import RunRequest, asked_protocols, resolve_protocols
from colorbench.evaluation.run import record_folder, run
from colorbench.evaluation.stored_rows import StoredRun, load_stored
from colorbench.evaluation.verification import Findings, Rerun
from colorbench.models.loading import LoadedModel, load_model
from colorbench.models.stored import StoredPictures

TOLERANCE = 1e-3
"""Largest |stored - measured again| / (|stored| + the column's mean |stored|). An AuC of 90 may move by 0.18; scores
of two networks differ by more on most photographs."""
LOADABLE = "only installed models are loaded by the name that a record gives"


@dataclass(frozen=True)
class Wanted:
    """What the caller says of a rerun."""

    count: int
    """Photographs to draw."""
    photographs: Dataset
    """The set that the record was measured on."""
    seed: int
    """Of the draw. To be drawn itself: whoever forges rows could spare those of a known draw."""
    model: str | None = None
    """A model to take in place of the one that the record names."""
    weights: Path | None = None
    device: str = "auto"
    batch_size: int = 16


def rerunner(wanted: Wanted) -> Callable[[StoredRun, Findings], Rerun | None]:
    """What ``verify`` calls to measure photographs again."""

    def again(stored: StoredRun, findings: Findings) -> Rerun | None:
        try:
            return _rerun(stored, wanted, findings)
        except UserError as error:
            findings.say("rerun", "fails", str(error))
            return None

    return again


def _rerun(stored: StoredRun, wanted: Wanted, findings: Findings) -> Rerun:
    record = stored.record
    if not goes_image_by_image(record.protocol.name):
        raise UserError(f"protocol {record.protocol.name} does not go image by image: nothing can be measured again")
    model = load_named(record, wanted)
    drawn = np.random.default_rng(wanted.seed).permutation(len(stored.rows))[: wanted.count]
    places = sorted(int(place) for place in drawn)
    known = {sample.id: sample for sample in wanted.photographs.samples}
    ids = [str(stored.rows["id"].iloc[place]) for place in places]
    absent = [id for id in ids if id not in known]
    if absent:
        raise UserError(f"{len(absent)} of {len(ids)} photographs are not among those given", where=absent[0])
    columns, sha256s = _measured(record, model, [known[id] for id in ids], wanted)
    largest = 0.0

    def departures() -> Iterator[str]:
        nonlocal largest
        for place, id in zip(places, ids, strict=True):
            if id not in sha256s:
                yield f"{id} could not be evaluated"
            elif sha256s[id] != stored.sha256s[place]:
                yield f"{id} is another photograph here (other sha256)"
        for name, again in columns.items():
            if name not in stored.columns:
                yield f"the rows lack the column {name}"
                continue
            at = [place for place, id in zip(places, ids, strict=True) if id in again]
            apart = departure(stored.columns[name], at, np.array([again[id] for id in ids if id in again]))
            if len(apart):
                largest = max(largest, float(apart.max()))
            if (apart > TOLERANCE).any():
                id = stored.rows["id"].iloc[at[int(apart.argmax())]]
                yield f"{name} of {int((apart > TOLERANCE).sum())} photographs came out otherwise, most of {id}"

    holds = f"{len(ids)} photographs measured again with {model.full_name} (draw {wanted.seed})"
    findings.settle("rerun", departures(), holds)
    largest = min(largest, 1e9)  # NaN for a number counts as infinite, which no JSON holds
    return Rerun(photographs=len(ids), seed=wanted.seed, largest=largest, tolerance=TOLERANCE, ids=ids)


def departure(column: np.ndarray, places: Sequence[int], again: np.ndarray) -> np.ndarray:
    """How far numbers are from the stored ones, in the unit of ``TOLERANCE``.

    Args:
        column: (n,) as stored, of all photographs.
        places: (m,) those that were measured again.
        again: (m,) what came out.

    Returns:
        (m,) 0 and more; infinite where one is a number and the other is none.
    """
    stored = column[list(places)]
    finite = np.abs(column[np.isfinite(column)])
    scale = np.abs(stored) + (finite.mean() if len(finite) else 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        apart = np.where(stored == again, 0.0, np.abs(stored - again) / scale)
    apart = np.where(np.isnan(stored) & np.isnan(again), 0.0, apart)
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf)


def load_named(record: Record, wanted: Wanted) -> LoadedModel:
    """The model of a record.

    Raises:
        UserError: for a model that is not installed (a file or folder that a record names is not opened unless the
            caller names it too), or is not the one of the record.
    """
    name = record.model.name
    if wanted.model is None and (":" in name or "@" in name or "/" not in name or "weights=" in name):
        mend = "name it with --model (and --weights)"
        raise UserError(f"{LOADABLE}", where=name[:200], mend=mend)
    decoding = record.model.decoding
    decode, temperature = decoding.get("decode"), decoding.get("temperature")
    model = load_model(
        wanted.model or name,
        decode=decode if isinstance(decode, str) else None,
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
        weights=wanted.weights,
    )
    if isinstance(model.colorizer, StoredPictures):
        return model  # their hash is over the pictures of all photographs
    for what, mine, theirs in (
        ("name", model.full_name, name if wanted.model is None else model.full_name),
        ("weights", model.weights_sha256, record.model.weights_sha256),
        ("decoding", dict(model.decoding), decoding),
    ):
        if mine != theirs:
            raise UserError(f"the model is another here: {what} {mine}, the record says {theirs}")
    return model


def _measured(
    record: Record, model: LoadedModel, samples: Sequence[Sample], wanted: Wanted
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Column -> id -> value, and id -> content hash, of photographs measured again."""
    dataset = replace(wanted.photographs, samples=tuple(sorted(samples, key=lambda sample: sample.id)))
    with tempfile.TemporaryDirectory(prefix="colorbench-verify-") as folder:
        request = RunRequest(
            models=(model,),
            protocols=(record.protocol.name,),
            data=dataset,
            gray_policy="keep",  # those that were dropped are not in the rows
            parameters={record.protocol.name: record.protocol.parameters},
            seed=record.execution.seed,
            batch_size=wanted.batch_size,
            device=wanted.device,
            dtype=record.execution.dtype,
            save="none",
            output=Path(folder),
            anchors=False,
        )
        again = load_stored(record_folder(Path(folder), run(request)[0]))
        of_the_set = _of_the_set(request, dataset, again)
    ids = [str(id) for id in again.rows["id"]]
    columns = {
        name: dict(zip(ids, map(float, values), strict=True))
        for name, values in again.columns.items()
        if name not in of_the_set
    }
    return columns, dict(zip(ids, again.sha256s, strict=True))


def _of_the_set(request: RunRequest, dataset: Dataset, again: StoredRun) -> Mapping[str, Any]:
    """Columns that follow from the whole set (``auc.prior=dataset``): another set gives other ones."""
    from colorbench.evaluation.check_numbers import load_arrays

    (_, scorer), *_ = resolve_protocols(asked_protocols(request), dataset)
    return scorer.summarize(again.columns, load_arrays(again)).statistics or {}
