"""Middleware of every request and response: headers, a size limit of bodies, and one form of refusal."""

from __future__ import annotations

import ipaddress
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocols.human_study.server.response_store import Refusal

BODY_LIMIT = 16 * 1024
"""Bytes; the largest body of the page has about 300."""
TURK = ("https://www.mturk.com", "https://workersandbox.mturk.com")
"""The only addresses to which a finished HIT is submitted."""
TURK_FRAMES = ("https://worker.mturk.com", *TURK)
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        f"form-action 'self' {' '.join(TURK)}",
        f"frame-ancestors 'self' {' '.join(TURK_FRAMES)}",
        "base-uri 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
Body = TypeVar("Body", bound=BaseModel)


class Headers:
    """ASGI middleware that adds the same headers to every response."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.headers = {**HEADERS, **({"Strict-Transport-Security": "max-age=31536000"} if https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to a response (ASGI)."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, sending if scope["type"] == "http" else send)


async def read_body(request: Request) -> bytes:
    """Read the whole body.

    Raises:
        Refusal: 413 for a body that is too long, before it is read.
    """
    too_long = Refusal(413, "The request is too large.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise too_long
    return bytes(body)


async def read_json(request: Request, kind: type[Body]) -> Body:
    """Read the body as a ``kind``.

    Raises:
        Refusal: 415 for another type than JSON, 400 for a body that is not a ``kind``.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "Only JSON is accepted.")
    body = await read_body(request)
    try:
        return kind.model_validate_json(body)
    except (ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal(400, "Invalid request.") from error


def address_of(request: Request) -> str:
    """Return the client address of an HTTP request for rate limits; it is not stored.

    Of IPv6 it is the network of 64 bits, since one client has all addresses in it.
    """
    host = request.client.host if request.client else "unknown"
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
