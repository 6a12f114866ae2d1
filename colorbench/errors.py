"""Exceptions of colorbench: errors that a user can fix, also those of the operating system. Others show a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
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
    """Unknown name of a model, protocol or other plugin, or of a metric of a record."""


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
    """Return the hint for a missing path: the most similar name in its folder, or ``otherwise``.

    A folder where a file is wanted is named as such.
    """
    import difflib
    import itertools

    if path.is_dir():
        return "this is a folder; give a file"
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


_UNUSABLE_PATH = {errno.ENAMETOOLONG, errno.ELOOP}
_SHORTER = "give a shorter path without links in a circle"
_AGAIN = "then run the same command; finished work is kept"


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of the operating system into one line, in a context or a decorated function.

    Raises:
        UserError: for a path that cannot be read, written or used.
        RunError: for a disk or machine that fails.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        if (shown := one_line_error(error)) is None:
            raise
        raise shown from error


def one_line_error(error: BaseException) -> UserError | None:
    """Return the error to show for a path, disk or machine that fails; None for another error, which is a bug."""
    if is_out_of_memory(error):
        what = f"out of memory or threads: {printable(str(error) or type(error).__name__)}"
        return RunError(what, hint=f"use a smaller --batch-size or fewer --workers, {_AGAIN}")
    if isinstance(error, RuntimeError) and "Symlink loop" in str(error):  # of Path.resolve, up to Python 3.12
        return UserError(f"a path cannot be used: {printable(str(error))}", hint=_SHORTER)
    if not isinstance(error, OSError):
        return None
    where = None if error.filename is None else os.fsdecode(error.filename)
    if error.errno in (errno.EACCES, errno.EPERM) and where is not None and (unreadable := _unreadable(where)):
        return UserError(f"cannot read: {error.strerror}", where=unreadable, hint="make it readable")
    if error.errno in MACHINE_TROUBLE:
        what = f"cannot read or write: {error.strerror}"
        return RunError(what, where=where, hint=f"{MACHINE_TROUBLE[error.errno]}, {_AGAIN}")
    return write_error(error, where)


def write_error(error: OSError, where: str | None) -> UserError | None:
    """Return the error to show if a file cannot be written; None if the disk and the path are not at fault.

    The user must change the command or the permissions (``UserError``), or the run failed and can go on (``RunError``).
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError("the disk is full", where=where, hint="free disk space, then run the same command to resume")
    if error.errno == errno.EFBIG:
        hint = "raise the file size limit (ulimit -f) or use another --output; finished work is kept"
        return RunError("a file would exceed the file size limit of this process", where=where, hint=hint)
    if error.errno in _UNUSABLE_PATH:
        return UserError(f"a path cannot be used: {error.strerror}", where=where, hint=_SHORTER)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        hint = "use another --output, or check the permissions"
        return UserError(f"cannot write: {error.strerror}", where=where, hint=hint)
    return None


def _unreadable(path: str) -> str | None:
    """Return the file or folder that must be made readable to read a path: itself or one above; None if it is not."""
    here = os.path.abspath(path)
    above = [str(folder) for folder in reversed(Path(here).parents)]
    closed = next((folder for folder in above if os.path.isdir(folder) and not _may(folder, os.X_OK)), None)
    if closed is not None:
        return closed
    return path if os.path.exists(here) and not _may(here, os.R_OK) else None


def _may(path: str, mode: int) -> bool:
    # The effective user opens files; without the argument, the real one would be asked for.
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
