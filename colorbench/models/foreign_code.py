"""Guards around plugin code: errors become one line, and changes of process-wide state are undone.

Process-wide state is, for example, the working directory, the default dtype, or TF32.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from PIL import ImageFile
from torch.backends import cuda, cudnn

from colorbench.errors import RunError, UserError, describe


@contextlib.contextmanager
def one_line(what: str, *, where: str | None = None, hint: str | None = None, run: bool = False) -> Iterator[None]:
    """Turn exceptions of foreign code (plugins) into one line, and restore the process-wide state.

    Args:
        what: begin of the line, such as ``"my/model failed"``.
        where: the image or file.
        hint: how to fix it.
        run: whether it is a failure of the run (exit code 1) or of its input (2). Code that ends the program is always
            a failure of the run.

    Raises:
        UserError: in place of every exception except ``KeyboardInterrupt``.
    """
    try:
        with process_state_kept():
            yield
    except (UserError, KeyboardInterrupt):
        raise
    except Exception as error:
        kind = RunError if run else UserError
        raise kind(f"{what}: {describe(error)}", where=where, hint=hint) from error
    except BaseException as error:  # includes SystemExit: scripts end the program if a file is missing
        raise RunError(f"{what}: {_ended(error)}", where=where, hint=_HINT_EXIT) from error


@contextlib.contextmanager
def process_state_kept() -> Iterator[None]:
    """Restore process-wide state that foreign code changed and other models' or protocols' numbers depend on.

    Restored are the working directory, torch's default dtype and device, the precision of matrix products, numpy's
    error handling, and whether Pillow accepts truncated files. Research code sets these when it is imported.
    """
    folder = os.getcwd()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    precise, deterministic = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    flags = [(cudnn, "deterministic"), (cudnn, "benchmark"), (cudnn, "allow_tf32"), (cuda.matmul, "allow_tf32")]
    flags.append((ImageFile, "LOAD_TRUNCATED_IMAGES"))
    before = [getattr(owner, name) for owner, name in flags]
    errors = np.geterr()
    try:
        yield
    finally:
        if os.getcwd() != folder:
            os.chdir(folder)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.set_float32_matmul_precision(precise)
        now = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        if now != (deterministic, warn_only):  # this call would import torch's compiler, which takes seconds
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        for (owner, name), value in zip(flags, before, strict=True):
            if getattr(owner, name) != value:
                setattr(owner, name, value)
        np.seterr(**errors)


_HINT_EXIT = (
    "a model must raise an exception instead; a script that reads the command line must get its options in code"
)


def _ended(error: BaseException) -> str:
    """Format the message that foreign code ended the program, with its exit code or last message."""
    if not isinstance(error, SystemExit):
        return describe(error)
    message = " ".join(str(getattr(error, "last_message", "") or "").split())
    position = describe(error)
    at = position[position.rindex(" (line") :] if " (line" in position else ""
    if isinstance(error.code, str):
        return f"it exited the program: {' '.join(error.code.split())}{at}"
    code = "0" if error.code is None else f"{error.code}"
    return f"it exited the program (exit code {code}){at}" + (f": {message}" if message else "")


@contextlib.contextmanager
def usage_deferred() -> Iterator[None]:
    """Hold back the usage text when an option parser in foreign code ends the program.

    The last line of the text goes into the exception.

    Research code often parses ``sys.argv`` when it is imported or a model is created. The options are colorbench's, so
    the parser prints its usage and exits. Other output, such as a progress bar, is not delayed.
    """
    held = _HeldBack(sys.stderr)
    with contextlib.redirect_stderr(held):
        try:
            yield
        except SystemExit as error:
            lines = [line for line in "".join(held.text).splitlines() if line.strip()]
            error.last_message = lines[-1] if lines else ""  # type: ignore[attr-defined]
            held.text.clear()
            raise
        finally:
            held.release()


class _HeldBack:
    """A stream that forwards everything until a text begins with ``usage:``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.text: list[str] = []

    def write(self, text: str) -> int:
        if self.text or text.lstrip().lower().startswith("usage:"):
            self.text.append(text)
            return len(text)
        return int(self._stream.write(text) or 0)

    def release(self) -> None:
        """Forward the text that was held back."""
        if self.text:
            self._stream.write("".join(self.text))
            self.text.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
