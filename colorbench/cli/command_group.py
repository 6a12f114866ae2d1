"""The verbs of the command line: their modules, lazy loading, and handling of errors."""

from __future__ import annotations

import difflib
import os
import re
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from colorbench.cli.interruption import INTERRUPTED, current_message
from colorbench.errors import UserError, one_line_errors
from colorbench.registry import OWN, Plugin, registered

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""Base class of errors in arguments: click's, or typer's own copy of it in later releases."""
DEBUG = "colorbench.debug"
"""Key in the context's ``meta``: whether errors are shown with a traceback."""


class Verb(NamedTuple):
    """Module and function of a verb, and its summary for the overview."""

    module: str
    function: str
    summary: str


VERBS = {
    "run": Verb("colorbench.cli.run", "run", "Evaluate models on a dataset."),
    "score": Verb("colorbench.cli.score", "score", "Score a folder of predictions against a folder of ground truth."),
    "train": Verb("colorbench.cli.train", "train", "Train a reference model from scratch."),
    "list": Verb("colorbench.cli.list", "list_all", "List models, protocols and datasets."),
    "show": Verb("colorbench.cli.show", "show", "Show details of a model, protocol, dataset or result."),
    "colorize": Verb("colorbench.cli.colorize", "colorize", "Colorize images, such as black-and-white ones."),
    "inputs": Verb("colorbench.cli.inputs", "inputs", "Write a dataset as gray images, for another program."),
    "cache": Verb("colorbench.cli.cache", "cache", "Write a copy of a dataset with smaller images that decode fast."),
    "export": Verb("colorbench.cli.export", "export", "Write a network as an ONNX file."),
    "prior": Verb("colorbench.cli.prior", "prior", "Estimate the color prior (ab histogram) of a dataset."),
    "compare": Verb("colorbench.cli.compare", "compare", "Compare results with significance tests."),
    "verify": Verb(
        "colorbench.cli.verify", "verify", "Verify a result: recompute its numbers from the stored per-image scores."
    ),
    "check": Verb("colorbench.cli.check", "check", "Check that a model, protocol or dataset conforms to colorbench."),
}
"""Each summary equals the first line of the verb's help (checked by a test)."""
OWN_PLUGINS = {
    "leaderboard": "Build an HTML leaderboard.",
    "view": "Show the leaderboard of a folder in a browser, and keep it up to date.",
    "study": "Human evaluation (real vs. fake): build, serve, analyze, power.",
}
"""Summaries of verbs by included packages, which are found through entry points like those of other packages."""

MEANT = {
    **dict.fromkeys(("evaluate", "eval", "benchmark", "bench", "test", "measure"), "run"),
    **dict.fromkeys(("models", "protocols", "datasets", "metrics"), "list"),
    **dict.fromkeys(("info", "describe", "card"), "show"),
    **dict.fromkeys(("diff", "significance"), "compare"),
    **dict.fromkeys(("board", "report", "build"), "leaderboard"),
    **dict.fromkeys(("predict", "inference", "infer"), "colorize"),
    **dict.fromkeys(("serve", "open", "dashboard"), "view"),
    **dict.fromkeys(("validate", "lint"), "check"),
}
"""Other words for a verb -> the verb."""

CONVERSIONS = {
    r"Input should be a valid integer.*": "it takes a whole number",
    r"Input should be a valid number.*": "it takes a number",
    r"Input should be greater than or equal to (\S+)": r"it must be at least \1",
    r"Input should be less than or equal to (\S+)": r"it must be at most \1",
    r"Input should be": "it must be",
}
"""Sentences of pydantic, by which typer converts values -> plain words."""
_NO_COMMAND = re.compile(r"No such command '(.*)'")
"""Sentence of click for an unknown command of a group."""
_LONG_WORD = re.compile(r"\S{400,}")
"""What is shortened in a message, such as a path."""


def plugin_verbs() -> dict[str, Plugin]:
    """Return the commands (verbs) of installed packages by name; built-in names are never replaced."""
    return {plugin.name: plugin for plugin in registered("commands") if plugin.name not in VERBS}


def _plugin_summary(plugin: Plugin) -> str:
    """Return the summary of a package's command, without importing it."""
    own = OWN_PLUGINS.get(plugin.name) if plugin.distribution == OWN else None
    return own or f"(from package {plugin.distribution})"


class VerbGroup(TyperGroup):
    """Command group that lists verbs without importing them, and reports errors in one line."""

    # The command and context classes of typer moved between releases, so they are typed as Any.

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the verbs, built-in ones first."""
        return [*VERBS, *sorted(plugin_verbs())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one verb and return its command."""
        if cmd_name in VERBS:
            verb = VERBS[cmd_name]
            return _as_command(getattr(import_module(verb.module), verb.function), cmd_name)
        plugin = plugin_verbs().get(cmd_name)
        return None if plugin is None else _as_command(plugin.load(), cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the overview from the summaries."""
        rows = [(name, verb.summary) for name, verb in VERBS.items()]
        rows += [(name, _plugin_summary(plugin)) for name, plugin in sorted(plugin_verbs().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find a verb; the error for an unknown one suggests the most similar."""
        names = self.list_commands(ctx)
        if args[:1] == ["help"]:  # what many type first
            if len(args) == 1:
                print(ctx.get_help())  # noqa: T201
                ctx.exit()
            args = [*args[1:], "--help"]
        if args and not args[0].startswith("-") and args[0] not in names:
            near = [MEANT[args[0]]] if args[0] in MEANT else difflib.get_close_matches(args[0], [*names, "help"], n=1)
            raise UserError(
                f"no command {args[0]!r}",
                hint=f"did you mean `{near[0]}`?" if near else "`colorbench --help` lists them",
            )
        return super().resolve_command(ctx, args)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Parse the arguments before the verb; errors in them end in one line."""
        try:
            return super().make_context(*arguments, **settings)
        except USAGE_ERROR as error:
            if _shows_help(error):
                raise
            raise _report(error.ctx, _usage_sentence(None, error), error.exit_code) from error

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; errors that a user can fix end in one line on standard error, all others in a traceback."""
        try:
            with one_line_errors():
                return super().invoke(ctx)
        except USAGE_ERROR as error:
            if _shows_help(error):
                raise
            raise _report(ctx, _usage_sentence(ctx, error), error.exit_code) from error
        except UserError as error:
            raise _report(ctx, str(error), error.exit_code) from error
        except KeyboardInterrupt as error:  # from a verb that handles Ctrl-C itself; else see ``interruption``
            raise _report(ctx, f"interrupted: {current_message()}", INTERRUPTED, label="") from error


def _as_command(verb: Callable[..., Any] | typer.Typer, name: str) -> Any:
    """Return a typer command for a function, an app, or a command."""
    if isinstance(verb, typer.Typer):
        return typer.main.get_command(verb)
    if hasattr(verb, "make_context"):
        return verb
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    app.command(name)(verb)
    return typer.main.get_command(app)


def _shows_help(error: Any) -> bool:
    """Return whether an error only means that no verb was given, which prints the help."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _usage_sentence(ctx: Any, error: Any) -> str:
    """Format an error in the arguments: what is wrong, and the most similar option, or where the options are listed."""
    ctx = error.ctx or ctx
    path = "colorbench" if ctx is None else " ".join(filter(None, (ctx.command_path, ctx.invoked_subcommand)))
    if hasattr(error, "possibilities") and hasattr(error, "option_name"):
        given, known = error.option_name, [] if ctx is None else ctx.command.params
        names = [name for one in known for name in (*one.opts, *one.secondary_opts) if name[:2] == given[:2]]
        near = difflib.get_close_matches(given, names, n=1)
        return f"no option {given}. {f'Did you mean {near[0]}?' if near else f'`{path} --help` lists the options'}"
    message = str(error.format_message()).rstrip(".")
    if (unknown := _NO_COMMAND.match(message)) and "?" not in message and ctx is not None:
        verbs = ctx.command.list_commands(ctx)
        one = os.path.exists(unknown[1]) and len(verbs) == 1
        hint = f"Write `{path} {verbs[0]} {unknown[1]}`" if one else f"`{path} --help` lists the commands"
        return f"no such command {unknown[1]!r}. {hint}"
    for told, plain in CONVERSIONS.items():
        message = re.sub(told, plain, message)
    message = f"{message[:1].lower()}{message[1:]}"
    return message if "?" in message else f"{message}. `{path} --help` lists the options"


def _report(ctx: Any, line: str, code: int, label: str = "error: ") -> typer.Exit:
    """Print a command's error on standard error, with ``--debug`` below the traceback; return the exit to raise."""
    if ctx is not None and ctx.meta.get(DEBUG):
        traceback.print_exc()
    line = _LONG_WORD.sub(lambda found: f"{found[0][:200]}...{found[0][-80:]}", " ".join(line.split()))
    print(f"{label}{line}", file=sys.stderr)  # noqa: T201
    return typer.Exit(code)
