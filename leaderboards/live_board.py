"""``colorbench view``: a local web server for the leaderboard of some folders, updated as results arrive."""

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
"""Milliseconds between two checks of the page for new results."""
SCRIPT = f"""<script>
(() => {{
  let shown = null;
  setInterval(async () => {{
    const reply = await fetch("version").catch(() => null);
    if (!reply || !reply.ok) return;
    const version = await reply.text();
    if (shown !== null && version !== shown) location.reload();
    shown = version;
  }}, {PERIOD});
}})();
</script>"""


class LiveBoard:
    """A leaderboard that is built on request if something has changed."""

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
                continue  # removed after it was listed
            known.update(f"{path} {status.st_mtime_ns} {status.st_size}\n".encode(errors="surrogateescape"))
        return known.hexdigest()[:16]

    def page(self) -> bytes:
        """Return the page, or a page with a message if there is nothing to show yet."""
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
                # The user's own images may be shown on their own machine.
                build_files(self.folders, output, title=self.title)
            except UserError as error:
                text = f"<h1>{html.escape(self.title)}</h1><p>No results yet: {html.escape(str(error))}</p>"
                return f'<!doctype html><html lang="en"><meta charset="utf-8">{text}{SCRIPT}</html>'.encode()
            page = output.read_text()
        before, end, after = page.rpartition("</body>")
        return f"{before}{SCRIPT}{end}{after}".encode()


def server(board: LiveBoard, port: int) -> ThreadingHTTPServer:
    """Return a server of the live board on the loopback address; port 0 chooses a free port.

    Raises:
        UserError: if the port is in use.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site could resolve its own name to this address (DNS rebinding), so only our own names are
            # served.
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
            """Do nothing, since a line every few seconds is not useful."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"port {port} cannot be used: {error.strerror}", hint="give another --port, or 0") from error
