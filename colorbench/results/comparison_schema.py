"""What ``colorbench compare`` finds: the schema of its JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from colorbench.stats.effect_and_sample_size import LEVEL


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Side(_Part):
    """One of the records that are compared."""

    label: str
    """Name of the model; of two with the same name, with what tells them apart."""
    model: str
    folder: str
    key: str
    record_sha256: str


class ImagePair(_Part):
    """One image under two models."""

    id: str
    sha256: str
    a: float
    b: float
    weight: float
    """Share of the metric's weight that this image has, in percent."""


class PairedTest(_Part):
    """Model a against model b by one metric."""

    a: str
    b: str
    metric: str
    unit: str
    higher_is_better: bool | None
    n: int
    """Images on which the metric is defined for both."""
    value_a: float | None
    value_b: float | None
    difference: float | None
    """a - b."""
    ci_low: float | None
    ci_high: float | None
    ci_method: str | None
    p: float | None
    """Of the sign-flip test; None where nothing was tested, and ``untested`` says why."""
    p_holm: float | None
    """Adjusted for all tests of this comparison."""
    effect_size: float | None
    """The difference in units of its spread from image to image."""
    a_better: int
    b_better: int
    equal: int
    """Images on which either is better, or (where neither direction is better) higher."""
    images_needed: int | None
    """Images that would show a difference of this size with 80 % probability, at 5 %."""
    detectable: float | None
    """The smallest difference that these images show with 80 % probability."""
    verdict: Literal["a", "b", "undecided", "untested"]
    """Which is better (higher, where neither direction is); ``undecided``: no difference was shown."""
    untested: str | None
    warning: str | None
    images: list[ImagePair]
    """Those that move the difference most (score times weight): in favor of a, then in favor of b."""


class RankInterval(_Part):
    """The ranks that one model may have by one metric, all models at once."""

    metric: str
    label: str
    value: float
    first: int
    last: int


class Comparison(_Part):
    """What ``colorbench compare`` found."""

    schema_version: Literal[2] = 2
    protocol: str
    protocol_version: int
    identity_sha256: str
    dataset: str
    fingerprint: str
    preprocessing: str
    n: int
    sides: list[Side]
    tests: list[PairedTest]
    ranks: list[RankInterval]
    """Of three records or more, for metrics of which one direction is better."""
    level: float = LEVEL
    remarks: list[str]
