"""Several records, as a list that is also a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colorbench.results.dataframe_and_html import Tabular
from colorbench.results.record import Record, after_semicolon, too_few_images

if TYPE_CHECKING:
    import pandas as pd


class Records(Tabular, list[Record]):
    """Records of one run: a list that is also a table."""

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per record and metric, with the columns of ``Record.to_dataframe``.

        A table of models by metrics is
        ``.to_dataframe().pivot_table(index="model", columns="metric", values="value")``.
        """
        import pandas as pd  # half a second to import

        return pd.DataFrame([row for record in self for row in record.table_rows()], columns=list(Record.COLUMNS))

    def __repr__(self) -> str:
        models = _counted(len({record.model.name for record in self}), "model")
        protocols = _counted(len({record.protocol.identity_sha256 for record in self}), "protocol")
        note = next(filter(None, map(too_few_images, self)), None)
        return f"<{_counted(len(self), 'record')} of {models} under {protocols}{after_semicolon(note)}>"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
