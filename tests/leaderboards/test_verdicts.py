"""Which metric to read, and what a table leaves out: metrics without values, signs that do not occur."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaderboards.board_building import build
from leaderboards.board_page import page, tables
from leaderboards.board_plots import group_plots
from leaderboards.board_schema import Board
from leaderboards.record_collection import collect
from leaderboards.table_export import board_csv, board_json, board_latex, board_markdown
from leaderboards.verdicts import against_baselines, different_winners, smoke_tests
from tests.support.board import change, derive, folders, measured, rewrite, sign, synthetic

LEAST = "auc_rebalanced"
"""A metric that is not the headline."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of a real run."""
    return folders(measured(tmp_path_factory.mktemp("measured")))["lab/warm"]


def without(folder: Path, metric: str) -> None:
    """Make a metric undefined for every image of a record."""
    rows = pd.read_parquet(folder / "rows.parquet")
    for name in rows.columns:
        if name == metric or name.startswith(f"{metric}.s"):
            rows[name] = np.nan
    rewrite(folder, rows)
    derive(folder)


def rendered(root: Path) -> tuple[Board, str]:
    board, entries = build(collect([root]))
    assert not board.excluded
    return board, page(board, entries, [], {group.number: [] for group in board.groups})


BETTER, SAME, WORSE = (0.5, 2.0), (-1.0, 1.0), (-2.0, -0.5)


@pytest.mark.parametrize(
    ("gray", "constant", "stated"),
    [
        ([BETTER, BETTER], [BETTER, BETTER], ""),
        ([SAME, WORSE], [BETTER, BETTER], " None of them is significantly better than zoo/gray."),
        ([WORSE, WORSE], [BETTER, BETTER], " All of them are significantly worse than zoo/gray."),
        ([SAME, SAME], [WORSE, SAME], " None of them is significantly better than zoo/constant or zoo/gray."),
        ([BETTER, WORSE], [BETTER, BETTER], " b is not significantly better than zoo/gray."),
        ([BETTER, BETTER, SAME, WORSE], [BETTER] * 4, " c, d are not significantly better than zoo/gray."),
        (
            [WORSE],
            [SAME],
            " It is not significantly better than zoo/constant. It is significantly worse than zoo/gray.",
        ),
    ],
)
def test_the_best_models_are_held_against_the_baselines(gray: Any, constant: Any, stated: str) -> None:
    def differences(minus: str, limits: tuple[float, float]) -> SimpleNamespace:
        return SimpleNamespace(metric="auc_raw", minus=minus, ci_low=limits[0], ci_high=limits[1])

    column: Any = SimpleNamespace(metric="auc_raw", higher_is_better=True)
    first: Any = {
        name: SimpleNamespace(differences=[differences("zoo/gray", one), differences("zoo/constant", other)])
        for name, one, other in zip("abcd"[: len(gray)], gray, constant, strict=True)
    }
    assert against_baselines(first, column) == stated


@pytest.mark.parametrize("metric", [LEAST, "auc_raw"])
def test_a_metric_without_any_value_has_no_column(source: Path, tmp_path: Path, metric: str) -> None:
    for model in ("lab/one", "lab/two"):
        synthetic(source, tmp_path / model, model, n=40)
    known, _ = rendered(tmp_path)
    (title,) = {column.title for column in known.columns if column.metric == metric}
    without(tmp_path / "lab/one", metric)
    board, _ = rendered(tmp_path)
    assert metric in {column.metric for column in board.columns}, "another record has a value"
    without(tmp_path / "lab/two", metric)
    board, text = rendered(tmp_path)
    assert metric not in {column.metric for column in board.columns} and board.groups[0].absent == (title,)
    assert f">{title}</button>" not in text and f"no record has a value: {title}." in text
    assert len(list(csv.reader(io.StringIO(board_csv(board))))) == 1 + 2 * len(board.columns)
    assert title not in board_markdown(board).replace("\\", "").split("\n", 3)[-1].split("|")
    assert f"& {title} (" not in board_latex(board) and f'"metric": "{metric}"' not in board_json(board)


def test_the_primary_metric_keeps_its_column(source: Path, tmp_path: Path) -> None:
    synthetic(source, tmp_path / "one", "lab/one", n=40)
    without(tmp_path / "one", "auc_rebalanced_stable")
    board, text = rendered(tmp_path)
    assert board.columns[0].headline and board.columns[0].metric == "auc_rebalanced_stable"
    assert board.groups[0].absent == () and "undefined for all of these images" in text


def test_only_signs_that_occur_are_explained(source: Path, tmp_path: Path) -> None:
    synthetic(source, tmp_path / "few/one", "lab/one", n=24)
    _, few = rendered(tmp_path / "few")
    for position, name in enumerate(("one", "two")):
        synthetic(source, tmp_path / f"many/{name}", f"lab/{name}", n=60, shift=0.3 * position)
    _, many = rendered(tmp_path / "many")
    explained = (
        "rank interval, simultaneous",
        "<dt>[low, high]</dt>",
        'data-show="ranks"',
    )
    assert [sign for sign in explained if sign in few] == [] and [sign for sign in explained if sign not in many] == []
    assert "95 % CI</th>" in many and "95 % CI</th>" not in few


def test_too_few_images_are_stated_once_for_all_protocols(source: Path, tmp_path: Path) -> None:
    synthetic(source, tmp_path / "one", "lab/one", n=24)
    board, text = rendered(tmp_path)
    (group,) = board.groups
    protocols = [replace(group, number=i, protocol=name) for i, name in enumerate(("auc", "fidelity"))]
    (warning,) = smoke_tests([*protocols, replace(group, number=2, n=40, too_few_images=False)])
    assert warning.groups == (0, 1)
    assert warning.text == "Smoke test on 24 images of crops (auc, fidelity): scores are not meaningful."
    assert text.count("Smoke test on 24 images") == 1


def test_metrics_with_different_winners_are_named(source: Path, tmp_path: Path) -> None:
    for position, name in enumerate(("one", "two")):
        folder = synthetic(source, tmp_path / name, f"lab/{name}", n=200, shift=0.02 * position)
        change(folder, protocol__version=1)
        sign(folder)
    board, text = rendered(tmp_path)
    stable, raw = (next(c for c in board.columns if c.metric == m) for m in ("auc_rebalanced_stable", "auc_raw"))
    assert different_winners(board, [stable, raw]) == "" and "Which metric to believe" not in text
    turned = {
        row: {**cells, raw.id: replace(cells[raw.id], first_rank=3 - (cells[raw.id].first_rank or 0))}
        for row, cells in board.cells.items()
    }
    other = replace(board, cells=turned)
    stated = different_winners(other, [stable, raw])
    assert "by AuC rebalanced (λ = 0.1): lab/two" in stated and "by AuC: lab/one" in stated
    assert different_winners(other, [stable]) == ""
    (table,) = tables(other)
    assert table.shows(raw)


def test_every_shown_metric_is_explained_beside_the_table(source: Path, tmp_path: Path) -> None:
    synthetic(source, tmp_path / "one", "lab/one", n=40)
    board, text = rendered(tmp_path)
    reading = text.partition("Which metric to read")[2].partition("</details>")[0]
    for column in board.columns:
        assert (column.title in reading) == column.shown
    assert "Primary metric, because raw AuC is won by nearly gray predictions" in reading
    assert "Rows are sorted by AuC rebalanced (λ = 0.1)." in reading
    assert "Fidelity: are the colors the true ones?" in reading


@pytest.mark.parametrize(("scheme", "drawn"), [("lab/", True), ("images:lab/", False)])
def test_only_models_are_drawn_against_speed(source: Path, tmp_path: Path, scheme: str, drawn: bool) -> None:
    for name in ("one", "two"):
        synthetic(source, tmp_path / name, f"{scheme}{name}", n=40)
    board, entries = build(collect([tmp_path]))
    titles = [plot.title for plots in group_plots(board, entries).values() for plot in plots]
    assert any("against speed" in title for title in titles) == drawn
    assert any(name == "speed of reading" for row in board.rows for name, _ in row.sources[0].facts) != drawn
