"""Results as tables: a pandas data frame, and HTML for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Tabular:
    """A result that can be shown as a table."""

    def to_dataframe(self) -> pd.DataFrame:
        """Return the result as a data frame."""
        raise NotImplementedError

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        values = self.to_dataframe().astype(object)
        # ``na_rep`` of pandas does not apply to None.
        table = values.where(values.notna(), "–").to_html(index=False, float_format="{:.4g}".format)
        return f"<p>{html.escape(repr(self))}</p>{table}"
