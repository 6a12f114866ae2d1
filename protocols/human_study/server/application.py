"""The ASGI application of a study: its routes and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from protocols.human_study.server import admin_page, participant_routes
from protocols.human_study.server.http_refusals import refused
from protocols.human_study.server.http_requests import Headers
from protocols.human_study.server.response_store import Refusal
from protocols.human_study.server.served_study import Study, asset, not_found


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
            Route("/", asset),
            Route("/health", _health),
            posts("begin", participant_routes.begin),
            posts("preview", participant_routes.preview),
            posts("consent", participant_routes.consent),
            posts("decline", participant_routes.decline),
            posts("screening", participant_routes.screening),
            posts("started", participant_routes.started),
            posts("responses", participant_routes.response),
            posts("finish", participant_routes.finish),
            posts("withdraw", participant_routes.withdraw),
            Route("/api/stimuli/{trial}/{position}", participant_routes.stimulus),
            Route("/admin", admin_page.page),
            Route("/admin/login", admin_page.login, methods=["GET", "POST"]),
            Route("/admin/logout", admin_page.logout, methods=["POST"]),
            Route("/admin/delete", admin_page.delete, methods=["POST"]),
            Route("/admin/{name}", admin_page.download),
            Route("/{name}", asset),
        ],
        middleware=[Middleware(Headers, https=study.https)],
        exception_handlers={
            Refusal: refused,
            404: not_found,
            405: _wrong_method,
        },
        lifespan=life,
    )
    app.router.redirect_slashes = False  # no redirects from similar paths
    app.state.study = study
    return app


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _wrong_method(request: Request, error: Exception) -> Response:
    return refused(request, Refusal(405, "Not by this method."))
