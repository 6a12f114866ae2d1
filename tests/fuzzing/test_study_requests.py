"""Random requests to the server of a study: each is answered, none with an error of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.study import CLIENT, Participant, body_of, build_small, copy_of, routes

SETTINGS = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
WHO = {"platform": "lab", "worker": "w", "session": "s"}
BODIES: dict[str, dict[str, Any]] = {
    "begin": {"who": WHO},
    "consent": {"who": WHO, "adult": True, "agreed": True, "client": CLIENT},
    "decline": {"platform": "lab"},
    "preview": {},
    "screening": {"color_vision": "normal", "plates": ["2", "none"]},
    "started": {"trial": 0},
    "responses": body_of(0),
    "finish": {"submit_to": ""},
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.text(st.characters(exclude_characters="\r\n"), max_size=40)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        built = build_small(folder / "built", patch)
    with routes(copy_of(built, folder / "served")) as client:
        yield client


@pytest.fixture(scope="module")
def headers(client: Any) -> dict[str, str]:
    return Participant(client, "somebody").join().headers()


def answered(reply: Any) -> None:
    assert reply.status_code < 500, reply.text
    assert reply.headers["x-content-type-options"] == "nosniff"


@SETTINGS
@given(name=st.sampled_from(sorted(BODIES)), data=st.data())
def test_bodies_of_other_values_are_answered(
    client: Any, headers: dict[str, str], name: str, data: st.DataObject
) -> None:
    body = json.loads(json.dumps(BODIES[name]))
    part = body["who"] if "who" in body and data.draw(st.booleans()) else body
    part[data.draw(st.sampled_from([*part, "more"]))] = data.draw(VALUES)
    content = json.dumps(body).encode()
    if not data.draw(st.integers(0, 3)):
        content = content[: data.draw(st.integers(0, len(content)))] + data.draw(st.binary(max_size=5))
    sent = {**headers, "Content-Type": "application/json"}
    answered(client.post(f"/api/{name}", content=content, headers=sent))


@SETTINGS
@given(
    path=st.sampled_from(["/", "/admin", "/admin/login", "/admin/delete", "/api/begin", "/api/stimuli/0/1"]),
    data=st.data(),
)
@example(path="/admin", data=None)
def test_other_methods_headers_and_forms_are_answered(client: Any, path: str, data: Any) -> None:
    if data is None:
        answered(client.get(path, headers={"Authorization": b"Bearer \xff\xfe", "Cookie": b"study-admin=\xff"}))
        return
    method = data.draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]))
    sent = {
        "Authorization": data.draw(st.sampled_from([b"", b"Bearer", b"Bearer ", b"Basic "]))
        + data.draw(TEXTS).encode(),
        "Cookie": b"study-admin=" + data.draw(TEXTS).encode(),
        "Content-Type": data.draw(st.sampled_from(["application/x-www-form-urlencoded", "application/json", "x"])),
        "Content-Length": str(len(content := data.draw(st.binary(max_size=100)))),
    }
    answered(client.request(method, path, content=content, headers=sent, params={"token": data.draw(TEXTS)}))


def test_what_is_deep_or_long_is_answered(client: Any, tmp_path: Path, headers: dict[str, str]) -> None:
    sent = {**headers, "Content-Type": "application/json"}
    for content in (b"[" * 16_000, b'{"a":' * 3000, b"9" * 16_000, b'{"trial": ' + b"9" * 5000 + b"}", b"\xff" * 100):
        for name in BODIES:
            reply = client.post(f"/api/{name}", content=content, headers=sent)
            answered(reply)
            assert reply.status_code == 400
    for path in (f"/api/stimuli/{'9' * 400}/1", f"/api/stimuli/0/{'9' * 5000}", f"/{'x' * 5000}"):
        answered(client.get(path, headers=headers))
