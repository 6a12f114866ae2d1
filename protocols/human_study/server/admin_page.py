"""The admin page: progress of the study, its tables, and the deletion of a participant; protected by a token."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from protocols.human_study.server.admin_authentication import COOKIE, is_admin, require_admin
from protocols.human_study.server.http_refusals import template, up
from protocols.human_study.server.http_requests import read_body
from protocols.human_study.server.participant_deletion import forget
from protocols.human_study.server.response_store import Refusal
from protocols.human_study.study_folder.codebook_text import codebook
from protocols.human_study.study_folder.file_names import slots_by_cell
from protocols.human_study.study_folder.outdated_analyses import advice
from protocols.human_study.study_folder.response_export import as_csv, as_parquet, participants_table, responses_table

if TYPE_CHECKING:
    from protocols.human_study.server.served_study import Study

HOURS = 12
CODES = "completion-codes.csv"
PENDING = (
    "The write-ahead log still holds deleted data of a participant, because another program reads the database. "
    "It is emptied when that program has finished: close it, then reload this page."
)


async def page(request: Request) -> Response:
    """Handle GET admin: return the form for the token, or the study's state."""
    study: Study = request.app.state.study
    if not is_admin(request):
        response = _html("login.html", status=401, title=study.design.title, up=up(request), wrong=False)
        if COOKIE in request.cookies:  # of an earlier token; it would count as a wrong one each time
            response.delete_cookie(COOKIE, path=f"{study.base}/admin")
        return response
    state = await run_sync(lambda: state_of(study))
    return _html("admin.html", **state, form_token=study.secrets.form_token())


async def login(request: Request) -> Response:
    """Handle POST admin/login: exchange the token for a cookie. GET, as by a reload, leads to the form."""
    study: Study = request.app.state.study
    if request.method != "POST":
        return RedirectResponse(f"{study.base}/admin", status_code=303)
    if not is_admin(request, form_token=await _field(request, "token")):
        return _html("login.html", status=401, title=study.design.title, up=up(request), wrong=True)
    response = RedirectResponse(f"{study.base}/admin", status_code=303)
    response.set_cookie(
        COOKIE,
        study.secrets.admin_cookie(),
        max_age=HOURS * 3600,
        path=f"{study.base}/admin",
        httponly=True,
        samesite="strict",
        secure=study.https,
    )
    return response


async def logout(request: Request) -> Response:
    """Handle POST admin/logout."""
    study: Study = request.app.state.study
    response = RedirectResponse(f"{study.base}/admin", status_code=303)
    response.delete_cookie(COOKIE, path=f"{study.base}/admin")
    return response


async def delete(request: Request) -> Response:
    """Handle POST admin/delete: delete one participant with all responses."""
    study: Study = request.app.state.study
    require_admin(request)
    body = await _fields(request)
    if not study.secrets.is_form_token(body.get("form", "")):
        raise Refusal(403, "This form does not come from this page.")
    if not await run_sync(lambda: forget(study, body.get("participant", ""))):
        raise Refusal(404, "No such participant.")
    return RedirectResponse(f"{study.base}/admin", status_code=303)


async def download(request: Request) -> Response:
    """Handle GET admin/NAME: return a table, or the codebook."""
    study: Study = request.app.state.study
    name = request.path_params["name"]
    if name not in DOWNLOADS:
        raise Refusal(404, "Not found.")
    require_admin(request)
    make, kind = DOWNLOADS[name]
    content = await run_sync(lambda: make(study))
    return Response(content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def state_of(study: Study) -> dict[str, Any]:
    """Return the content of the administration page: slots by cell, and the participants."""
    participants, responses = study.store.rows("participants"), study.store.rows("responses")
    done = Counter(response["participant"] for response in responses)
    holders = {
        participant["slot"]: participant["status"] for participant in participants if participant["status"] != "expired"
    }
    cells = []
    for cell, slots in slots_by_cell(study.design).items():
        states = Counter(holders.get(slot.id, "free") for slot in slots)
        row = {name: states[name] for name in ("complete", "active", "free")}
        cells.append({"name": cell, "slots": len(slots), **row})
    table = participants_table(study.design, participants, responses)
    address = (study.options.public_url or "").rstrip("/")
    return {
        "title": study.design.title,
        "name": study.design.name,
        "cells": cells,
        "complete": sum(cell["complete"] for cell in cells),
        "slots": len(study.design.slots),
        "responses": len(responses),
        "total": study.design.settings.practice + study.design.settings.trials,
        "participants": [
            {**row, "done": done[row["participant"]], "code": _code(study, row)}
            for row in table.astype(object).where(table.notna(), None).to_dict("records")
        ],
        "notices": [*([PENDING] if study.store.deletion_pending else []), *advice(study.folder)],
        "downloads": list(DOWNLOADS),
        "address": address,
    }


def _code(study: Study, row: Mapping[Any, Any]) -> str:
    """Return the completion code of a participant who has finished; empty for others, who have not seen one."""
    return study.completion_code(row["participant"], row["platform"]) if row["status"] == "complete" else ""


def _codes(study: Study) -> bytes:
    """Return the completion codes as CSV; they are in no exported table, since platforms know whose they are."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["participant", "platform", "completion_code"])
    for row in study.store.rows("participants"):
        if row["status"] == "complete":
            writer.writerow([row["participant"], row["platform"], _code(study, row)])
    return buffer.getvalue().encode()


def _responses(study: Study, form: Callable[[Any], bytes]) -> bytes:
    return form(responses_table(study.design, study.store.rows("participants"), study.store.rows("responses")))


def _participants(study: Study, form: Callable[[Any], bytes]) -> bytes:
    return form(participants_table(study.design, study.store.rows("participants"), study.store.rows("responses")))


_PARQUET = "application/vnd.apache.parquet"
DOWNLOADS: dict[str, tuple[Callable[[Study], bytes], str]] = {
    "responses.csv": (lambda study: _responses(study, as_csv), "text/csv"),
    "responses.parquet": (lambda study: _responses(study, as_parquet), _PARQUET),
    "participants.csv": (lambda study: _participants(study, as_csv), "text/csv"),
    "participants.parquet": (lambda study: _participants(study, as_parquet), _PARQUET),
    CODES: (_codes, "text/csv"),
    "codebook.md": (lambda study: codebook(study.design).encode(), "text/markdown"),
}


async def _fields(request: Request) -> dict[str, str]:
    body = await read_body(request)
    try:
        return {name: values[0] for name, values in parse_qs(body.decode("ascii"), max_num_fields=10).items()}
    except ValueError as error:
        raise Refusal(400, "Invalid form data.") from error


async def _field(request: Request, name: str) -> str:
    return (await _fields(request)).get(name, "")


def _html(file: str, /, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(template(file).render(**values), status_code=status)
