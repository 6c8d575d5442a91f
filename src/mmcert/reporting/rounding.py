"""Certified numbers are shown rounded *down*, whatever the digits (method, section 2).

Rounding to nearest makes a printed claim that nobody proved: .9996 becomes 1.000.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

#: Shown where a ratio is undefined, or a budget was not evaluated.
UNDEFINED = "–"


def _decimal(value: float, digits: int, rounding: str) -> str:
    # repr, not the binary expansion: the number as metrics.json writes it.
    step = Decimal(1).scaleb(-digits)
    rounded = Decimal(repr(value)).quantize(step, rounding=rounding)
    return f"{rounded + 0:f}"  # + 0: no negative zero


def rounded_down(value: float | None, digits: int = 3, *, ratio: bool = True) -> str:
    """``value`` with ``digits`` decimals, rounded down; a dash for None.

    What is stored of a ratio is the largest float below it: 9/10 is stored as 0.8999999999999999.
    The next float above is therefore what is rounded, and 9/10 shows as 0.900. A bound that is no
    ratio of counts (``ratio=False``) is rounded as it stands.

    >>> rounded_down(0.9996), rounded_down(0.8999999999999999), rounded_down(None)
    ('0.999', '0.900', '–')
    """
    if value is None:
        return UNDEFINED
    return _decimal(math.nextafter(value, math.inf) if ratio else value, digits, ROUND_FLOOR)


def rounded_up(value: float | None, digits: int = 3) -> str:
    """``value`` with ``digits`` decimals, never below ``value``: for rates where less is better.

    >>> rounded_up(0.0001)
    '0.001'
    """
    return UNDEFINED if value is None else _decimal(value, digits, ROUND_CEILING)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4.23), duration(75), duration(34920)
    ('4.2 s', '1 min 15 s', '9 h 42 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
