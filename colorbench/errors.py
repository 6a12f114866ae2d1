"""The one exception for what a user can fix; every other exception is a bug and shows its traceback."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path


class ColorbenchError(Exception):
    """Every error that colorbench raises on purpose, in one line: what happened, where, how to fix it.

    ``exit_code`` is what the command line ends with: 2 for wrong usage or input, 1 for a run that failed.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        line = what if where is None else f"{what} ({where})"
        super().__init__(line if hint is None else f"{line}. {hint}")


def first_problem(error: BaseException) -> str:
    """Return the first thing that is wrong by an error of pydantic, in one line: ``weights.sha256: Field required``."""
    first = error.errors()[0]  # type: ignore[attr-defined]  # pydantic takes a tenth of a second to import
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


class UserError(ColorbenchError):
    """Something the user can fix."""


class UnknownNameError(UserError):
    """A model, protocol or other plugin that is not installed here."""


class PluginError(UserError):
    """A plugin that is installed and cannot be used: its module fails, or it lacks what its kind needs."""


class OtherVersionError(UserError):
    """Something that is installed in another version than the one that is needed."""


class MissingWeightsError(UserError):
    """Weights that are not on this machine, where nothing may be downloaded."""


class RunError(UserError):
    """A failure during a run: invalid output of a model, a full disk."""

    exit_code = 1


def describe(error: BaseException) -> str:
    """Return an exception in one line: its type, its message, and the line of the user's code that raised it."""
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
