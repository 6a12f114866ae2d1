"""Alignment of several records: whether they are comparable, and their rows on the same images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from colorbench.errors import UserError
from colorbench.results.record import Record
from colorbench.results.record_loading import LoadedRun
from colorbench.storage.safe_reading import HASH

ROUNDING = 1e-6
"""Relative rounding difference between machines."""


def column_key(record: Record) -> tuple[str, str, str, str, str]:
    """Return the values that two records must share to be in one column of a leaderboard.

    These are name, version and identity of the protocol, the images, and the gray policy.
    """
    protocol, data = record.protocol, record.dataset
    return (protocol.name, str(protocol.version), protocol.identity_sha256, data.fingerprint, data.gray_policy)


def differing(a: Record, b: Record) -> list[str]:
    """Return the reasons why two records cannot be paired for a comparison; empty if they can.

    The first is the one to report: another protocol also has other parameters.
    """
    one, other = a.protocol, b.protocol
    if one.name != other.name:
        return [f"protocol {one.name} and {other.name}"]
    found = []
    if one.version != other.version:
        found.append(f"version {one.version} and {other.version} of protocol {one.name}")
    choices = _differing_choices(one.identity, other.identity)
    found += [f"{one.name}.{choice}" for choice in choices]
    if not found and one.identity_sha256 != other.identity_sha256:
        found.append(f"identity {one.identity_sha256[:12]} and {other.identity_sha256[:12]} of protocol {one.name}")
    if a.dataset.gray_policy != b.dataset.gray_policy:
        found.append(f"gray images: {a.dataset.gray_policy} and {b.dataset.gray_policy}")
    if a.dataset.fingerprint != b.dataset.fingerprint:
        found.append(f"other images: {_images(a)} and {_images(b)}")
    return found


def _differing_choices(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    missing = object()
    return [
        f"{key} = {_short(one.get(key, 'nothing'))} and {_short(other.get(key, 'nothing'))}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key, missing) != other.get(key, missing)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:12] if HASH.fullmatch(text) else text[:60]


def _images(record: Record) -> str:
    data = record.dataset
    limit = "" if data.limit is None else f", limit {data.limit}"
    return f"{data.n_evaluated} of {data.name} (fingerprint {data.fingerprint[:12]}{limit})"


@dataclass(frozen=True)
class PairedRuns:
    """Several runs aligned on their common images: row j is the same image in all."""

    runs: tuple[LoadedRun, ...]
    positions: np.ndarray
    """(K, n) int: the row of each common image in each run."""

    @property
    def ids(self) -> list[str]:
        """Ids of the images in the first run."""
        return [str(id) for id in self.runs[0].rows["id"].iloc[self.positions[0]]]

    @property
    def sha256s(self) -> list[str]:
        """Content hashes of the images."""
        return [str(sha256) for sha256 in self.runs[0].rows["sha256"].iloc[self.positions[0]]]

    def statistics(self, metric: str) -> np.ndarray:
        """Return the sufficient statistics of a metric, (K, n, k).

        All statistics except the first depend on the images alone (weights, the value of the ground truth). Where they
        differ between runs only by rounding, as between CPU and GPU, those of the first agreeing run are used, so that
        a deviating run does not affect the others.
        """
        found = np.stack([run.statistics(metric)[at] for run, at in zip(self.runs, self.positions, strict=True)])
        firsts: list[int] = []
        for position in np.argsort(np.isnan(found).sum(axis=(1, 2)), kind="stable"):
            of_truth = found[position, :, 1:]
            alike = (one for one in firsts if _same_but_for_rounding(of_truth, found[one, :, 1:]))
            first = next(alike, None)
            if first is None:
                firsts.append(position)
            else:
                # A metric may be undefined for one model only (PSNR of an exact match); its NaN is kept.
                kept = np.isnan(of_truth) | np.isnan(found[first, :, 1:])
                found[position, :, 1:] = np.where(kept, of_truth, found[first, :, 1:])
        return found

    def scores(self, metric: str) -> np.ndarray:
        """Return the metric of each image alone, (K, n)."""
        return np.stack([run.scores(metric)[at] for run, at in zip(self.runs, self.positions, strict=True)])


def _same_but_for_rounding(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether the statistics of the ground truth agree on all images on which both are defined."""
    both = ~(np.isnan(a) | np.isnan(b))
    return bool(both.any() and np.allclose(a[both], b[both], rtol=ROUNDING, atol=0))


def pair_runs(runs: Sequence[LoadedRun]) -> PairedRuns:
    """Pair runs by the content of their images, in the order of the first run's rows.

    Raises:
        UserError: naming the first setting in which two of them differ.
        ValueError: for no run.
    """
    if not runs:
        raise ValueError("no runs were given")
    first = runs[0]
    for other in runs[1:]:
        reasons = differing(first.record, other.record)
        if reasons:
            models = f"{first.record.model.name} and {other.record.model.name}"
            hint = "evaluate both in the same way on the same images"
            raise UserError(f"{models} cannot be compared: {'; '.join(reasons)}", hint=hint)
    at = np.arange(len(first.rows))
    positions = [at]
    for other in runs[1:]:
        if first.rows["sha256"].equals(other.rows["sha256"]):
            positions.append(at)
            continue
        pairs = paired_positions(first.sha256s, other.sha256s)
        if not np.array_equal(pairs[:, 0], at):
            # Equal fingerprints but different rows: one of the records does not match its rows.
            what = f"the rows of {other.record.model.name} belong to other images than its record"
            raise UserError(what, where=str(other.folder), hint="`colorbench verify` shows which record is wrong")
        positions.append(pairs[:, 1])
    return PairedRuns(tuple(runs), np.stack(positions))


def paired_positions(candidate: Sequence[str], reference: Sequence[str]) -> np.ndarray:
    """Return the pairs of positions of equal content hashes in two records, (m, 2).

    For images that occur twice, the first is paired with the first.
    """
    waiting: dict[str, list[int]] = {}
    for position in reversed(range(len(reference))):
        waiting.setdefault(reference[position], []).append(position)
    found = [(position, waiting[sha256].pop()) for position, sha256 in enumerate(candidate) if waiting.get(sha256)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)
