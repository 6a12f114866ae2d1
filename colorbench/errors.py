"""Exceptions of colorbench: errors that a user can fix. Other exceptions are bugs and show a traceback."""

from __future__ import annotations

import errno
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class ColorbenchError(Exception):
    """Base class of intended errors, in one line: what happened, where, and how to fix it, a sentence of its own.

    ``exit_code`` is the exit code of the command line: 2 if the command or its input is wrong, so that the same command
    fails again; 1 if the command was right and the run failed.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(with_hint(what if where is None else f"{what} ({where})", hint))


COMMANDS = ("pip", "uv", "colorbench")
"""First words of hints that are commands, which are not capitalized."""


def as_sentence(text: str) -> str:
    """Capitalize a text that follows a full stop, unless it begins with a command."""
    return text if text.partition(" ")[0] in COMMANDS else f"{text[:1].upper()}{text[1:]}"


def with_hint(line: str, hint: str | None) -> str:
    """Return a line with a hint as a sentence after it, wherever a hint is shown in a line."""
    return line if hint is None else f"{line}{'' if line.endswith('?') else '.'} {as_sentence(hint)}"


def first_problem(error: BaseException) -> str:
    """Return the first problem in an error of pydantic, in one line: ``weights.sha256: Field required``."""
    first = error.errors()[0]  # type: ignore[attr-defined]  # pydantic takes a tenth of a second to import
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


class UserError(ColorbenchError):
    """Error that the user can fix."""


class UnknownNameError(UserError):
    """Unknown name of a model, protocol or other plugin."""


class PluginError(UserError):
    """Installed plugin that cannot be used: its import fails, or it is incomplete."""


class OtherVersionError(UserError):
    """Plugin that is installed in another version than needed."""


class MissingWeightsError(UserError):
    """Weights that are not available while downloads are not allowed."""


class RunError(UserError):
    """Failure during a run, such as invalid output of a model or a full disk."""

    exit_code = 1


class InputError(RunError):
    """Wrong input that a run finds only when it reads it, such as missing predictions; other models go on."""

    exit_code = 2


class ModelFailed(RunError):
    """Failure of a model in a run, which goes on with the other models."""

    def __init__(self, model: str, error: ColorbenchError, others: Sequence[str] = ()) -> None:
        """Wrap an error.

        Args:
            model: its name.
            error: of the model.
            others: names of other models that failed.
        """
        also = f"; {', '.join(others)} failed, too" if others else ""
        super().__init__(f"{error.what}{also}", where=error.where, hint=error.hint)
        self.exit_code = error.exit_code
        self.model = model
        self.records: tuple[Any, ...] = ()
        """Records of the models that did not fail."""


READABLE = "give images that other programs can open"
"""Hint for images that cannot be read."""


def extra_hint(extra: str) -> str:
    """Return the hint of how to install an extra; nothing is said of a registry, since there colorbench is not."""
    return f"install the extra `{extra}`: in a clone, uv run --extra {extra}, or pip install '.[{extra}]'"


def path_hint(path: Path, otherwise: str = "check the path") -> str:
    """Return the hint for a missing path: the most similar name in its folder, or ``otherwise``."""
    import difflib
    import itertools
    import os

    try:
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, 10_000))
    except OSError:
        return otherwise
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    near = near or [name for name in names if path.name and name.startswith(f"{path.name}.")]  # cic -> cic.small
    return f"did you mean {path.with_name(near[0])}?" if near else otherwise


MACHINE_TROUBLE = {
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer --workers",
    errno.ENFILE: "close other programs, or use fewer --workers",
    errno.ENOMEM: "free memory, or use a smaller --batch-size or fewer --workers",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the network file system",
    errno.ETIMEDOUT: "check the network file system",
}
"""Error codes that say nothing about a file, but something about the machine -> hint."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory or threads are exhausted, in Python, numpy or torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    told = ("can't allocate memory", "not enough memory", "can't start new thread")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in told)


def printable(text: str) -> str:
    """Return a text that quotes untrusted names or messages as one line without control characters, cut off if long."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:500]


def describe(error: BaseException) -> str:
    """Return an error in one line: its type, its message, and the line of the user's code that raised it."""
    message = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    if hasattr(error, "errors") and hasattr(error, "title"):  # of pydantic, whose text has several lines
        message = f"{error.title}: {first_problem(error)}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _elsewhere(frame.filename)]
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    frames = own or frames  # not the line of a library that the user's code called
    return f"{message} (line {frames[-1].lineno} of {Path(frames[-1].filename).name})" if frames else message


def _elsewhere(file: str) -> bool:
    """Return whether code is Python's own or this library's: the line to fix is in neither."""
    path, standard = Path(file), Path(sysconfig.get_paths()["stdlib"])
    if path.is_relative_to(standard):
        return "site-packages" not in path.parts
    return file.startswith("<") or path.is_relative_to(Path(__file__).parent)
