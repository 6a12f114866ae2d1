"""The study's server: places and leases, answers that stay, and what the admin sees."""

from __future__ import annotations

import io
import ipaddress
import json
import stat
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from colorbench.errors import UserError
from protocols.human_study.cli import app
from protocols.human_study.server.rate_limit import Limiter, Rate, Rates
from protocols.human_study.server.response_store import Refusal, Store
from protocols.human_study.server.secrets_and_tokens import load_secrets
from protocols.human_study.server.serve import greeting
from protocols.human_study.study_folder.design_schema import PARTICIPANTS, RESPONSES, read_design
from protocols.human_study.study_folder.response_export import export
from tests.support.study import ADMIN, GENEROUS, PRACTICE, TRIALS, Participant, body_of, build_small, copy_of, routes
from tests.support.study import slot_of as slot

ALL = PRACTICE + TRIALS
BEARER = {"Authorization": f"Bearer {ADMIN}"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return build_small(tmp_path_factory.mktemp("built") / "study", patch)


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    return copy_of(built, tmp_path / "study")


def test_the_engine_colorized_the_very_images_of_the_design(built: Path):
    import numpy as np
    from PIL import Image
    from skimage.color import rgb2lab

    design = read_design(built)
    files = {(one.image, one.method): built / "stimuli" / one.file for one in design.stimuli}
    tests = [one.id for one in design.images if not one.practice]
    assert len(tests) == TRIALS and len(design.images) == ALL
    for id in tests:
        real = rgb2lab(np.asarray(Image.open(files[id, None])) / 255)
        gray = rgb2lab(np.asarray(Image.open(files[id, "zoo/gray"])) / 255)
        assert real.shape == (256, 256, 3)
        assert np.abs(gray[..., 1:]).max() < 1  # 8 bits: one channel may be off by one
        assert np.abs(gray[..., 0] - real[..., 0]).max() < 0.5  # the same lightness, up to 8 bits
        assert np.abs(real[..., 1:]).mean() > 1
    assert not (built / ".building").exists()
    with pytest.raises(UserError, match="already contains a study"), pytest.MonkeyPatch.context() as patch:
        build_small(built, patch)


def test_a_session_from_consent_to_the_tables(study: Path):
    with routes(study) as client:
        participant = Participant(client, worker="L01")
        assert participant.begin().json()["stage"] == "new"
        assert client.study.store.rows("participants") == []  # nothing is written before consent
        participant.join()
        trials = slot(client.study, participant.id).trials
        for index, trial in enumerate(trials):
            assert participant.post("started", {"trial": index}).status_code == 200
            reply = participant.response(index, response="second").json()
            expected = {"kept": True, "correct": trial.fake == "second"} if trial.kind == "practice" else {"kept": True}
            assert reply == expected
        code = participant.post("finish", {"submit_to": ""}).json()["code"]
        assert participant.post("finish", {"submit_to": ""}).json()["code"] == code and len(code) == 10
        assert participant.begin().json()["stage"] == "complete"
        responses = pandas.read_parquet(io.BytesIO(client.get("/admin/responses.parquet", headers=BEARER).content))
        participants = pandas.read_csv(io.BytesIO(client.get("/admin/participants.csv", headers=BEARER).content))
    assert list(responses.columns) == list(RESPONSES) and list(participants.columns) == list(PARTICIPANTS)
    assert responses["image"].tolist() == [trial.image for trial in trials]
    assert responses["correct"].tolist() == [trial.fake == "second" for trial in trials]
    assert (responses["fooled"] == ~responses["correct"]).all() and (responses["presentations"] == 1).all()
    row = participants.iloc[0]
    design = read_design(study)
    assert (row["status"], row["answered"], row["sentinels"]) == ("complete", ALL, 1)
    assert row["plates_correct"] == sum(a == b for a, b in zip(["2", "none"], design.plates, strict=True))
    written = export(study)
    assert {path.name for path in written} >= {"responses.csv", "responses.parquet", "codebook.md"}
    assert len(pandas.read_csv(study / "exports" / "responses.csv")) == ALL
    message = (study / "exports" / "codebook.md").read_text()
    assert all(f"`{name}`" in message for name in (*RESPONSES, *PARTICIPANTS))


def test_analyze_takes_the_responses_as_of_now_and_says_who_is_left_out(study: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "120")

    def analyze() -> str:
        done = CliRunner().invoke(app, ["analyze", str(study), "--output", str(study / "records")])
        assert done.exit_code == 0, done.output
        return done.output

    with routes(study) as client:
        first = Participant(client, worker="L01").join().play()
        first.post("finish", {"submit_to": ""})
        told = analyze()
        assert f" of {TRIALS} responses" in told and "did not finish" not in told
        Participant(client, worker="L02").join().play()
        told = analyze()
    assert f" of {2 * TRIALS} responses" in told
    assert f"did not finish the session: 1 participant, {TRIALS} responses" in told


def test_an_response_may_arrive_twice_and_counts_once(study: Path):
    with routes(study) as client:
        participant = Participant(client).join()
        assert participant.response(0).json() == participant.response(0).json()
        assert participant.response(0, response="second").status_code == 409  # another answer to the same trial
        assert participant.response(2).status_code == 409  # not the next one
        assert participant.response(1).status_code == 200
        assert participant.response(0).status_code == 200  # a late repetition
        assert len(client.study.store.rows("responses")) == 2
        assert participant.post("finish", {"submit_to": ""}).status_code == 409


def test_a_reload_goes_on_where_the_responses_end_and_is_counted(study: Path):
    with routes(study) as client:
        participant = Participant(client).join().play(3)
        participant.post("started", {"trial": 3})
        assert participant.begin().json()["next"] == 3
        participant.post("started", {"trial": 3})
        participant.response(3)
        row = client.study.store.rows("participants")[0]
        responses = {response["trial"]: response["presentations"] for response in client.study.store.rows("responses")}
    assert row["loads"] == 2 and responses[3] == 2 and responses[2] == 1


def test_a_position_left_alone_goes_to_another_and_comes_back_only_if_free(study: Path):
    now = [1000.0]
    design = read_design(study)
    data = study / "data"
    data.mkdir()
    store = Store(data, design, load_secrets(data), lease_seconds=60, clock=lambda: now[0])
    first = store.consent("lab", "a", "s", {})
    others = [store.consent("lab", f"b{i}", "s", {}) for i in range(len(design.slots) - 1)]
    with pytest.raises(Refusal, match="All places"):
        store.consent("lab", "late", "s", {})
    now[0] += 50
    for other in others:
        store.open(other)
    now[0] += 50  # only the first is away for too long
    late = store.consent("lab", "late", "s", {})
    assert store.open(late).slot == next(s for s in design.slots if s.id == "s001")
    with pytest.raises(Refusal) as refusal:
        store.open(first)
    assert refusal.value.status == 410
    assert store.delete(late)
    assert store.open(first).slot.id == "s001"
    store.close()


def test_a_consent_that_arrives_twice_is_one_and_a_worker_takes_part_once(study: Path):
    with routes(study) as client:
        participant = Participant(client, "P1", "secret session", "prolific")
        token = participant.consent().json()["token"]
        assert participant.consent().json()["token"] == token
        again = Participant(client, "P1", "secret session", "prolific")  # another browser, the platform's own session
        assert again.begin().json()["token"] == token
        stranger = Participant(client, "P1", "guessed", "prolific")
        elsewhere = "Please continue in the browser in which you started, or write to the researchers."
        for refusal in (stranger.begin(), stranger.consent()):
            assert refusal.status_code == 409 and elsewhere in refusal.json()["detail"]
        lab = Participant(client, "L7", "s", "lab").join()
        assert (
            Participant(client, "L7", "s", "lab").begin().status_code == 409
        )  # an id of the laboratory proves nothing
        assert lab.begin().status_code == 200
        lab.play().post("finish", {"submit_to": ""})
        finished = Participant(client, "L7", "s", "lab").begin()
        assert finished.status_code == 409 and finished.json()["detail"] == "You have already finished. Thank you."
        assert len(client.study.store.rows("participants")) == 2


def test_a_full_study_says_so_before_the_consent_text(study: Path):
    with routes(study) as client:
        members = [Participant(client, f"L{number}").join() for number in range(6)]
        for platform, told in {
            "lab": "interest.",
            "prolific": "your submission on Prolific.",
            "mturk": "the HIT.",
        }.items():
            late = Participant(client, "late", "s", platform)
            for refusal in (late.begin(), late.consent()):
                assert refusal.status_code == 409
                assert refusal.json()["detail"].startswith("All places") and refusal.json()["detail"].endswith(told)
        assert members[0].begin().status_code == 200
        now = client.study.store.clock()
        client.study.store.clock = lambda: now + 1801
        late = Participant(client, "late", "s", "prolific")
        assert late.begin().status_code == 200 and late.consent().status_code == 200


def test_platforms_get_their_way_back(study: Path):
    codes = {"prolific_code": "C0DE", "prolific_declined_code": "N0PE"}
    with routes(study, **codes) as client:
        participant = Participant(client, "P1", "s", "prolific").join().play()
        response = participant.post("finish", {"submit_to": "https://www.mturk.com"}).json()
        assert (
            response["redirect"] == "https://app.prolific.com/submissions/complete?cc=C0DE"
            and response["submit"] is None
        )
        declined = client.post("/api/decline", json={"platform": "prolific"}).json()["redirect"]
        assert declined == "https://app.prolific.com/submissions/complete?cc=N0PE"
        assert client.post("/api/decline", json={"platform": "lab"}).json()["redirect"] is None
        turk = Participant(client, "A1", "assignment", "mturk").join().play()
        for position, wanted in {
            "https://www.mturk.com": "https://www.mturk.com/mturk/externalSubmit",
            "https://workersandbox.mturk.com/": "https://workersandbox.mturk.com/mturk/externalSubmit",
            "https://www.mturk.com.evil.example": None,
            "javascript:alert(1)": None,
            "http://www.mturk.com": None,
        }.items():
            assert turk.post("finish", {"submit_to": position}).json()["submit"] == wanted


def test_withdrawing_deletes_everything_and_frees_the_position(study: Path):
    with routes(study) as client:
        participant = Participant(client, "L1").join().play(2)
        export(study)
        assert participant.post("withdraw").status_code == 200
        assert client.study.store.rows("participants") == [] and client.study.store.rows("responses") == []
        assert pandas.read_csv(study / "exports" / "responses.csv").empty
        assert participant.response(2).status_code == 401
        found = b"".join(path.read_bytes() for path in (study / "data").glob("study.sqlite*"))
        assert participant.id.encode() not in found
        assert Participant(client).join().begin().json()["next"] == 0


def test_no_worker_and_no_address_is_kept(study: Path):
    with routes(study) as client:
        Participant(client, "WORKER-ID-12345", "SESSION-98765", "prolific").join().play(1)
        data = b"".join(path.read_bytes() for path in (study / "data").iterdir())
    for word in (b"WORKER-ID-12345", b"SESSION-98765", b"testclient", b"127.0.0.1"):
        assert word not in data
    assert stat.S_IMODE((study / "data" / "secrets.json").stat().st_mode) == 0o600 or sys.platform == "win32"


def test_the_admins_page_shows_progress_and_deletes(study: Path):
    with routes(study) as client:
        participant = Participant(client, "L1").join().play()
        participant.post("finish", {"submit_to": ""})
        assert client.get("/admin").status_code == 401
        assert client.post("/admin/login", data={"token": "wrong"}).status_code == 401
        reply = client.post("/admin/login", data={"token": ADMIN})
        cookie = reply.headers["set-cookie"].lower()
        assert reply.status_code == 303 and all(word in cookie for word in ("httponly", "samesite=strict"))
        page = client.get("/admin").text
        assert "1 of 6" in page and participant.id in page
        code, waiting = client.study.secrets.completion_code(participant.id), Participant(client, "L2").join()
        assert code in page
        codes = client.get("/admin/completion-codes.csv").text.splitlines()
        assert codes == ["participant,platform,completion_code", f"{participant.id},lab,{code}"]
        assert client.study.secrets.completion_code(waiting.id) not in client.get("/admin").text
        export(study)  # the tables are published; platforms know whose code it is
        assert all(code.encode() not in path.read_bytes() for path in (study / "exports").glob("*.*"))
        waiting.post("withdraw")
        stranger = client.post("/admin/delete", data={"participant": participant.id, "form": "x"})
        assert stranger.status_code == 403 and len(client.study.store.rows("participants")) == 1
        form = client.study.secrets.form_token()
        assert client.post("/admin/delete", data={"participant": participant.id, "form": form}).status_code == 303
        assert client.post("/admin/delete", data={"participant": participant.id, "form": form}).status_code == 404
        assert client.study.store.rows("responses") == []


@pytest.mark.parametrize(
    ("host", "public", "address", "reach"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:8642/", "this machine only"),
        ("localhost", None, "http://localhost:8642/", "this machine only"),
        ("::1", None, "http://[::1]:8642/", "this machine only"),
        ("192.0.2.7", None, "http://192.0.2.7:8642/", "the network, without https"),
        ("lab.example.org", None, "http://lab.example.org:8642/", "the network, without https"),
        ("0.0.0.0", None, None, "the network, without https"),
        ("::", None, None, "the network, without https"),
        ("0.0.0.0", "https://study.example.org/", "https://study.example.org/", None),
    ],
)
def test_the_greeting_says_who_can_reach_the_study(study: Path, host, public, address, reach):
    with routes(study, public_url=public) as client:
        lines = greeting(client.study, host, 8642)
    told = lines[0].removeprefix("participants: ")
    if address is not None:
        assert told == address
    else:  # of this machine: not the one that stands for all
        assert not ipaddress.ip_address(urlsplit(told).hostname).is_unspecified and told.endswith(":8642/")
    assert lines[1].startswith(f"admin:        {told}admin ")
    reaches = [line for line in lines if line.startswith("reachable from")]
    assert len(reaches) == (reach is not None) and all(f"from {reach}" in line for line in reaches)


def test_texts_are_what_the_researcher_wrote_and_carry_no_script(study: Path):
    (study / "texts" / "consent.md").write_text("# Hello *you*\n\n<script>alert(1)</script> [x](javascript:alert(1))\n")
    with routes(study) as client:
        text = Participant(client).begin().json()["texts"]["consent"]
    assert "<h1>Hello <em>you</em></h1>" in text and "<script" not in text and 'href="javascript' not in text


def test_who_asks_too_often_waits(study: Path):
    rates = Rates(arrivals=Rate(3, 0.5), requests=Rate(1e6, 1e6), stimuli=Rate(4, 0.1), logins=Rate(2, 0.1))
    with routes(study, rates=rates) as client:
        participant = Participant(client).join()
        assert [participant.begin().status_code for _ in range(3)] == [200, 200, 429]
        reply = participant.begin()
        assert reply.status_code == 429 and int(reply.headers["retry-after"]) >= 1
        assert [participant.stimulus(0, 1).status_code for _ in range(5)][3:] == [200, 429]
        wrong = [client.get("/admin/responses.csv", headers={"Authorization": "Bearer x"}).status_code for _ in "123"]
        assert wrong == [401, 401, 429]


def test_the_limiter_forgets_nothing_that_counts_and_stays_small():
    now = [0.0]
    limiter = Limiter(lambda: now[0])
    rate = Rate(2, 0.5)
    assert [limiter.wait("a", "x", rate) for _ in range(3)] == [0, 0, 2.0]
    now[0] = 2.0
    assert limiter.wait("a", "x", rate) == 0 and limiter.wait("a", "y", rate) == 0
    for i in range(30_000):
        limiter.wait("a", str(i), rate)
    assert len(limiter._buckets) <= 20_000


def test_a_damaged_study_is_one_line(study: Path):
    from protocols.human_study.server.served_study import Options, open_study

    with pytest.raises(UserError, match="not a study folder"):
        open_study(study / "nowhere", Options())
    next((study / "stimuli").iterdir()).unlink()
    with pytest.raises(UserError, match="image of the study is missing"):
        open_study(study, Options())


@pytest.fixture(scope="module")
def client(built: Path, tmp_path_factory: pytest.TempPathFactory):
    with routes(copy_of(built, tmp_path_factory.mktemp("fuzz") / "study"), rates=GENEROUS) as client:
        yield client, Participant(client).join()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
POSTS = ("begin", "consent", "decline", "screening", "started", "responses", "finish", "preview")
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(
    name=st.sampled_from(POSTS), body=st.binary(max_size=200), kind=st.sampled_from(("application/json", "text/html"))
)
def test_any_bytes_get_a_status_and_never_an_error(client, name, body, kind):
    http, participant = client
    before = len(http.study.store.rows("responses")), len(http.study.store.rows("participants"))
    reply = http.post(f"/api/{name}", content=body, headers={**participant.headers(), "Content-Type": kind})
    assert reply.status_code in ((415,) if kind == "text/html" else (200, 400, 409))
    assert before == (len(http.study.store.rows("responses")), len(http.study.store.rows("participants")))


@QUICK
@given(name=st.sampled_from(POSTS), body=JSON)
def test_any_json_gets_a_status_and_never_an_error(client, name, body):
    http, participant = client
    text = json.dumps(body)
    reply = http.post(
        f"/api/{name}", content=text, headers={**participant.headers(), "Content-Type": "application/json"}
    )
    assert reply.status_code in (200, 400, 409), reply.text
    if name == "responses":
        assert reply.status_code == 400  # nothing random is an answer


@QUICK
@given(
    field=st.sampled_from(sorted(set(body_of(0)) - {"trial"})),
    value=st.none() | st.text(max_size=5) | st.integers() | st.floats() | st.lists(st.integers(), max_size=2),
)
def test_an_response_with_one_wrong_field_is_refused(client, field, value):
    http, participant = client
    body = body_of(10_000)  # a trial that does not exist, so that nothing good is kept either
    body[field] = value
    text = json.dumps(body)
    reply = http.post(
        "/api/responses", content=text, headers={**participant.headers(), "Content-Type": "application/json"}
    )
    assert reply.status_code in (400, 409)
    assert http.study.store.rows("responses") == []
