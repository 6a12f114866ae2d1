"""Progress display: a bar with speed and remaining time on a terminal, otherwise a few plain lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from colorbench.cli.interruption import tell_when_interrupted


class TransientBar:
    """A bar with a status text and the remaining time, if ``console`` is a terminal.

    It is a context manager that removes the bar at the end, so that tables and errors are printed without it.
    """

    def __init__(self, console: Console, *, quiet: bool = False, speed_period: float = 30.0) -> None:
        """Set up the bar.

        Args:
            console: console on which it is drawn.
            quiet: show no bar.
            speed_period: seconds over which the speed is averaged to estimate the remaining time.
        """
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
        """Print one line."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


LOG_PERIOD = 30.0
"""Seconds between two lines of progress without a terminal."""


class ProgressBar(TransientBar):
    """Progress of a run: a bar on a terminal, otherwise a line every half minute."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        """Set up the bar; ``quiet``: neither bar nor lines nor messages."""
        super().__init__(console, quiet=quiet)
        self._task: TaskID | None = None
        self._quiet = quiet
        self._unit = "images"
        self._total = self._done = 0
        self._begun = self._told = time.monotonic()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        if not self._quiet and not self.console.is_terminal:
            threading.Thread(target=self._report, name="progress", daemon=True).start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        super().__exit__(kind, error, trace)

    def _report(self) -> None:
        """Print a line if nothing has advanced during the period, so that a slow step does not look like a hang."""
        while not self._ended.wait(LOG_PERIOD):
            now = time.monotonic()
            if self._total > self._done and now - self._told >= LOG_PERIOD:
                self._told = now
                self.message(f"{self._share()}, {_clock(now - self._begun)} so far")

    def _share(self) -> str:
        return f"{self._done}/{self._total} {self._unit} ({100 * self._done / max(self._total, 1):.0f} %)"

    def message(self, text: str) -> None:
        """Print one line unless ``quiet``."""
        if not self._quiet:
            super().message(text)

    def started(self, total: int, unit: str = "images") -> None:
        """Start the bar for ``total`` images, or other units."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(unit, total=total, beside="")
        self._unit, self._total, self._done = unit, total, 0
        self._begun = self._told = time.monotonic()

    def advanced(self, n: int, images_per_second: float) -> None:
        """Advance the bar by ``n`` units."""
        self._done += n
        if self._task is not None:
            self._bar.update(self._task, advance=n, beside=f"{images_per_second:.1f} {self._unit}/s")
        now = time.monotonic()
        if self.console.is_terminal or now - self._told < LOG_PERIOD:
            return
        self._told = now
        left = _clock((self._total - self._done) / max(images_per_second, 1e-9))
        self.message(f"{self._share()}, {images_per_second:.1f} {self._unit}/s, {left} left")

    def counted(self, n: int) -> None:
        """Advance the bar by ``n`` units, with the average speed since the start."""
        self.advanced(n, (self._done + n) / max(time.monotonic() - self._begun, 1e-9))


FINISHED = "finished work is kept; run the same command to go on"
"""Words for an interruption of a run outside its passes over the images."""


class RunProgressBar(ProgressBar):
    """Progress of a run that resumes: an interruption says how many images are kept."""

    def keeps(self, count: Callable[[], int], total: int) -> None:
        """Set what an interruption says; ``count`` returns the images in finished shards, since others are not kept."""

        def words() -> str:
            n = count()
            return f"{n} of {total} images are kept; run the same command to go on" if n < total else FINISHED

        tell_when_interrupted(words)


_SHOWN = ("loss", "kl", "rmse", "auc_raw", "auc_rebalanced_stable")


class TrainingProgressBar(TransientBar):
    """Progress of a training."""

    def __init__(self, console: Console, steps: int, quiet: bool = False) -> None:
        """Set up the bar.

        Args:
            console: console on which it is drawn.
            steps: steps of the whole training.
            quiet: show no bar, for all but the first of several processes.
        """
        super().__init__(console, quiet=quiet, speed_period=300)
        self._task = self._bar.add_task("step", total=steps, beside="before the first step")
        self._first: tuple[int, float] | None = None

    def advanced(self, step: int, steps: int) -> None:
        """Advance the bar after a step."""
        if self._first is None:
            self._first = (step, time.monotonic())
            self._bar.update(self._task, beside="")
        self._bar.update(self._task, completed=step, total=steps)

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None:
        """Show the training metrics since the last call."""
        status = f"{_message(figures)}  {images_per_second:.0f} images/s"
        self._bar.update(self._task, beside=status)
        if not self.console.is_terminal:
            self.message(f"step {step}/{steps}  {status}{self._left(step, steps)}")

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """Print the metrics of the validation split."""
        gray = figures.get("gray_auc_rebalanced_stable")
        beside = "" if gray is None else f"  (gray {figures['gray_auc_raw']:.2f}, {gray:.2f})"
        self.message(f"validation at step {step}: {_message(figures)}{beside}")

    def _left(self, step: int, steps: int) -> str:
        if self._first is None or step <= self._first[0] or step == steps:
            return ""
        pace = (time.monotonic() - self._first[1]) / (step - self._first[0])
        return f"  {_clock(pace * (steps - step))} left"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _message(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {figures[name]:.4g}" for name in _SHOWN if name in figures)
