"""Options that several verbs share, and parsing of ``key=value``."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from colorbench.cli.command_group import DEBUG
from colorbench.errors import UserError


def _remember(context: typer.Context, wanted: bool) -> bool:
    # ``meta`` is shared by a command and its group, which handles errors.
    context.meta[DEBUG] = wanted
    return wanted


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_remember, is_eager=True, help="Show the traceback of an error."),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="NAME", help="`cpu`, `cuda`, `cuda:1`, `mps`; `auto` uses a GPU if there is one."),
]


def _keep_standard_output(context: typer.Context, wanted: bool) -> bool:
    # Before the verb imports a plugin, whose output must not mix with the JSON.
    if wanted and not context.resilient_parsing:
        from colorbench.cli.standard_output import standard_output_kept

        context.with_resource(standard_output_kept())
    return wanted


def _no_downloads(context: typer.Context, wanted: bool) -> bool:
    # Before the hub's client is imported, which reads it once; restored after the command.
    if wanted and not context.resilient_parsing:
        context.with_resource(_variable("HF_HUB_OFFLINE", "1"))
    return wanted


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


Offline = Annotated[
    bool, typer.Option("--offline", callback=_no_downloads, is_eager=True, help="Do not download anything.")
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_keep_standard_output,
        help="Print JSON to standard output; messages go to standard error.",
    ),
]
Format = Annotated[str, typer.Option("--format", metavar="text|markdown", help="Format of the results table.")]
FORMATS = ("text", "markdown")
Explain = Annotated[bool, typer.Option("--explain", help="Explain what each metric means.")]
Figures = Annotated[
    Path | None, typer.Option("--figures", metavar="DIR", help="Also write the plots to this folder, as PDF and SVG.")
]
Data = Annotated[
    str, typer.Option("--data", "-d", metavar="DIR", help="Dataset: a folder, tar or Parquet files, or a name.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Evaluate a fixed random subset of N images."),
]
ListFile = Annotated[
    Path | None, typer.Option("--list", metavar="FILE", help="Use only the images that FILE lists, one per line.")
]
Weights = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Load the weights from this file; for a single model.")
]
Contract = Annotated[
    str | None,
    typer.Option(
        "--contract",
        metavar="NAME|FILE",
        help="Contract of an ONNX file: cic, ddcolor, deoldify or a .toml file; for a single model.",
    ),
]
Decode = Annotated[
    str | None,
    typer.Option(
        "--decode",
        metavar="annealed-mean|mean|mode",
        help="Decoding of the predicted color distribution; for a single model.",
    ),
]
Temperature = Annotated[
    float | None, typer.Option("--temperature", min=0.0, metavar="T", help="Annealed-mean temperature (paper: 0.38).")
]


def key_values(pairs: list[str], flag: str) -> dict[str, Any]:
    """Parse an option of KEY=VALUE: ``["auc.step=2", "prior=FILE"]`` to {"auc.step": 2, "prior": "FILE"}.

    Numbers, true, false and null are converted.

    Raises:
        UserError: for a pair without ``=``, or a key given twice.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UserError(f"{flag} wants key=value, got {pair!r}", hint=f"for example {flag} step=1")
        if key in values:
            raise UserError(f"{flag} {key} is given twice", hint="give it once")
        values[key] = _literal(text)
    return values


def _literal(text: str) -> Any:
    """Convert an option's value to a number, true, false or null; other text is returned unchanged."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    # json also accepts "NaN", "Infinity", lists and objects, which are not valid parameters.
    plain = value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if plain else text


def choice(value: str, allowed: tuple[str, ...], flag: str) -> Any:
    """Return the value of an option after checking that it is ``allowed``.

    Raises:
        UserError: for other values.
    """
    if value not in allowed:
        raise UserError(f"{flag} cannot be {value!r}", hint=f"choose {', '.join(allowed)}")
    return value
