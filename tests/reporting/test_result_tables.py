"""The closing table: every number explained, what to hold it against beside it, in 80 columns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from colorbench.reporting import format_number
from colorbench.reporting.model_table import as_markdown, shown_metrics
from colorbench.reporting.number_formatting import format_interval
from colorbench.reporting.record_remarks import (
    difference_from_constant_color,
    differences_from_constant_color,
    remarks,
)
from colorbench.reporting.result_tables import ResultPrinter
from colorbench.results import Record

EXPLAINED = {"auc_raw": "How near the colors are.", "auc_rebalanced_stable": "The same, rare colors weighed up."}


@pytest.fixture
def printed(make_record):
    def render(*, width: int = 80, folder: Path = Path("runs/x"), beside=True, **changes) -> str:
        record = make_record(**changes)
        scales = {"zoo/gray": 0.98, "zoo/constant": 0.99, "zoo/ground-truth": 1.1}
        others = [make_record(model, scale=scale) for model, scale in scales.items()] if beside else []
        stream = io.StringIO()
        console = Console(file=stream, width=width, markup=False, emoji=False, highlight=False)
        ResultPrinter(console).show(record, others, EXPLAINED, "auc_rebalanced_stable", folder, explain=True)
        return stream.getvalue()

    return render


def row_of(text: str, name: str) -> list[str]:
    """The cells of the table's row ``name``, and those of the line below."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(name))
    return lines[at].split() + lines[at + 1].split("  ")


def test_a_number_stands_between_its_interval_and_its_baselines(printed) -> None:
    text = printed()
    head = next(line for line in text.splitlines() if "Δ vs. gray" in line)
    assert head.split() == ["cic.small", "Δ", "vs.", "gray", "gray", "constant", "truth"]
    row = row_of(text, "auc_raw")
    # 90.456 and .98, .99, 1.1 times it.
    assert row[:6] == ["auc_raw", "90.46", "+1.25", "88.65", "89.55", "99.50"]
    assert [cell.strip() for cell in row[6:] if cell.strip()] == ["% ↑ · n 100", "[89.50, 91.50]", "[+0.75, +1.75]"]


@pytest.mark.parametrize(
    ("model", "head"),
    [("images:out", "predictions"), ("images:a/colored-by-hand", "predictions"), ("zoo/a-very-long-name", "model")],
)
def test_the_column_of_a_long_name_says_what_it_names(printed, model: str, head: str) -> None:
    text = printed(model=model)
    assert next(line for line in text.splitlines() if "Δ vs. gray" in line).split()[0] == head


def test_a_folder_of_predictions_is_named_in_words(make_record) -> None:
    records = [make_record(model=name) for name in ("images:a/out", "images:b/out", "images:x/other", "zoo/cic.small")]
    stream = io.StringIO()
    printer = ResultPrinter(Console(file=stream, width=300))
    printer.summarize(records, "auc_raw")
    printer.show(records[2], records, EXPLAINED, "auc_raw", Path("runs/x"))
    text = stream.getvalue()
    for shown in ("predictions in a/out ", "predictions in b/out ", "predictions in other ", "zoo/cic.small "):
        assert f"\n{shown}" in text
    assert "images:" not in text
    stream.truncate(stream.seek(0))
    noted = [one.model_copy(update={"notes": [f"note {i % 2}"]}) for i, one in enumerate(records)]
    printer.remark([noted])
    assert "predictions in a/out, predictions in other: note 0" in stream.getvalue()
    assert "| predictions in other" in as_markdown(records, "auc_raw")
    assert as_markdown(records[:2], "auc_raw").startswith("| predictions ")


@pytest.mark.parametrize(
    ("width", "metrics", "caption"),
    [(45, 2, "not shown: 1 more column ("), (45, 3, "not shown: 2 more columns ("), (300, 3, "")],
)
def test_columns_without_room_are_counted(make_record, width: int, metrics: int, caption: str) -> None:
    record = make_record()
    more = [*record.metrics, record.metrics[0].model_copy(update={"name": "other"})][:metrics]
    stream = io.StringIO()
    ResultPrinter(Console(file=stream, width=width)).summarize([record.model_copy(update={"metrics": more})], "auc_raw")
    text = " ".join(stream.getvalue().split())
    assert caption in text and ("not shown" in text) == bool(caption)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.5, 2.0, "significantly better than the constant baseline, +1.25 [+0.50, +2.00]"),
        (-2.0, -0.5, "significantly worse than the constant baseline, -1.25 [-2.00, -0.50]"),
        (-0.5, 2.0, "no significant difference from the constant baseline, +0.75 [-0.50, +2.00]"),
    ],
)
def test_the_headline_is_held_against_the_best_single_color(make_record, low: float, high: float, verdict: str) -> None:
    record = make_record()
    values = {"metric": "auc_rebalanced_stable", "minus": "zoo/constant", "value": (low + high) / 2}
    against = record.differences[0].model_copy(update={**values, "ci_low": low, "ci_high": high})
    sure = [metric.model_copy(update={"warning": None}) for metric in record.metrics]
    record = record.model_copy(update={"differences": [*record.differences, against], "metrics": sure})
    assert difference_from_constant_color(record, "auc_rebalanced_stable") == f"auc_rebalanced_stable: {verdict}"
    stream = io.StringIO()
    ResultPrinter(Console(file=stream, width=80)).show(record, [], EXPLAINED, "auc_rebalanced_stable", Path("runs/x"))
    assert verdict in stream.getvalue()
    assert "Δ vs. constant" not in stream.getvalue(), "80 columns have no room for another difference"
    doubtful = [metric.model_copy(update={"warning": "interval too short"}) for metric in record.metrics]
    warned = difference_from_constant_color(record.model_copy(update={"metrics": doubtful}), "auc_rebalanced_stable")
    assert warned == f"auc_rebalanced_stable: {verdict}, but see the warning below"
    # Less is better: the same numbers say the opposite.
    metrics = [metric.model_copy(update={"higher_is_better": False}) for metric in record.metrics]
    turned = difference_from_constant_color(record.model_copy(update={"metrics": metrics}), "auc_rebalanced_stable")
    opposite = {"better": "worse", "worse": "better"}
    first = verdict.split()[0]
    assert turned is not None
    assert turned.split()[1] == opposite.get(first, first)


def test_of_several_models_one_line_holds_all_against_the_best_single_color(make_record) -> None:
    def record(name: str, low: float | None, high: float | None, role: str = "competitor") -> Record:
        one = make_record(model=name)
        values = {"metric": "auc_raw", "minus": "zoo/constant", "value": 1.0, "ci_low": low, "ci_high": high}
        model = one.model.model_copy(update={"card": one.model.card.model_copy(update={"role": role})})
        differences = [make_record().differences[0].model_copy(update=values)]
        return one.model_copy(update={"differences": differences, "model": model})

    records = [
        record("x/better", 0.5, 2.0),
        record("x/worse", -2.0, -0.5),
        record("x/same", -1.0, 2.0),
        record("x/lower", -3.0, -0.5),
        record("x/unknown", None, None),
        record("zoo/gray", -3.0, -1.0, "baseline"),
        record("x/true", 3.0, 9.0, "reference"),
    ]
    stream = io.StringIO()
    ResultPrinter(Console(file=stream, width=80)).summarize(records, "auc_raw")
    (said,) = [line for line in stream.getvalue().splitlines() if "constant baseline" in line]
    parts = said.removeprefix("auc_raw: ").split("; ")
    assert parts == [
        "no significant difference from the constant baseline: x/same +1.00 [-1.00, +2.00]",
        "significantly better than the constant baseline: x/better +1.00 [+0.50, +2.00]",
        "significantly worse than the constant baseline: x/worse +1.00 [-2.00, -0.50], x/lower +1.00 [-3.00, -0.50]",
    ]
    assert differences_from_constant_color(records[4:], "auc_raw") is None


def test_a_model_that_is_better_than_one_color_but_worse_than_gray_is_named(make_record) -> None:
    def record(name: str, from_gray: tuple[float, float]) -> Record:
        one = make_record(model=name)
        values = {"zoo/constant": (0.5, 2.0), "zoo/gray": from_gray}
        differences = [
            one.differences[0].model_copy(
                update={"metric": "auc_raw", "minus": minus, "value": 1.0, "ci_low": low, "ci_high": high}
            )
            for minus, (low, high) in values.items()
        ]
        return one.model_copy(update={"differences": differences})

    worse, same = record("x/worse", (-2.0, -0.5)), record("x/same", (-2.0, 0.5))
    better = "significantly better than the constant baseline"
    one = difference_from_constant_color(worse, "auc_raw")
    assert one is not None and f"{better}, +1.00 [+0.50, +2.00]; significantly worse than gray, +1.00 [-2.00" in one
    assert "gray" not in (difference_from_constant_color(same, "auc_raw") or "")
    several = differences_from_constant_color([worse, same], "auc_raw")
    assert several is not None and several.endswith("; significantly worse than gray: x/worse +1.00 [-2.00, -0.50]")


def test_without_an_interval_nothing_is_stated_of_the_best_single_color(make_record) -> None:
    record = make_record()
    assert difference_from_constant_color(record, "auc_rebalanced_stable") is None
    values = {"metric": "auc_rebalanced_stable", "minus": "zoo/constant", "ci_low": None, "ci_high": None}
    against = record.differences[0].model_copy(update=values)
    assert (
        difference_from_constant_color(record.model_copy(update={"differences": [against]}), "auc_rebalanced_stable")
        is None
    )


def test_what_has_no_better_or_worse_is_not_held_against_it(make_record) -> None:
    record = make_record()
    against = record.differences[0].model_copy(update={"minus": "zoo/constant"})
    metrics = [metric.model_copy(update={"higher_is_better": None}) for metric in record.metrics]
    assert difference_from_constant_color(record.model_copy(update={"differences": [against]}), "auc_raw") is not None
    changed = record.model_copy(update={"differences": [against], "metrics": metrics})
    assert difference_from_constant_color(changed, "auc_raw") is None


def test_every_number_is_explained_and_the_headline_named(printed) -> None:
    message = " ".join(printed().split())
    assert "auc_raw How near the colors are. auc_rebalanced_stable" in message
    assert "The same, rare colors weighed up." in message


def test_the_effective_number_is_shown_where_few_images_decide(printed) -> None:
    assert "% ↑ · n 100, n_eff 37" in printed()
    assert row_of(printed(), "auc_raw")[6].strip() == "% ↑ · n 100"


def test_what_was_explained_once_is_not_explained_again(make_record) -> None:
    stream = io.StringIO()
    closing = ResultPrinter(Console(file=stream, width=80))
    for model in ("zoo/cic.small", "zoo/gray"):
        closing.show(make_record(model, n=14), [], EXPLAINED, "auc_raw", Path("runs/x"), explain=True)
    for once in ("How near the colors are.", "smoke test on 14 images"):
        assert stream.getvalue().count(once) == 1
    assert stream.getvalue().count("90.46") == 2


def test_remarks_on_one_model_stand_together_before_those_on_all(make_record) -> None:
    notes = {"lab/a": ("of all", "first of a", "second of a"), "lab/b": ("first of b", "of all")}
    records = [make_record(name).model_copy(update={"notes": list(said)}) for name, said in notes.items()]
    stream = io.StringIO()
    ResultPrinter(Console(file=stream, width=80)).remark([records])
    lines = [line.split("! ")[1].strip() for line in stream.getvalue().splitlines() if " ! " in line]
    wanted = ["lab/a: first of a", "lab/a: second of a", "lab/b: first of b", "of all"]
    assert [line for line in lines if "of " in line and line in wanted] == wanted


def test_a_missing_interval_is_left_empty_and_its_reason_stated(printed) -> None:
    text = printed()
    assert "[" not in " ".join(row_of(text, "auc_rebalanced_stable"))
    assert "! auc_rebalanced_stable: interval too short" in text


@pytest.mark.parametrize(("n", "stated"), [(29, "29 images:"), (30, None)])
def test_few_images_are_called_a_demonstration_first(printed, n: int, stated: str | None) -> None:
    first = printed(n=n).splitlines()[0]
    if stated is None:
        assert first.startswith("zoo/cic.small")
    else:
        assert first == f"smoke test on {stated} scores are not meaningful"
        assert printed(n=n).count("smoke test") == 1


@pytest.mark.parametrize("model", ["zoo/cic.small", "someone/a-model-with-a-long-name.large"])
def test_the_table_fits_80_columns_when_piped(printed, model: str) -> None:
    text = printed(model=model)
    table = text[text.index("Δ vs. gray") - 60 : text.index("result:")]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert "…" not in text
    assert "\x1b" not in text


def test_what_a_reader_must_know_is_stated(printed) -> None:
    text = printed(
        n_gray=3, overlap=5, skipped=[{"id": "a.jpg", "reason": "truncated"}, {"id": "b.jpg", "reason": "empty"}]
    )
    assert "! grayscale images: 3 (policy: keep)" in text
    assert "! skipped images: 2, the first is a.jpg: truncated" in text
    assert "! training images among the evaluated ones: 5" in text


def test_a_metric_without_a_difference_says_why(make_record) -> None:
    record = make_record()
    kept = [one.model_copy(update={"comparable": one.name == record.differences[0].metric}) for one in record.metrics]
    changed = record.model_copy(update={"metrics": kept, "differences": record.differences[:1]})
    (stated,) = [one for one in remarks(changed) if "displayed only, not compared with baselines" in one]
    assert record.differences[0].metric not in stated.split(":")[0].replace(",", "").split()
    assert not any("displayed only" in one for one in remarks(record.model_copy(update={"differences": []})))


def test_names_from_elsewhere_are_printed_as_they_are(printed) -> None:
    """Square brackets are no markup: an image may be called anything."""
    text = printed(skipped=[{"id": "[red]x[/nonsense].jpg", "reason": ":smile:"}])
    assert "[red]x[/nonsense].jpg: :smile:" in text


def test_a_model_does_not_stand_beside_itself(printed) -> None:
    head = next(line for line in printed(model="zoo/gray").splitlines() if "constant" in line)
    assert head.split() == ["gray", "constant", "truth"]


def test_it_says_where_the_record_lies_on_one_line(printed, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    assert f"result: {folder}/record.json" in printed(folder=folder).splitlines()


@pytest.mark.parametrize(
    ("value", "unit", "signed", "text"),
    [
        (None, "%", False, "–"),
        (89.0114, "%", False, "89.01"),
        (0.0321, "", False, "0.032"),
        (0.5, "dB", True, "+0.50"),
        (-0.5, "", True, "-0.500"),
        (-2e6, "%", True, "-2.00e+06"),
        (1.7e308, "", False, "1.70e+308"),
    ],
)
def test_numbers(value: float | None, unit: str, signed: bool, text: str) -> None:
    assert format_number(value, unit, signed=signed) == text


def test_half_an_interval_is_none() -> None:
    assert format_interval(1.0, None, "%") == ""
    assert format_interval(-1.0, 2.0, "%", signed=True) == "[-1.00, +2.00]"


def test_a_long_name_is_broken_between_its_words(make_record) -> None:
    record = make_record()
    long = record.metrics[1].model_copy(update={"name": "delta_cf_hs_of_means", "effective_n": 41.0})
    record = record.model_copy(update={"metrics": [record.metrics[0], long]})
    others = [make_record(model) for model in ("zoo/gray", "zoo/constant", "zoo/ground-truth")]
    stream = io.StringIO()
    narrow = Console(file=stream, width=74)
    ResultPrinter(narrow).show(record, others, {}, "auc_raw", None)
    heads = [line[:16].strip() for line in stream.getvalue().splitlines()]
    assert "delta_cf_hs_of_" in heads and "means" in heads
    assert not any("…" in line for line in stream.getvalue().splitlines())
    wide = io.StringIO()
    ResultPrinter(Console(file=wide, width=120)).show(record, others, {}, "auc_raw", None)
    assert "delta_cf_hs_of_means" in wide.getvalue()


def test_remarks_of_several_protocols_are_printed_once_with_their_holders(make_record) -> None:
    def of(model: str, protocol: str, *notes: str):
        record = make_record(model)
        named = record.protocol.model_copy(update={"name": protocol})
        return record.model_copy(update={"protocol": named, "notes": list(notes), "metrics": []})

    results = [
        [of("lab/a", "auc", "of all", "of one"), of("lab/b", "auc", "of all")],
        [of("lab/a", "fidelity", "of all", "of a protocol"), of("lab/b", "fidelity", "of all", "of a protocol")],
    ]
    stream = io.StringIO()
    ResultPrinter(Console(file=stream, width=120)).remark(results)
    lines = [line.strip() for line in stream.getvalue().splitlines() if " ! " in line]
    assert lines == ["! auc, lab/a: of one", "! fidelity: of a protocol", "! of all"]


def test_metrics_without_a_value_have_no_row_or_column_but_a_remark(make_record) -> None:
    record = make_record()
    empty = [one if one.name == "auc_raw" else one.model_copy(update={"value": None}) for one in record.metrics]
    assert len(empty) > 1
    bare = record.model_copy(update={"metrics": empty, "notes": []})
    absent = [one.name for one in empty if one.value is None]
    assert [one.name for one in shown_metrics([bare], "auc_raw")] == ["auc_raw"]
    assert absent[0] in [one.name for one in shown_metrics([bare, record], "auc_raw")], "another model has a value"
    assert absent[0] in [one.name for one in shown_metrics([bare], absent[0])], "the primary metric is always shown"
    assert not any(name in as_markdown([bare], "auc_raw") for name in absent)
    unexplained = [one.name for one in empty if one.value is None and not one.warning]
    stated = [text for text in remarks(bare) if text.startswith("no value on these images")]
    assert stated == ([f"no value on these images: {', '.join(unexplained)}"] if unexplained else [])
    assert not any("displayed only" in text and name in text for text in remarks(bare) for name in absent)
