"""What must be known of a record before its numbers are believed."""

from __future__ import annotations

from colorbench.reporting import too_few_images
from colorbench.stats import MINIMUM_IMAGES
from colorbench.verification import PROMISE
from leaderboards.entries import Entry
from leaderboards.formatting import clean
from leaderboards.schema import Badge

DEMONSTRATION = "too_few_images"
NOT_VERIFIED = "not verified"
KNOWN = "Nobody has verified this record for this board; its values, intervals and n do follow from its rows."


def badges_of(entry: Entry) -> tuple[Badge, ...]:
    """Return the badges of one record, warnings first."""
    record, data = entry.record, entry.record.dataset
    found = []
    if too_few_images(record) or data.n_evaluated < MINIMUM_IMAGES:
        what = f"{data.n_evaluated} images show that everything works and measure nothing: no interval, no rank."
        found.append(Badge(DEMONSTRATION, what))
    if data.n_evaluated < data.n:
        first = f", the first: {clean(data.skipped[0].reason, 100)}" if data.skipped else ""
        what = f"{data.n - data.n_evaluated} of {data.n} images were left out{first}."
        found.append(Badge("partial", what))
    dtype = clean(record.execution.dtype, 20)
    if dtype != "float32":
        found.append(Badge(dtype, f"Computed in {dtype}, not float32."))
    if data.overlap:
        what = f"{data.overlap} of these images are among its training images: its numbers flatter it."
        found.append(Badge("trained on these", what))
    if record.model.card.stochastic:
        found.append(Badge("stochastic", f"Its answer depends on the seed ({record.execution.seed}).", "plain"))
    check = entry.verification
    if check is None:
        found.append(Badge(NOT_VERIFIED, f"{KNOWN} {PROMISE}", "plain"))
    else:
        again = check.rerun
        measured = f" {again.images} images were measured again." if again else f" {PROMISE}"
        what = f"Every number that can be derived follows from what is stored beside the record.{measured}"
        found.append(Badge("verified" if again is None else "verified, rerun", what, "good"))
    order = {"warn": 0, "plain": 1, "good": 2}
    return tuple(sorted(found, key=lambda badge: order[badge.tone]))
