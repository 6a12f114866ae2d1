"""``run --config FILE``: options of a run in a YAML file, and the file that repeats a run."""

from __future__ import annotations

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
HINT = "write it like the options: model: [zoo/cic, zoo/gray], protocol: auc, data: images/, batch-size: 8"


def _read(context: typer.Context, path: Path | None) -> Path | None:
    # Eager: the values are defaults, so what stands on the command line wins.
    if path is not None and not context.resilient_parsing:
        context.default_map = _options_of(path, context.command.params)
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


def _options_of(path: Path, parameters: Sequence[Any]) -> dict[str, Any]:
    """Read the options of a command from a configuration file.

    Args:
        path: of the YAML file: a mapping of long flags without dashes to values.
        parameters: of the command whose options they are.

    Returns:
        Values by the names that the command's parameters have.

    Raises:
        UserError: naming the file and the first key or value that is wrong.
    """
    import yaml

    from colorbench.storage import read_plain

    data = read_plain(path, LARGEST, missing="no such file of options", hint=HINT)
    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"not YAML: {' '.join(str(error).split())[:200]}", where=str(path), hint=HINT) from error
    if not isinstance(found, dict):
        raise UserError("this file holds no options", where=str(path), hint=HINT)
    flags = _flags(parameters)
    values = {}
    for key, value in found.items():
        name = str(key).replace("_", "-")
        if name not in flags or name == "config":
            raise UserError(f"unknown option {key!r}", where=str(path), hint=f"options: {', '.join(sorted(flags))}")
        option = flags[name]
        given = _texts(name, value, path)
        if isinstance(given, list) and not option.multiple:
            raise UserError(f"{name} takes one value, not a list", where=str(path), hint=HINT)
        if option.multiple and not isinstance(given, list):
            given = [given]
        if isinstance(given, bool) != (getattr(option, "is_flag", False) is True):
            hint = "write true or false" if getattr(option, "is_flag", False) else HINT
            raise UserError(f"{name} cannot be {value!r}", where=str(path), hint=hint)
        values[str(option.name)] = given
    return values


def _flags(parameters: Sequence[Any]) -> dict[str, Any]:
    return {
        flag.removeprefix("--"): one
        for one in parameters
        for flag in one.opts
        if flag.startswith("--") and flag != "--help"
    }


def _texts(name: str, value: Any, path: Path) -> Any:
    """Return a value as the command line would have it; a mapping becomes a list of ``key=value``."""
    if isinstance(value, Mapping):
        flat: dict[str, Any] = {}
        for key, part in value.items():
            flat |= {f"{key}.{inner}": one for inner, one in part.items()} if isinstance(part, Mapping) else {key: part}
        return [f"{key}={_text(name, one, path)}" for key, one in flat.items()]
    if isinstance(value, list):
        return [_text(name, one, path) for one in value]
    return value if isinstance(value, bool) else _text(name, value, path)


def _text(name: str, value: Any, path: Path) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise UserError(f"{name} cannot be {value!r}", where=str(path), hint=HINT)
    return str(value)


def repeating(context: typer.Context) -> str:
    """Return the configuration file that repeats a command: all options that are not at their defaults."""
    import yaml

    options: dict[str, Any] = {}
    for option in context.command.params:
        value = context.params.get(str(option.name))
        flag = next((flag.removeprefix("--") for flag in option.opts if flag.startswith("--")), "")
        if not flag or flag in NOT_REPEATED or value in (None, (), []) or value == option.default:
            continue
        if isinstance(value, list | tuple):
            texts = [str(one) for one in value]
            options[flag] = texts if len(texts) > 1 else texts[0]
        else:
            options[flag] = value if isinstance(value, bool | int | float | str) else str(value)
    head = f"# colorbench {__version__}; repeat with: colorbench run --config FILE\n"
    return head + yaml.safe_dump(options, sort_keys=False, allow_unicode=True)
