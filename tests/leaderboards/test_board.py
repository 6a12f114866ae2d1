"""Boards: what shares a column, who is ranked, what a cell says, and what strangers' records cannot do."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from colorbench.cli import app as program
from colorbench.cli import command_group
from colorbench.errors import UserError
from colorbench.results import load_run, pair_runs
from colorbench.stats import rank_models
from leaderboards.board_building import build
from leaderboards.board_files import build_files
from leaderboards.board_page import clearly, page
from leaderboards.board_plots import group_plots
from leaderboards.board_schema import Board, Improvement
from leaderboards.gallery import galleries
from leaderboards.record_collection import collect
from leaderboards.table_export import board_csv, board_json, board_latex, board_markdown
from leaderboards.untrusted_text import clean, figure, markdown, tex
from tests.support.board import COUNT, MODELS, change, copy, folders, measured, sign, synthetic

STABLE = "auc_rebalanced_stable"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real run, not to be changed."""
    return measured(tmp_path_factory.mktemp("measured"))


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(results, tmp_path / "runs")


def board_of(*positions: Path) -> Board:
    return build(collect(positions))[0]


def rendered(*positions: Path, embed_all: bool = False) -> str:
    board, entries = build(collect(positions))
    return page(board, entries, galleries(board, entries, embed_all=embed_all), group_plots(board, entries))


def column_of(board: Board, metric: str, group: int = 0) -> str:
    return next(column.id for column in board.of_group(group) if column.metric == metric)


def test_only_competitors_are_ranked_and_as_the_statistics_say(results: Path) -> None:
    board = board_of(results)
    column = column_of(board, STABLE)
    runs = [load_run(folders(results)[name]) for name in MODELS]
    expected = rank_models(pair_runs(runs).statistics(STABLE), "ratio", higher_is_better=True)
    assert expected is not None
    found = {row.name: board.cells[row.id][column] for row in board.rows}
    for name, (first, last) in zip(MODELS, expected.ranks, strict=True):
        assert (found[name].first_rank, found[name].last_rank) == (first, last)
    assert all(found[name].first_rank is None for name in ("zoo/gray", "zoo/constant", "zoo/ground-truth"))
    detectable = next(one.detectable for one in board.columns if one.id == column)
    assert detectable == pytest.approx(expected.detectable)
    assert [row.kind for row in board.rows] == ["competitor"] * 3 + ["reference"] * 3


def test_a_metric_that_few_images_decide_ranks_nobody(results: Path) -> None:
    board = board_of(results)
    column = next(one for one in board.columns if one.metric == "auc_rebalanced")
    assert column.ranked == 0 and column.unranked is not None and not column.compared
    assert all(cells[column.id].first_rank is None for cells in board.cells.values())


@pytest.mark.parametrize("reference", ["over_gray", "over_constant"])
def test_a_difference_from_a_bound_is_the_same_from_the_record_and_from_the_rows(copied: Path, reference: str) -> None:
    def differences() -> dict[str, Improvement | None]:
        board = board_of(copied)
        return {row.name: getattr(board.cells[row.id][column_of(board, STABLE)], reference) for row in board.rows}

    stated = differences()
    for folder in folders(copied).values():
        change(folder, differences=[])
    computed = differences()
    assert stated["lab/warm"] is not None
    assert computed["zoo/gray" if reference == "over_gray" else "zoo/constant"] is None
    for name in MODELS:
        one, other = stated[name], computed[name]
        assert one is not None and other is not None
        assert (one.value, one.ci_low, one.ci_high) == pytest.approx((other.value, other.ci_low, other.ci_high))


def test_what_is_ahead_of_gray_but_not_of_a_beige_is_not_marked_as_ahead() -> None:
    board = board_of(Path("reference"))
    column = next(one for one in board.columns if one.metric == STABLE)
    marks = {row.name: clearly(board.cells[row.id][column.id], column, row) for row in board.rows}
    assert marks["zoo/cic.small"] == " clear ahead"
    for name in ("zoo/cic-class.small", "zoo/l2.small", "zoo/cic.untrained"):
        cell = next(board.cells[row.id][column.id] for row in board.rows if row.name == name)
        assert cell.over_gray is not None and cell.over_gray.ci_low is not None and cell.over_gray.ci_low > 0
        assert marks[name] == " clear"
    assert marks["zoo/constant"] == marks["zoo/ground-truth"] == " clear"
    raw = next(one for one in board.columns if one.metric == "auc_raw")
    untrained = next(row for row in board.rows if row.name == "zoo/cic.untrained")
    assert clearly(board.cells[untrained.id][raw.id], raw, untrained) == " clear behind"


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        ({"protocol__identity": {"convention": "exact"}}, "convention"),
        ({"protocol__version": 2}, "version"),
        ({"dataset__gray_policy": "drop"}, "gray images"),
    ],
)
def test_what_is_measured_otherwise_stands_apart_and_names_the_choice(
    results: Path, tmp_path: Path, changes: dict, choice: str
) -> None:
    other = copy(folders(results)["lab/warm"], tmp_path / "other" / "auc" / "crops", **changes)
    sign(other)
    board = board_of(results, other)
    assert len(board.groups) == 2
    for group in board.groups:
        assert choice in [one.name for one in group.choices if one.apart]
    assert [group.records for group in board.groups] == [6, 1]
    warm = next(row for row in board.rows if row.name == "lab/warm")
    assert len(warm.sources) == 2
    yellow = next(row for row in board.rows if row.name == "lab/yellow")
    missing = [board.cells[yellow.id][column.id].missing for column in board.of_group(1)]
    assert set(missing) == {"not evaluated with this configuration"}


def test_groups_of_one_protocol_and_dataset_have_different_headings(results: Path, tmp_path: Path) -> None:
    other = copy(
        folders(results)["lab/warm"], tmp_path / "other" / "auc" / "crops", protocol__identity={"convention": "exact"}
    )
    sign(other)
    build_files([results, other], tmp_path / "board.html")
    text = (tmp_path / "board.html").read_text(encoding="utf-8")
    heads = re.findall(r'<h4 id="plots-\d+-h">(.*?)</h4>', text)
    assert len(heads) == len(set(heads)) == 2
    assert any("convention = exact" in head for head in heads)
    build_files([results], tmp_path / "one.html")
    assert "convention = " not in "".join(re.findall(r"<h4 .*?</h4>", (tmp_path / "one.html").read_text()))


def test_a_model_measured_twice_keeps_one_row_for_its_other_records(results: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(results, tmp_path / "runs")
    warm = folders(runs)["lab/warm"]
    sign(copy(warm, warm.parent / "crops-exact", protocol__identity={"convention": "exact"}))
    sign(copy(warm, warm.parent / "crops-again", notes=["measured twice"]))
    rows = [row for row in board_of(runs).rows if row.name == "lab/warm"]
    assert sorted(len(row.sources) for row in rows) == [1, 1, 1]
    sign(copy(warm, warm.parent / "crops-third", protocol__identity={"convention": "third"}))
    rows = [row for row in board_of(runs).rows if row.name == "lab/warm"]
    assert sorted(len(row.sources) for row in rows) == [1, 1, 2]


def test_equal_images_in_folders_of_two_names_are_one_dataset(copied: Path, tmp_path: Path) -> None:
    # All models are measured again on a copy of the images under another name, and two only there.
    before = board_of(copied)
    for name, folder in folders(copied).items():
        copy(folder, copied / "again" / name / "auc" / folder.name.replace("crops", "copy"), dataset__name="copy")
    for name in ("lab/new", "lab/newer"):
        other = copied / "again" / name / "auc" / "copy-0123456789ab"
        copy(folders(copied)["lab/blue"], other, dataset__name="copy", model__name=name)
    shutil.rmtree(copied / "again" / "lab/warm")
    board, entries = build(collect([copied]))
    assert len(board.groups) == 1
    (group,) = board.groups
    assert (group.dataset, group.also_named) == ("copy", ("crops",)), "the name of most records is shown"
    known = {row.label for row in before.rows}
    assert {row.label for row in board.rows} == known | {"lab/new", "lab/newer"} and len(board.rows) == len(known) + 2
    assert {row.name: len(found) for row, found in zip(board.rows, entries.values(), strict=True)}["zoo/gray"] == 1
    gray = next(row for row in board.rows if row.name == "zoo/gray")
    facts = dict(gray.sources[0].facts)
    assert facts["the same result on"].startswith("crops (record ")
    assert "images of copy \\(also named crops\\)" in board_markdown(board)
    assert "also named crops" in rendered(copied)


def test_a_result_with_other_values_on_a_copy_of_the_images_is_a_row_of_its_own(copied: Path) -> None:
    warm = folders(copied)["lab/warm"]
    other = copy(folders(copied)["lab/blue"], copied.parent / "theirs" / "lab/warm/auc/copy-0123456789ab")
    change(other, dataset__name="copy", model__name="lab/warm")
    board = board_of(copied, copied.parent / "theirs")
    rows = [row for row in board.rows if row.name == "lab/warm"]
    assert len(rows) == 2 and warm.is_dir(), "a stranger's record never takes the place of another"


def test_names_of_equal_images_agree_over_protocols_and_with_unfinished_runs(copied: Path) -> None:
    for name in ("lab/warm", "lab/blue"):
        folder = folders(copied)[name]
        other = copy(folder, copied / name / "auc" / "copy-0123456789ab", dataset__name="copy")
        change(other, protocol__parameters={}, protocol__identity={"other": name})
        sign(other)
    (copied / "lab/yellow/auc/copy-ba9876543210/shards").mkdir(parents=True)
    board = board_of(copied)
    assert {group.dataset for group in board.groups} == {"crops"}
    assert all(group.also_named == ("copy",) for group in board.groups)
    yellow = next(row.id for row in board.rows if row.name == "lab/yellow")
    assert any("run not finished" in (cell.missing or "") for cell in board.cells[yellow].values())


def test_the_same_name_with_other_weights_is_another_row(results: Path, tmp_path: Path) -> None:
    other = copy(folders(results)["lab/warm"], tmp_path / "other" / "auc" / "crops", model__weights_sha256="a" * 64)
    labels = [row.label for row in board_of(results, other).rows if row.name == "lab/warm"]
    assert sorted(labels) == ["lab/warm (no weights)", "lab/warm (weights aaaaaaa…)"]


def test_badges_tell_what_must_be_known_first(results: Path, tmp_path: Path) -> None:
    other = copy(
        folders(results)["lab/warm"],
        tmp_path / "other" / "auc" / "crops",
        model__name="lab/half",
        execution__dtype="bfloat16",
        dataset__n=COUNT + 2,
        dataset__skipped=[{"id": "a", "reason": "broken"}, {"id": "b", "reason": "broken"}],
        dataset__overlap=3,
    )
    board = board_of(results, other)
    half = next(row for row in board.rows if row.name == "lab/half")
    assert [badge.word for badge in half.badges] == ["partial", "bfloat16", "trained on these", "not verified"]
    assert "2 of 42" in half.badges[0].meaning


def test_fewer_than_30_images_rank_nobody(results: Path, tmp_path: Path) -> None:
    for position, name in enumerate(MODELS):
        synthetic(folders(results)[name], tmp_path / f"{position}" / "auc" / "x", name, n=29, seed=position)
    board = board_of(tmp_path)
    assert board.groups[0].too_few_images
    assert all(column.ranked == 0 for column in board.columns)
    assert "Smoke test on 29 images" in rendered(tmp_path)


def test_damaged_and_unfinished_runs_are_named_and_harm_nothing(copied: Path) -> None:
    found = folders(copied)
    (found["lab/warm"] / "record.json").write_text("{}")
    (found["lab/blue"] / "record.json").unlink()
    (found["lab/blue"] / "shards").mkdir()
    rows = found["lab/yellow"] / "rows.parquet"
    rows.write_bytes(rows.read_bytes() + b" ")
    (found["zoo/constant"] / "rows.parquet").unlink()
    board = board_of(copied)
    assert sorted((one.model, one.reason) for one in board.excluded) == [
        ("", "not a record of this schema version"),
        ("lab/yellow", "the rows are not those that the record was made with"),
        ("zoo/constant", "the rows of the record are missing"),
    ]
    assert [(one.model, one.protocol) for one in board.unfinished] == [("lab/blue", "auc")]
    assert {row.name for row in board.rows} == {"zoo/gray", "zoo/ground-truth"}
    text = rendered(copied)
    assert "Excluded records" in text and "the rows are not those that the record was made with" in text


def test_nothing_at_all_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no usable record"):
        collect([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        collect([tmp_path / "nowhere"])


def test_the_same_records_give_the_same_bytes_anywhere_in_any_order(results: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(results, tmp_path / "elsewhere")
    parts = [moved / "zoo", moved / "lab", moved / "lab"]
    made = [build_files([results], tmp_path / "a" / "board.html"), build_files(parts, tmp_path / "b" / "board.html")]
    assert [path.suffix for path in made[0].files] == [".html", ".json", ".csv", ".md", ".tex"]
    for one, other in zip(made[0].files, made[1].files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


HOSTILE = "<script>alert(1)</script>\"'`{{7*7}}|=cmd()</style>]]>-->\\input{x}$&%#_^~"


@pytest.fixture
def hostile(results: Path, tmp_path: Path) -> Path:
    """A record in which every text is an attack and numbers are huge."""
    source = folders(results)["lab/warm"]
    folder = copy(source, tmp_path / "hostile" / "auc" / "crops", model__name=HOSTILE)
    record = json.loads((folder / "record.json").read_text())
    metrics = [{**one, "title": HOSTILE, "unit": HOSTILE, "warning": HOSTILE} for one in record["metrics"]]
    metrics[0] |= {"ci_low": -1.7e308, "ci_high": 1.7e308}
    curves = [{**record["curves"][0], "title": HOSTILE, "y": [1.7e308] * len(record["curves"][0]["y"])}]
    card = {"title": HOSTILE, "paper": "javascript:alert(1)", "notes": HOSTILE * 50, "training_data": HOSTILE}
    change(
        folder,
        metrics=metrics,
        curves=[*curves, {**record["curves"][1], "title": HOSTILE}],
        notes=[HOSTILE],
        model__card={**card, "parameters": 10**18, "settings": {HOSTILE: 1e300}},
        dataset__name=HOSTILE,
        dataset__source=HOSTILE,
        dataset__skipped=[{"id": HOSTILE, "reason": HOSTILE}],
        dataset__n=COUNT + 1,
        protocol__parameters={HOSTILE: HOSTILE},
        protocol__name=HOSTILE,
        protocol__identity={HOSTILE: HOSTILE},
        provenance__command=[HOSTILE],
        execution__device=HOSTILE,
        execution__dtype=HOSTILE,
    )
    sign(folder)
    return folder


def test_no_text_of_a_stranger_becomes_markup(hostile: Path, results: Path) -> None:
    text = rendered(results, hostile)
    assert text.count("<script") == 2 and text.count("</script>") == 2 and text.count("</style>") == 1
    assert "alert(1)" in text  # it is shown, as text
    assert 'href="javascript' not in text
    assert re.findall(r'(?:src|href)="(?!#|data:image/webp;base64,)([^"]*)"', text) == []
    board = board_of(results, hostile)
    assert "<script" not in board_markdown(board)
    assert "\\input" not in board_latex(board)
    for line in csv.reader(io.StringIO(board_csv(board))):
        assert not any(cell[:1] in ("=", "@") for cell in line)
    assert json.loads(board_json(board))["schema_version"] == 4


@pytest.mark.parametrize("name", ["[a] & b", "* | c \\\\ d", "=1+1 % e"])
def test_a_name_breaks_no_table_for_a_paper(results: Path, tmp_path: Path, name: str) -> None:
    copy(folders(results)["lab/warm"], tmp_path / "auc" / "x", model__name=name)
    board = board_of(tmp_path)
    tables = [line for line in board_markdown(board).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) == 1
    rows = [line for line in board_latex(board).splitlines() if line.endswith("\\\\")]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1 and len(rows) > 1
    assert not any(row.lstrip()[:1] in ("[", "*") for row in rows)


def test_names_that_move_the_cursor_or_turn_the_writing_are_never_shown(results: Path, tmp_path: Path) -> None:
    for position, mark in enumerate("\x1b\x00\u202e"):
        copy(folders(results)["lab/warm"], tmp_path / str(position) / "auc" / "x", model__name=f"lab/a{mark}b")
    text = rendered(results, tmp_path)
    assert not any(sign in text for sign in "\x1b\x00\u202e")


def test_the_page_has_words_for_people(results: Path) -> None:
    text = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", rendered(results), flags=re.DOTALL)
    assert "`" not in text, "no Markdown"
    assert "1 process<" in text
    assert not re.search(r"(?<![\d.,])1 (processes|images)\b", text), "and not in 68.61 images/s"


def test_text_is_escaped_for_where_it_goes() -> None:
    assert tex("50% of a_b & {x}\\y") == r"50\% of a\_b \& \{x\}\textbackslash{}y"
    assert markdown("a|b <i> [x](http://y) @me") == r"a\|b &lt;i&gt; \[x\]\(http:&#47;&#47;y\) &#64;me"
    assert clean("a\u202eb\x1b[31m\nc") == "a\ufffdb\ufffd[31m c"
    assert (figure(1.7e308, "%"), figure(-0.5, "%", signed=True)) == ("1.70e+308", "−0.50")


def test_thumbnails_that_may_not_be_passed_on_stay_out(copied: Path) -> None:
    text = rendered(copied)
    assert text.count("data:image/webp") > 24 * 4
    assert text.count("Source of the images: crops by &lt;us&gt;.") == 1, "whoever shows images says whose they are"
    for folder in folders(copied).values():
        change(folder, dataset__redistributable=False)
    text = rendered(copied)
    assert (
        "data:image" not in text
        and "redistribution rights of these images are unknown" in text
        and "crops by" not in text
    )
    assert "001.jpg" in text  # ids and scores remain
    assert rendered(copied, embed_all=True).count("data:image/webp") > 24 * 4


def test_a_thumbnail_that_is_not_the_record_s_is_not_shown(copied: Path) -> None:
    full = rendered(copied).count("data:image/webp")
    folder = folders(copied)["lab/warm"]
    index = json.loads((folder / "thumbnails" / "index.json").read_text())
    (folder / "thumbnails" / index[0]["prediction"]).write_bytes(b"<svg onload=alert(1)>")
    assert rendered(copied).count("data:image/webp") == full - 1
    # An index that was rewritten is not the record's: none of its images is opened.
    index[1]["prediction"] = "../../../../secret.webp"
    (folder / "thumbnails" / "index.json").write_text(json.dumps(index))
    board, entries = build(collect([copied]))
    warm = next(row.id for row in board.rows if row.name == "lab/warm")
    predictions = [prediction for image in galleries(board, entries)[0].images for prediction in image.predictions]
    assert {prediction.row for prediction in predictions if prediction.source is None} >= {warm}
    assert {prediction.row for prediction in predictions if prediction.source} == {row.id for row in board.rows} - {
        warm
    }


def test_images_are_chosen_for_what_the_scores_say(results: Path) -> None:
    board, entries = build(collect([results]))
    (made,) = galleries(board, entries)
    assert len(made.images) == 24 and made.embedded
    column = column_of(board, STABLE)
    competitors = [row.id for row in board.competitors]
    mean = {image.id: np.mean([image.scores[column][row] for row in competitors]) for image in made.images}
    best = [image.id for image in made.images if "best" in image.reasons]
    worst = [image.id for image in made.images if "worst" in image.reasons]
    assert len(best) == len(worst) == 4
    assert max(mean.values()) in [mean[id] for id in best] and min(mean.values()) in [mean[id] for id in worst]
    run = load_run(folders(results)["lab/warm"])
    scores = dict(zip(run.rows["id"], run.columns[STABLE], strict=True))
    warm = next(row.id for row in board.rows if row.name == "lab/warm")
    for image in made.images:
        assert image.scores[column][warm] == pytest.approx(scores[image.id], rel=1e-4)


def test_sixty_models_and_a_single_one(results: Path, tmp_path: Path) -> None:
    sources = list(folders(results).values())
    for i in range(60):
        synthetic(sources[0], tmp_path / "many" / f"m{i}" / "auc" / "x", f"lab/m{i}", n=60, shift=0.002 * i, seed=i)
    board = board_of(tmp_path / "many")
    assert len(board.competitors) == 60
    column = column_of(board, STABLE)
    firsts = [board.cells[row.id][column].first_rank for row in board.competitors]
    assert None not in firsts and max(firsts) > 1
    assert len(rendered(tmp_path / "many").encode()) < 5_000_000
    alone = rendered(folders(results)["lab/warm"])
    assert "Single model" in alone


def test_ten_thousand_images(results: Path, tmp_path: Path) -> None:
    for i, name in enumerate(MODELS):
        synthetic(folders(results)[name], tmp_path / f"{i}" / "auc" / "x", name, n=10_000, seed=i)
    text = rendered(tmp_path)
    assert len(text.encode()) < 2_000_000 and "10\u202f000" in text


def test_the_command_writes_all_files_and_its_summary_is_its_help(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "board.html"
    done = CliRunner().invoke(program, ["leaderboard", "build", str(results), "-o", str(output), "--verify", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((tmp_path / "board.json").read_text())
    assert all((tmp_path / f"board.{suffix}").stat().st_size > 100 for suffix in ("html", "json", "csv", "md", "tex"))
    overview = " ".join(CliRunner().invoke(program, ["--help"]).output.split())
    help_text = " ".join(CliRunner().invoke(program, ["leaderboard", "--help"]).output.split())
    assert (
        command_group.OWN_PLUGINS["leaderboard"] in overview and command_group.OWN_PLUGINS["leaderboard"] in help_text
    )
    wrong = CliRunner().invoke(program, ["leaderboard", "build", str(results), "-o", str(tmp_path / "board.pdf")])
    assert wrong.exit_code == 2 and "must end in .html" in wrong.output
