"""``colorbench view``: a local web server for the leaderboard of some folders, updated as results arrive."""

from __future__ import annotations

import hashlib
import html
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from colorbench.errors import UserError
from colorbench.processes import temporary_folder
from leaderboards.board_files import build_files
from leaderboards.board_page import script_hash

PERIOD = 3000
"""Milliseconds between two checks of the page for new results."""
SCRIPT = """(() => {
  setInterval(async () => {
    const reply = await fetch("version").catch(() => null);
    if (reply && reply.ok && (await reply.text()) !== "VERSION") location.reload();
  }, PERIOD);
})();"""
"""Loads the page again when it is not the newest. The version is in the page: a result may arrive before the first
question."""
EMPTY = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 2rem 1.25rem; max-width: 60rem; overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}</style></head>
<body><main><h1>{title}</h1><p>No results yet: {reason}</p><p>This page changes when a result arrives.</p></main></body>
</html>"""
"""The page of folders without results; ``format`` takes a title and a reason, both escaped."""


class LiveBoard:
    """A leaderboard that is built on request if something has changed."""

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        title: str = "Colorization leaderboard",
        gallery_images: int | None = None,
    ) -> None:
        self.folders, self.title, self.gallery_images = list(folders), title, gallery_images
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
                self._built = (version, _following(self._build(), version))
            return self._built[1]

    def _records(self) -> Iterator[Path]:
        for folder in self.folders:
            yield from folder.rglob("record.json")

    def _build(self) -> str:
        with temporary_folder("colorbench-board-") as scratch:
            output = Path(scratch) / "board.html"
            try:
                # The user's own images may be shown on their own machine.
                build_files(self.folders, output, title=self.title, gallery_images=self.gallery_images)
            except UserError as error:
                return EMPTY.format(title=html.escape(self.title), reason=html.escape(str(error)))
            return output.read_text(encoding="utf-8")


def _following(page: str, version: str) -> bytes:
    """Return a page with the script that loads it again, and with a policy that permits the script."""
    script = SCRIPT.replace("VERSION", version).replace("PERIOD", str(PERIOD))
    page = page.replace("script-src '", f"connect-src 'self'; script-src '{script_hash(script)}' '", 1)
    before, end, after = page.rpartition("</body>")
    return f"{before}<script>{script}</script>{end}{after}".encode()


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
            if self.path == "/favicon.ico":
                return self._send(204, b"", "image/x-icon")
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
