"""Adaptation of errors to Python (names of arguments instead of flags), and messages through logging."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from colorbench.errors import UserError, one_line_errors
from colorbench.evaluation import NullProgress

LOG = logging.getLogger("colorbench")
ARGUMENTS = {
    "--debug shows where": "the exception's cause shows where",
    "--no-resume": "resume=False",
    "--no-baselines": "baselines=False",
    "--allow-unstable": "allow_unstable=True",
    "--model": "models",
    "--protocol": "protocols",
    "--param": "parameters",
    "--gray": "gray_policy",
    "--metric": "metrics",
    "--list": "list_file",
    "run the same command": "make the same call",
}
"""Text about the command line -> text about Python, where they differ."""


class LogProgress(NullProgress):
    """Progress listener that sends messages to the logger ``colorbench``."""

    def message(self, line: str) -> None:
        """Log one message."""
        LOG.warning("%s", line)


@contextlib.contextmanager
def python_errors() -> Iterator[None]:
    """Make errors those of a Python function, in a context or a decorated function.

    They name Python arguments instead of command-line flags, and failures of the operating system are one of them.
    """
    try:
        with one_line_errors():
            yield
    except UserError as error:
        rename_flags(error)
        raise


def rename_flags(error: UserError) -> None:
    """Replace command-line flags in an error by Python arguments."""

    def renamed(text: str) -> str:
        for flag, argument in ARGUMENTS.items():
            text = re.sub(rf"(?<![\w-]){flag}\b(?!-)", argument, text)
        return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda found: found[1].replace("-", "_"), text)

    hint = None if error.hint is None else renamed(error.hint)
    # Not error.__init__: a subclass may be made of other things, such as ``ModelFailed``.
    UserError.__init__(error, renamed(error.what), where=error.where, hint=hint)
