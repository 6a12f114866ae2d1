"""The application: what it holds, and its addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from protocols.human_study.server import admin, http_errors, routes
from protocols.human_study.server.database import Refusal
from protocols.human_study.server.http_errors import refused
from protocols.human_study.server.middleware import Headers
from protocols.human_study.server.state import _TYPES, Study, _asset, _missing

_TYPES |= {".png": "image/png", ".txt": "text/plain; charset=utf-8"}


def make_app(study: Study) -> Starlette:
    """Create the ASGI application of a study."""

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        study.store.close()

    def posts(name: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
        return Route(f"/api/{name}", endpoint, methods=["POST"])

    app = Starlette(
        routes=[
            Route("/", _asset),
            Route("/health", _health),
            posts("begin", routes.begin),
            posts("preview", routes.preview),
            posts("consent", routes.consent),
            posts("decline", routes.decline),
            posts("screening", routes.screening),
            posts("started", routes.started),
            posts("responses", routes.response),
            posts("finish", routes.finish),
            posts("withdraw", routes.withdraw),
            Route("/api/stimuli/{trial:int}/{position:int}", routes.stimulus),
            Route("/admin", admin.page),
            Route("/admin/login", admin.login, methods=["POST"]),
            Route("/admin/logout", admin.logout, methods=["POST"]),
            Route("/admin/delete", admin.delete, methods=["POST"]),
            Route("/admin/{name}", admin.download),
            Route("/{name}", _asset),
        ],
        middleware=[Middleware(Headers, https=study.https)],
        exception_handlers={
            http_errors.TooOften: routes.refused_often,
            Refusal: refused,
            404: _missing,
            405: _wrong_method,
        },
        lifespan=life,
    )
    app.router.redirect_slashes = False  # what is not here is not somewhere near it either
    app.state.study = study
    return app


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _wrong_method(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "Not by this method."}, status_code=405)
