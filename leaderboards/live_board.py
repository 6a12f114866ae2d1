"""The board of everything in some folders, in a browser on this machine, built again as results arrive."""

from __future__ import annotations

import hashlib
import html
import tempfile
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from colorbench.errors import UserError
from leaderboards.board_files import build_files

PERIOD = 3000
"""Milliseconds between two looks of the page for new results."""
SCRIPT = f"""<script>
(() => {{
  let shown = null;
  setInterval(async () => {{
    const answer = await fetch("version").catch(() => null);
    if (!answer || !answer.ok) return;
    const version = await answer.text();
    if (shown !== null && version !== shown) location.reload();
    shown = version;
  }}, {PERIOD});
}})();
</script>"""


class LiveBoard:
    """A board that is built when it is asked for and something has changed."""

    def __init__(self, folders: Sequence[Path], *, title: str = "Colorization leaderboard") -> None:
        self.folders, self.title = list(folders), title
        self._lock = threading.Lock()
        self._built: tuple[str, bytes] | None = None

    def version(self) -> str:
        """Return a text that changes when a record is written, replaced or removed."""
        known = hashlib.sha256()
        for path in sorted(self._records()):
            try:
                status = path.stat()
            except OSError:
                continue  # removed since it was listed
            known.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode(errors="surrogateescape"))
        return known.hexdigest()[:16]

    def page(self) -> bytes:
        """Return the page; where there is nothing to show yet, one that says so."""
        with self._lock:
            version = self.version()
            if self._built is None or self._built[0] != version:
                self._built = (version, self._build())
            return self._built[1]

    def _records(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from folder.rglob("record.json")

    def _build(self) -> bytes:
        with tempfile.TemporaryDirectory() as scratch:
            output = Path(scratch) / "board.html"
            try:
                # One's own images on one's own machine: nothing is passed on.
                build_files(self.folders, output, title=self.title, embed_images=True)
            except UserError as error:
                text = f"<h1>{html.escape(self.title)}</h1><p>No results yet: {html.escape(str(error))}</p>"
                return f'<!doctype html><html lang="en"><meta charset="utf-8">{text}{SCRIPT}</html>'.encode()
            page = output.read_text()
        before, end, after = page.rpartition("</body>")
        return f"{before}{SCRIPT}{end}{after}".encode()


def server(board: LiveBoard, port: int) -> ThreadingHTTPServer:
    """Return a server of the page on the loopback address; port 0 takes any that is free.

    Raises:
        UserError: where the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site's page could ask under a name of its own that leads here: only our own names are answered.
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            if host not in ("127.0.0.1", "localhost"):
                return self._send(403, b"this server is for its own machine", "text/plain")
            if self.path == "/version":
                return self._send(200, board.version().encode(), "text/plain")
            if self.path == "/":
                return self._send(200, board.page(), "text/html; charset=utf-8")
            return self._send(404, b"not found", "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: a line every few seconds tells nobody anything."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"port {port} cannot be used: {error.strerror}", hint="give another --port, or 0") from error
