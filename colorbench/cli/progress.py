"""A bar with images per second and the time left, on a terminal only; elsewhere a few plain lines."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class TransientBar:
    """A bar with one changing text and the time left, drawn on ``console`` while it is a terminal.

    Used as a context, so that the bar is gone when the table comes, and when an error does.
    """

    def __init__(self, console: Console, *, quiet: bool = False, speed_period: float = 30.0) -> None:
        """``quiet``: no bar; ``speed_period``: seconds of the past from which the time left is foretold."""
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[beside]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
            speed_estimate_period=speed_period,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def message(self, text: str) -> None:
        """One line for people."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


class ProgressBar(TransientBar):
    """Listens to a run."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._task: TaskID | None = None

    def started(self, total: int) -> None:
        """So many photographs are still to be evaluated."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task("photographs", total=total, beside="")

    def advanced(self, n: int, images_per_second: float) -> None:
        """``n`` more photographs are done."""
        if self._task is not None:
            self._bar.update(self._task, advance=n, beside=f"{images_per_second:.1f} images/s")
