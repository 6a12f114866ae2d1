"""The analysis of a study: numbers against pandas and the design, exclusions one by one, records, page, tables."""

import json
import math
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy import stats

from colorbench.errors import UserError
from colorbench.results import read_record, read_rows, too_few_images
from colorbench.results.saved_image_index import read_index
from protocols.human_study.analysis.analysis_files import write
from protocols.human_study.analysis.exclusions import apply
from protocols.human_study.analysis.fooling_rates import Analysis, analyze, d_prime, side_bias
from protocols.human_study.analysis.image_fooling_rates import shrink
from protocols.human_study.analysis.methods_text import methods_paragraph
from protocols.human_study.analysis.response_reading import StudyData, read_study_data, study_data_of
from protocols.human_study.analysis.study_metrics import identity_of
from protocols.human_study.study_folder.design_schema import Design, Exclusions
from tests.conftest import RunCommand
from tests.support.study_responses import METHODS, SENTINEL, make_design, make_study_data, write_study

RATES = {"zoo/cic.small": 0.35, "zoo/l2": 0.2, "zoo/constant": 0.06, SENTINEL: 0.1}
NOTHING = Exclusions(
    complete_only=False,
    min_sentinel_correct=None,
    max_same_position=None,
    min_reaction_ms=None,
    max_exposure_error_ms=None,
    max_focus_losses=None,
)


@pytest.fixture(scope="module")
def design() -> Design:
    return make_design(participants=24)


@pytest.fixture(scope="module")
def responses(design: Design) -> pandas.DataFrame:
    return make_study_data(design, RATES, seed=1)


@pytest.fixture(scope="module")
def found(design: Design, responses: pandas.DataFrame) -> Analysis:
    return analyze(study_data_of(design, responses, pandas.DataFrame(), "here"), resamples=500)


def study_data(design: Design, table: pandas.DataFrame, participants: pandas.DataFrame | None = None) -> StudyData:
    return study_data_of(design, table, pandas.DataFrame() if participants is None else participants, "here")


def test_rates_are_the_shares_of_test_trials_and_sentinels_a_row_of_their_own(
    found: Analysis, responses: pandas.DataFrame
) -> None:
    tests = responses[responses["kind"] == "test"]
    assert [row.method for row in found.everything.methods] == [*METHODS, SENTINEL]
    for row in found.everything.methods[:-1]:
        candidate = tests[tests["method"] == row.method]
        assert row.rate.value == (candidate["response"] != candidate["fake"]).mean()
        assert (row.rate.responses, row.rate.participants) == (len(candidate), 24)
    sentinels = found.everything.methods[-1]
    assert sentinels.sentinel and sentinels.rate.responses == 24 * 4
    assert sentinels.rate.value == responses[responses["kind"] == "sentinel"]["fooled"].mean()
    assert found.everything.responses == len(tests) == 24 * 36
    assert SENTINEL not in {one.first for one in found.result.comparisons} | {
        one.second for one in found.result.comparisons
    }
    assert {one.method for one in found.images} == set(METHODS)


def test_the_order_of_rows_and_practice_change_nothing(design: Design, responses: pandas.DataFrame) -> None:
    mixed = responses.sample(frac=1, random_state=0)
    without = responses[responses["kind"] != "practice"]
    one, other = (analyze(study_data(design, table), resamples=200) for table in (mixed, without))
    assert one.result == other.result and one.study_data.sha256 == other.study_data.sha256


def test_comparisons_turn_around_and_are_adjusted(found: Analysis) -> None:
    pairs = found.result.comparisons
    assert [(one.first, one.second) for one in pairs] == [
        ("zoo/cic.small", "zoo/l2"),
        ("zoo/cic.small", "zoo/constant"),
        ("zoo/l2", "zoo/constant"),
    ]
    rates = {row.method: row.rate.value for row in found.result.methods}
    for one in pairs:
        assert one.difference.value == pytest.approx(rates[one.first] - rates[one.second])
        assert one.p_holm >= one.difference.p
    raw = sorted(one.difference.p for one in pairs)
    assert min(one.p_holm for one in pairs) == pytest.approx(min(1, 3 * raw[0]))
    assert pairs[1].above == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("rate", "wanted"), [(0.5, 0.0), (0.323, 0.65), (0.272, 0.86)])
def test_d_prime_of_the_papers_rates(rate: float, wanted: float) -> None:
    assert d_prime(rate) == pytest.approx(wanted, abs=0.005)


def test_d_prime_has_the_rates_interval_turned_around(found: Analysis) -> None:
    for row in found.result.methods[:2]:
        assert row.rate.interval is not None and row.d_prime.low is not None and row.d_prime.high is not None
        assert row.d_prime.low < (row.d_prime.value or 0) < row.d_prime.high
        assert row.d_prime.high == pytest.approx(d_prime(row.rate.interval.low))


def test_a_leaning_to_the_first_stimulus_shows(design: Design) -> None:
    table = make_study_data(design, RATES, first_bias=1.0, seed=2)
    tests = table[(table["kind"] == "test") & (table["method"] == "zoo/cic.small")]
    bias = side_bias(tests)
    chosen, fake = tests["response"] == "first", tests["fake"] == "first"
    hit, alarm = ((chosen & side).sum() + 0.5 for side in (fake, ~fake))
    z = [stats.norm.ppf(count / (side.sum() + 1)) for count, side in ((hit, fake), (alarm, ~fake))]
    assert bias.criterion == pytest.approx(-sum(z) / 2)
    assert bias.d_prime == pytest.approx((z[0] - z[1]) / math.sqrt(2))
    assert bias.criterion < -0.2 and bias.first.value == chosen.mean() > 0.55


def test_only_exclusions_of_the_design_are_made(responses: pandas.DataFrame) -> None:
    design = make_design(participants=24, exclusions=NOTHING)
    spoilt = responses.assign(status="expired", reaction_ms=1.0, focus_losses=9, exposure_first_ms=5000.0)
    applied = apply(study_data(design, spoilt))
    assert applied.kept.all() and applied.rules == () and applied.reasons == {}


def spoil(table: pandas.DataFrame, rule: str) -> pandas.DataFrame:
    """Make the participant of slot s002 (or a few of their trials) break one rule."""
    table, candidate = table.copy(), table["slot"] == "s002"
    if rule == "complete_only":
        table.loc[candidate, "status"] = "expired"
    elif rule == "min_sentinel_correct":
        sentinels = candidate & (table["kind"] == "sentinel")
        wrong = table["fake"].map({"first": "second", "second": "first"})
        table.loc[sentinels, "response"] = wrong[sentinels]
    elif rule == "max_same_position":
        table.loc[candidate & (table["kind"] == "test"), "response"] = "second"
    elif rule == "min_reaction_ms":
        table.loc[candidate & table["trial"].isin((5, 6)), "reaction_ms"] = 99.9
    elif rule == "max_exposure_error_ms":
        table.loc[candidate & (table["trial"] == 5), "exposure_first_ms"] = 1101.0
        table.loc[candidate & (table["trial"] == 6), "exposure_second_ms"] = 899.0
    elif rule == "max_focus_losses":
        table.loc[candidate & table["trial"].isin((5, 6)), "focus_losses"] = 1
    return table


@pytest.mark.parametrize(
    ("rule", "limit", "trials"),
    [
        ("complete_only", True, 40),
        ("min_sentinel_correct", 0.5, 40),
        ("max_same_position", 0.95, 40),
        ("min_reaction_ms", 100.0, 2),
        ("max_exposure_error_ms", 100.0, 2),
        ("max_focus_losses", 0, 2),
    ],
)
def test_each_rule_leaves_out_what_it_says(design: Design, rule: str, limit: float, trials: int) -> None:
    calm = make_study_data(design, dict.fromkeys(RATES, 0.02), participant_sd=0, image_sd=0, seed=3)
    one = make_design(participants=24, exclusions=NOTHING.model_copy(update={rule: limit}))
    full, spoilt = (apply(study_data(one, table)) for table in (calm, spoil(calm, rule)))
    assert full.kept.all()
    table = study_data(one, spoil(calm, rule)).responses
    assert set(table["slot"][~spoilt.kept]) == {"s002"}
    assert (~spoilt.kept).sum() == trials
    assert [(done.name, done.trials) for done in spoilt.rules] == [(rule, trials)]
    assert spoilt.rules[0].participants == len(spoilt.reasons) == (trials == 40)


def test_limits_themselves_and_unmeasured_values_stay(design: Design, responses: pandas.DataFrame) -> None:
    edge = responses.assign(reaction_ms=100.0, exposure_first_ms=1100.0, exposure_second_ms=np.nan)
    rules = NOTHING.model_copy(update={"min_reaction_ms": 100.0, "max_exposure_error_ms": 100.0})
    assert apply(study_data(make_design(participants=24, exclusions=rules), edge)).kept.all()


def test_color_vision_goes_by_the_participants_own_message(design: Design, responses: pandas.DataFrame) -> None:
    one = make_design(participants=24, exclusions=NOTHING.model_copy(update={"color_vision": True}))
    ids = responses["participant"].unique()
    participants = pandas.DataFrame({"participant": ids, "color_vision": ["deficient", "unsure", *["normal"] * 22]})
    assert apply(study_data(one, responses, participants)).reasons == {ids[0]: "color_vision"}
    with pytest.raises(UserError, match="table of participants is missing"):
        apply(study_data(one, responses))


def test_exclusions_are_counted_once_in_their_order(design: Design, responses: pandas.DataFrame) -> None:
    twice = spoil(spoil(responses, "complete_only"), "min_reaction_ms")
    applied = apply(study_data(design, twice))
    rules = {rule.name: rule for rule in applied.rules}
    assert rules["complete_only"].trials == 40 and rules["min_reaction_ms"].trials == 0
    assert sum(rule.trials for rule in applied.rules) == (~applied.kept).sum()
    assert sum(rule.participants for rule in applied.rules) == len(applied.reasons)


def test_responses_of_another_study_are_refused(design: Design, responses: pandas.DataFrame) -> None:
    other = make_design(participants=24, seed=5)
    with pytest.raises(UserError, match="does not match the pair in the design"):
        study_data(other, responses)
    with pytest.raises(UserError, match="two responses of participant"):
        study_data(design, pandas.concat([responses, responses.iloc[[20]]]))
    with pytest.raises(UserError, match="lack the column 'response'"):
        study_data(design, responses.drop(columns="response"))
    with pytest.raises(UserError, match="a response must be first or second, not 'left'"):
        study_data(design, responses.assign(response="left"))
    with pytest.raises(UserError, match="no responses to test trials"):
        study_data(design, responses[responses["kind"] == "practice"])


def test_csv_and_parquet_are_the_same_responses(tmp_path: Path, design: Design, responses: pandas.DataFrame) -> None:
    # "12e456789012" is an id and no number.
    renamed = responses.assign(participant=responses["participant"].where(responses["slot"] != "s001", "12e456789012"))
    folder = write_study(tmp_path / "study", design, renamed)
    from_csv = read_study_data(folder)
    typed = renamed.astype({"trial": "Int64", "focus_losses": "Int64", "reaction_ms": "Float64", "fooled": "boolean"})
    typed.to_parquet(folder / "exports" / "responses.parquet")
    from_parquet = read_study_data(folder)
    assert from_csv.sha256 == from_parquet.sha256
    assert "12e456789012" in set(from_csv.responses["participant"])
    assert read_study_data(folder, folder / "exports" / "responses.csv").sha256 == from_csv.sha256
    (folder / "exports" / "responses.parquet").unlink()
    (folder / "exports" / "responses.csv").unlink()
    with pytest.raises(UserError, match="there are no responses yet"):
        read_study_data(folder)


def test_images_are_drawn_to_the_mean_as_far_as_chance_goes() -> None:
    rng = np.random.default_rng(0)
    alike = shrink(rng.binomial(8, 0.3, 200), np.full(200, 8))
    assert alike.deviation < 0.08
    assert np.ptp(alike.estimate) < 0.2 < np.ptp(rng.binomial(8, 0.3, 200) / 8)
    truth = rng.beta(3, 7, 400)  # concentration 10
    shown = rng.integers(4, 15, 400)
    fooled = rng.binomial(shown, truth)
    drawn = shrink(fooled, shown)
    assert drawn.concentration == pytest.approx(10, rel=0.35)
    assert drawn.deviation == pytest.approx(math.sqrt(0.21 / 11), rel=0.2)
    raw = fooled / shown
    assert ((drawn.estimate - truth) ** 2).mean() < 0.75 * ((raw - truth) ** 2).mean()
    assert ((drawn.low <= truth) & (truth <= drawn.high)).mean() == pytest.approx(0.95, abs=0.035)
    m, mean = drawn.concentration, (fooled.sum() + 0.5) / (shown.sum() + 1)
    assert drawn.estimate[0] == pytest.approx((fooled[0] + mean * m) / (shown[0] + m))
    with pytest.raises(ValueError, match="0 <= fooled <= shown"):
        shrink(np.array([3]), np.array([2]))


def test_between_and_within_are_never_one_column(design: Design) -> None:
    between = make_design(participants=24, assignment="between")
    assert identity_of(design) != identity_of(between)
    assert {key for key in identity_of(design) if identity_of(design)[key] != identity_of(between)[key]} == {
        "assignment"
    }


def test_between_participants_are_compared_unpaired() -> None:
    design = make_design(participants=60, assignment="between", images=80)
    found = analyze(study_data(design, make_study_data(design, RATES, seed=4)), resamples=200)
    assert all(row.rate.participants <= 20 for row in found.result.methods[:-1])
    first = found.result.comparisons[0].difference
    assert first.degrees_of_freedom == min(row.rate.participants for row in found.result.methods[:2]) - 1
    assert first.p < 0.05
    assert "one method only (between participants)" in " ".join(methods_paragraph(found))


def test_a_tiny_study_is_a_demonstration() -> None:
    design = make_design(participants=3, trials=10, sentinels=1, images=12, exclusions=NOTHING)
    found = analyze(study_data(design, make_study_data(design, RATES)), resamples=200)
    assert found.notes[0].startswith("smoke test on 3 participants and 12 images")
    assert all(row.rate.interval is None for row in found.result.methods)
    assert all(math.isnan(one.p_holm) for one in found.result.comparisons)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, design: Design, responses: pandas.DataFrame) -> Path:
    """A study with images, analyzed: its folder."""
    folder = write_study(tmp_path_factory.mktemp("a") / "study", design, responses, stimuli=True)
    write(
        analyze(read_study_data(folder), resamples=300), folder, folder / "analysis", folder / "records", ("analyze",)
    )
    return folder


def test_records_stand_beside_every_other_protocols(written: Path, found: Analysis) -> None:
    positions = sorted((written / "records").rglob("record.json"))
    records = {record.model.name: record for record in (read_record(position.parent) for position in positions)}
    assert set(records) == {*METHODS, SENTINEL}
    assert len({record.protocol.identity_sha256 for record in records.values()}) == 1
    assert len({record.dataset.fingerprint for record in records.values()}) == 1
    record = records["zoo/l2"]
    row = found.result.methods[1]
    metric = record.metrics[0]
    assert (metric.name, metric.unit, metric.higher_is_better) == ("fooling_rate", "%", True)
    assert row.rate.interval is not None
    assert (metric.value, metric.ci_low, metric.ci_high) == pytest.approx(
        (100 * row.rate.value, 100 * row.rate.interval.low, 100 * row.rate.interval.high)
    )
    assert metric.ci_method is not None and "two-way cluster-robust" in metric.ci_method
    assert record.protocol.parameters["assignment"] == "within"
    assert too_few_images(record) is None
    assert [one.minus for one in record.differences] == ["zoo/cic.small", "zoo/constant"]
    assert record.differences[0].value == pytest.approx(-100 * found.result.comparisons[0].difference.value)
    position = next(position for position in positions if read_record(position.parent).model.name == "zoo/l2").parent
    hashes, columns = read_rows(position / "rows.parquet")
    assert len(hashes) == metric.n
    assert columns["fooling_rate.s0"].sum() / columns["fooling_rate.s1"].sum() == pytest.approx(metric.value)
    reasons = [reason for stimulus in read_index(position) for reason in stimulus.reasons]
    assert reasons.count("fixed") == 24 and "fooling_rate best 1" in reasons and "fooling_rate worst 4" in reasons
    assert (position / "report.html").is_file()


def test_equal_responses_leave_the_records_alone_and_others_make_new_ones(
    written: Path, design: Design, responses: pandas.DataFrame
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (written / "records").rglob("record.json")}
    again = analyze(read_study_data(written), resamples=300)
    write(again, written, written / "analysis", written / "records", ())
    assert {path: path.stat().st_mtime_ns for path in (written / "records").rglob("record.json")} == before
    fewer = study_data(design, responses[responses["slot"] != "s001"])
    positions = write(analyze(fewer, resamples=300), written, written / "less", written / "less" / "records", ())
    assert not {position.name for position in positions} & {path.parent.name for path in before}


def test_the_page_says_everything_and_needs_nothing(written: Path) -> None:
    page = (written / "analysis" / "analysis.html").read_text()
    intervals = ["two-way cluster-robust", "two-level bootstrap", "crossed bootstrap", "binomial"]
    rules = ["sentinels, not in any method", "detected fewer than 50\u00a0% of the sentinels"]
    for message in (*intervals, *rules, "Holm", "Images with the highest and lowest fooling rates"):
        assert message in page, message
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert page.count("data:image/webp") >= 2 * 6 * 3
    names = {path.name for path in (written / "analysis").rglob("*") if path.is_file()}
    assert {"analysis.json", "rates.csv", "comparisons.csv", "images.csv", "methods.txt", "rates.svg"} <= names
    assert page.count('class="plot"') == len([name for name in names if name.endswith(".svg")]) == 5


def test_tables_hold_what_the_page_shows(written: Path, found: Analysis) -> None:
    rates = pandas.read_csv(written / "analysis" / "rates.csv")
    row = rates[(rates["method"] == "zoo/l2") & (rates["selection"] == "kept")].set_index("interval")
    assert list(row.index) == ["two-way cluster", "two-level bootstrap", "crossed bootstrap", "binomial"]
    assert row["rate_percent"].unique().tolist() == pytest.approx([100 * found.result.methods[1].rate.value])
    # Images count in the first and third; the crossed bootstrap counts the noise of answers three times.
    assert row.loc["crossed bootstrap", "standard_error"] > row.loc["two-way cluster", "standard_error"]
    data = json.loads((written / "analysis" / "analysis.json").read_text())
    assert data["kept"]["responses"] == found.result.responses
    assert sum(rule["trials"] for rule in data["exclusions"]) == len(found.applied.kept) - found.applied.kept.sum()
    images = pandas.read_csv(written / "analysis" / "images.csv")
    assert images["shown"].sum() == found.result.responses
    text = (written / "analysis" / "methods.txt").read_text()
    assert "24 participants took part in the laboratory" in text and "Holm's method" in text


def test_the_command_prints_rates_and_writes_beside_the_study(
    colorbench: RunCommand, tmp_path: Path, design: Design, responses: pandas.DataFrame
) -> None:
    study = write_study(tmp_path / "study", design, responses)
    done = colorbench("study", "analyze", study, "--resamples", "200", "--json", "--figures", tmp_path / "paper")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    rate = data["kept"]["methods"][0]["fooling_rate"]
    assert f"{rate['percent']:.2f} % [{rate['low']:.2f}, {rate['high']:.2f}]" in done.stderr
    assert (study / "analysis" / "analysis.html").is_file()
    assert len(list((tmp_path / "paper").glob("*-rates.*"))) == 2
    assert len(list((study / "analysis" / "records").rglob("record.json"))) == 4
    missing = colorbench("study", "analyze", tmp_path)
    assert missing.returncode == 2 and "not a study folder" in missing.stderr and "Traceback" not in missing.stderr
