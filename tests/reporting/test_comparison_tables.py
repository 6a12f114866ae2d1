"""The tables of ``compare`` say how verdicts, ranks and numbers of images differ."""

from __future__ import annotations

import io

from rich.console import Console

from colorbench.reporting.comparison_tables import MEANING_OF_RANKS, show_comparison
from colorbench.results import Comparison


def shown(**changes) -> str:
    numbers = {"value_a": 80.0, "value_b": 85.3, "difference": -5.3, "ci_low": -10.9, "ci_high": -1.7, "p": 0.02}
    test = {
        "a": "A",
        "b": "B",
        "metric": "auc",
        "unit": "%",
        "higher_is_better": True,
        "n": 40,
        "ci_method": None,
        "p_holm": 0.04,
        "effect_size": 0.4,
        "a_better": 10,
        "b_better": 30,
        "equal": 0,
        "detectable": 4.9,
        "images_needed": 35,
        "verdict": "b",
        "untested": None,
        "warning": None,
        "images": [],
        **numbers,
        **changes,
    }
    ranks = [{"metric": "auc", "label": label, "value": 80.0, "first": 1, "last": 2} for label in "AB"]
    names = ("protocol", "identity_sha256", "dataset", "fingerprint", "preprocessing")
    rest = {"protocol_version": 1, "n": 40, "sides": [], "ranks": ranks, "remarks": []}
    found = Comparison.model_validate(
        {**dict.fromkeys(names, "x"), **rest, "tests": [test, {**test, "metric": "psnr"}]}
    )
    stream = io.StringIO()
    show_comparison(Console(file=stream, width=80), found)
    return " ".join(stream.getvalue().split())


def test_the_tables_say_what_verdicts_and_ranks_rest_on() -> None:
    text = shown()
    assert MEANING_OF_RANKS in text and "A verdict needs both" in text and "not adjusted for several tests" in text
    assert " 35 " in text and "needed –" not in text


def test_no_number_of_images_contradicts_an_undecided_test() -> None:
    text = shown(verdict="undecided", p_holm=0.06)
    assert " 35 " not in text and "images needed –: one test alone" in text
    assert "80 % power in one test alone" in text
    assert " 41 " in shown(verdict="undecided", p_holm=0.06, images_needed=41)
