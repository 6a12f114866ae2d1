"""The routes of the participant's page.

The correct response to a trial is disclosed in practice only, after the participant's response is stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from protocols.human_study.server import request_schemas
from protocols.human_study.server.http_refusals import TooOften
from protocols.human_study.server.http_requests import TURK, address_of, read_json
from protocols.human_study.server.participant_deletion import forget
from protocols.human_study.server.rate_limit import Rate
from protocols.human_study.server.response_store import RETURN, Known, Refusal

if TYPE_CHECKING:
    from protocols.human_study.server.served_study import Study

T = TypeVar("T")
PROLIFIC = "https://app.prolific.com/submissions/complete?cc="


def _study(request: Request) -> Study:
    study: Study = request.app.state.study
    return study


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Run a function in a thread: the database waits for the disk, and other participants must not wait with it."""
    return await run_sync(lambda: function(*arguments))


def _limited(request: Request, kind: str, who: str, rate: Rate) -> None:
    seconds = _study(request).limiter.wait(kind, who, rate)
    if seconds > 0:
        raise TooOften(seconds)


def _participant(request: Request, kind: str = "requests") -> str:
    """Return the participant of a request, by its token."""
    study = _study(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    participant = study.secrets.participant_of(token) if scheme.lower() == "bearer" else None
    if participant is None:
        _limited(request, "arrivals", address_of(request), study.options.rates.arrivals)
        raise Refusal(401, "Please open the study with the link that you received.")
    _limited(request, kind, participant, getattr(study.options.rates, kind))
    return participant


def _session(study: Study, known: Known | None) -> dict[str, Any]:
    """Return the data for the page; nothing in it depends on the method or on which image is real."""
    settings = study.design.settings
    return {
        "title": study.design.title,
        "texts": {name: study.texts[name] for name in ("consent", "instructions")},
        "practice": settings.practice,
        "total": settings.practice + settings.trials,
        "plates": len(study.design.plates),
        "times": {
            "exposure": settings.exposure_ms,
            "lead": settings.lead_ms,
            "gap": settings.gap_ms,
        },
        "stage": known.stage if known else "new",
        "next": known.next if known else 0,
        "token": study.secrets.token(known.participant) if known else None,
    }


async def begin(request: Request) -> Response:
    """Handle POST api/begin: return the progress of this participant; nothing is stored about a new one."""
    study = _study(request)
    _limited(request, "arrivals", address_of(request), study.options.rates.arrivals)
    body = await read_json(request, request_schemas.Begin)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    participant = study.secrets.participant_of(token) if scheme.lower() == "bearer" else None
    known = None
    if participant is not None:
        try:
            known = await _in_thread(study.store.open, participant)
        except Refusal as refusal:
            if refusal.status != 401:  # 401: deleted in the meantime, so a new one
                raise
    if known is None and (body.who.worker or body.who.session):
        found = await _in_thread(study.store.find, body.who.platform, body.who.worker, body.who.session)
        known = await _in_thread(study.store.open, found) if found else None
    if known is None:  # before anybody reads the consent text in vain
        await _in_thread(study.store.check_free, body.who.platform)
    return JSONResponse(_session(study, known))


async def preview(request: Request) -> Response:
    """Handle POST api/preview: return what Mechanical Turk shows before a HIT is accepted."""
    study = _study(request)
    _limited(request, "arrivals", address_of(request), study.options.rates.arrivals)
    await read_json(request, request_schemas.Nothing)
    return JSONResponse({"title": study.design.title, "texts": {"consent": study.texts["consent"]}})


async def consent(request: Request) -> Response:
    """Handle POST api/consent: assign a slot of the study; return the token of every later request."""
    study = _study(request)
    _limited(request, "arrivals", address_of(request), study.options.rates.arrivals)
    body = await read_json(request, request_schemas.Consent)
    who = body.who
    if not who.session:
        raise Refusal(400, "Invalid request.")
    client = {**body.client.model_dump(exclude={"touch"}), **_device(request, body.client)}
    participant = await _in_thread(study.store.consent, who.platform, who.worker, who.session, client)
    return JSONResponse({"token": study.secrets.token(participant)})


async def decline(request: Request) -> Response:
    """Handle POST api/decline: nothing is stored of somebody who did not consent."""
    study = _study(request)
    _limited(request, "arrivals", address_of(request), study.options.rates.arrivals)
    body = await read_json(request, request_schemas.Decline)
    code = study.options.prolific_declined_code if body.platform == "prolific" else None
    return JSONResponse({"redirect": PROLIFIC + code if code else None, "next": RETURN.get(body.platform)})


async def screening(request: Request) -> Response:
    """Handle POST api/screening: store the statement about color vision, and the plates."""
    participant = _participant(request)
    body = await read_json(request, request_schemas.Screening)
    await _in_thread(_study(request).store.screening, participant, body)
    return JSONResponse({"kept": True})


async def stimulus(request: Request) -> Response:
    """Handle GET api/stimuli/TRIAL/POSITION: return the first or second image of a trial without a response."""
    study = _study(request)
    participant = _participant(request, "stimuli")
    position = {"1": "first", "2": "second"}.get(request.path_params["position"])
    # Not a number of the route: one of thousands of digits would be an error of the server.
    number = re.fullmatch("[0-9]{1,4}", request.path_params["trial"])
    if position is None or number is None:
        raise Refusal(404, "No such image.")
    trial = await _in_thread(study.store.trial_of, participant, int(number[0]))
    path = study.stimuli[trial.image, trial.method if trial.fake == position else None]
    content = await _in_thread(path.read_bytes)
    return Response(content, media_type="image/png")


async def started(request: Request) -> Response:
    """Handle POST api/started: the next trial's pair is being shown."""
    participant = _participant(request)
    body = await read_json(request, request_schemas.Started)
    await _in_thread(_study(request).store.started, participant, body.trial)
    return JSONResponse({"kept": True})


async def response(request: Request) -> Response:
    """Handle POST api/responses: acknowledge a response when it is on the disk."""
    participant = _participant(request)
    body = await read_json(request, request_schemas.Response)
    trial = await _in_thread(_study(request).store.response, participant, body)
    if trial.kind == "practice":
        return JSONResponse({"kept": True, "correct": body.response == trial.fake})
    return JSONResponse({"kept": True})


async def finish(request: Request) -> Response:
    """Handle POST api/finish: return the debrief, the completion code, and the way back to the platform."""
    study = _study(request)
    participant = _participant(request)
    body = await read_json(request, request_schemas.Finish)
    platform = await _in_thread(study.store.finish, participant)
    code, redirect, submit = study.completion_code(participant, platform), None, None
    if platform == "prolific" and study.options.prolific_code:
        redirect = PROLIFIC + code
    if platform == "mturk" and body.submit_to.rstrip("/") in TURK:
        submit = f"{body.submit_to.rstrip('/')}/mturk/externalSubmit"
    response = {"debrief": study.texts["debrief"], "code": code, "redirect": redirect, "submit": submit}
    return JSONResponse(response)


async def withdraw(request: Request) -> Response:
    """Handle POST api/withdraw: delete everything of this participant."""
    participant = _participant(request)
    await read_json(request, request_schemas.Nothing)
    study = _study(request)
    await _in_thread(forget, study, participant)
    pending = await _in_thread(lambda: study.store.deletion_pending)
    return JSONResponse({"deleted": True, "pending": pending})


def _device(request: Request, client: request_schemas.Client) -> dict[str, str]:
    """Return two words in place of the browser's name, which would identify people."""
    agent = request.headers.get("user-agent", "").lower()
    marks = (("edge", "edg/"), ("firefox", "firefox/"), ("chrome", "chrome/"), ("safari", "safari/"))
    browser = next((name for name, mark in marks if mark in agent), "other")
    small = min(client.screen_width, client.screen_height)
    if "mobi" in agent:
        device = "phone" if small < 600 else "tablet"
    else:
        device = "tablet" if client.touch and ("ipad" in agent or "android" in agent) else "desktop"
    return {"device": device, "browser": browser}
