"""``colorbench show``: details of a model, protocol, dataset or result."""

from __future__ import annotations

import json as jsonlib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from colorbench.cli.shared_options import Debug, Json
from colorbench.cli.standard_output import print_result
from colorbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

MODEL_FIRST = (
    *("use", "role", "tags", "can", "parameters", "working size", "decoding", "training data", "weights", "download"),
    *("license", "paper", "training presets"),
)
PROTOCOL_FIRST = (
    *("use", "version", "sets", "preset of", "complete", "missing", "metrics of the source", "images", "add"),
    *("published, not measured", "needs", "metrics", "parameters", "presets"),
)
"""Headings in the order in which they are shown without ``--explain``; the others are added by it."""


def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of a model, protocol or dataset, or a result folder."),
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Show everything: notes, settings, meanings, values of presets.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show details of a model, protocol, dataset or result.

    Models: an example, tags with their results, and the model card. Protocols: metrics, parameters with defaults, and
    presets. Results: whether a new run would reuse the result, and what has changed if not.
    """
    from colorbench.cli.console import console

    about = describe(name)
    if json:
        print_result(jsonlib.dumps(about, indent=1, ensure_ascii=False, default=str))
    else:
        _print_about(console(text_to_stderr=False), about, explain=explain)


def describe(name: str) -> dict[str, Any]:
    """Return the details that ``show`` prints about a name, by heading.

    Raises:
        UserError: for an unknown name, suggesting the most similar of all kinds.
    """
    from colorbench.cli.record_details import describe_folder, describe_record, find_record_folder
    from colorbench.data.sources.packaged import SAMPLES
    from colorbench.description_files import metric_hint
    from colorbench.registry import nearest, registered, split_tag

    if (folder := find_record_folder(name)) is not None:
        return describe_record(folder)
    protocols = [plugin.name for plugin in registered("protocols")]
    if name.partition("@")[0] in protocols:
        return _protocol(name)
    if name == SAMPLES:
        return _samples()
    if name in [plugin.name for plugin in registered("datasets")]:
        return _listed_dataset(name)
    models = [plugin.name for plugin in registered("models")]
    if split_tag(name)[0] not in models and (below := describe_folder(name)) is not None:
        return below
    if "/" in name or ":" in name:
        return _model(name)
    named = [plugin.name for kind in ("models", "datasets") for plugin in registered(kind)]
    near = nearest(name, [*protocols, *named, SAMPLES])
    hint = f"did you mean {near}?" if near else metric_hint(name) or "`colorbench list` shows all"
    raise UserError(f"unknown name {name!r}", hint=hint)


def _protocol(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a protocol, if possible without importing it."""
    from colorbench.plugin_descriptions import stored_details

    if (stored := stored_details("protocols", name)) is not None:
        return stored
    from colorbench.plugin_details import protocol_details

    return protocol_details(name)


def _model(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a model, if possible without importing it: an example, card, tags, results."""
    from colorbench.plugin_descriptions import results_of, stored_details

    registered = ":" not in name and "[" not in name
    about = stored_details("models", name) if registered else None
    if about is None:
        from colorbench.plugin_details import model_details

        about = model_details(name)
    data = " --data DIR" if name.startswith("images:") else ""
    use = f"colorbench run --model {shlex.quote(name)} --protocol auc{data}"
    start = {"name": about["name"], "title": about["title"], "use": use}
    return {**start, **about, "results": (results_of(name) if registered else None) or None}


def _listed_dataset(name: str) -> dict[str, Any]:
    """Return what ``show`` prints about a named dataset."""
    from colorbench.data.named_datasets import listed_set

    found = listed_set(name)
    stems = sorted(found.checked_stems(name))
    return {
        "name": name,
        "title": found.title,
        "use": f"--data {name}=DIR",
        "images": found.n,
        "first and last": f"{stems[0]}, {stems[-1]}",
        "set sha256": found.sha256,
        "license": found.license,
        "where to get": found.where_to_get,
        "list from": found.source,
        **{f"known {kind}": ", ".join(known) for kind, known in found.known.items()},
    }


def _samples() -> dict[str, Any]:
    """Return what ``show`` prints about the packaged images."""
    from colorbench.data import open_dataset
    from colorbench.data.sources.packaged import SAMPLES

    dataset = open_dataset(SAMPLES)
    return {"name": SAMPLES, "title": dataset.source, "images": [sample.id for sample in dataset.samples]}


def _print_about(terminal: Console, about: Mapping[str, Any], *, explain: bool) -> None:
    """Print the details with headings on the left and values on the right."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    terminal.print(Text.assemble((about["name"], "bold"), f" · {about['title']}"), soft_wrap=True)
    rows, every = (dict(_rows(about, explain=full)) for full in (explain, True))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for heading, lines in rows.items():
        table.add_row(heading, Text("\n".join(lines)))
    terminal.print(Padding(table, (1, 0, 0, 0)))
    if hidden := [heading for heading, lines in every.items() if lines != rows.get(heading)]:
        terminal.print(f"\n`--explain` shows more: {', '.join(hidden)}.")


def _rows(about: Mapping[str, Any], *, explain: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield headings and their lines, the most useful first; without ``explain`` only these, with short lines."""
    every = [heading for heading in about if heading not in ("name", "title")]
    first = MODEL_FIRST if "role" in about else PROTOCOL_FIRST if "parameters" in about else every
    for heading in [*first, *(key for key in every if key not in first)] if explain else first:
        value = about.get(heading)
        results = about.get("results") or {}
        if heading == "tags" and (value or results):
            yield heading if value else "results", list(_tags(value or {}, results))
        elif value is None or (heading == "results" and "role" in about):
            continue
        elif heading == "role":
            yield heading, ["model" if value == "competitor" else str(value)]
        elif isinstance(value, Mapping) and heading == "metrics" and "parameters" in about:
            yield heading, [_metric(name, facts, explain) for name, facts in value.items()]
        elif isinstance(value, Mapping) and heading == "parameters":
            yield heading, [_parameter(name, facts, explain) for name, facts in value.items()]
        elif isinstance(value, Mapping) and heading in ("presets", "training presets") and not explain:
            yield heading, [", ".join(value)]
        else:
            yield heading, list(lines_of(value))


def _tags(titles: Mapping[str, str], results: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield a line per tag, the default first, and a line per stored result below it."""
    for position, tag in enumerate(titles or {"": ""}):
        if tag:
            yield f"{tag}{' (the default)' if position == 0 and len(titles) > 1 else ''}: {titles[tag]}"
        for protocol, text in results.get(tag, {}).items():
            yield f"{'  ' if tag else ''}{protocol}: {text}"


def _metric(name: str, facts: Mapping[str, Any], explain: bool) -> str:
    """Return a line on a metric: unit, direction, and with ``explain`` its meaning."""
    unit = f" [{facts['unit']}]" if facts.get("unit") else ""
    words = [f"{facts['better']} is better"] if facts.get("better") else []
    words += ["primary metric"] if facts.get("primary") and not explain else []  # the meaning says so, and why
    short = f"{name}{unit}{': ' if words else ''}{', '.join(words)}"
    return f"{short}{'. ' if words else ': '}{facts['meaning']}" if explain else short


def _parameter(name: str, facts: Mapping[str, Any], explain: bool) -> str:
    """Return a line on a parameter: its value, and with ``explain`` its meaning."""
    meaning = facts.get("meaning") if explain else None
    return f"{name}: {facts['value']}{f'; {meaning}' if meaning else ''}"


def lines_of(value: Any) -> Iterable[str]:
    """Return a value of the details as lines of text; parts of a model are lines such as ``vgg16; use: loss``."""
    if isinstance(value, Mapping):
        return [f"{key}: {one}" for key, one in value.items()]
    if isinstance(value, list | tuple):
        return ["; ".join(_named(one)) if isinstance(one, Mapping) else str(one) for one in value]
    return [f"{value:,}" if type(value) is int else str(value)]


def _named(part: Mapping[str, Any]) -> list[str]:
    """Return the name of a part, then its other facts."""
    facts = [f"{key.replace('_', ' ')}: {one}" for key, one in part.items() if key != "name"]
    return [str(part["name"]), *facts] if "name" in part else facts
