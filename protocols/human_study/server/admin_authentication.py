"""Authentication of the study's admin: every way passes one rate limiter.

Wrong credentials of any kind (form, cookie, ``Authorization: Bearer``, query) use up the same attempts of an address.
When there are none left, all credentials from it are refused alike, right or wrong, so that a refusal tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request

from protocols.human_study.server.http_refusals import TooOften
from protocols.human_study.server.http_requests import address_of
from protocols.human_study.server.response_store import Refusal

if TYPE_CHECKING:
    from protocols.human_study.server.served_study import Study

COOKIE = "study-admin"


def is_admin(request: Request, *, form_token: str | None = None) -> bool:
    """Return whether a request has the credentials of the admin; a request without any has not.

    Args:
        request: of any route.
        form_token: the token of the login form. The other credentials of the request are not read then.

    Raises:
        TooOften: if too many wrong credentials came from this address.
    """
    study: Study = request.app.state.study
    proofs = _proofs(request, study) if form_token is None else [study.secrets.is_admin(form_token)]
    if not proofs:
        return False
    who, rate = address_of(request), study.options.rates.logins
    seconds = study.limiter.wait("logins", who, rate, take=False)
    if seconds > 0:
        raise TooOften(seconds)
    if any(proofs):
        return True
    study.limiter.wait("logins", who, rate)
    return False


def require_admin(request: Request) -> None:
    """Require the credentials of the admin.

    Raises:
        Refusal: 401; 429 as in ``is_admin``.
    """
    if not is_admin(request):
        raise Refusal(401, "This needs the admin token.")


def _proofs(request: Request, study: Study) -> list[bool]:
    """Return, for each credential of a request, whether it is right."""
    proofs = []
    if COOKIE in request.cookies:
        proofs.append(study.secrets.is_admin_cookie(request.cookies[COOKIE]))
    if "authorization" in request.headers:
        scheme, _, token = request.headers["authorization"].partition(" ")
        proofs.append(scheme.lower() == "bearer" and study.secrets.is_admin(token))
    if "token" in request.query_params:
        proofs.append(False)  # never accepted: addresses end up in logs
    return proofs
