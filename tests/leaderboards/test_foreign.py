"""Strangers' records on a board: one that contradicts itself costs itself only, is named, and changes nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from colorbench.cli import app as program
from colorbench.errors import UserError
from colorbench.verification import Verification
from leaderboards.board_building import build
from leaderboards.board_columns import columns_of
from leaderboards.board_schema import Board, Row
from leaderboards.gallery import galleries
from leaderboards.published_practice import not_compared
from leaderboards.record_collection import collect
from tests.support.board import MODELS, change, copy, derive, folders, measured, rewrite, sign
from tests.support.hostile_files import HOSTILE_IMAGES, put_before, replaced_by_folder, replaced_by_pipe

STABLE = "auc_rebalanced_stable"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run, not to be changed."""
    return measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def alone(results: Path) -> dict[str, Any]:
    """What a board says of these records where no other lies beside them."""
    return stated(board_of(results))


def board_of(*positions: Path) -> Board:
    return build(collect(positions))[0]


def stated(board: Board, names: set[str] | None = None) -> dict[str, Any]:
    """Everything that a board says of columns and rows of its largest group."""
    group = max(board.groups, key=lambda group: group.records)
    columns = board.of_group(group.number)
    cells = {
        row.id: {column.metric: board.cells[row.id][column.id] for column in reversed(columns)}
        for row in board.rows
        if names is None or row.name in names
    }
    return {
        "columns": [(c.metric, c.title, c.unit, c.higher_is_better, c.headline, c.unranked) for c in columns],
        "group": (group.dataset, group.n, group.preprocessing, group.title),
        "cells": cells,
        "badges": {row.id: [badge.word for badge in row.badges] for row in board.rows if row.id in cells},
    }


def forged(results: Path, folder: Path, name: str = "aaa/first") -> Path:
    """A record that sorts before all others."""
    return copy(folders(results)["lab/warm"], folder / "aaa" / "first" / "auc" / "x", model__name=name)


def metric(folder: Path, **changes: Any) -> None:
    """Change the headline metric of a record."""
    record = json.loads((folder / "record.json").read_text())
    change(folder, metrics=[{**one, **changes} if one["name"] == STABLE else one for one in record["metrics"]])


def rows(folder: Path, changed: Callable[[pd.DataFrame], None], **changes: Any) -> None:
    """Change the rows of a record and their checksum, but none of its numbers."""
    table = pd.read_parquet(folder / "rows.parquet")
    changed(table)
    rewrite(folder, table, **changes)


def _infinite(table: pd.DataFrame) -> None:
    table.loc[3, f"{STABLE}.s0"] = np.inf


def _canceling(table: pd.DataFrame) -> None:
    table.loc[:1, f"{STABLE}.s0"] = [1e14, -1e14]


def _undefined(table: pd.DataFrame) -> None:
    table.loc[3:, [f"{STABLE}.s0", f"{STABLE}.s1"]] = np.nan


def _no_statistics(table: pd.DataFrame) -> None:
    for name in (f"{STABLE}.s0", f"{STABLE}.s1"):
        del table[name]


CURVE = {"name": "c", "title": "t", "x_label": "x", "y_label": "y", "x": [0, 1], "y": [0, 1]}
CONTRADICTIONS: dict[str, tuple[Callable[[Path], None], str]] = {
    "value": (lambda f: metric(f, value=80.0), "the value 80 is stored"),
    "interval": (lambda f: metric(f, ci_low=1.0), "the interval"),
    "interval's method": (lambda f: metric(f, ci_method="magic, 95 %"), "the interval"),
    "n": (lambda f: metric(f, n=1), "n 1"),
    "effective n": (lambda f: metric(f, effective_n=1e300), "n_eff"),
    "no value": (lambda f: metric(f, value=None, ci_low=None, ci_high=None, ci_method=None), "the value none"),
    "two of one name": (
        lambda f: change(f, metrics=2 * json.loads((f / "record.json").read_text())["metrics"]),
        "same metric twice",
    ),
    "unit": (lambda f: metric(f, unit="dB"), "unit 'dB' is stored"),
    "direction": (lambda f: metric(f, higher_is_better=False), "higher_is_better False is stored"),
    "form": (lambda f: metric(f, form="abs_difference"), "form 'abs_difference' is stored"),
    "pasted identity": (lambda f: change(f, protocol__identity={"convention": "exact"}), "identity_sha256"),
    "one image": (lambda f: change(f, dataset__n_evaluated=1), "40 rows for 1"),
    "other images": (lambda f: change(f, dataset__fingerprint="0" * 64), "fingerprint"),
    "infinite": (lambda f: rows(f, _infinite), "infinite"),
    "canceling": (lambda f: rows(f, _canceling), STABLE),
    "undefined": (lambda f: rows(f, _undefined), STABLE),
    "other scores": (lambda f: rows(f, lambda table: table.__setitem__(STABLE, 99.0)), "statistics give"),
    "no statistics": (lambda f: rows(f, _no_statistics), "do not contain the statistics"),
    "400 digits": (lambda f: change(f, model__card={"title": "x", "parameters": 10**400}), "more than 62 bits"),
    "400 digits of n": (lambda f: metric(f, n=10**400), "more than 62 bits"),
    "empty id": (lambda f: rows(f, lambda table: table.__setitem__("id", ["", *table["id"][1:]])), "no id"),
    "record in a folder": (lambda f: replaced_by_folder(f / "record.json"), "no record here"),
    "record in a pipe": (lambda f: replaced_by_pipe(f / "record.json"), "no record here"),
    "rows in a folder": (lambda f: replaced_by_folder(f / "rows.parquet"), "the rows of the record are missing"),
    "rows in a pipe": (lambda f: replaced_by_pipe(f / "rows.parquet"), "the rows of the record are missing"),
    "byte order mark": (lambda f: put_before(f / "record.json", b"\xef\xbb\xbf"), "not JSON"),
    "notes": (lambda f: change(f, notes=["x"] * 100_000), "100000 notes"),
    "curves": (lambda f: change(f, curves=[CURVE] * 3000), "3000 curves"),
    "points": (lambda f: change(f, curves=[{**CURVE, "low": [0.0] * 200_000}]), "points"),
    "text": (lambda f: change(f, model__card={"title": "x" * 200_000}), "a text of 200000 characters"),
    "difference": (
        lambda f: change(
            f,
            differences=[{**one, "value": 50.0} for one in json.loads((f / "record.json").read_text())["differences"]],
        ),
        "minus zoo/gray",
    ),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_record_that_contradicts_itself_costs_itself_only(
    results: Path, tmp_path: Path, alone: dict[str, Any], kind: str
) -> None:
    forge, reason = CONTRADICTIONS[kind]
    if kind == "difference":  # told from the records of its own results folder
        shutil.copytree(results, tmp_path / "counterpart")
        folder = folders(tmp_path / "counterpart")["lab/warm"]
        change(folder, notes=["another record"])
    else:
        folder = forged(results, tmp_path / "counterpart")
    forge(folder)
    board = board_of(tmp_path / "counterpart", results)
    assert stated(board) == alone
    assert len(board.excluded) == 1 and reason in board.excluded[0].reason, board.excluded


def test_saved_images_that_break_a_decoder_cost_themselves_only(results: Path, tmp_path: Path) -> None:
    for number, data in enumerate(HOSTILE_IMAGES.values()):
        folder = copy(folders(results)["lab/warm"], tmp_path / "counterpart" / str(number), model__name=f"a/{number}")
        names = json.loads((folder / "record.json").read_text())["files"]["saved_images"]
        images = {name: hashlib.sha256(data).hexdigest() for name in names if name.endswith(".webp")}
        for name in images:
            (folder / name).write_bytes(data)
        change(folder, files__saved_images={**names, **images})
    board, entries = build(collect([tmp_path / "counterpart", results]))
    assert not board.excluded
    (made,) = galleries(board, entries)
    hostile = {row.id for row in board.rows if row.name.startswith("a/")}
    shown = {thumbnail.row for image in made.images for thumbnail in image.predictions if thumbnail.source}
    assert len(hostile) == len(HOSTILE_IMAGES) and shown == {row.id for row in board.rows} - hostile


def test_excluded_records_are_named_and_the_exit_code_tells(results: Path, tmp_path: Path) -> None:
    folder = forged(results, tmp_path / "counterpart")
    metric(folder, value=80.0)
    output = tmp_path / "board.html"
    positions = [str(results), str(tmp_path / "counterpart")]
    done = CliRunner().invoke(program, ["leaderboard", "build", *positions, "-o", str(output), "--json"])
    assert done.exit_code == 1
    assert "! excluded: aaa/first/auc/x" in done.stderr and "the value 80 is stored" in done.stderr
    assert json.loads(done.stdout)["excluded"][0]["model"] == "aaa/first"
    text = output.read_text()
    assert "Excluded records" in text and "the value 80 is stored" in text and ">80.00<" not in text
    assert "It cannot know whether the rows were ever measured" in text and "No record was verified" in text
    with pytest.raises(UserError, match="the value 80 is stored"):
        collect([tmp_path / "counterpart"])


def test_a_record_that_fails_verification_is_not_ranked(results: Path, tmp_path: Path) -> None:
    def fails(folder: Path) -> Verification:
        checks = [{"name": "curves", "outcome": "fails", "detail": "not these"}] if "warm" in str(folder) else []
        full = {"record_sha256": "0" * 64, "key": None, "model": None, "protocol": None, "rerun": None}
        return Verification(**full, holds=not checks, checks=checks, colorbench_version="0", time="now")

    found = collect([results], verify=fails)
    assert [(one.model, one.reason) for one in found.excluded] == [
        ("lab/warm", "verification failed: curves: not these")
    ]
    board, _ = build(found)
    assert {row.name for row in board.competitors} == set(MODELS) - {"lab/warm"}
    assert all("not verified" not in [badge.word for badge in row.badges] for row in board.rows)


def test_a_record_undefined_on_images_takes_them_from_nobody(results: Path, tmp_path: Path) -> None:
    folder = forged(results, tmp_path / "counterpart")
    rows(folder, lambda table: table.loc.__setitem__((slice(0, 20), f"{STABLE}.s0"), np.nan))
    rows(folder, lambda table: table.__setitem__(STABLE, table[f"{STABLE}.s0"] / table[f"{STABLE}.s1"]))
    derive(folder)
    board, before = board_of(tmp_path / "counterpart", results), board_of(results)
    assert not board.excluded
    column = next(column for column in board.columns if column.metric == STABLE)
    row = next(row for row in board.rows if row.name == "aaa/first")
    cell = board.cells[row.id][column.id]
    assert cell.first_rank is None and "undefined on 21 images" in (cell.unranked or "")
    assert column.detectable == pytest.approx(next(c.detectable for c in before.columns if c.metric == STABLE))
    for other in before.competitors:
        assert board.cells[other.id][column.id] == before.cells[other.id][column.id]


def test_other_weights_of_the_same_images_change_no_other_comparison(results: Path, tmp_path: Path) -> None:
    """A further model widens the ranks of all; what its weights are must not matter to them."""
    honest = forged(results, tmp_path / "honest")
    folder = forged(results, tmp_path / "counterpart")
    weights = [f"{STABLE}.s0", f"{STABLE}.s1"]
    rows(folder, lambda table: table.__setitem__(weights, table[weights].mul(np.linspace(1, 9, len(table)), axis=0)))
    for one in (honest, folder):
        derive(one)
    found = []
    for position in (tmp_path / "honest", tmp_path / "counterpart"):
        board = board_of(position, results)
        column = next(column for column in board.columns if column.metric == STABLE)
        found.append({row.name: board.cells[row.id][column.id] for row in board.rows if row.name in MODELS})
    for name, cell in found[0].items():
        other = found[1][name]
        assert (cell.value, cell.first_rank, cell.last_rank, cell.over_gray) == (
            other.value,
            other.first_rank,
            other.last_rank,
            other.over_gray,
        )


def test_the_same_name_key_and_weights_take_nobody_s_row(results: Path, tmp_path: Path) -> None:
    """Honest auc and exact auc are one row; a stranger's auc record of that name stands in a row of its own."""
    candidate = shutil.copytree(results, tmp_path / "candidate")
    exact = folders(candidate)["lab/warm"].parent / "crops-exact"
    copy(folders(candidate)["lab/warm"], exact, protocol__identity={"convention": "exact"})
    sign(exact)
    before = next(row for row in board_of(candidate).rows if row.name == "lab/warm")
    for number in range(4):  # one of them has the smaller hash
        copy(folders(results)["lab/warm"], tmp_path / "counterpart" / str(number) / "x", notes=[f"note {number}"])
    board = board_of(tmp_path / "counterpart", candidate)
    after = [row for row in board.rows if row.name == "lab/warm"]
    assert len(after) == 5 and len({row.label for row in after}) == 5
    together = [row for row in after if len(row.sources) == 2]
    assert [(row.id, row.sources) for row in together] == [(before.id, before.sources)]


def _named(board: Board, name: str) -> Row:
    return next(row for row in board.rows if row.name == name)


def test_a_forged_baseline_changes_no_difference(results: Path, tmp_path: Path, alone: dict[str, Any]) -> None:
    gray = copy(folders(results)["lab/blue"], tmp_path / "counterpart" / "x", model__name="zoo/gray")
    change(gray, model__card=json.loads((folders(results)["zoo/gray"] / "record.json").read_text())["model"]["card"])
    board = board_of(tmp_path / "counterpart", results)
    assert stated(board, set(MODELS))["cells"] == {
        row: cells for row, cells in alone["cells"].items() if row in {_named(board, name).id for name in MODELS}
    }


def test_a_difference_s_interval_of_another_method_is_replaced(results: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(results, tmp_path / "runs")
    folder = folders(runs)["lab/warm"]
    stored = json.loads((folder / "record.json").read_text())["differences"]
    change(
        folder, differences=[{**one, "ci_method": "of old, 95 %", "ci_low": -99.0, "ci_high": 99.0} for one in stored]
    )
    board = board_of(runs)
    assert not board.excluded
    column = next(column for column in board.columns if column.metric == STABLE)
    found = board.cells[_named(board, "lab/warm").id][column.id].over_gray
    gray = next(one for one in stored if (one["metric"], one["minus"]) == (STABLE, "zoo/gray"))
    assert found is not None and (found.ci_low, found.ci_high) == pytest.approx((gray["ci_low"], gray["ci_high"]))


def test_of_an_unknown_protocol_no_record_decides_what_a_column_means(results: Path, tmp_path: Path) -> None:
    def unknown(folder: Path) -> Path:
        change(folder, protocol__name="elsewhere", differences=[])
        sign(folder)
        return folder

    honest = shutil.copytree(results, tmp_path / "honest")
    for folder in folders(honest).values():
        unknown(folder)
    other = unknown(forged(results, tmp_path / "counterpart"))
    metric(other, title="Error", unit="dB", higher_is_better=False, comparable=False)
    board, before = board_of(tmp_path / "counterpart", honest), board_of(honest)
    assert not board.excluded
    columns = [column for column in board.columns if column.metric == STABLE]
    assert [(c.title, c.unit, c.higher_is_better) for c in columns] == [
        ("AuC rebalanced (λ = 0.1)", "%", True),
        ("Error", "dB", False),
    ]
    first = next(column for column in before.columns if column.metric == STABLE)
    assert (columns[0].ranked, columns[0].headline) == (3, first.headline)
    assert all(board.cells[row.id][columns[0].id] == before.cells[row.id][first.id] for row in before.rows)
    assert board.cells[_named(board, "aaa/first").id][columns[0].id].value is None


def test_an_installed_protocol_names_its_metrics(results: Path, tmp_path: Path) -> None:
    folder = forged(results, tmp_path / "counterpart")
    metric(folder, title="AuC of somebody else")
    board, entries = build(collect([tmp_path / "counterpart"]))
    assert [column.title for column in board.columns if column.metric == STABLE] == ["AuC rebalanced (λ = 0.1)"]
    alone = {row: found[0] for row, found in entries.items()}
    assert {column.title for column, _ in columns_of(0, alone, None)[0]} >= {"AuC of somebody else"}


def test_a_run_that_was_not_finished_is_named_where_it_belongs(results: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(results, tmp_path / "runs")
    (runs / "lab" / "warm" / "auc" / "others-0123456789ab" / "shards").mkdir(parents=True)
    other = copy(folders(results)["lab/blue"], tmp_path / "x", dataset__gray_policy="drop", dataset__name="others")
    third = copy(folders(results)["lab/blue"], tmp_path / "y", protocol__version=2, dataset__name="third")
    sign(third)
    board = board_of(runs, other, third)
    warm = _named(board, "lab/warm")
    missing = {
        (group.gray_policy, group.version): board.cells[warm.id][column.id].missing
        for column in board.columns
        for group in [board.groups[column.group]]
    }
    assert missing == {
        ("keep", 1): None,
        ("drop", 1): "run not finished (0 shards done)",
        ("keep", 2): "not evaluated with this configuration",
    }


def test_reasons_why_models_are_not_compared_are_those_of_the_protocol() -> None:
    assert "participants would have to be resampled" in not_compared("human-study", "fooling_rate")
    assert "effective sample size" in not_compared("auc", "auc_rebalanced")
    assert "from the evaluated images" in not_compared("auc", STABLE)
    assert "same gap" in not_compared("semantic", "top1_gap_share_resnet50")
    assert "declares it not comparable" in not_compared("elsewhere", "anything")
