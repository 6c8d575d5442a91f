"""Lines for people, as they are: no markup in a path, no wrapping of a command line.

A leaf that every layer may import, like :mod:`mmcert.errors`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

#: Seconds between two lines of a :class:`Pace`.
EVERY = 60.0


def say(console: Console, line: str, style: str = "") -> None:
    """Print ``line`` to the letter, in a style of Rich.

    Paragraphs are wrapped for a terminal's width. Lines that are indented, which are command lines
    to paste, never are, and nothing is in a log file.

    >>> say(Console(width=20), "  mmcert-certify checkpoint=runs/[old]/a_long_name")
      mmcert-certify checkpoint=runs/[old]/a_long_name
    """
    for part in line.split("\n"):
        whole = part.startswith("  ") or not console.is_terminal
        console.print(Text(part, style), soft_wrap=whole)


def animated(console: Console) -> bool:
    """Whether a bar can move there: a terminal that can go back, and no log file."""
    return console.is_terminal and not console.is_dumb_terminal


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


@contextlib.contextmanager
def busy(console: Console, line: str) -> Iterator[None]:
    """A spinner beside ``line`` while the block runs; the line alone where none can turn."""
    if animated(console):
        with console.status(Text(line)):
            yield
    else:
        say(console, f"{line[:1].upper()}{line[1:]}.")
        yield


class Pace:
    """One line about every minute where no bar can move: how far, how fast, how long still.

    Args:
        console: Where a person reads.
        label: What is going on.
        unit: What is counted, in the plural.
        total: How many there will be; may change.
    """

    def __init__(self, console: Console, label: str, unit: str, total: int) -> None:
        self.total = total
        self._console, self._label, self._unit = console, label, unit
        self._began = self._last = time.monotonic()

    def rate(self, done: int) -> float:
        """How many a second since the beginning."""
        return done / max(time.monotonic() - self._began, 1e-9)

    def __call__(self, done: int) -> None:
        """Say how far it is, if the last line is a minute old."""
        now = time.monotonic()
        if animated(self._console) or now - self._last < EVERY or not done:
            return
        self._last = now
        rate = self.rate(done)
        left = duration(max(self.total - done, 0) / rate)
        say(
            self._console,
            f"{self._label}: {done} of {self.total} {self._unit}, {rate:.3g}/s, {left} left",
        )
