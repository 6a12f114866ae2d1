"""What others build on, as text files under ``snapshots/``: public names, the options of each verb, JSON schemas.

    python tests/snapshots.py

writes the files again. A change of one of them is a change of an interface: say so in the commit.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "snapshots"
PACKAGES = ("cli", "color", "data", "evaluation", "metrics", "models", "processes", "reporting", "results", "stats")
PACKAGES += ("storage", "testing", "training", "verification")
MODULES = ("colorbench", "colorbench.errors", *(f"colorbench.{package}" for package in PACKAGES))
"""What is public: all other modules are private to the library."""
SCHEMAS = {
    "record": ("colorbench.results.record", "Record"),
    "comparison": ("colorbench.results.comparison_schema", "Comparison"),
    "verification": ("colorbench.verification.verification_schema", "Verification"),
    "model_card": ("colorbench.models.model_card", "ModelCard"),
}


def snapshots() -> dict[str, str]:
    """File name -> text, of the code as it is."""
    found = {"public_names.txt": "\n".join(public_names()) + "\n"}
    for name, (module, model) in SCHEMAS.items():
        schema = getattr(import_module(module), model).model_json_schema()
        found[f"{name}.schema.json"] = json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    for path, command in commands():
        found[f"help_{'_'.join(path)}.txt"] = "\n".join(options(command)) + "\n"
    return found


def catalogs() -> dict[Path, str]:
    """``colorbench.json`` of each package of plugins: its path and its text."""
    from colorbench.description_files import FILE
    from colorbench.plugin_descriptions import catalog

    with details_as_installed():
        found = catalog()
    for model, results in shipped_results().items():
        found["zoo"]["models"][model.removeprefix("zoo/")]["results"] = results
    return {
        ROOT / package / FILE: json.dumps(about, indent=1, ensure_ascii=False) + "\n"
        for package, about in found.items()
    }


@contextlib.contextmanager
def details_as_installed() -> Iterator[None]:
    """Load models without downloaded weights (an empty cache), and without the k-means, of which no detail depends."""
    with (
        tempfile.TemporaryDirectory() as empty,
        mock.patch.dict(os.environ, {"XDG_CACHE_HOME": empty}),
        mock.patch("zoo.cic.trunk_colorizer.kmeans_initialize"),
    ):
        yield


def shipped_results() -> dict[str, dict[str, dict[str, str]]]:
    """Model -> tag (empty without tags) -> protocol -> primary metric of the shipped record, as ``show`` prints it."""
    from colorbench.plugin_descriptions import headline_of
    from colorbench.registry import split_tag
    from colorbench.reporting import format_interval, format_number
    from colorbench.results import read_record

    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in sorted(ROOT.glob("leaderboards/reference/records/*/*/*/*/record.json")):
        record = read_record(path.parent)
        model, tag = split_tag(record.model.name)
        (metric,) = (one for one in record.metrics if one.name == headline_of(record.protocol.name))
        value = f"{format_number(metric.value, metric.unit)} {metric.unit}".strip()
        interval = format_interval(metric.ci_low, metric.ci_high, metric.unit)
        images = f"on {record.dataset.n_evaluated} images of {record.dataset.name}"
        text = " ".join(part for part in (metric.name, value, interval, images) if part)
        found.setdefault(model, {}).setdefault(tag or "", {})[record.protocol.name] = text
    return found


def public_names() -> Iterator[str]:
    """``module.name`` with parameters or members, a line each."""
    for name in MODULES:
        module = import_module(name)
        listed = getattr(module, "__all__", None)
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
        for key in sorted(listed if listed is not None else [key for key in own if not key.startswith("_")]):
            yield f"{name}.{key}{described(getattr(module, key))}"


def described(value: Any) -> str:
    """Parameters of a function, members of a class; nothing of a value."""
    if inspect.isclass(value):
        members = {*inspect.get_annotations(value)}
        members |= {key for key, one in vars(value).items() if callable(one) or isinstance(one, property)}
        shown = sorted(key for key in members if not key.startswith("_") and key != "model_config")
        return f": {', '.join(shown)}" if shown else ""
    if inspect.isfunction(value):
        return f"({', '.join(parameter(one) for one in inspect.signature(value).parameters.values())})"
    return ""


def parameter(one: inspect.Parameter) -> str:
    """``name``, with ``=`` where it has a default and ``*`` where it goes by name only."""
    star = {inspect.Parameter.KEYWORD_ONLY: "*", inspect.Parameter.VAR_POSITIONAL: "*args "}.get(one.kind, "")
    return f"{star}{one.name}{'' if one.default is inspect.Parameter.empty else '='}"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb, and every command of those that have several."""
    import typer

    from colorbench.cli import app

    root = typer.main.get_command(app)
    context = root.make_context("colorbench", [], resilient_parsing=True)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        below = getattr(command, "commands", None) or {}
        if not below:
            yield (name,), command
        for key, one in below.items():
            yield (name, key), one


def options(command: Any) -> Iterator[str]:
    """What ``--help`` is made of, whatever the width: the words, then each argument and option with its help."""
    yield " ".join((command.help or "").split())
    for one in command.params:
        names = ", ".join([*one.opts, *one.secondary_opts]) if one.param_type_name == "option" else ""
        metavar = getattr(one, "metavar", None) or ""
        needed = " [required]" if one.required else ""
        default = getattr(one, "show_default", False)
        shown = f" [default: {one.default}]" if default and isinstance(one.default, str | int | float) else ""
        yield f"  {' '.join(f'{names} {metavar}'.split())}{needed}: {' '.join((one.help or '').split())}{shown}"


def main() -> None:
    """Write every snapshot; remove those of what is gone."""
    FOLDER.mkdir(exist_ok=True)
    found = snapshots()
    for path in FOLDER.iterdir():
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    for path, text in catalogs().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
