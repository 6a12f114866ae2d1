"""What the analysis says of participants, exclusions and statistics: only what is stored, and what was computed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

from colorbench.errors import UserError
from colorbench.reporting import counted
from protocols.human_study.analysis.analysis_files import write
from protocols.human_study.analysis.fooling_rates import Analysis, analyze
from protocols.human_study.analysis.methods_text import methods_paragraph
from protocols.human_study.analysis.response_reading import read_study_data, study_data_of
from protocols.human_study.server.request_schemas import Response, Screening
from protocols.human_study.server.response_store import Store
from protocols.human_study.server.secrets_and_tokens import load_secrets
from protocols.human_study.study_folder.design_schema import Design, Exclusions, read_design
from protocols.human_study.study_folder.study_database import open_database, read_exclusions, store_exclusions
from tests.conftest import RunCommand
from tests.support.study_responses import SENTINEL, make_design, make_study_data, write_study

RATES = {"zoo/cic.small": 0.35, "zoo/l2": 0.2, "zoo/constant": 0.06, SENTINEL: 0.1}
CLAIMS = re.compile("pre-specified|registered|before the first participant|fixed")


def analysis_of(
    design: Design,
    table: pandas.DataFrame,
    participants: pandas.DataFrame | None = None,
    first: dict[str, Any] | None = None,
) -> Analysis:
    people = pandas.DataFrame() if participants is None else participants
    return analyze(replace(study_data_of(design, table, people, "here"), first_exclusions=first), resamples=100)


def files_of(analysis: Analysis, folder: Path) -> dict[str, str]:
    """The texts of the analysis's files by name, with plain spaces."""
    write(analysis, folder, folder / "analysis", folder / "records", ())
    files = [path for path in (folder / "analysis").iterdir() if path.is_file()]
    return {path.name: path.read_text().replace("\u00a0", " ") for path in files}


@pytest.fixture(scope="module")
def full() -> tuple[Design, pandas.DataFrame]:
    design = make_design(participants=24)
    return design, make_study_data(design, RATES, seed=1)


@pytest.fixture(scope="module")
def partial() -> tuple[Design, pandas.DataFrame, pandas.DataFrame]:
    """Two participants who finished and one who stopped after a trial, of eight who consented."""
    design = make_design(participants=8, trials=20, sentinels=2, images=35, methods=("zoo/l2",))
    table = make_study_data(design, RATES, seed=1)
    stopped = (table["slot"] == "s003") & (table["trial"] < 3)
    table = table[table["slot"].isin(("s001", "s002")) | stopped].copy()
    table.loc[table["slot"] == "s003", "status"] = "expired"
    ids = [*table["participant"].unique(), *"abcde"]
    people = pandas.DataFrame({"participant": ids, "status": ["expired"] * 8, "platform": "prolific"})
    people.loc[people["participant"].isin(table["participant"][table["status"] == "complete"]), "status"] = "complete"
    return design, table, people.assign(color_vision="normal", plates=5, plates_correct=4, device="phone")


def test_exclusions_are_called_pre_specified_only_if_they_are(
    tmp_path: Path, full: tuple[Design, pandas.DataFrame]
) -> None:
    design, table = full
    first = design.exclusions.model_dump()
    known = files_of(analysis_of(design, table, first=first), tmp_path / "known")
    assert "The exclusions were pre-specified" in known["methods.txt"]
    assert "pre-specified" in known["analysis.html"] and ",pre-specified," in known["rates.csv"]
    changed = files_of(
        analysis_of(design, table, first={**first, "min_reaction_ms": 300.0, "max_focus_losses": None}),
        tmp_path / "changed",
    )
    message = "changed after the first participant: min_reaction_ms from 300 to 100, max_focus_losses from not applied"
    for name in ("methods.txt", "analysis.html", "analysis.json"):
        assert message in changed[name], name
    assert ",changed after the first participant," in changed["rates.csv"]
    unknown = files_of(analysis_of(design, table), tmp_path / "unknown")
    for name in ("methods.txt", "analysis.html", "rates.csv", "analysis.json"):
        assert CLAIMS.findall(unknown[name]) == [], name


def test_the_exclusions_before_the_first_participant_are_stored(tmp_path: Path) -> None:
    path, database = tmp_path / "study.sqlite", open_database(tmp_path / "study.sqlite")
    assert read_exclusions(path) is None
    for limit in (50.0, 60.0):  # nobody has started yet
        store_exclusions(database, Exclusions(min_reaction_ms=limit))
    row = ("p", "w", "s", "lab", "s001", "active", 0.0, 0.0, None, 1, None, None, "{}")
    database.execute(f"INSERT INTO participants VALUES ({', '.join('?' * 13)})", row)
    store_exclusions(database, Exclusions(min_reaction_ms=70.0))
    assert (read_exclusions(path) or {})["min_reaction_ms"] == 60.0
    database.execute("UPDATE exclusions SET rules = replace(rules, '60', '80')")
    with pytest.raises(UserError, match="the exclusions were changed"):
        read_exclusions(path)
    database.execute("DROP TABLE exclusions")  # as an earlier version left it
    database.close()
    assert read_exclusions(path) is None


def test_a_changed_design_is_noticed_in_a_study_that_was_served(colorbench: RunCommand, tmp_path: Path) -> None:
    design = make_design(participants=2, trials=10, sentinels=1, images=12)
    study = write_study(tmp_path / "study", design, make_study_data(design, RATES))
    (study / "data").mkdir()
    store = Store(study / "data", design, load_secrets(study / "data"))
    participant = store.consent("lab", "", "x" * 16, {})
    store.screening(participant, Screening(color_vision="normal", plates=[]))
    for trial in range(12):
        body = {"trial": trial, "response": "first", "reaction_ms": 500, "focus_losses": 0, "input": "key"}
        shown = {"exposure_first_ms": 1000, "exposure_second_ms": 1000, "frame_ms": 16.7}
        store.response(participant, Response.model_validate({**body, **shown}))
    store.finish(participant)
    store.close()
    assert read_study_data(study).first_exclusions == design.exclusions.model_dump()
    text = (study / "design.json").read_text()
    (study / "design.json").write_text(text.replace('"min_reaction_ms": 100.0', '"min_reaction_ms": 250'))
    done = colorbench("study", "analyze", study, "--resamples", "100")
    assert done.returncode == 0, done.stderr
    told = " ".join((done.stdout + done.stderr).split())
    assert "! the exclusions were changed after the first participant: min_reaction_ms from 100 to 250" in told
    assert "excluded (changed after the first participant)" in told
    table = study / "exports" / "responses.csv"
    assert read_study_data(study, table).first_exclusions is None


def test_counts_come_from_the_participants_and_add_up(
    partial: tuple[Design, pandas.DataFrame, pandas.DataFrame],
) -> None:
    found = analysis_of(*partial)
    text = " ".join(methods_paragraph(found))
    assert "8 participants consented on Prolific, 3 rated at least one pair after practice, and 2 finished." in text
    assert "rated up to 20 pairs" in text and "2 of them sentinels" in text
    assert "did not finish the session (1 participant, 1 response)" in text
    assert "1 of 3 participants and 1 of 41 responses were excluded. 36 responses were analyzed" in text
    assert "4 responses are to sentinels and not part of the rates" in text
    assert found.result.responses + 4 == 41 - 1
    assert "3 normal" in text and "4.0 of 5 read correctly" in text and "3 phones" in text
    assert "0.9 s before the first image and for 0.6 s between the images" in text


def test_only_statistics_that_were_computed_are_described(
    tmp_path: Path,
    full: tuple[Design, pandas.DataFrame],
    partial: tuple[Design, pandas.DataFrame, pandas.DataFrame],
) -> None:
    few = files_of(analysis_of(*partial), tmp_path / "few")["methods.txt"]
    assert few.startswith("Note: smoke test on 2 participants: scores are not meaningful.\n\nNote: the study is not")
    assert "Intervals and tests were not computed" in few
    assert not re.search("95 % intervals|t test|Holm|clustered", few)
    many = files_of(analysis_of(*full), tmp_path / "many")["methods.txt"]
    assert "95 % intervals therefore use" in many and "adjusted for 3 pairs by Holm's method" in many
    assert "Note:" not in many and "not computed" not in many and "each rated 40 pairs" in many


def test_both_shortfalls_are_named() -> None:
    design = make_design(participants=2, trials=10, sentinels=0, images=28, methods=("zoo/l2",), practice=0)
    found = analysis_of(design, make_study_data(design, RATES))
    assert re.match(r"smoke test on 2 participants and \d+ images: ", found.notes[0])
    assert not any("sentinel" in rule.description for rule in found.applied.rules)


def test_counts_have_the_right_form(tmp_path: Path) -> None:
    assert [counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
    design = make_design(participants=1, trials=3, sentinels=1, images=4, methods=("zoo/l2",), practice=1)
    table = make_study_data(design, RATES).assign(presentations=2)
    files = files_of(analysis_of(design, table), tmp_path)
    records = [json.loads(path.read_text()) for path in (tmp_path / "records").rglob("record.json")]
    text = "\n".join(
        [files["methods.txt"], files["analysis.html"], *(note for one in records for note in one["notes"])]
    )
    text = re.sub(r"<svg.*?</svg>|<style.*?</style>", "", text, flags=re.DOTALL)
    wrong = re.findall(r"(?<![\d.])1 (?:participants|responses|trials|pairs|images|methods|sentinels|times)\b", text)
    assert wrong == []
    assert "1 of them a sentinel" in text and 'images of the dataset "holiday"' in files["methods.txt"]


def test_percent_signs_and_intervals_do_not_break_on_the_page(
    tmp_path: Path, full: tuple[Design, pandas.DataFrame]
) -> None:
    write(analysis_of(*full), tmp_path, tmp_path / "analysis", tmp_path / "records", ())
    page = (tmp_path / "analysis" / "analysis.html").read_text()
    assert not re.search(r"\d %|\[[-+]?\d[\d.]*, [-+]?\d", page)
    assert len(re.findall(r"\[[-+]?\d[\d.]*,\u00a0[-+]?\d[\d.]*\]", page)) > 20


def test_all_responses_excluded_is_said_with_the_rate_of_all_responses(
    colorbench: RunCommand, tmp_path: Path, partial: tuple[Design, pandas.DataFrame, pandas.DataFrame]
) -> None:
    design, table, _ = partial
    study = write_study(tmp_path / "study", design, table.assign(status="expired"))
    done = colorbench("study", "analyze", study, "--resamples", "100")
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    message = "all responses were excluded: did not finish the session (3 participants, 41 responses)"
    assert f"! {message}" in " ".join(told.split())
    assert re.search(r"zoo/l2 +– +\d+\.\d\d % +– +0\n", told)
    page = (study / "analysis" / "analysis.html").read_text()
    assert f"A{message[1:]}" in page and page.count('<td class="headline">–</td>') == 2
    rates = pandas.read_csv(study / "analysis" / "rates.csv")
    kept, every = (rates[rates["selection"] == selection] for selection in ("kept", "all"))
    assert kept["method"].tolist() == ["zoo/l2", SENTINEL] and kept["rate_percent"].isna().all()
    assert every["rate_percent"].notna().all() and (study / "analysis" / "methods.txt").read_text().startswith(
        "Note: all"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("min_reaction_ms", "min_reacton_ms"), "unknown field exclusions.min_reacton_ms.*mean min_reaction_ms?"),
        (('"seed":', '"sede":'), "unknown field sede.*mean seed?"),
        (('"lead_ms":', '"led_ms":'), "unknown field settings.led_ms.*mean lead_ms?"),
        (('"fake":', '"fakes":'), r"unknown field slots.0.trials.0.fakes.*mean fake?"),
        (('"min_reaction_ms": 100.0', '"min_reaction_ms": "fast"'), "exclusions.min_reaction_ms: Input should be a"),
        (('"min_reaction_ms": 100.0,', '"min_reaction_ms": 100.0'), "Invalid JSON: .* line "),
    ],
)
def test_a_typing_error_in_the_design_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = make_design(participants=2).model_dump_json(indent=1)
    assert change[0] in text
    (tmp_path / "design.json").write_text(text.replace(*change, 1))
    with pytest.raises(UserError, match=message) as error:
        read_design(tmp_path)
    assert "build" not in str(error.value) and "\n" not in str(error.value)


def test_another_version_of_a_design_is_not_to_be_built_again_if_it_has_responses(tmp_path: Path) -> None:
    text = make_design(participants=2).model_dump_json().replace('"schema_version":2', '"schema_version":1')
    (tmp_path / "design.json").write_text(text)
    with pytest.raises(UserError, match="or, if it has no responses yet, build the study again"):
        read_design(tmp_path)
