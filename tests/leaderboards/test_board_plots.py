"""Plots of a board: bands of curves, and marks that tell baselines apart without color."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from colorbench.reporting import DASHES, SHAPES
from leaderboards.board_building import build
from leaderboards.board_plots import color_of, curves
from leaderboards.record_collection import collect
from tests.support.board import folders, measured


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Records of a real run, to be changed."""
    return shutil.copytree(measured(tmp_path / "m"), tmp_path / "runs")


def test_curves_have_the_intervals_of_their_records(results: Path) -> None:
    board, entries = build(collect([results]))
    drawn = curves(board, board.groups[0], entries)
    assert len(drawn) == 3
    for one in drawn:
        assert one.banded
        assert len(one.figure.axes[0].collections) == len(board.competitors) == 3


def test_curves_with_the_same_lines_have_one_legend_on_the_page_and_their_own_in_a_file(results: Path) -> None:
    board, entries = build(collect([results]))
    names = [row.label for row in board.rows]
    for one in curves(board, board.groups[0], entries, one_legend=True):
        assert list(one.keys) == names and not one.figure.legends
    for one in curves(board, board.groups[0], entries):
        assert one.keys == {} and one.figure.legends


def test_curves_with_other_lines_keep_their_legends(results: Path) -> None:
    path = folders(results)["zoo/gray"] / "record.json"
    record = json.loads(path.read_text())
    record["curves"] = record["curves"][:1]
    path.write_text(json.dumps(record))
    board, entries = build(collect([results]))
    drawn = curves(board, board.groups[0], entries, one_legend=True)
    assert len(drawn) == 3 and all(one.keys == {} and one.figure.legends for one in drawn)


@pytest.mark.parametrize("low", [[], [0.0] * 150, [101.0] * 151, [1e300] * 151])
def test_a_band_that_is_missing_or_impossible_is_not_drawn(results: Path, low: list[float]) -> None:
    """Records of older versions have none, and a record may claim any."""
    for folder in folders(results).values():
        record = json.loads((folder / "record.json").read_text())
        for curve in record["curves"]:
            curve["low"] = low
        (folder / "record.json").write_text(json.dumps(record))
    board, entries = build(collect([results]))
    assert board.rows
    for one in curves(board, board.groups[0], entries):
        assert not one.banded and not one.figure.axes[0].collections


def test_baselines_differ_in_dash_and_shape(results: Path) -> None:
    board, _ = build(collect([results, Path("reference")]))
    names = {row.name: color_of(board, row) for row in board.references}
    assert {"zoo/random", "zoo/mean-color", "zoo/half-chroma"} < set(names)
    for marks in (DASHES, SHAPES):
        assert len({repr(marks[color]) for color in names.values()}) == len(names)
