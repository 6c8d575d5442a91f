"""Lists of everything that is wrong with a data folder, for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmcert.errors import DataError


def numbered(problems: Sequence[str], shown: int) -> str:
    """A numbered list with one problem a line; beyond ``shown`` they are only counted.

    >>> print(numbered(["a.png: missing.", "b.png: missing."], 1))
      1. a.png: missing.
      ... and 1 more
    """
    lines = [f"  {number}. {text}" for number, text in enumerate(problems[:shown], 1)]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)


def counted(problems: Sequence[str]) -> str:
    """How many there are, in words.

    >>> counted(["a.png: missing."])
    '1 problem'
    """
    return f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"


def gather(problems: list[str], function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function, or None and one problem more where it raises a DataError."""
    try:
        return function(*arguments)
    except DataError as error:
        problems.append(str(error))
        return None
