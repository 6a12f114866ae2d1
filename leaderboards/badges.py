"""Badges on records: short warnings and facts about their trustworthiness."""

from __future__ import annotations

from colorbench.results import shared_weights_note, too_few_images
from colorbench.stats import MINIMUM_IMAGES
from colorbench.verification import PROMISE
from leaderboards.board_schema import Badge
from leaderboards.collected_records import Entry
from leaderboards.untrusted_text import clean

SMOKE_TEST = "smoke test"
NOT_VERIFIED = "not verified"
KNOWN = "This record was not verified for this page. Its values, intervals and n do follow from its per-image scores."


def badges_of(entry: Entry) -> tuple[Badge, ...]:
    """Return the badges of one record, warnings first."""
    record, data = entry.record, entry.record.dataset
    found = []
    if too_few_images(record) or data.n_evaluated < MINIMUM_IMAGES:
        what = f"Only {data.n_evaluated} images: scores are not meaningful. No intervals, no ranks."
        found.append(Badge(SMOKE_TEST, what))
    if data.n_evaluated < data.n:
        first = f" (first reason: {clean(data.skipped[0].reason, 100)})" if data.skipped else ""
        what = f"{data.n - data.n_evaluated} of {data.n} images were excluded{first}."
        found.append(Badge("partial", what))
    dtype = clean(record.execution.dtype, 20)
    if dtype != "float32":
        found.append(Badge(dtype, f"Computed in {dtype}, not float32."))
    if data.overlap:
        what = f"{data.overlap} of these images are in the training set of the model: its scores are biased upwards."
        found.append(Badge("trained on these", what))
    if record.shared_weights:
        what = "; ".join(clean(shared_weights_note(shared), 400) for shared in record.shared_weights)
        found.append(Badge("shares weights", f"{what[:1].upper()}{what[1:]}."))
    if record.model.card.stochastic:
        found.append(Badge("stochastic", f"The prediction depends on the seed ({record.execution.seed}).", "plain"))
    check = entry.verification
    if check is None:
        found.append(Badge(NOT_VERIFIED, f"{KNOWN} {PROMISE}", "plain"))
    else:
        again = check.rerun
        rerun = f" The model was rerun on {again.images} images." if again else f" {PROMISE}"
        what = f"Every number that can be recomputed from the files of the record was recomputed and agrees.{rerun}"
        found.append(Badge("verified" if again is None else "verified, rerun", what, "good"))
    order = {"warn": 0, "plain": 1, "good": 2}
    return tuple(sorted(found, key=lambda badge: order[badge.tone]))
