"""Sphinx extension: reference pages from docstrings, the registry and the command line.

These pages are generated completely: public names from ``__all__`` of packages, models and protocols from the registry,
and options from the command-line parser.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import model_cards
import typer
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

ROOTS = ("colorbench", "zoo", "protocols", "leaderboards")
LEFT_OUT = ("colorbench.cli",)
"""Packages without an API page: verbs have a page of their own."""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the generator."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(app: Sphinx) -> None:
    """Write every page below ``reference/``; unchanged pages keep their times, outdated pages are removed."""
    folder = Path(app.srcdir) / "reference"
    facts = {
        "models": models_page(),
        "protocols": protocols_page(),
        "metrics": metrics_page(),
        "presets": presets_page(),
        "differences-from-papers": differences_page(),
        "command-line": command_line_page(),
    }
    modules = list(public_modules())
    api = {page_of(module.__name__): api_page(module, modules) for module in modules}
    pages = {**facts, **api, "index": index_page(facts, api)}
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def index_page(facts: Iterable[str], api: Iterable[str]) -> str:
    """Return the table of contents of the reference."""
    parts = ["# Reference\n\nThese pages are generated from the code, the registry and the command line.\n"]
    for caption, names in (("Installed", facts), ("Python", api)):
        lines = "\n".join(names)
        parts.append(f"## {caption}\n\n```{{toctree}}\n:maxdepth: 1\n\n{lines}\n```\n")
    return "\n".join(parts)


def public_modules() -> Iterator[ModuleType]:
    """Yield the packages, and the modules beside them, that name their public names in ``__all__``."""
    for root in ROOTS:
        package = import_module(root)
        found = [root]
        found += [info.name for info in pkgutil.iter_modules(package.__path__, f"{root}.")]
        for info in pkgutil.walk_packages(package.__path__, f"{root}."):
            if info.ispkg and info.name not in found:
                found.append(info.name)
        for name in sorted(found, key=lambda name: (name.count("."), name)):
            if any(part.startswith("_") for part in name.split(".")) or name in LEFT_OUT:
                continue
            module = import_module(name)
            if getattr(module, "__all__", None):
                yield module


def page_of(package: str) -> str:
    """Return the name of a package's page."""
    return f"api-{package.replace('.', '-')}"


def home_of(module: ModuleType, name: str, modules: Iterable[ModuleType]) -> str:
    """Return the package whose page describes a public name: the innermost of those that offer the same object."""
    value, found = getattr(module, name), module.__name__
    if not (inspect.isclass(value) or is_function(value)):
        return found
    for other in modules:
        deeper = other.__name__.count(".") > found.count(".")
        if deeper and name in other.__all__ and getattr(other, name) is value:
            found = other.__name__
    return found


def api_page(module: ModuleType, modules: Sequence[ModuleType]) -> str:
    """Return one page: a table of the public names of a package, then the docstring of each that is not elsewhere."""
    package = module.__name__
    summary = inspect.cleandoc(module.__doc__ or "").split("\n\n")[0]
    names = [name for name in sorted(module.__all__, key=str.lower) if not inspect.ismodule(getattr(module, name))]
    homes = {name: home_of(module, name, modules) for name in names}
    rows = [
        (f"{{py:obj}}`{name} <{home}.{name}>`", first_line(module, name))
        for name, home in homes.items()
        if name != "__version__"
    ]
    parts = [f"# {package}\n\n{summary}\n", table(("name", "meaning"), rows)]
    parts += [f"```{{eval-rst}}\n{directive(module, name)}```\n" for name in names if homes[name] == package]
    return "\n".join(parts)


def directive(module: ModuleType, name: str) -> str:
    """Return the autodoc directive of a public name, under the path that users import it by."""
    value, path = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n"
    if is_function(value):
        return f".. autofunction:: {path}\n"
    # The text after a constant or an alias is read from the source of the module that defines it.
    lines = "".join(f"   {line}\n" for line in constant_doc(module, name))
    return f".. py:data:: {path}\n\n{lines}"


def is_function(value: Any) -> bool:
    """Return whether a value is a function, with a cache around it or without."""
    return callable(value) and inspect.isfunction(inspect.unwrap(value))


def constant_doc(module: ModuleType, name: str) -> list[str]:
    """Return the lines of the text after a constant, in the package or in the module of it that defines the name."""
    value = getattr(module, name)
    below = pkgutil.walk_packages(getattr(module, "__path__", ()), f"{module.__name__}.")
    for where in (module.__name__, *(info.name for info in below)):
        if vars(import_module(where)).get(name) is value:
            docs = ModuleAnalyzer.for_module(where).find_attr_docs()
            if ("", name) in docs:
                return docs["", name]
    return []


def first_line(module: ModuleType, name: str) -> str:
    """Return the summary of a public name."""
    value = getattr(module, name)
    own = inspect.isclass(value) or is_function(value)
    lines = inspect.cleandoc(value.__doc__ or "").splitlines() if own else constant_doc(module, name)
    return " ".join(lines[: lines.index("") if "" in lines else None]).replace("|", "\\|").replace("``", "`")


def models_page() -> str:
    """Return one page: every installed model with its card and tags."""
    from colorbench.cli.show import lines_of
    from colorbench.models import load_model, tags_of
    from colorbench.registry import registered

    note = "`colorbench show NAME --explain` prints the card, too. Results: the shipped records, on 650 images."
    parts = [f"# Models\n\nThe models of the installed packages. {note} [low, high]: 95 % confidence interval.\n"]
    for plugin in registered("models"):
        # The class's own, where it has one: weights that are not shipped need not be here.
        card = getattr(plugin.load(), "card", None) or load_model(plugin.name).card
        facts = card.model_dump(exclude_defaults=True, exclude={"title"})
        rows = [
            (key.replace("_", " "), text(" · ".join(lines_of(value))))
            for key, value in {"role": card.role_name, **facts}.items()
        ]
        rows += [(name, text(value)) for name, value in model_cards.facts(plugin.name)]
        parts.append(f"## {plugin.name}\n\n{text(card.title)}\n\n{model_cards.strip(plugin.name)}")
        parts.append(table(("fact", "value"), rows))
        parts.append(
            table(("tag", "meaning"), [(code(tag), text(title)) for tag, title in tags_of(plugin.load()).items()])
        )
        results = list(model_cards.results(plugin.name))
        parts.append(table(("result", "metric", "value", "Δ vs. gray"), [result[:4] for result in results]))
        # Not a column of the table: their paths are as wide as the page.
        records = "".join(f"- {result[4]}\n" for result in results if result[4])
        parts.append(f"Records:\n\n{records}" if records else "")
    return "\n".join(parts)


def specs() -> list[Any]:
    """Return the specification of every installed protocol, in the order of the registry."""
    from colorbench.plugin_details import spec_of
    from colorbench.registry import registered

    return [spec_of(plugin.name) for plugin in registered("protocols")]


def protocols_page() -> str:
    """Return one page: every installed protocol with its version, metrics, parameters and presets."""
    parts = ["# Protocols\n\nAll installed protocols. `colorbench show NAME --explain` prints the same.\n"]
    for spec in specs():
        needs = f" It needs a model with {', '.join(map(code, spec.needs))}." if spec.needs else ""
        headline = f" Boards sort by `{spec.headline}`."
        parts.append(f"## {spec.name}\n\n{text(spec.title)}. Version {spec.version}.{headline}{needs}\n")
        parts.append(table(("metric", "unit", "better", "meaning"), map(metric_row, spec.metrics)))
        rows = [
            (
                code(key),
                code(value),
                ", ".join(map(code, spec.choices.get(key, ()))),
                text(spec.parameter_help.get(key, "")),
            )
            for key, value in spec.parameters.items()
        ]
        parts.append(table(("parameter", "default", "choices", "meaning"), rows))
        parts.append(preset_table(spec))
    return "\n".join(parts)


def metrics_page() -> str:
    """Return one page: every metric that an installed protocol reports, by name."""
    rows = sorted(
        (metric.name, f"[{spec.name}](protocols.md#{spec.name})", *metric_row(metric)[1:])
        for spec in specs()
        for metric in spec.metrics
    )
    head = ("metric", "protocol", "unit", "better", "meaning")
    lines = [(code(name), *rest) for name, *rest in rows]
    note = "Conventions and pitfalls stand in [the guide](../metrics.md)."
    return f"# Metrics\n\nThe metrics of the installed protocols. {note}\n\n{table(head, lines)}"


def metric_row(metric: Any) -> tuple[str, ...]:
    """Return name, unit, direction and meaning of a metric."""
    better = {True: "higher", False: "lower", None: "neither"}[metric.higher_is_better]
    return code(metric.name), text(metric.unit), better, text(metric.explanation or metric.title)


def differences_page() -> str:
    """Return one page: the choices of every protocol beside those of the paper and of later papers."""
    from leaderboards.published_practice import COMMON, OF_PROTOCOL

    head = ("choice", "here", "Colorful Image Colorization (2016)", "later papers and their code")
    intro = (
        "Numbers of two papers are comparable only if these choices agree. Those of later papers were read in their "
        "public code. [Published evaluations](../published-evaluations.md) says what each public script computes."
    )
    figure = (
        "![PSNR of one model under eight presets: from 20.17 to 20.76 dB](../published-evaluations.webp)\n\n"
        "*PSNR of the same predictions with the choices of different papers.*"
    )
    parts = [f"# Differences from the papers\n\n{intro}\n\n{figure}\n\n## All protocols\n"]
    parts.append(departures_table(head, COMMON))
    for protocol, rows in OF_PROTOCOL.items():
        parts += [f"## {protocol}\n", departures_table(head, rows)]
    return "\n".join(parts)


def departures_table(head: tuple[str, ...], rows: Iterable[Any]) -> str:
    """Return choices as a table; ``=name`` is the parameter of that name."""

    def here(row: Any) -> str:
        return f"the parameter `{row.here[1:]}`" if row.here.startswith("=") else row.here

    return table(head, [tuple(map(text, (row.choice, here(row), row.paper, row.later))) for row in rows])


def presets_page() -> str:
    """Return one page: the presets of protocols, and the training presets of reference models."""
    from colorbench.registry import registered

    parts = ["# Presets\n\n## Protocols\n\nA preset sets parameters: `colorbench run -p auc@exact`.\n"]
    parts += filter(None, map(preset_table, specs()))
    parts.append("## Training\n\n`colorbench train MODEL --preset NAME` takes one of these.\n")
    for plugin in registered("models"):
        presets = getattr(plugin.load(), "presets", None) or {}
        rows = [
            (code(f"{plugin.name} {name}"), text(getattr(preset, "description", preset)))
            for name, preset in presets.items()
        ]
        parts.append(table(("model and preset", "description"), rows))
    return "\n".join(parts)


def preset_table(spec: Any) -> str:
    """Return the presets of a protocol as a table; empty where it has none."""
    rows = [
        (
            code(name),
            ", ".join(code(f"{key}={value}") for key, value in spec.preset(name).items()),
            followed(spec, name),
        )
        for name in spec.preset_names
    ]
    return table(("preset", "parameters", "follows"), rows)


def followed(spec: Any, preset: str) -> str:
    """Return whose evaluation a preset follows, and whether it is complete; empty where it follows none."""
    source = spec.preset_sources.get(preset.partition("@")[2])
    if source is None:
        return ""
    return text(f"{source.source}. Missing: {'; '.join(source.missing)}" if source.missing else source.source)


def command_line_page() -> str:
    """Return one page: every verb with its arguments and options."""
    from colorbench.cli import app

    parts = ["# Command line\n\n`colorbench VERB --help` prints the same.\n"]
    for path, command in commands(typer.main.get_command(app), "colorbench"):
        parts.append(f"## {path}\n\n{text(inspect.cleandoc(command.help or ''))}\n")
        rows = [option_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        parts.append(table(("option", "default", "meaning"), rows))
    return "\n".join(parts)


def option_row(parameter: Any) -> tuple[str, str, str]:
    """Return the names, default and help of an argument or option."""
    is_option = parameter.param_type_name == "option"
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar or parameter.name.upper()]
    plain = isinstance(parameter.default, str | int | float) and parameter.default is not False
    default = code(parameter.default) if plain else "required" if parameter.required else ""
    return ", ".join(map(code, names)), default, text(parameter.help or "")


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every command below a group with the words that call it."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            yield from commands(found, f"{path} {name}")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table without the columns that are empty everywhere; no text where there are no rows."""
    rows = list(rows)
    columns = [position for position in range(len(head)) if any(row[position] for row in rows)]
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line[position] for position in columns)} |" for line in lines) + "\n"


def code(value: Any) -> str:
    """Return a value as code in a table cell; nothing for an empty one."""
    shown = str(value).replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def text(value: Any) -> str:
    """Return a value as text that may stand in a table cell."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    plain = " ".join(str(value).replace("``", "`").split()).replace("|", "\\|")
    # Every second part stands between backticks, where Markdown reads nothing but the end of it.
    parts = plain.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[") for part in parts[::2]]
    return "`".join(parts)
