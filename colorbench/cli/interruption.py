"""Handling of Ctrl-C and of the signal to end (SIGTERM): one line and exit code 130 or 143, at any time.

Clusters send SIGTERM to a job that is preempted or out of time.

The process ends immediately, without unwinding: an exception could be lost in a callback of a library, wait for
threads, or collide with torch's threads during the interpreter's shutdown (SIGABRT). No results are lost, since
colorbench writes all files atomically.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

INTERRUPTED = 130
TERMINATED = 143
_message: str | Callable[[], str] = "nothing was left half done"


def tell_when_interrupted(message: str | Callable[[], str]) -> None:
    """Set the message about finished work that is printed on an interruption (Ctrl-C).

    A function is called then, so that the message states what is finished at that time.
    """
    global _message
    _message = message


def current_message() -> str:
    """Return the message about finished work that an interruption prints."""
    if isinstance(_message, str):
        return _message
    try:
        return _message()
    except Exception:  # such as a folder that another process removes; the process ends in any case
        return "finished work is kept"


@contextlib.contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """End the process on Ctrl-C or SIGTERM within this context; restore the former behavior afterwards.

    If a signal is ignored (a shell's background jobs) or handled elsewhere, nothing is changed for it.
    """
    if _in_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)
        try:
            with _exit_on_interrupt():
                yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    else:
        with _exit_on_interrupt():
            yield


@contextlib.contextmanager
def _exit_on_interrupt() -> Iterator[None]:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    except KeyboardInterrupt:  # raised by a verb with its own handler
        _exit(signal.SIGINT, None)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave()
        raise
    finally:
        # A late Ctrl-C can still arrive here, and the interpreter would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN if sys.exc_info()[0] is SystemExit else signal.default_int_handler)


def _in_main_thread() -> bool:
    """Return whether handlers can be set here, which is possible only in the main thread."""
    return threading.current_thread() is threading.main_thread()


def _exit(signum: int, frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # ignore a second signal
        signal.signal(number, signal.SIG_IGN)
    # Written without Python's buffers, since the interrupted code may be within a print.
    terminal = os.isatty(2)
    word, code = ("terminated", TERMINATED) if signum == signal.SIGTERM else ("interrupted", INTERRUPTED)
    shown_again = f"{chr(10)}{chr(27)}[?25h" if terminal else ""  # a progress bar hides the cursor
    line = f"{shown_again}{word}: {current_message()}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    # Looked up, not imported: most commands have neither temporary folders nor child processes.
    if (resources := sys.modules.get("colorbench.processes.temporary_resources")) is not None:
        with contextlib.suppress(Exception):  # such as a module whose import was interrupted
            resources.remove_resources()
    os._exit(code)


def _leave() -> None:
    """End the process without the interpreter's shutdown, which waits for threads, after flushing the output."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(INTERRUPTED)
