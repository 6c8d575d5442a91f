"""Binomial tails that are never below the true ones, in 50-digit decimals, and bounds from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist

_DIGITS = 50
_UP = Context(prec=_DIGITS, rounding=ROUND_CEILING, Emax=MAX_EMAX, Emin=MIN_EMIN)
_DOWN = Context(prec=_DIGITS, rounding=ROUND_FLOOR, Emax=MAX_EMAX, Emin=MIN_EMIN)
ZERO, HALF, ONE = Decimal(0), Decimal("0.5"), Decimal(1)


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


def power(base: Decimal, exponent: int) -> Decimal:
    """``base ** exponent`` by squaring in the current rounding (``**`` itself is not directed)."""
    result, square = ONE, base
    while exponent:
        if exponent & 1:
            result = result * square
        square = square * square
        exponent >>= 1
    return result


@lru_cache(maxsize=65536)
def choose(n: int, k: int, up: bool) -> Decimal:
    """``C(n, k)`` in 50 digits, rounded up or down."""
    with rounding(up):
        return +Decimal(math.comb(n, k))


@lru_cache(maxsize=8192)
def upper_tails(draws: int, t: Fraction, lowest: int = 0) -> tuple[Decimal, ...]:
    """``P(Bin(N, t) >= X)`` for ``X = 0..N``, each rounded up; 1 where it exceeds 1/2.

    The terms follow from ``t^N`` downwards by ``x/(N-x+1) * (1-t)/t``. No level is above 1/2, so
    larger tails (and those below ``lowest`` votes) need not be known.
    """
    tails = [ONE] * (draws + 1)
    if t >= 1:
        return tuple(tails)
    if t <= 0:
        return (ONE,) + (ZERO,) * draws
    odds = decimal_of((1 - t) / t, up=True)
    with rounding(up=True):
        term = power(decimal_of(t, up=True), draws)
        total = ZERO
        for votes in range(draws, max(lowest, 1) - 1, -1):
            total += term
            if total > HALF:
                break
            tails[votes] = total
            term = term * votes / (draws - votes + 1) * odds
    return tuple(tails)


def _tail_and_first_term(votes: int, draws: int, t: Fraction) -> tuple[Decimal, Decimal]:
    """``P(Bin(N, t) >= X)`` and ``P(Bin(N, t) = X)``, rounded up, for ``0 < N t < X``.

    Beyond ``N t`` every term is smaller than the one before by a factor that falls, so what is left
    after the last term that is added is below a geometric series.
    """
    odds = decimal_of(t / (1 - t), up=True)
    with rounding(up=True):
        first = choose(draws, votes, True) * power(decimal_of(t, True), votes)
        first *= power(decimal_of(1 - t, True), draws - votes)
        term = total = first
        for x in range(votes, draws):
            factor = odds * (draws - x) / (x + 1)
            if term * factor < total * Decimal("1e-32"):
                total += term * factor / _DOWN.subtract(ONE, factor)
                break
            term *= factor
            total += term
    return min(total, ONE), first


@lru_cache(maxsize=65536)
def upper_tail(votes: int, draws: int, t: Fraction) -> Decimal:
    """``P(Bin(N, t) >= X)``, rounded up; 1 where ``X <= N t`` (nobody rejects there)."""
    if votes <= draws * t or votes <= 0:
        return ONE
    if t <= 0:
        return ZERO
    return _tail_and_first_term(votes, draws, t)[0]


@lru_cache(maxsize=65536)
def lower_limit(votes: int, draws: int, level: Fraction) -> Fraction:
    """A one-sided lower confidence limit: ``P(Bin(N, s) >= X) <= level`` holds at it.

    Clopper and Pearson's bound to 24 digits: Newton's method on the logarithm of the tail, which is
    concave in ``s``, so no step passes the root from below; the last word has the tail itself.
    """
    if votes == 0:
        return Fraction(0)
    z = -NormalDist().inv_cdf(max(float(level), 1e-300))
    share = votes / draws
    middle = (share + z * z / (2 * draws)) / (1 + z * z / draws)
    spread = math.sqrt(share * (1 - share) / draws + (z / (2 * draws)) ** 2)
    start = middle - z * spread / (1 + z * z / draws)  # the score interval of Wilson
    s = Decimal(max(min(start, share * (1 - 1e-9)), share * 1e-9))
    goal = decimal_of(level, up=False).ln()
    with localcontext(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN):
        for _ in range(200):
            tail, first = _tail_and_first_term(votes, draws, exact(s))
            step = (goal - tail.ln()) * tail * s / (votes * first)
            s = max(s + step, s / 2) if step < 0 else s + step
            if abs(step) < s.scaleb(-26):
                break
    for digits in (24, 20, 16, 12, 8, 4):
        below = exact(s) * (1 - Fraction(1, 10**digits))
        if exact(upper_tail(votes, draws, below)) <= level:
            return below
    return Fraction(0)


def upper_limit(votes: int, draws: int, level: Fraction) -> Fraction:
    """A one-sided upper confidence limit: ``P(Bin(N, s) <= X) <= level`` holds at it."""
    return 1 - lower_limit(draws - votes, draws, level)


def lower_limit_holds(limit: float, votes: int, draws: int, level: Fraction) -> bool:
    """Whether ``limit`` is a valid one-sided Clopper-Pearson lower bound: tail at most ``level``.

    >>> lower_limit_holds(0.5, 10, 10, Fraction(1, 1000)), lower_limit_holds(0.51, 10, 10,
    ...     Fraction(1, 1000))
    (True, False)
    """
    return limit <= 0 or exact(upper_tail(votes, draws, Fraction(limit))) <= level
