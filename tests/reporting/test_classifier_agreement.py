"""Does the verdict depend on the classifier: values by classifier taken out of records, and how far orders agree."""

from collections.abc import Callable, Mapping

import pytest
from scipy.stats import kendalltau

from colorbench.reporting.classifier_agreement import classified, classifiers_table, scores_classified
from colorbench.results import Metric, Record

MakeRecord = Callable[..., Record]


def with_classifiers(
    record: Record, values: Mapping[str, float], *, role: str = "competitor", crop: str = "none", single: bool = False
) -> Record:
    """A record whose metric ``score`` was given by these classifiers."""
    metrics = [
        Metric(
            name="score" if single else classified("score", classifier),
            title="score",
            value=value,
            unit="%",
            higher_is_better=True,
            ci_low=None,
            ci_high=None,
            ci_method=None,
            n=100,
            effective_n=100,
            form="ratio",
            comparable=True,
            classifier=classifier,
        )
        for classifier, value in values.items()
    ]
    identity = {"classifiers": list(values), "crop": crop}
    return record.model_copy(
        update={
            "metrics": metrics,
            "protocol": record.protocol.model_copy(update={"identity": identity}),
            "model": record.model.model_copy(update={"card": record.model.card.model_copy(update={"role": role})}),
        }
    )


FOUR = {"a/a": (50, 10), "a/b": (60, 30), "a/c": (70, 20), "a/d": (80, 40)}


def records(make_record: MakeRecord) -> list[Record]:
    return [with_classifiers(make_record(name), {"net.one": x, "net:2": y}) for name, (x, y) in FOUR.items()]


def test_models_by_classifiers_with_their_ranks_and_rank_correlation(make_record: MakeRecord) -> None:
    table = classifiers_table(records(make_record), "score")
    assert table is not None
    assert (table.models, table.classifiers) == (tuple(FOUR), ("net.one", "net:2"))
    assert table.values.tolist() == [list(pair) for pair in FOUR.values()]
    assert table.ranks.tolist() == [[4, 4], [3, 2], [2, 3], [1, 1]]
    x, y = zip(*FOUR.values(), strict=True)
    assert table.correlation(0, 1) == pytest.approx(kendalltau(x, y).statistic) == pytest.approx(4 / 6)
    assert table.disputed(0, 1) == [("a/c", "a/b")]
    assert table.disputed(1, 0) == [("a/b", "a/c")]
    assert scores_classified(records(make_record)) == ["score"]


def test_records_of_single_classifiers_are_joined(make_record: MakeRecord) -> None:
    apart = []
    for name, pair in FOUR.items():
        for classifier, value in zip(("net.one", "net:2"), pair, strict=True):
            apart.append(with_classifiers(make_record(name), {classifier: value}, single=True))
    joined, together = classifiers_table(apart, "score"), classifiers_table(records(make_record), "score")
    assert joined is not None and together is not None
    assert (joined.models, joined.classifiers) == (together.models, together.classifiers)
    assert (joined.values == together.values).all()


def test_references_and_classifiers_of_some_models_only_are_left_out(make_record: MakeRecord) -> None:
    truth = with_classifiers(make_record("a/truth"), {"net.one": 100, "net:2": 100}, role="reference")
    more = with_classifiers(make_record("a/e"), {"net.one": 1, "net:2": 2, "third": 3})
    table = classifiers_table([*records(make_record), truth, more], "score")
    assert table is not None
    assert table.models == (*FOUR, "a/e") and table.classifiers == ("net.one", "net:2")


def test_too_few_have_no_order(make_record: MakeRecord) -> None:
    assert classifiers_table(records(make_record)[:2], "score") is None
    alone = [with_classifiers(make_record(name), {"net.one": x}) for name, (x, _) in FOUR.items()]
    assert classifiers_table(alone, "score") is None
    assert classifiers_table([], "score") is None
    assert classifiers_table(records(make_record), "another") is None
    same = [with_classifiers(make_record(name), {"net.one": 5, "net:2": y}) for name, (_, y) in FOUR.items()]
    table = classifiers_table(same, "score")
    assert table is not None and str(table.correlation(0, 1)) == "nan" and table.disputed(0, 1) == []


def test_what_cannot_stand_in_one_table_is_refused(make_record: MakeRecord) -> None:
    other = with_classifiers(make_record("a/e"), {"net.one": 1, "net:2": 2}, crop="timm")
    with pytest.raises(ValueError, match="differ in more than model and classifiers"):
        classifiers_table([*records(make_record), other], "score")
    again = with_classifiers(make_record("a/a"), {"net.one": 51, "net:2": 10})
    with pytest.raises(ValueError, match="two different values of score: 50"):
        classifiers_table([*records(make_record), again], "score")
