"""The state of a served study: its files, database, secrets and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from colorbench.errors import UserError
from protocols.human_study.server.http_refusals import refused
from protocols.human_study.server.rate_limit import Limiter, Rate, Rates
from protocols.human_study.server.response_store import Refusal, Store
from protocols.human_study.server.secrets_and_tokens import Secrets, load_secrets
from protocols.human_study.server.study_texts import read_texts
from protocols.human_study.study_folder.design_schema import Design, read_design
from protocols.human_study.study_folder.file_names import (
    DATA,
    FORM,
    FORM_FOLDER,
    JSPSYCH,
    STIMULI,
    TEXTS,
    TEXTS_FOLDER,
    plate_name,
)

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class Options:
    """Options of the server."""

    public_url: str | None = None
    """Address for participants, if there is a reverse proxy."""
    prolific_code: str | None = None
    """Completion code of the study on Prolific."""
    prolific_declined_code: str | None = None
    """Code on Prolific for participants who did not consent."""
    lease_minutes: float = 30.0
    """Time without requests after which the slot of a participant is given to another."""
    rates: Rates = field(default_factory=Rates)


def rates_of(arrivals: float) -> Rates:
    """Return the rate limits of a served study, with another burst of new sessions from one address.

    The burst is refilled within a minute.
    """
    return Rates(arrivals=Rate(arrivals, arrivals / 60))


@dataclass(frozen=True)
class Study:
    """Everything that the routes need; only ``store`` changes."""

    folder: Path
    design: Design
    store: Store
    secrets: Secrets
    texts: dict[str, str]
    files: dict[str, tuple[bytes, str]]
    """Name -> content and type of all static files: no path is ever made from a request."""
    stimuli: dict[tuple[str, str | None], Path]
    """Image and method (None: the real one) -> file."""
    options: Options
    limiter: Limiter

    @property
    def https(self) -> bool:
        """Whether participants connect by https."""
        return (self.options.public_url or "").startswith("https://")

    def completion_code(self, participant: str, platform: str) -> str:
        """Return the code on the last page of a participant; on Prolific it may be one code for all."""
        if platform == "prolific" and self.options.prolific_code:
            return self.options.prolific_code
        return self.secrets.completion_code(participant)

    @property
    def base(self) -> str:
        """Path of the public address, without a trailing slash."""
        return urlsplit(self.options.public_url or "").path.rstrip("/")


def open_study(folder: Path, options: Options, admin_token: str | None = None) -> Study:
    """Open a study's folder, ready to be served.

    Raises:
        UserError: for a folder without a complete study.
    """
    design = read_design(folder)
    folder = Path(folder)
    data = folder / DATA
    data.mkdir(exist_ok=True)
    secrets = load_secrets(data, admin_token)
    plates = tuple(plate_name(number) for number in range(len(design.plates)))
    stimuli = {(one.image, one.method): folder / STIMULI / one.file for one in design.stimuli}
    files = {name: _file(folder / FORM_FOLDER / name) for name in (*FORM, *JSPSYCH, *plates)}
    files["admin.css"] = ((resources("protocols.human_study") / "templates" / "admin.css").read_bytes(), "text/css")
    for path in stimuli.values():
        if not path.is_file():
            raise UserError("an image of the study is missing", where=str(path), hint="build the study again")
    return Study(
        folder=folder,
        design=design,
        store=Store(data, design, secrets, lease_seconds=60 * options.lease_minutes),
        secrets=secrets,
        texts=read_texts(folder / TEXTS_FOLDER, TEXTS),
        files=files,
        stimuli=stimuli,
        options=options,
        limiter=Limiter(),
    )


async def asset(request: Request) -> Response:
    """Return a file of the form, by its name in a fixed table."""
    name = request.path_params.get("name", "index.html")
    if name == "favicon.ico":
        return Response(status_code=204)
    found = request.app.state.study.files.get(name)
    if found is None:
        return not_found(request, Exception())
    content, kind = found
    return Response(content, media_type=kind)


def not_found(request: Request, error: Exception) -> Response:
    """Return the response for a path that does not exist."""
    return refused(request, Refusal(404, "Not found."))


def _file(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), _TYPES[path.suffix]
    except FileNotFoundError as error:
        raise UserError("a file of the study is missing", where=str(path), hint="build the study again") from error
