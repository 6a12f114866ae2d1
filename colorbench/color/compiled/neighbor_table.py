"""Lookup tables of the soft encoding: the K nearest points of a square grid, by the position within a grid cell.

The cell is divided into a few regions with one set of K nearest points each; every border between two regions is a
piece of the perpendicular bisector of two points.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np

CELLS = 80
"""Table positions per grid step."""


class NeighborPatterns(NamedTuple):
    """Patterns of nearest points for the (cells + 1)^2 positions in a cell: squares around the nodes of a fine grid."""

    members: np.ndarray
    """(patterns, K) int64: points of each pattern in ascending order; the last row means "no pattern, search"."""
    node: np.ndarray
    """((cells + 1)^2,) uint16: node of each position."""
    borders: np.ndarray
    """(nodes, 6) float32: for two borders, the constant and the factors of the first and second coordinate."""
    outcome: np.ndarray
    """(4 nodes,) int32: patterns of each node for (border 1 positive, border 2 positive) = 00, 01, 10, 11."""


class _Border(NamedTuple):
    line: tuple[float, float, float]  # constant, factors: 0 on the line
    begin: np.ndarray  # (2,)
    end: np.ndarray  # (2,)
    sides: tuple[int, int]  # bit sets of the K nearest points on the negative and the positive side of the line


def neighbor_patterns(points: np.ndarray, count: int, cells: int = CELLS) -> NeighborPatterns:
    """Build lookup tables of the ``count`` nearest neighbors among the (n, 2) integer ``points``, n <= 62."""
    borders = _borders(points, count)
    ticks = np.arange(cells + 1) / cells
    positions = np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)
    through = np.stack([_passes(border, positions, 0.5 / cells) for border in borders], axis=1)  # (places, borders)
    known: dict[int, int] = {}
    nodes: dict[tuple[object, ...], int] = {}
    lines: list[tuple[tuple[float, float, float], ...]] = []
    outcomes: list[list[int]] = []
    node = np.empty(len(positions), np.uint16)
    # Most positions are like their neighbors, so each kind is computed once.
    inside = _nearest_sets(points, positions, count)
    for position in range(len(positions)):
        crossing = np.flatnonzero(through[position])
        kind = (int(inside[position]), *crossing) if len(crossing) < 2 else (position,)
        if kind not in nodes:
            pair, sets = _decide(
                [borders[i] for i in crossing], int(inside[position]), points, count, positions[position]
            )
            nodes[kind] = len(lines)
            lines.append(pair)
            outcomes.append([-1 if one is None else known.setdefault(one, len(known)) for one in sets])
        node[position] = nodes[kind]
    members = [[i for i in range(len(points)) if key >> i & 1] for key in known]
    last = len(members)
    return NeighborPatterns(
        np.array([*members, members[0]]),
        node,
        np.array(lines, np.float32).reshape(-1, 6),
        np.array([last if one < 0 else one for four in outcomes for one in four], np.int32),
    )


def _nearest_sets(points: np.ndarray, positions: np.ndarray, count: int) -> np.ndarray:
    """Return (n,) int64 bit sets of the nearest points of (n, 2) positions; at equal distance the first points."""
    squared = ((positions[:, None] - points) ** 2).sum(-1)
    order = squared.argsort(axis=1, kind="stable")[:, :count]
    bits: np.ndarray = (np.int64(1) << order).sum(1)
    return bits


def _borders(points: np.ndarray, count: int) -> list[_Border]:
    """Return all pieces of bisectors that separate two sets of nearest points in the (slightly widened) unit cell."""
    low, high = -0.01, 1.01
    found: dict[tuple[int, int, int], None] = {}
    for p, q in combinations(points.astype(int), 2):
        # |x - p|^2 = |x - q|^2 is a line with integer coefficients.
        line = np.array([p @ p - q @ q, *(2 * (q - p))])
        line //= np.gcd.reduce(line)
        constant, da, db = (int(x) for x in line)
        if (-constant, -da, -db) not in found:
            found[constant, da, db] = None
    lines = np.array(list(found), float)
    borders = []
    for constant, da, db in lines.tolist():
        direction = np.array([-db, da]) / np.hypot(da, db)
        foot = -constant * np.array([da, db]) / (da * da + db * db)
        # Along the line foot + t direction: where it is in the cell, and where other bisectors cut it.
        enter, leave = -np.inf, np.inf
        for origin, step in zip(foot, direction, strict=True):
            if abs(step) < 1e-12:
                if not low <= origin <= high:
                    enter, leave = np.inf, -np.inf
                continue
            first, second = sorted(((low - origin) / step, (high - origin) / step))
            enter, leave = max(enter, first), min(leave, second)
        if leave - enter < 1e-9:
            continue
        slope = lines[:, 1:] @ direction
        with np.errstate(divide="ignore", invalid="ignore"):
            cuts = -(lines[:, 0] + lines[:, 1:] @ foot) / slope
        cuts = cuts[(np.abs(slope) > 1e-12) & (cuts > enter) & (cuts < leave)]
        ends = np.unique(np.round(np.concatenate([[enter], cuts, [leave]]), 9))
        middle = foot + ((ends[1:] + ends[:-1]) / 2)[:, None] * direction
        beside = 1e-7 * np.array([da, db]) / np.hypot(da, db)
        negative, positive = (_nearest_sets(points, middle + sign * beside, count) for sign in (-1, 1))
        for k in np.flatnonzero(negative != positive):
            begin, end = (foot + t * direction for t in (ends[k], ends[k + 1]))
            borders.append(_Border((constant, da, db), begin, end, (int(negative[k]), int(positive[k]))))
    return borders


def _passes(border: _Border, positions: np.ndarray, half: float) -> np.ndarray:
    """Return (n,) bool: whether a border touches the square of side 2 ``half`` around each of (n, 2) positions.

    May report a square that is not touched, but never misses one that is.
    """
    half *= 1 + 1e-6  # positions are rounded in float32
    constant, da, db = border.line
    across = np.abs(constant + positions @ np.array([da, db])) <= (abs(da) + abs(db)) * half
    low, high = np.minimum(border.begin, border.end) - half, np.maximum(border.begin, border.end) + half
    within: np.ndarray = across & ((positions >= low) & (positions <= high)).all(1)
    return within


def _decide(
    crossing: list[_Border], inside: int, points: np.ndarray, count: int, position: np.ndarray
) -> tuple[tuple[tuple[float, float, float], ...], list[int | None]]:
    """Return two lines for a position and the set of nearest points on each of their four sides.

    None for a side on which the points must be searched.
    """
    never = (-1.0, 0.0, 0.0)  # negative everywhere
    lines = list({border.line: None for border in crossing})
    if not lines:
        return (never, never), [inside] * 4
    if len(lines) == 1 and len({border.sides for border in crossing}) == 1:
        negative, positive = crossing[0].sides
        return (lines[0], never), [negative, negative, positive, positive]
    if len(lines) != 2:
        return (never, never), [None] * 4
    forms = np.array(lines)
    meet = np.linalg.solve(forms[:, 1:], -forms[:, 0])
    if np.abs(meet - position).max() > 1e-3:
        return (never, never), [None] * 4
    # A border must continue through the crossing: if it ends there, its line separates nothing beyond.
    for line in lines:
        if not _covers([border for border in crossing if border.line == line], meet):
            return (never, never), [None] * 4
    sides = [np.linalg.solve(forms[:, 1:], np.array(signs)) for signs in ((-1, -1), (-1, 1), (1, -1), (1, 1))]
    around = np.array([meet + 1e-6 * side / np.linalg.norm(side) for side in sides])
    return (lines[0], lines[1]), [int(one) for one in _nearest_sets(points, around, count)]


def _covers(pieces: list[_Border], point: np.ndarray) -> bool:
    """Return whether pieces of one line lie on both sides of a point on it."""
    direction = pieces[0].end - pieces[0].begin
    along = [(end - point) @ direction for piece in pieces for end in (piece.begin, piece.end)]
    return bool(min(along) < -1e-9 and max(along) > 1e-9)
