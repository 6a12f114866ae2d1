"""HTTP responses of the study server for refused requests."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import JSONResponse

from protocols.human_study.server.response_store import Refusal


def refused(request: Request, error: Exception) -> JSONResponse:
    """Return the refusal of an HTTP request as JSON."""
    assert isinstance(error, Refusal)
    return JSONResponse({"detail": error.detail}, status_code=error.status)


def too_often(seconds: float) -> JSONResponse:
    """Return the refusal of an HTTP request with status 429 and the time to wait."""
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return JSONResponse({"detail": "Too many requests; please wait."}, status_code=429, headers=headers)


class TooOften(Refusal):
    """Refusal with status 429 and the seconds to wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(429, "Too many requests; please wait.")
