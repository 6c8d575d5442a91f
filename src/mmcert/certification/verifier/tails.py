"""Binomial tails that are never below the true ones, in 50-digit decimals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

_DIGITS = 50
_UP = Context(prec=_DIGITS, rounding=ROUND_CEILING, Emax=MAX_EMAX, Emin=MIN_EMIN)
_DOWN = Context(prec=_DIGITS, rounding=ROUND_FLOOR, Emax=MAX_EMAX, Emin=MIN_EMIN)


@contextmanager
def rounding(up: bool) -> Iterator[None]:
    """Round every decimal operation inside up, or down."""
    with localcontext(_UP if up else _DOWN):
        yield


def decimal_of(value: Fraction, up: bool) -> Decimal:
    """``value`` in 50 digits, rounded up or down."""
    with rounding(up):
        return Decimal(value.numerator) / Decimal(value.denominator)


def exact(value: Decimal) -> Fraction:
    """The decimal as a fraction."""
    return Fraction(*value.as_integer_ratio())


@lru_cache(maxsize=4096)
def upper_tails(draws: int, t: Fraction) -> tuple[Decimal, ...]:
    """``P(Bin(N, t) >= X)`` for ``X = 0..N``, each rounded up; at most 1.

    The terms follow from ``t^N`` downwards by ``x/(N-x+1) * (1-t)/t``.
    """
    if t >= 1:
        return (Decimal(1),) * (draws + 1)
    if t <= 0:
        return (Decimal(1),) + (Decimal(0),) * draws
    odds = decimal_of((1 - t) / t, up=True)
    one = Decimal(1)
    tails = [one] * (draws + 1)
    with rounding(up=True):
        term = _power(decimal_of(t, up=True), draws)
        total = Decimal(0)
        for votes in range(draws, 0, -1):
            total += term
            if total >= one:
                break
            tails[votes] = total
            term = term * votes / (draws - votes + 1) * odds
    return tuple(tails)


def _power(base: Decimal, exponent: int) -> Decimal:
    """``base ** exponent`` by squaring in the current rounding (``**`` itself is not directed)."""
    result, square = Decimal(1), base
    while exponent:
        if exponent & 1:
            result = result * square
        square = square * square
        exponent >>= 1
    return result


def lower_limit_holds(limit: float, votes: int, draws: int, level: Fraction) -> bool:
    """Whether ``limit`` is a valid one-sided Clopper-Pearson lower bound: tail at most ``level``.

    >>> lower_limit_holds(0.5, 10, 10, Fraction(1, 1000)), lower_limit_holds(0.51, 10, 10,
    ...     Fraction(1, 1000))
    (True, False)
    """
    if limit <= 0:
        return True
    return exact(upper_tails(draws, Fraction(limit))[votes]) <= level
