"""``run --config FILE``: options of a run in a YAML file, and the file that repeats a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from colorbench._version import __version__
from colorbench.errors import UserError

LARGEST = 1 << 20
"""Bytes of a file of options."""
NOT_REPEATED = ("config", "json", "debug", "quiet", "verbose", "explain", "format", "figures", "resume", "offline")
"""Options that decide what is printed, not what is measured."""
LONGEST_SHOWN = 80
"""Characters of a wrong value in a message."""
FLAG_VALUES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
NAMES = ("model", "protocol")
"""Options that take several names in one value, separated by commas."""
HINT = "write it like the options: model: [zoo/cic, zoo/gray], protocol: auc, data: images/, batch-size: 8"


def _read(context: typer.Context, path: Path | None) -> Path | None:
    # Eager: the values are defaults, so what stands on the command line wins.
    if path is not None and not context.resilient_parsing:
        context.default_map = _options_of(path, context)
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=_read,
        is_eager=True,
        help="Read options from a YAML file, such as run.yaml beside a result; the command line overrides them.",
    ),
]


def _options_of(path: Path, context: typer.Context) -> dict[str, Any]:
    """Read the options of a command from a configuration file.

    Args:
        path: of the YAML file: a mapping of long flags without dashes to values.
        context: of the command whose options they are.

    Returns:
        Values by the names that the command's parameters have.

    Raises:
        UserError: naming the file and the first key or value that is wrong.
    """
    from colorbench.storage import read_plain

    where = str(path)
    found = _parsed(read_plain(path, LARGEST, missing="no such file of options", hint=HINT), where)
    if not isinstance(found, dict):
        raise UserError("this file holds no options", where=where, hint=HINT)
    flags = _flags(context.command.params)
    values: dict[str, Any] = {}
    for key, value in found.items():
        name = str(key).replace("_", "-")
        if name not in flags or name == "config":
            raise UserError(f"unknown option {key!r}", where=where, hint=f"options: {', '.join(sorted(flags))}")
        option = flags[name]
        if str(option.name) in values:
            raise UserError(f"{name} is given twice", where=where, hint="give it once")
        values[str(option.name)] = _value_of(name, value, option, context, where)
    return values


def _parsed(data: bytes, where: str) -> Any:
    """Parse a YAML file, with every value as the text that is written there.

    The command line reads text, too. YAML itself would read ``no`` as false, 010 as 8, 1:30 as 90, 2024-01-01 as a date
    and 1e-3 as a text.

    Raises:
        UserError: for what is not YAML, and for a key that is given twice.
    """
    import yaml

    class Texts(yaml.SafeLoader):
        yaml_implicit_resolvers = {
            first: [rule for rule in rules if rule[0].endswith((":null", ":merge"))]
            for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def compose_mapping_node(self, *name: Any) -> Any:
            node = super().compose_mapping_node(*name)
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"{key.value!r} is given twice", problem_mark=key.start_mark)
                seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
            return node

    try:
        return Texts(data).get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        what = str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
            what = f"line {error.problem_mark.line + 1}: {error.context or ''} {error.problem or ''}"
        raise UserError(f"not YAML: {' '.join(what.split())[:200]}", where=where, hint=HINT) from error


def _flags(parameters: Sequence[Any]) -> dict[str, Any]:
    return {
        flag.removeprefix("--"): one
        for one in parameters
        for flag in one.opts
        if flag.startswith("--") and flag != "--help"
    }


def _value_of(name: str, value: Any, option: Any, context: typer.Context, where: str) -> Any:
    """Return the value of an option as the command line would give it.

    Raises:
        UserError: for a value that the option does not take.
    """
    if getattr(option, "is_flag", False):
        if not isinstance(value, str) or value.lower() not in FLAG_VALUES:
            raise UserError(f"{name} cannot be {_shown(value)}", where=where, hint="write true or false")
        return FLAG_VALUES[value.lower()]
    if option.multiple:
        if isinstance(value, Mapping) and "=" in (option.metavar or ""):
            return [f"{key}={_text(f'{name} {key}', one, where)}" for key, one in _flat(value).items()]
        return [_text(name, one, where) for one in (value if isinstance(value, list) else [value])]
    text = _text(name, value, where)
    try:
        option.process_value(context, text)
    except typer.BadParameter as error:
        raise UserError(f"{name} cannot be {_shown(text)}: {error.message[:200]}", where=where, hint=HINT) from error
    return text


def _flat(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a mapping with the keys of mappings inside it as ``key.inner``."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def _text(name: str, value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.isascii() and re.search("[\ud800-\udfff]", value):
        raise UserError(f"{name} cannot be {_shown(value)}", where=where, hint=HINT)
    return value


def _shown(value: Any) -> str:
    """Describe a value in a message: a text by its beginning, any other by its kind.

    Aliases in a list of lists can make the text of a small file huge.
    """
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "...")
    kinds = {type(None): "empty", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), f"of the type {type(value).__name__}")


def repeating(context: typer.Context) -> str:
    """Return the configuration file that repeats a command: all options that are not at their defaults."""
    import yaml

    from colorbench.models import split_names

    options: dict[str, Any] = {}
    for option in context.command.params:
        value = context.params.get(str(option.name))
        flag = next((flag.removeprefix("--") for flag in option.opts if flag.startswith("--")), "")
        if not flag or flag in NOT_REPEATED or value in (None, (), []) or value == option.default:
            continue
        if isinstance(value, list | tuple):
            split = split_names if flag in NAMES else lambda text: [text]  # `-p a,b` is `-p a -p b`
            texts = [part for one in value for part in split(str(one))]
            options[flag] = texts if len(texts) > 1 else texts[0]
        else:
            options[flag] = value if isinstance(value, bool | int | float | str) else str(value)
    head = f"# colorbench {__version__}; repeat with: colorbench run --config FILE\n"
    return head + yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
