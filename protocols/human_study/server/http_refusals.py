"""HTTP responses of the study server for refused requests."""

from __future__ import annotations

import math
from functools import lru_cache

from jinja2 import Template
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from colorbench.reporting import page_environment
from protocols.human_study.server.response_store import Refusal


class TooOften(Refusal):
    """Refusal with status 429 and the seconds to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = max(1, math.ceil(seconds))
        super().__init__(429, "Too many requests; please wait.")


def refused(request: Request, error: Exception) -> Response:
    """Return the refusal of an HTTP request: a page for browsers that open an admin address, or JSON."""
    assert isinstance(error, Refusal)
    seconds = error.seconds if isinstance(error, TooOften) else None
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    if request.url.path.startswith("/admin") and "text/html" in request.headers.get("accept", ""):
        page = template("refusal.html").render(detail=error.detail, seconds=seconds, up=up(request))
        return HTMLResponse(page, status_code=error.status, headers=headers)
    return JSONResponse({"detail": error.detail}, status_code=error.status, headers=headers)


def up(request: Request) -> str:
    """Return the relative path from the address of a request to that of the study, also behind a path of a proxy."""
    return "../" * (request.url.path.count("/") - 1)


@lru_cache(maxsize=8)
def template(file: str) -> Template:
    """Return a template of the study's pages."""
    return page_environment("protocols.human_study").get_template(file)
