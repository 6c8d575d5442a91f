"""What a person sees while votes are counted: the cost before, rate and remaining time during."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmcert.saying import Pace, animated, duration, say


def cost_line(
    samples: int,
    draws: int,
    total: int,
    seconds_per_draw: float,
    left: int,
    processes: int,
    block: int,
    at_most: bool = False,
) -> str:
    """The preview of the cost, from one measured block.

    Args:
        samples: Samples of the run.
        draws: Draws per sample, selection included; the most, where samples differ.
        total: Draws of all samples.
        seconds_per_draw: As measured.
        left: Draws that are not on disk yet.
        processes: That share them.
        block: Draws per forward pass.
        at_most: Whether samples may stop early.

    >>> cost_line(58, 1000, 58000, .6, 58000, 1, 4)
    '58 x 1000 draws at 0.60 s: 9.7 h (measured on one block of 4)'
    """
    count = f"{samples} x {draws}" if total == samples * draws else f"{samples} samples, {total}"
    text = f"{count} draws at {duration(seconds_per_draw)}"
    if left < total:
        text += f", {left} of them left"
    if processes > 1:
        text += f", {processes} processes"
    time_needed = duration(left * seconds_per_draw / processes)
    if at_most:
        time_needed = f"at most {time_needed}"
    return f"{text}: {time_needed} (measured on one block of {block})"


class VotingProgress:
    """Shows the events of the voting processes: ``cost`` once, then ``draws`` and ``saved`` ones.

    A bar in a terminal; a line every minute in a log file.
    """

    def __init__(self, console: Console | None = None, label: str = "voting") -> None:
        self._console = console or Console()
        self._label = label
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("draws, {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not animated(self._console),
        )
        self._task: Any = None
        self._pace = Pace(self._console, label, "draws", 0)
        self._done = 0

    def __enter__(self) -> VotingProgress:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def __call__(self, event: tuple[str, dict[str, Any]]) -> None:
        """Take one event."""
        kind, values = event
        if kind == "cost":
            self._pace = Pace(self._console, self._label, "draws", values["left"])
            say(self._console, cost_line(**values))
            self._task = self._progress.add_task(self._label, total=values["left"], rate="")
        elif kind == "draws":
            self._done += values["draws"]
            self._show()
        elif kind == "saved":
            self._pace.total -= values["draws"]
            if self._task is not None:
                self._progress.update(self._task, total=self._pace.total)

    def _show(self) -> None:
        if self._task is not None:
            rate = f"{self._pace.rate(self._done):.3g}/s"
            self._progress.update(self._task, completed=self._done, rate=rate)
        self._pace(self._done)


class Batched:
    """Reports draws at most five times a second, so that fast voting is not slowed by it.

    Args:
        report: Gets the events.
        check: Called as often; it raises where the other processes are gone.
    """

    def __init__(
        self,
        report: Callable[[tuple[str, dict[str, Any]]], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._report = report
        self._check = check
        self._draws = 0
        self._last = time.monotonic()

    def __call__(self, draws: int) -> None:
        """Count some draws."""
        self._draws += draws
        if time.monotonic() - self._last > 0.2:
            self.flush()

    def flush(self) -> None:
        """Report what has been counted since the last report."""
        self._check()
        if self._draws:
            self._report(("draws", {"draws": self._draws}))
        self._draws, self._last = 0, time.monotonic()
