"""The admin token cannot be guessed: every way of authenticating passes one limiter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocols.human_study.server.http_requests import address_of
from protocols.human_study.server.rate_limit import Limiter, Rate, Rates
from tests.support.study import ADMIN, build_small, copy_of, routes

ATTEMPTS = 3
RATES = Rates(Rate(1e6, 1e6), Rate(1e6, 1e6), Rate(1e6, 1e6), logins=Rate(ATTEMPTS, 0.1))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return build_small(tmp_path_factory.mktemp("built") / "study", patch)


@pytest.fixture
def client(built: Path, tmp_path: Path) -> Iterator[Any]:
    with routes(copy_of(built, tmp_path / "study"), rates=RATES) as client:
        client.now = 0.0
        client.study.limiter.__init__(lambda: client.now)
        yield client


def bearer(path: str) -> Callable[[Any, str], Any]:
    return lambda client, token: client.get(path, headers={"Authorization": f"Bearer {token}"})


def form(client: Any, token: str) -> Any:
    client.cookies.clear()
    return client.post("/admin/login", data={"token": token})


def cookie(client: Any, token: str) -> Any:
    right = client.study.secrets.admin_cookie()
    value = right if token == ADMIN else right[::-1]
    return client.get("/admin", headers={"Cookie": f"study-admin={value}"})


def query(client: Any, token: str) -> Any:
    return client.get(f"/admin?token={token}")


def deletion(client: Any, token: str) -> Any:
    return client.post("/admin/delete", data={}, headers={"Authorization": f"Bearer {token}"})


WAYS: dict[str, Callable[[Any, str], Any]] = {
    "form": form,
    "cookie": cookie,
    "query": query,
    "bearer on the page": bearer("/admin"),
    "bearer on a table": bearer("/admin/responses.csv"),
    "bearer on the codebook": bearer("/admin/codebook.md"),
    "bearer on a deletion": deletion,
}


@pytest.mark.parametrize("way", WAYS)
def test_wrong_tokens_close_every_way_to_right_and_wrong_ones_alike(client: Any, way: str) -> None:
    statuses = [WAYS[way](client, f"guess {i}").status_code for i in range(200)]
    assert 429 not in statuses[:ATTEMPTS] and set(statuses[ATTEMPTS:]) == {429}
    for other in WAYS.values():
        right, wrong = other(client, ADMIN), other(client, "x" * len(ADMIN))
        assert right.status_code == wrong.status_code == 429
        assert right.content == wrong.content and right.headers == wrong.headers
    assert client.get("/admin").status_code == 401  # without credentials there is nothing to guess
    client.now += 10.1
    assert bearer("/admin/responses.csv")(client, ADMIN).status_code == 200


def test_a_browser_gets_pages_that_lead_on_and_tell_nothing(client: Any) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, status in {
        "/admin/responses.csv": 401,
        "/admin/unknown": 404,
        "/admin/": 404,
        "/admin/delete": 404,
    }.items():
        page = client.get(path, headers=browser)
        assert page.status_code == status and 'href="../admin"' in page.text and 'href="../admin.css"' in page.text
    assert client.get("/admin/login", headers=browser).headers["location"] == "/admin"
    assert "json" in client.get("/admin/unknown").headers["content-type"]
    pages = [client.post("/admin/login", data={"token": f"guess {i}"}, headers=browser) for i in range(ATTEMPTS)]
    assert all('action="../admin/login"' in page.text and "Wrong token" in page.text for page in pages)
    client.now += 1.5
    right, wrong = (client.post("/admin/login", data={"token": token}, headers=browser) for token in (ADMIN, "x"))
    assert right.status_code == wrong.status_code == 429 and "Wait 9 seconds" in right.text
    assert right.content == wrong.content and right.headers == wrong.headers
    assert right.headers["retry-after"] == "9"


def test_ways_share_their_attempts(client: Any) -> None:
    ways = [form, cookie, query, bearer("/admin/participants.csv")]
    assert [way(client, "wrong").status_code for way in ways] == [401, 401, 401, 429]


def test_guesses_over_hours_are_as_many_as_the_rate_allows(client: Any) -> None:
    answered = 0
    for _ in range(1000):
        client.now += 1.0
        answered += bearer("/admin")(client, "wrong").status_code != 429
    assert answered <= ATTEMPTS + 100


def test_an_admin_who_works_uses_up_no_attempts(client: Any) -> None:
    for _ in range(5):
        assert bearer("/admin")(client, ADMIN).status_code == 200
        assert form(client, ADMIN).status_code == 303
        assert client.get("/admin").status_code == 200  # by the cookie
    assert client.get("/admin", headers={"Cookie": "study-admin=old"}).headers["set-cookie"].startswith("study-admin=")


def test_a_limiter_looks_without_taking() -> None:
    limiter = Limiter(lambda: 0.0)
    assert [limiter.wait("a", "x", Rate(1, 0.5), take=False) for _ in range(3)] == [0, 0, 0]
    assert limiter.wait("a", "x", Rate(1, 0.5)) == 0 and limiter.wait("a", "x", Rate(1, 0.5), take=False) == 2.0


@pytest.mark.parametrize(
    ("host", "known_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_one_client_has_one_address(host: str, known_as: str) -> None:
    assert address_of(SimpleNamespace(client=SimpleNamespace(host=host))) == known_as  # type: ignore[arg-type]
