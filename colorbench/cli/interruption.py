"""Ctrl-C: one line and exit code 130, at any moment.

The process ends at once, and nothing is unwound: an exception would be lost in a callback of a library, wait for
threads at work, or meet torch's threads while the interpreter is taken apart (SIGABRT). Nothing is lost by it either,
since everything that colorbench writes is whole or not there, as after a kill.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

INTERRUPTED = 130
_message = "nothing was left half done"


def tell_when_interrupted(message: str) -> None:
    """Set the message about finished work that an interruption prints from now on."""
    global _message
    _message = message


def current_message() -> str:
    """Return the message about finished work."""
    return _message


@contextlib.contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """End the process on Ctrl-C within this context; restore the former behavior afterwards.

    Where interrupts are ignored (a shell's background jobs) or handled by somebody else, that is left as it is.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _exit)
    try:
        yield
    except KeyboardInterrupt:  # raised by a verb that has a handler of its own
        _exit(signal.SIGINT, None)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave()
        raise
    finally:
        # A late Ctrl-C can still arrive here, and the interpreter would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN if sys.exc_info()[0] is SystemExit else signal.default_int_handler)


def _in_main_thread() -> bool:
    """Return whether handlers can be set here: the main thread alone is interrupted."""
    return threading.current_thread() is threading.main_thread()


def _exit(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one changes nothing
    # Written past Python's buffers: the interrupted code may be in the middle of a print.
    terminal = os.isatty(2)
    line = (
        f"{chr(10) + chr(27) + '[?25h' if terminal else ''}interrupted: {_message}\n"  # a progress bar hides the cursor
    )
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(INTERRUPTED)


def _leave() -> None:
    """End without the interpreter's clean-up, which waits for threads; what was printed is shown."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(INTERRUPTED)
