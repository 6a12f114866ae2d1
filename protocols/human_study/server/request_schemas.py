"""The request bodies of the page: every field has bounds, unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocols.human_study.study_folder.design_schema import Platform, Position

_Pixels = Annotated[int, Field(ge=0, le=100_000)]
_Milliseconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600 * 1000)]
_Count = Annotated[int, Field(ge=0, le=100_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Client(_Body):
    """The screen of a participant, as reported by the page."""

    screen_width: _Pixels
    screen_height: _Pixels
    window_width: _Pixels
    window_height: _Pixels
    pixel_ratio: Annotated[float, Field(gt=0, le=100)]
    touch: bool


class Who(_Body):
    """The claimed identity of a participant; the session of the platform proves it."""

    platform: Platform
    worker: Annotated[str, Field(max_length=200)] = ""
    """PROLIFIC_PID, workerId, or an id of the laboratory; empty without an id."""
    session: Annotated[str, Field(max_length=200)] = ""
    """SESSION_ID or assignmentId; without either, a random number of the page."""


class Begin(_Body):
    """POST api/begin."""

    who: Who


class Consent(_Body):
    """POST api/consent."""

    who: Who
    adult: Literal[True]
    agreed: Literal[True]
    client: Client


class Decline(_Body):
    """POST api/decline."""

    platform: Platform


class Screening(_Body):
    """POST api/screening."""

    color_vision: Literal["normal", "deficient", "unsure", "unsaid"]
    plates: Annotated[list[Literal["2", "3", "4", "5", "7", "none"]], Field(max_length=10)]


class Started(_Body):
    """POST api/started."""

    trial: _Count


class Response(_Body):
    """POST api/responses."""

    trial: _Count
    response: Position
    reaction_ms: _Milliseconds
    exposure_first_ms: _Milliseconds
    exposure_second_ms: _Milliseconds
    frame_ms: Annotated[float, Field(ge=0, le=10_000)]
    focus_losses: _Count
    input: Literal["key", "mouse", "touch"]


class Finish(_Body):
    """POST api/finish."""

    submit_to: Annotated[str, Field(max_length=200)] = ""
    """turkSubmitTo; accepted only if it is one of the two addresses of Mechanical Turk."""


class Nothing(_Body):
    """A request with an empty body."""
