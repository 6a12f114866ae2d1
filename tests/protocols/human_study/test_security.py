"""What a participant, or anybody else, can learn or do with requests: nothing that the image itself does not tell."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from protocols.human_study.server.secrets_and_tokens import Secrets
from protocols.human_study.study_folder.design_schema import read_design
from tests.support.study import ADMIN, CLIENT, PRACTICE, TRIALS, Participant, body_of, build_small, copy_of, routes
from tests.support.study import slot_of as slot

ALL = PRACTICE + TRIALS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return build_small(tmp_path_factory.mktemp("built") / "study", patch)


@pytest.fixture(scope="module")
def client(built: Path, tmp_path_factory: pytest.TempPathFactory):
    with routes(copy_of(built, tmp_path_factory.mktemp("security") / "study")) as client:
        yield client


@pytest.fixture(scope="module")
def participants(client) -> list[Participant]:
    """All places of the study, taken."""
    return [Participant(client, f"worker {i}").join() for i in range(len(client.study.design.slots))]


def test_no_page_and_no_response_names_a_method_or_a_side(client, participants):
    design, study = client.study.design, client.study
    secret = [method.name for method in design.methods] + [stimulus.file for stimulus in design.stimuli]
    secret += [image.id for image in design.images] + [slot.id for slot in design.slots]
    secret += [image.sha256 for image in design.images] + ["sentinel", '"fake"', "zoo/"]
    texts = {name: client.get(f"/{name}").text for name in ("", "study.js", "pair.js", "screen.js", "server.js")}
    participant = participants[0]
    texts["begin"] = participant.begin().text
    for index in range(ALL):
        texts[f"started {index}"] = participant.post("started", {"trial": index}).text
        texts[f"answer {index}"] = participant.response(index).text
        trial = slot(study, participant.id).trials[index]
        told = json.loads(texts[f"answer {index}"])
        assert ("correct" in told) == (trial.kind == "practice")
    texts["finish"] = participant.post("finish", {"submit_to": ""}).text
    for name, text in texts.items():
        assert [word for word in secret if word in text] == [], name
    assert {texts[f"answer {i}"] for i in range(PRACTICE, ALL)} == {'{"kept":true}'}


def test_stimuli_of_a_pair_differ_in_nothing_but_their_pixels(client, participants):
    real, fake = [], []
    for participant in participants[1:]:
        for index, trial in enumerate(slot(client.study, participant.id).trials):
            replies = [participant.stimulus(index, position) for position in (1, 2)]
            assert [reply.status_code for reply in replies] == [200, 200]
            assert replies[0].headers == replies[1].headers  # names, order, sizes, no times, no tags
            assert not {"etag", "last-modified", "content-disposition"} & set(replies[0].headers)
            assert len(replies[0].content) == len(replies[1].content)
            for reply in replies:
                with Image.open(io.BytesIO(reply.content)) as image:
                    assert (image.size, image.mode, image.info) == ((256, 256), "RGB", {})
            contents = [reply.content for reply in replies]
            pair = contents if trial.fake == "second" else contents[::-1]
            real.append(pair[0])
            fake.append(pair[1])
            if trial.method == "zoo/gray":
                colors = [np.ptp(np.asarray(Image.open(io.BytesIO(data))).astype(int), axis=2).mean() for data in pair]
                assert colors[0] > 5 * colors[1]  # the right one is the real one: the test looks at the truth
    sizes = [{len(data) for data in side} for side in (real, fake)]
    assert sizes[0] == sizes[1]


def test_neither_order_nor_numbers_tell_the_fake(client):
    """No rule of a trial's number, of the trial before or of a participant's number does better than the design's
    chance on all places together."""
    design = client.study.design
    rated = [[t for t in slot.trials if t.kind != "practice"] for slot in design.slots]
    for index in range(TRIALS):
        positions = {trials[index].fake for trials in rated}
        assert positions == {"first", "second"}, "a trial's number alone must not tell"
    alternating = [a.fake != b.fake for trials in rated for a, b in zip(trials, trials[1:], strict=False)]
    assert 0.2 < np.mean(alternating) < 0.95
    images = {t.image for trials in rated for t in trials}
    for image in images:
        positions = [t.fake for trials in rated for t in trials if t.image == image]
        assert len(set(positions)) == 2, "the same image has its fake at both places over participants"


def test_names_of_files_follow_no_order(built: Path):
    design = read_design(built)
    assert all(re.fullmatch(r"[0-9a-f]{16}\.png", stimulus.file) for stimulus in design.stimuli)
    ordered = sorted(design.stimuli, key=lambda stimulus: stimulus.file)
    reals = [stimulus.method is None for stimulus in ordered]
    assert any(reals[: len(reals) // 2]) and any(reals[len(reals) // 2 :])


TRAVERSALS = (
    "/design.json", "/../design.json", "/..%2fdesign.json", "/%2e%2e/design.json", "/form/../design.json", "/key.csv",
    "/codebook.md", "/data/study.sqlite", "/data/secrets.json", "/..%5cdesign.json", "//etc/passwd", "/%00",
    "/stimuli/", "/stimuli/1.png", "/texts/consent.md", "/api/stimuli/0/..%2f..%2fdesign.json",
    "/exports/responses.csv",
    "/static/../../design.json", "/admin/..%2fdesign.json", "/admin/design.json", "/index.html%00.png",
    "/....//design.json",
)  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_the_fixed_tables(client, path):
    reply = client.get(path)
    assert reply.status_code in (401, 404)
    assert b"slots" not in reply.content and b"fake" not in reply.content


def test_every_response_has_the_same_strict_headers(client, participants):
    for reply in (
        client.get("/"),
        client.get("/nothing"),
        participants[1].begin(),
        client.get("/admin"),
        client.put("/"),
    ):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert "form-action 'self' https://www.mturk.com https://workersandbox.mturk.com" in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers and "set-cookie" not in reply.headers


def test_stimuli_need_the_token_and_an_open_trial(client, participants):
    participant, other = participants[1], participants[2]
    assert Participant(client).stimulus(0, 1).status_code == 401
    for trial, position in ((ALL, 1), (0, 0), (0, 3), (99999, 1)):
        assert participant.stimulus(trial, position).status_code == 404
    participant.response(0)
    assert participant.stimulus(0, 1).status_code == 404  # what is answered is not shown again
    assert other.stimulus(0, 1).status_code == 200


def test_nobody_responses_for_another(client, participants):
    study, victim, thief = client.study, participants[3], participants[4]
    forged = thief.token.replace(thief.id, victim.id)
    for token in (
        forged,
        victim.id,
        f"{victim.id}.",
        f"{victim.id}.x",
        "",
        "x" * 5000,
        f".{thief.token.partition('.')[2]}",
    ):
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post("/api/responses", json=body_of(0), headers=headers).status_code == 401
        assert client.post("/api/withdraw", json={}, headers=headers).status_code == 401
        assert client.get("/api/stimuli/0/1", headers=headers).status_code == 401
    naming = client.post("/api/responses", json={**body_of(0), "participant": victim.id}, headers=thief.headers())
    assert naming.status_code == 400  # the body has no say in who answers
    assert [row for row in study.store.rows("responses") if row["participant"] in (victim.id, thief.id)] == []
    assert victim.token != thief.token and study.secrets.participant_of(victim.token) == victim.id


def test_a_token_with_any_sign_changed_is_nobodys_and_serves_one_purpose_only() -> None:
    ours, theirs = (Secrets(b"salt", key, "admin token") for key in (b"one key", b"another"))
    token = ours.token("d793546b3b40")
    assert ours.participant_of(token) == "d793546b3b40" and theirs.participant_of(token) is None
    changed = [
        token[:i] + sign + token[i + 1 :] for i in range(len(token)) for sign in "Aa.-\u00e9\0" if sign != token[i]
    ]
    for other in (*changed, "", ".", f"{token}.", ours.token(""), f"d793546b3b40.{ours.admin_cookie()}"):
        assert ours.participant_of(other) is None, other
    cookie, form = ours.admin_cookie(), ours.form_token()
    assert ours.is_admin_cookie(cookie) and ours.is_form_token(form)
    assert not ours.is_admin_cookie(form) and not ours.is_form_token(cookie) and not theirs.is_admin_cookie(cookie)
    assert not Secrets(b"salt", b"one key", "a new admin token").is_admin_cookie(cookie)


def test_the_practices_truth_comes_only_after_its_response(client, participants):
    participant = participants[5]
    trial = slot(client.study, participant.id).trials[0]
    wrong = "second" if trial.fake == "first" else "first"
    assert participant.response(0, response=wrong).json()["correct"] is False
    assert participant.response(0, response=trial.fake).status_code == 409  # knowing it now changes nothing
    assert participant.response(0, response=wrong).json()["correct"] is False


def test_the_admins_pages_are_shut(client, participants):
    for name in ("responses.csv", "responses.parquet", "participants.csv", "participants.parquet", "codebook.md"):
        for headers in ({}, {"Authorization": "Bearer x"}, participants[1].headers(), {"Cookie": "study-admin=x"}):
            reply = client.get(f"/admin/{name}", headers=headers)
            assert reply.status_code == 401 and b"participant," not in reply.content
    assert client.get(f"/admin?token={ADMIN}").status_code == 401  # a token in an address would end up in logs
    assert client.post("/admin/delete", data={"participant": participants[1].id}).status_code == 401


def test_the_disk_does_not_fill(client, built: Path, tmp_path: Path):
    huge = b'{"trial": 0, "answer": "' + b"x" * 100_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    for name in ("begin", "consent", "responses"):
        reply = client.post(f"/api/{name}", content=huge, headers={**headers, "Authorization": "Bearer x"})
        assert reply.status_code in (401, 413)

    def endless():
        for _ in range(100):
            yield b" " * 1024

    assert client.post("/api/begin", content=endless(), headers=headers).status_code == 413  # no length declared
    folder = copy_of(built, tmp_path / "study")
    with routes(folder) as fresh:
        for i in range(40):  # arrivals write nothing; consents are as many as there are places
            Participant(fresh, f"w{i}").begin()
        statuses = [Participant(fresh, f"w{i}").consent().status_code for i in range(40)]
        assert statuses.count(200) == 6 and set(statuses) == {200, 409}
        participant = Participant(fresh, "w0")
        participant.consent()
        long = {"who": participant.who, "adult": True, "agreed": True, "client": {**CLIENT, "note": "x" * 100}}
        assert participant.post("consent", long).status_code == 400
        participant.who = {**participant.who, "worker": "w" * 201}
        assert participant.begin().status_code == 400
        assert len(fresh.study.store.rows("participants")) == 6
    assert not list(folder.glob("exports/*"))


def test_without_age_or_consent_nothing_begins(client):
    for changes in ({"adult": False}, {"agreed": False}, {"agreed": "yes"}):
        body = {
            "who": {"platform": "lab", "worker": "", "session": "s"},
            "adult": True,
            "agreed": True,
            "client": CLIENT,
        }
        assert client.post("/api/consent", json={**body, **changes}).status_code == 400
    assert client.get("/api/begin").status_code == 405
