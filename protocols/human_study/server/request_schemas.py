"""The bodies that the page may send: every field bounded, unknown ones refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from protocols.human_study.study.schema import Platform, Position

_Pixels = Annotated[int, Field(ge=0, le=100_000)]
_Milliseconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600 * 1000)]
_Count = Annotated[int, Field(ge=0, le=100_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Client(_Body):
    """What the page says of the screen."""

    screen_width: _Pixels
    screen_height: _Pixels
    window_width: _Pixels
    window_height: _Pixels
    pixel_ratio: Annotated[float, Field(gt=0, le=100)]
    touch: bool


class Who(_Body):
    """Who somebody says to be; the platform's session is the proof of it."""

    platform: Platform
    worker: Annotated[str, Field(max_length=200)] = ""
    """PROLIFIC_PID, workerId, or the laboratory's own id; empty for nobody in particular."""
    session: Annotated[str, Field(max_length=200)] = ""
    """SESSION_ID or assignmentId; without either, a number that the page drew at random."""


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
    """turkSubmitTo; believed only if it is one of Mechanical Turk's two."""


class Nothing(_Body):
    """A request that says all by its address."""
