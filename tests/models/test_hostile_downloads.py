"""Servers and addresses that are not what they should be: one line each, and nothing of them is left on the disk."""

from __future__ import annotations

import hashlib
import http.client
import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorbench.errors import ColorbenchError, RunError, UserError
from colorbench.models import weights_download
from colorbench.models.weights_download import fetch, resolve_weights
from colorbench.storage import cache_folder

BODY = b"weights" * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 7000\r\n\r\n"


class Canned(socketserver.BaseRequestHandler):
    """A server that sends the same bytes to every request for a path."""

    replies: dict[str, bytes] = {}

    def handle(self) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (block := self.request.recv(65536)):
            request += block
        path = request.split(b" ")[1].decode() if request.count(b" ") > 1 else "/"
        self.request.sendall(self.replies.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Host and port of the server, which answers to https as well, without encryption."""

    def unencrypted(self: urllib.request.HTTPSHandler, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(http.client.HTTPConnection, request)

    monkeypatch.setattr(urllib.request.HTTPSHandler, "https_open", unencrypted)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Canned, "replies", {"/net.pth": OK + BODY})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Canned) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def one_line(error: ColorbenchError) -> str:
    text = str(error)
    assert text.isprintable() and len(text) < 900
    return text


def downloaded() -> list[Path]:
    return [path for path in cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock"]


REPLIES = {
    "chunked body that is cut off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nshort",
    "chunk of no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nshort\r\n0\r\n\r\n",
    "body that is cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
    "length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nshort",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nshort",
    "length of other digits": "HTTP/1.1 200 OK\r\nContent-Length: ٣\r\n\r\nshort".encode(),
    "length of 400 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\nshort",
    "no status line": b"weights, and no header\r\n\r\n",
    "no answer": b"",
    "status that is no number": b"HTTP/1.1 fine OK\r\n\r\n",
    "status in other digits": b"HTTP/1.1 99999 OK\r\n\r\n",
    "endless header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
    "reason with control characters": b"HTTP/1.1 500 \x1b[31mred\x07\r\nContent-Length: 0\r\n\r\n",
    "redirect without an address": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    "redirect to itself": b"HTTP/1.1 302 Found\r\nLocation: /evil.pth\r\nContent-Length: 0\r\n\r\n",
    "redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "redirect to ftp": b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n",
    "redirect to no address": b"HTTP/1.1 302 Found\r\nLocation: https://[::1/x\r\nContent-Length: 0\r\n\r\n",
    "redirect to another port": b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:x/y\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("kind", REPLIES)
def test_a_server_that_breaks_the_rules_is_one_line(host: str, kind: str) -> None:
    Canned.replies["/evil.pth"] = REPLIES[kind]
    with pytest.raises(RunError, match="the download") as caught:
        resolve_weights(f"https://{host}/evil.pth")
    one_line(caught.value)
    assert downloaded() == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_from_https_to_http_is_refused(host: str, status: int) -> None:
    move = f"HTTP/1.1 {status} Moved\r\nLocation: %s://{host}/net.pth\r\nContent-Length: 0\r\n\r\n"
    Canned.replies |= {"/plain.pth": (move % "http").encode(), "/safe.pth": (move % "https").encode()}
    Canned.replies["/twice.pth"] = move.replace("/net.pth", "/plain.pth").encode() % b"https"
    for name in ("plain.pth", "twice.pth"):
        with pytest.raises(RunError, match="redirects to an address without https"):
            resolve_weights(f"https://{host}/{name}", hashlib.sha256(BODY).hexdigest())
    assert downloaded() == []
    assert resolve_weights(f"https://{host}/safe.pth").read_bytes() == BODY


def test_a_download_has_a_largest_size(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_download, "LARGEST_WEIGHTS", 6999)
    with pytest.raises(RunError, match="the file has more than"):
        fetch(f"https://{host}/net.pth", tmp_path / "net.pth")
    assert not (tmp_path / "net.pth").exists()


ADDRESSES = (
    "https://",
    "https:///net.pth",
    "https://host:port/net.pth",
    "https://host:99999/net.pth",
    "https://[::1/net.pth",
    "https://host/..",
    "https://host/../net.pth",
    "https://host/a/../../net.pth",
    "https://host/a b.pth",
    "https://host/a\nb.pth",
    "https://host/a\r\nHost: other/b.pth",
    "https://host/\x1b[31m.pth",
    "https://host/n\u00e9t.pth",
    "https://h\u00f6st/net.pth",
    "https://host/\ud800.pth",
    "http://host/net.pth",
    "file:///etc/passwd",
)
HUB_NAMES = (
    "hf:",
    "hf:owner",
    "hf:owner/repository",
    "hf:owner/repository/",
    "hf:../repository/net.pth",
    "hf:owner/../net.pth",
    "hf:owner/repository/../../../net.pth",
    "hf:owner/repository/folder/../net.pth",
    "hf:ow ner/repository/net.pth",
    "hf:owner/repo sitory/net.pth",
    "hf:owner/repository/net.pth@../main",
    "hf:owner/repository/net.pth@a b",
    "hf:owner/repository/net.pth@",
    "hf:owner/repository//net.pth",
    "hf:owner/repository/net\n.pth",
    "hf:-owner-/--/net.pth",
    f"hf:owner/{'x' * 100}/net.pth",
    f"hf:owner/repository/{'x' * 5000}",
)


@pytest.mark.parametrize("source", [*ADDRESSES, *HUB_NAMES], ids=lambda source: ascii(source)[:50])
def test_an_address_or_hub_name_that_is_none_is_refused_before_anything_is_sent(
    host: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLORBENCH_OFFLINE", "1")  # no name that should be refused may reach the network
    with pytest.raises(UserError) as caught:
        resolve_weights(source)
    one_line(caught.value)
    assert downloaded() == []


def test_an_address_keeps_the_name_of_its_file_and_nothing_else(host: str) -> None:
    Canned.replies |= {"/a%20b/.net.pth?download=1": OK + BODY, "/": OK + BODY}
    names = [resolve_weights(f"https://{host}/{path}").name for path in ("a%20b/.net.pth?download=1", "")]
    assert names == ["net.pth", "weights"]
