"""The board that follows a folder: served to this machine alone, and built again when a record arrives."""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colorbench.errors import UserError
from leaderboards.live_board import LiveBoard, server
from tests.support.browser import OpenedPage, page_faults

SHIPPED = Path(__file__).parents[2] / "leaderboards/reference/records/zoo"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """An empty folder of results and the port of its board."""
    results = tmp_path / "runs"
    results.mkdir()
    with server(LiveBoard([results], title="Mine & yours"), 0) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield results, listening.server_address[1]
        listening.shutdown()
        thread.join()


def asked(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def arrive(results: Path, model: str) -> None:
    shutil.copytree(SHIPPED / model / "auc", results / "zoo" / model / "auc")


def test_it_follows_the_folder(served: tuple[Path, int]) -> None:
    results, port = served
    status, empty = asked(port, "/")
    assert status == 200
    assert "No results yet" in empty
    assert "Mine &amp; yours" in empty
    _, before = asked(port, "/version")
    arrive(results, "gray")
    arrive(results, "cic.small")
    _, after = asked(port, "/version")
    assert after != before
    _, board = asked(port, "/")
    assert "zoo/cic.small" in board
    assert asked(port, "/version")[1] == after
    assert asked(port, "/")[1] == board


def test_it_answers_this_machine_alone(served: tuple[Path, int]) -> None:
    _, port = served
    assert asked(port, "/", "localhost:1")[0] == 200
    assert asked(port, "/", "attacker.example")[0] == 403
    assert asked(port, "/../../etc/passwd")[0] == 404
    with pytest.raises(UserError, match="port .* cannot be used"):
        server(LiveBoard([]), port)


def test_an_open_page_loads_again_when_a_record_arrives(served: tuple[Path, int], browser: Any) -> None:
    results, port = served
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    assert "No results yet" in page.inner_text("body")
    page.wait_for_timeout(4000)  # it has seen the version without results
    arrive(results, "gray")
    page.wait_for_selector("text=zoo/gray", timeout=60_000)
    # The board itself follows, too: its policy on scripts permits the one that asks.
    page.wait_for_timeout(4000)
    arrive(results, "cic.small")
    page.wait_for_selector("text=zoo/cic.small", timeout=60_000)


def test_what_is_no_folder_is_one_line(colorbench: Any, tmp_path: Path) -> None:
    done = colorbench("view", "nothing", "--no-browser", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: no such folder (nothing). Give the --output of `colorbench run`"]


def test_its_pages_are_accessible_with_and_without_results(served: tuple[Path, int], browser: Any) -> None:
    pytest.importorskip("axe_playwright_python.sync_playwright")
    results, port = served
    opened = OpenedPage(browser, f"http://127.0.0.1:{port}/", offline=False)
    opened.page.get_by_text("No results yet").wait_for()
    assert page_faults(opened.page) == []
    arrive(results, "gray")
    arrive(results, "cic.small")
    opened.page.get_by_text("zoo/cic.small").first.wait_for()
    opened.page.evaluate("document.querySelectorAll('details.card').forEach((card) => { card.open = true; })")
    assert page_faults(opened.page) == []
    assert opened.troubles == []
    opened.context.close()
