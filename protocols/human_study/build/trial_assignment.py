"""Assignment of trials to participants: a seeded design, balanced over images, methods, order and position.

The sessions are drawn one after the other. Each uses the images shown least so far, and an assignment problem pairs
them with the methods so that every image is combined with every method equally often: a Latin square if the numbers
allow one, and as close to it as possible otherwise (see ``balance``). Fakes are first in half of the trials of every
participant and method.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from colorbench.errors import UserError
from colorbench.reporting import counted
from protocols.human_study.study_folder.design_schema import Assignment, Design, Kind, Position, Slot, Trial

SENTINEL_SHARE = 0.1
"""Share of sentinels among the trials, as in the paper."""
PRACTICE = 10
ALL = "all"
"""The cell of a study in which every participant sees every method."""


def sentinel_count(trials: int, share: float = SENTINEL_SHARE) -> int:
    """Return the number of sentinels among ``trials``, rounded, at least one unless the share is 0."""
    return 0 if share == 0 else max(1, round(trials * share))


@dataclass
class _Counts:
    """Counts over the sessions drawn so far."""

    image: np.ndarray  # (images,) times seen
    pair: np.ndarray  # (images, methods) times seen, the sentinel last
    lead: np.ndarray  # (images, methods) fake first minus fake second
    odd: np.ndarray = field(init=False)  # (methods,) the same, over all images

    def __post_init__(self) -> None:
        self.odd = np.zeros(self.pair.shape[1], dtype=np.int64)


def draw_slots(
    *,
    participants: int,
    trials: int,
    sentinels: int,
    methods: Sequence[str],
    sentinel_method: str,
    images: Sequence[str],
    practice: Sequence[str],
    assignment: Assignment,
    seed: int,
) -> list[Slot]:
    """Draw the assignment of trials to the sessions of all participants.

    Args:
        participants: number of sessions.
        trials: trials per session, without practice.
        sentinels: number of trials against ``sentinel_method``.
        methods: methods that are rated.
        sentinel_method: method of the sentinels.
        images: ids for test and sentinel trials.
        practice: ids for the trials before them.
        assignment: ``within`` or ``between``.
        seed: of all random choices.

    Raises:
        UserError: for fewer images than a session needs, or fewer participants or trials than methods.
    """
    tests = trials - sentinels
    if len(images) < trials:
        what = f"{trials} trials need {trials} different images, and there are {len(images)}"
        raise UserError(what, hint="use more images, or fewer --trials")
    if tests < 1:
        raise UserError(f"{sentinels} sentinels leave none of {trials} trials", hint="increase --trials")
    if assignment == "within" and tests < len(methods):
        what = f"{tests} test trials are fewer than {len(methods)} methods"
        raise UserError(what, hint="increase --trials, or use --assignment between")
    if assignment == "between" and participants < len(methods):
        what = f"{participants} participants are fewer than {len(methods)} methods, with one method each"
        raise UserError(what, hint="increase --participants, or use --assignment within")
    rng = np.random.default_rng(seed)
    shape = (len(images), len(methods) + 1)
    counts = _Counts(np.zeros(shape[0], dtype=np.int64), *(np.zeros(shape, dtype=np.int64) for _ in range(2)))
    names = [*methods, sentinel_method]
    slots = []
    for number, quota in enumerate(_quotas(participants, tests, len(methods), assignment, rng)):
        pairs = _pairs(np.append(quota, sentinels), counts, rng)
        positions = _positions(pairs, counts, rng)
        order = _order(pairs, len(methods), rng)
        warm_up = _practice(practice, [m for m in range(len(methods)) if quota[m]], rng)
        shown = [
            Trial(kind="practice", image=practice[p], method=names[m], fake=position) for p, m, position in warm_up
        ]
        for index in order:
            p, m = pairs[index]
            kind: Kind = "sentinel" if m == len(methods) else "test"
            shown.append(Trial(kind=kind, image=images[p], method=names[m], fake=positions[index]))
        cell = ALL if assignment == "within" else names[int(np.argmax(quota))]
        slots.append(Slot(id=f"s{number + 1:03d}", cell=cell, trials=shown))
    return slots


def _quotas(
    participants: int, tests: int, methods: int, assignment: Assignment, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield the number of test trials of each method, (methods,), for each participant in turn."""
    if assignment == "between":
        for start in range(0, participants, methods):
            # Every method once before any is repeated, so that a study that ends early is balanced too.
            for m in rng.permutation(methods)[: participants - start]:
                yield np.where(np.arange(methods) == m, tests, 0)
        return
    given = np.zeros(methods)
    for _ in range(participants):
        quota = np.full(methods, tests // methods)
        # The remainder goes to the methods with the fewest trials so far.
        for m in np.lexsort((rng.random(methods), given))[: tests % methods]:
            quota[m] += 1
        given += quota
        yield quota


def _pairs(quota: np.ndarray, counts: _Counts, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Return (image, method) of one session, every image once; ``quota`` is (methods + 1,), the sentinels' last."""
    columns = np.repeat(np.arange(len(quota)), quota)
    tested = counts.pair[:, :-1].sum(axis=1, keepdims=True)
    seen = counts.pair[:, columns]
    sentinel = columns == len(quota) - 1
    # Marginal costs of sums of squares: showing one pair twice more costs more than showing two pairs once more. The
    # criteria are ordered, and each only breaks ties of the previous ones: pairs of image and method, images of
    # sentinels, images over all methods, images over all trials; then chance.
    cost = np.where(sentinel, 0, seen)
    for then in (np.where(sentinel, seen, 0), tested, counts.image[:, None]):
        cost = _tied(cost, then)
    rows, positions = linear_sum_assignment(cost + rng.random(cost.shape) / (2 * len(columns)))
    pairs = [(int(row), int(columns[position])) for row, position in zip(rows, positions, strict=True)]
    for p, m in pairs:
        counts.image[p] += 1
        counts.pair[p, m] += 1
    return pairs


def _tied(cost: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return integer ``cost`` (images, columns) with ties, in sums over all columns, broken by ``then``."""
    then = then - then.min()
    return np.asarray((cost - cost.min()) * (int(then.max()) * cost.shape[1] + 1) + then)


def _positions(pairs: Sequence[tuple[int, int]], counts: _Counts, rng: np.random.Generator) -> list[Position]:
    """Return the position of each fake: first in half of each method's trials, balanced over images."""
    by_method: dict[int, list[int]] = {}
    for index, (_, m) in enumerate(pairs):
        by_method.setdefault(m, []).append(index)
    positions: list[Position] = ["second"] * len(pairs)
    balance = 0  # first minus second in this session
    for m in sorted(by_method, key=lambda m: len(by_method[m]) % 2):
        group = by_method[m]
        firsts = len(group) // 2
        if len(group) % 2:
            # The balance of the session has priority over that of the method over all sessions.
            weight = (balance, counts.odd[m], rng.random() - 0.5)
            more_first = next(value for value in weight if value) < 0
            firsts += more_first
            balance += 1 if more_first else -1
        lead = [(counts.lead[pairs[i][0], m], counts.lead[pairs[i][0]].sum(), rng.random(), i) for i in group]
        for rank, (*_, i) in enumerate(sorted(lead)):
            positions[i] = "first" if rank < firsts else "second"
            step = 1 if rank < firsts else -1
            counts.lead[pairs[i][0], m] += step
            counts.odd[m] += step
    return positions


def _order(pairs: Sequence[tuple[int, int]], methods: int, rng: np.random.Generator) -> list[int]:
    """Return indices of ``pairs`` in the order shown.

    Methods in turn, sentinels spread over the session, never first.
    """
    waiting = {m: list(rng.permutation([i for i, pair in enumerate(pairs) if pair[1] == m])) for m in range(methods)}
    tests: list[int] = []
    while any(waiting.values()):
        # Each block of as many trials as methods contains each once: no method is concentrated early or late.
        tests += [int(waiting[m].pop()) for m in rng.permutation(methods) if waiting[m]]
    sentinels = [int(i) for i in rng.permutation([i for i, pair in enumerate(pairs) if pair[1] == methods])]
    order = list(tests)
    edges = np.linspace(1, len(tests) + 1, len(sentinels) + 1).astype(int)
    spots = [int(rng.integers(low, max(high, low + 1))) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    for spot, sentinel in reversed(list(zip(spots, sentinels, strict=True))):
        order.insert(spot, sentinel)
    return order


def _practice(
    practice: Sequence[str], methods: Sequence[int], rng: np.random.Generator
) -> list[tuple[int, int, Position]]:
    """Return (image, method, position of the fake) of the practice trials: the methods of the session in turn."""
    turn = [int(methods[i % len(methods)]) for i in range(len(practice))]
    positions: list[Position] = ["first" if i % 2 else "second" for i in range(len(practice))]
    shown = zip(rng.permutation(len(practice)), rng.permutation(turn), rng.permutation(positions), strict=True)
    return [(int(p), int(m), "first" if position == "first" else "second") for p, m, position in shown]


def balance(slots: Sequence[Slot]) -> dict[str, tuple[int, int]]:
    """Return the fewest and most trials per method, per image, and per image and method, without sentinels.

    The last entry is, per participant, the number of fakes in the first position minus that in the second.
    """
    tests = [(slot, trial) for slot in slots for trial in slot.trials if trial.kind == "test"]
    methods = sorted({trial.method for _, trial in tests})
    shown = sorted({trial.image for slot in slots for trial in slot.trials if trial.kind != "practice"})
    per_method = Counter(trial.method for _, trial in tests)
    per_image = Counter(trial.image for _, trial in tests)
    per_pair = Counter((trial.image, trial.method) for _, trial in tests)
    lead = [sum(1 if trial.fake == "first" else -1 for trial in slot.trials if trial.kind == "test") for slot in slots]
    return {
        "trials per method": _range([per_method[m] for m in methods]),
        "trials per image": _range([per_image[p] for p in shown]),
        "trials per image and method": _range([per_pair[p, m] for p in shown for m in methods]),
        "fakes first minus second, per participant": _range(lead),
    }


def _range(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)


def summary(design: Design) -> list[str]:
    """Return the size and balance of a study as lines of text, its number of participants first."""
    settings = design.settings
    lines = [
        f"study for {counted(settings.participants, 'participant')}",
        f"{counted(len(design.rated), 'method')}, {settings.assignment}; {counted(settings.trials, 'trial')} each "
        f"({counted(settings.sentinels, 'sentinel')}) after {counted(settings.practice, 'practice trial')}; "
        f"{counted(len(design.tests), 'image')}",
    ]
    for what, (fewest, most) in balance(design.slots).items():
        lines.append(f"{what}: {fewest} to {most}" if fewest != most else f"{what}: {fewest}")
    return lines
