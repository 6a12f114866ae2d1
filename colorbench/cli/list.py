"""``colorbench list``: list models, protocols and datasets."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any

import typer

from colorbench.cli.shared_options import Debug, Json
from colorbench.cli.standard_output import print_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

MODEL = "competitor"
"""Role of a model that is neither baseline nor reference; the list shows it as ``model``."""
ORDER = {role: place for place, role in enumerate((MODEL, "baseline", "reference"))}
"""Role of a model -> its place in the list; those of a role stay in alphabetical order."""


def list_all(ctx: typer.Context, json: Json = False, debug: Debug = False) -> None:
    """List models, protocols and datasets.

    Includes those of other installed packages; a broken one is listed with its error.
    """
    from colorbench.plugin_descriptions import listed

    models = sorted(listed("models"), key=lambda row: ORDER.get(str(row.get("role")), len(ORDER)))
    found = {"models": models, "protocols": listed("protocols"), "datasets": _datasets()}
    if json:
        print_result(jsonlib.dumps(found, indent=1, ensure_ascii=False))
        return
    from colorbench.cli.console import console

    terminal = console(text_to_stderr=False)
    shown = [{**row, "role": "model"} if row.get("role") == MODEL else row for row in models]
    _print_group(terminal, "models", shown, ("name", "role", "title"))
    _print_group(terminal, "protocols", found["protocols"], ("name", "version", "title"))
    _print_group(terminal, "datasets", found["datasets"], ("name", "images", "title"))
    terminal.print("Also: FILE.py:CLASS, images:DIR (existing predictions), and any folder of images.")
    terminal.print("`colorbench show NAME` shows details.")


def _datasets() -> list[dict[str, Any]]:
    """Return the datasets to list: the packaged images and the named datasets (``NAME=DIR``)."""
    from colorbench.data import open_dataset
    from colorbench.data.named_datasets import listed_set
    from colorbench.data.sources.packaged import SAMPLES
    from colorbench.errors import UserError
    from colorbench.registry import registered

    samples = open_dataset(SAMPLES)
    rows: list[dict[str, Any]] = [{"name": SAMPLES, "images": len(samples), "title": samples.source}]
    for plugin in registered("datasets"):
        try:
            found = listed_set(plugin.name)
        except UserError as error:
            rows.append({"name": plugin.name, "error": str(error)})
        else:
            rows.append({"name": f"{plugin.name}=DIR", "images": found.n, "title": found.title})
    return rows


def _print_group(terminal: Console, title: str, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print the list of one kind of plugin, one line each."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], Text("broken", style="red"), Text(row["error"]))
            continue
        notes = ["the default"] if "default_of" in row else []
        notes += [f"presets: {', '.join(row['presets'])}"] if row.get("presets") else []
        last = str(row[columns[-1]]) + (f" ({'; '.join(notes)})" if notes else "")
        table.add_row(*(Text(str(row.get(column, ""))) for column in columns[:-1]), Text(last))
    terminal.print(Text(title, style="bold"))
    terminal.print(Padding(table, (0, 0, 1, 2)))
