"""Test martingales: e-values of votes that decided their own number, rounded down.

``E(X) = sum_q w_q (q/t)^X ((1-q)/(1-t))^(N-X)`` against ``p <= t``, with 1/3 of the weight on
``q = 1``; 1/3 on ``1-q = (1-t) 2^-j``, ``j = 1 .. terms``, each with ``1/(j (j+1))`` of it; and 1/3
uniform on ``(t, 1)``, which is ``P(Bin(N+1, t) <= X) / ((N+1) C(N, X) t^X (1-t)^(N-X+1))``.
"""

from __future__ import annotations

import math
import sys
from array import array
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from mmcert.certification.verifier.tails import (
    HALF,
    ONE,
    ZERO,
    choose,
    decimal_of,
    power,
    rounding,
    upper_tail,
)


@lru_cache(maxsize=16384)
def martingale_table(draws: int, t: Fraction, terms: int) -> array[float]:
    """``E(X)`` for ``X = 0..N``, as floats below it; every part follows from the one before."""
    if not 0 < t < 1:
        return array("d", [0.0] * (draws + 1))
    up, rest = decimal_of(t, up=True), decimal_of(1 - t, up=True)
    more, less = decimal_of(t / (1 - t), up=True), decimal_of(t / (1 - t), up=False)
    with rounding(up=True):
        unanimous = power(up, draws)
        chance = (draws + 1) * power(rest, draws + 1)
    with rounding(up=False):
        growth = [decimal_of(1 - (1 - t) / 2**j, False) / up * 2**j for j in range(1, terms + 1)]
        parts = [power(HALF, j * draws) / (j * (j + 1)) for j in range(1, terms + 1)]
        term = below = power(decimal_of(1 - t, False), draws + 1)
    table = array("d")
    for X in range(draws + 1):
        with rounding(up=False):
            total = below / chance + sum(parts, ZERO)
            total += ONE / unanimous if draws == X else ZERO
            table.append(float_below(total / 3))
            parts = [part * by for part, by in zip(parts, growth, strict=True)]
            term = term * (draws + 1 - X) / (X + 1) * less
            below += term
        with rounding(up=True):
            chance = chance * (draws - X) / (X + 1) * more
    return table


def float_below(value: Decimal) -> float:
    """A float that is not above ``value``, at most the largest one."""
    nearest = min(float(value), sys.float_info.max)
    return nearest if Decimal(nearest) <= value else math.nextafter(nearest, -math.inf)


@lru_cache(maxsize=65536)
def martingale(votes: int, draws: int, t: Fraction, terms: int) -> Decimal:
    """``E(X)`` of one number of votes, for few elements with many draws."""
    if not 0 < t < 1:
        return ZERO
    others = draws - votes
    up, rest = decimal_of(t, up=True), decimal_of(1 - t, up=True)
    with rounding(up=True):
        chance_up = power(up, votes)
        uniform_up = (draws + 1) * choose(draws, votes, True) * chance_up * power(rest, others + 1)
    below = lower_tail(votes, draws + 1, t)
    with rounding(up=False):
        total = below / uniform_up
        if not others:
            total += ONE / chance_up
        before = ZERO
        for j in range(1, terms + 1):
            q = decimal_of(1 - (1 - t) / 2**j, up=False)
            term = power(q / up, votes) * power(HALF, j * others) / (j * (j + 1))
            total += term
            if term < before and term < total * Decimal("1e-20"):
                break  # past the largest term; leaving terms out makes the sum smaller
            before = term
        return total / 3


@lru_cache(maxsize=65536)
def lower_tail(votes: int, draws: int, t: Fraction) -> Decimal:
    """``P(Bin(N, t) <= X)``, rounded down."""
    if votes + 1 > draws * t:
        with rounding(up=False):
            if upper_tail(votes + 1, draws, t) < 1:
                return ONE - upper_tail(votes + 1, draws, t)
    odds = decimal_of((1 - t) / t, up=False)
    with rounding(up=False):
        term = choose(draws, votes, False) * power(decimal_of(t, False), votes)
        term *= power(decimal_of(1 - t, False), draws - votes)
        total = term
        for x in range(votes, 0, -1):
            term *= odds * x / (draws - x + 1)
            total += term
            if term < total * Decimal("1e-30"):
                break
    return total


def _powers(base: Fraction, exponents: set[int]) -> dict[int, Decimal]:
    value = decimal_of(base, up=False)
    with rounding(up=False):
        return {exponent: power(value, exponent) for exponent in exponents}


def margin_martingales(
    pairs: list[tuple[int, int]], draws: int, m: Fraction, bets: tuple[Fraction, ...]
) -> list[Decimal]:
    """The same of ``p_y - p_l <= m``: bets ``lam = bet/(1+m)`` with equal weights, rounded down.

    ``(1 + lam (1-m))^X_y (1 - lam m)^(N - X_y - X_l) (1 - lam (1+m))^X_l``.
    """
    totals = [ZERO] * len(pairs)
    if not 0 <= m < 1:
        return totals
    for bet in bets:
        lam = bet / (1 + m)
        win = _powers(1 + lam * (1 - m), {votes for votes, _ in pairs})
        rest = _powers(1 - lam * m, {draws - votes - rival for votes, rival in pairs})
        lose = _powers(1 - bet, {rival for _, rival in pairs})
        with rounding(up=False):
            for i, (votes, rival) in enumerate(pairs):
                totals[i] += win[votes] * rest[draws - votes - rival] * lose[rival]
    with rounding(up=False):
        return [total / len(bets) for total in totals]
