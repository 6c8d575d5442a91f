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

#: Seconds between two lines where the output is a file.
_LINE_EVERY = 60.0


def duration(seconds: float) -> str:
    """A time for people.

    >>> duration(34920), duration(95), duration(7.25), duration(.0004)
    ('9.7 h', '1.6 min', '7.2 s', '0.40 ms')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 60:
        return f"{seconds / 60:.1f} min"
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.2f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


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
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("draws, {task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: Any = None
        self._began = 0.0
        self._done = 0
        self._total = 0
        self._last_line = 0.0

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
            self._began = self._last_line = time.monotonic()
            self._total = values["left"]
            self._console.print(cost_line(**values), highlight=False)
            self._task = self._progress.add_task(self._label, total=values["left"], rate="")
        elif kind == "draws":
            self._done += values["draws"]
            self._show()
        elif kind == "saved":
            self._total -= values["draws"]
            if self._task is not None:
                self._progress.update(self._task, total=self._total)

    def _show(self) -> None:
        now = time.monotonic()
        rate = self._done / max(now - self._began, 1e-9)
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, rate=f"{rate:.3g}/s")
        if not self._console.is_terminal and now - self._last_line > _LINE_EVERY:
            self._last_line = now
            left = duration((self._total - self._done) / rate)
            self._console.print(
                f"{self._label}: {self._done} of {self._total} draws, {rate:.3g}/s, {left} left",
                highlight=False,
            )


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
