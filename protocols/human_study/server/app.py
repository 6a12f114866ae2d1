"""The application: what it holds, and its addresses."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from colorbench.errors import UserError
from protocols.human_study.layout import DATA, FORM, FORM_FOLDER, JSPSYCH, PICTURES, TEXTS, TEXTS_FOLDER, plate_name
from protocols.human_study.schema import Design, read_design
from protocols.human_study.server import admin, routes
from protocols.human_study.server.http import Headers, refused
from protocols.human_study.server.limits import Limiter, Rates
from protocols.human_study.server.secrets import Secrets, load_secrets
from protocols.human_study.server.store import Refusal, Store
from protocols.human_study.server.texts import read_texts

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}
_TYPES |= {".png": "image/png", ".txt": "text/plain; charset=utf-8"}


@dataclass(frozen=True)
class Options:
    """How a study is served."""

    public_url: str | None = None
    """What participants type, where a reverse proxy stands in front."""
    prolific_code: str | None = None
    """Completion code of the study on Prolific."""
    prolific_declined_code: str | None = None
    """Its code for those who did not consent."""
    lease_minutes: float = 30.0
    """After so long without a sign of life a participant's place goes to another."""
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True)
class Study:
    """Everything that the routes need; only ``store`` changes."""

    folder: Path
    design: Design
    store: Store
    secrets: Secrets
    texts: dict[str, str]
    files: dict[str, tuple[bytes, str]]
    """Name -> content and type, of all that is served as it lies: no path is ever made from a request."""
    pictures: dict[tuple[str, str | None], Path]
    """Photograph and method (None: the real one) -> file."""
    options: Options
    limiter: Limiter

    @property
    def https(self) -> bool:
        """Whether participants come by https."""
        return (self.options.public_url or "").startswith("https://")

    @property
    def base(self) -> str:
        """Path of the public address, without a slash at its end."""
        return urlsplit(self.options.public_url or "").path.rstrip("/")


def open_study(folder: Path, options: Options, admin_token: str | None = None) -> Study:
    """A study's folder, ready to be served.

    Raises:
        UserError: for a folder that holds no whole study.
    """
    design = read_design(folder)
    folder = Path(folder)
    data = folder / DATA
    data.mkdir(exist_ok=True)
    secrets = load_secrets(data, admin_token)
    plates = tuple(plate_name(number) for number in range(len(design.plates)))
    pictures = {(one.photograph, one.method): folder / PICTURES / one.file for one in design.pictures}
    files = {name: _file(folder / FORM_FOLDER / name) for name in (*FORM, *JSPSYCH, *plates)}
    files["admin.css"] = ((resources("protocols.human_study") / "templates" / "admin.css").read_bytes(), "text/css")
    for path in pictures.values():
        if not path.is_file():
            raise UserError("a picture of the study is missing", where=str(path), mend="build the study again")
    return Study(
        folder=folder,
        design=design,
        store=Store(data, design, secrets, lease_seconds=60 * options.lease_minutes),
        secrets=secrets,
        texts=read_texts(folder / TEXTS_FOLDER, TEXTS),
        files=files,
        pictures=pictures,
        options=options,
        limiter=Limiter(),
    )


def make_app(study: Study) -> Starlette:
    """The ASGI application of a study."""

    @asynccontextmanager
    async def life(app: Starlette):
        yield
        study.store.close()

    def posts(name: str, endpoint) -> Route:
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
            posts("answers", routes.answer),
            posts("finish", routes.finish),
            posts("withdraw", routes.withdraw),
            Route("/api/pictures/{trial:int}/{place:int}", routes.picture),
            Route("/admin", admin.page),
            Route("/admin/login", admin.login, methods=["POST"]),
            Route("/admin/logout", admin.logout, methods=["POST"]),
            Route("/admin/delete", admin.delete, methods=["POST"]),
            Route("/admin/{name}", admin.download),
            Route("/{name}", _asset),
        ],
        middleware=[Middleware(Headers, https=study.https)],
        exception_handlers={routes.TooOften: routes.refused_often, Refusal: refused, 404: _missing, 405: _wrong_method},
        lifespan=life,
    )
    app.router.redirect_slashes = False  # what is not here is not somewhere near it either
    app.state.study = study
    return app


async def _asset(request: Request) -> Response:
    """A file of the form, by its name in a fixed table."""
    name = request.path_params.get("name", "index.html")
    if name == "favicon.ico":
        return Response(status_code=204)
    found = request.app.state.study.files.get(name)
    if found is None:
        return _missing(request, Exception())
    content, kind = found
    return Response(content, media_type=kind)


async def _health(request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _missing(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "There is nothing here."}, status_code=404)


def _wrong_method(request: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "Not by this method."}, status_code=405)


def _file(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), _TYPES[path.suffix]
    except FileNotFoundError as error:
        raise UserError("a file of the study is missing", where=str(path), mend="build the study again") from error
