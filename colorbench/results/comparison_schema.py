"""Schema of the JSON output of ``colorbench compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from colorbench.results.dataframe_and_html import Tabular
from colorbench.stats.effect_and_sample_size import LEVEL

if TYPE_CHECKING:
    import pandas as pd


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Side(_Part):
    """One of the compared records."""

    label: str
    """Name of the model, with a distinguishing addition for equal names."""
    model: str
    folder: str
    key: str
    record_sha256: str


class ImagePair(_Part):
    """Scores of one image by two models."""

    id: str
    sha256: str
    a: float
    b: float
    weight: float
    """Share of this image in the weight of the metric, in percent."""


class PairedTest(_Part):
    """Comparison of model a with model b by one metric."""

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
    """p value of the sign-flip test; None if not tested, with the reason in ``untested``."""
    p_holm: float | None
    """p adjusted for all tests of this comparison."""
    effect_size: float | None
    """The difference in units of its standard deviation over images."""
    a_better: int
    b_better: int
    equal: int
    """Images on which a is better, b is better, or neither; for a metric without direction, better means higher."""
    images_needed: int | None
    """Number of images that detect a difference of this size with 80 % probability at the 5 % level."""
    detectable: float | None
    """Smallest difference that these images detect with 80 % probability."""
    verdict: Literal["a", "b", "undecided", "untested"]
    """The better model (the higher one for a metric without direction); ``undecided``: no significant difference."""
    untested: str | None
    warning: str | None
    images: list[ImagePair]
    """Images that contribute most to the difference (score times weight): in favor of a, then in favor of b."""


class RankInterval(_Part):
    """Simultaneous rank interval of one model by one metric."""

    metric: str
    label: str
    value: float
    first: int
    last: int


class Comparison(Tabular, _Part):
    """Result of ``colorbench compare``."""

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
    """Rank intervals for three or more records, by metrics with a direction."""
    level: float = LEVEL
    remarks: list[str]

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per pair of models and metric.

        Returns:
            A data frame with the fields of ``PairedTest``, without its images.
        """
        import pandas as pd  # half a second to import

        columns = [name for name in PairedTest.model_fields if name != "images"]
        return pd.DataFrame([[getattr(test, name) for name in columns] for test in self.tests], columns=columns)

    def __repr__(self) -> str:
        shown = sum(test.verdict in ("a", "b") for test in self.tests)
        sides = ", ".join(side.label for side in self.sides)
        return (
            f"<Comparison {sides}: {self.protocol} v{self.protocol_version}, {self.n} images of {self.dataset}, "
            f"{shown} of {len(self.tests)} differences are significant>"
        )
