"""Closed testing with e-values: how many elements of a family are certified at least.

Every e-value is rounded down and every sum too, so that more true nulls are thought possible than
exact numbers would allow, never fewer.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
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

#: Above Euler's constant, 0.5772156649015328606065120900824024310421593359...
_EULER = Decimal("0.57721566490153286060651209008240243104216")
#: The method takes e-values so much smaller: an average within rounding of 1/alpha is no evidence.
_SHRUNK = ONE - Decimal("1e-9")
#: Families above this size have their harmonic number from a formula that exceeds it.
_SUMMED = 10_000


def closed_count(groups: Iterable[tuple[Decimal, int]], alpha: Decimal) -> int:
    """At least so many of a family's elements are certified; it does not say which.

    ``P - j`` with ``j`` the most elements whose smallest e-values average below ``1/alpha``. With
    ``x = alpha e - 1`` that is: whose smallest ``x`` sum to less than 0.

    Args:
        groups: e-value (not above the true one) and number of elements, in any order.
        alpha: Not above the level of the family.

    >>> closed_count([(Decimal(0), 10), (Decimal(400), 90)], Decimal("0.05"))
    90
    >>> closed_count([(Decimal(0), 10), (Decimal(80), 90)], Decimal("0.05"))
    87
    """
    with rounding(up=False):
        excess = sorted((alpha * e * _SHRUNK - ONE, size) for e, size in groups if size)
        left = sum(size for _, size in excess)
        total = ZERO
        for x, size in excess:
            after = total + x * size
            if after < 0:  # the whole group may be true nulls
                total, left = after, left - size
                continue
            if total < 0:  # so many of it that the sum stays below 0; the quotient rounded up
                with rounding(up=True):
                    quotient = -total / x
                left -= int(quotient.to_integral_value(rounding=ROUND_CEILING)) - 1
            break
    return left


@lru_cache(maxsize=4096)
def harmonic(P: int) -> Decimal:
    """``1 + 1/2 + .. + 1/P``, rounded up (``ln P + gamma + 1/(2P)`` for large ``P``)."""
    with rounding(up=True):
        if P <= _SUMMED:
            return sum((ONE / j for j in range(1, P + 1)), ZERO)
        # ln is rounded to nearest: a digit more makes it an upper bound
        return Decimal(P).ln() * (1 + Decimal("1e-48")) + _EULER + ONE / (2 * P)


@lru_cache(maxsize=65536)
def steps(
    levels: tuple[Fraction, ...],
    weights: tuple[Fraction, ...],
    alpha: Decimal,
    unanimous: Decimal,
) -> tuple[tuple[Decimal, Decimal], ...]:
    """``(b_j, e-value of p <= b_j)`` from the largest level down; none where ``b_j >= 1``.

    ``E = sum_j w_j 1{p <= b_j} / b_j`` with ``b_j = max(a_j alpha, unanimous)``: no votes give a
    p-value below that of unanimous ones, and a level below it would be wasted.
    """
    result = []
    value = ZERO
    for level, weight in sorted(zip(levels, weights, strict=True), reverse=True):
        with rounding(up=True):
            b = max(decimal_of(level, up=True) * alpha, unanimous)
        if b >= 1:
            continue
        with rounding(up=False):
            value += decimal_of(weight, up=False) / b
        result.append((b, value))
    return tuple(result)


@lru_cache(maxsize=65536)
def martingale(votes: int, draws: int, t: Fraction, terms: int) -> Decimal:
    """The test martingale of ``p <= t`` after ``N`` draws with ``X`` votes, rounded down.

    ``sum_q w_q (q/t)^X ((1-q)/(1-t))^(N-X)``: 1/3 on ``q = 1``; 1/3 on ``1-q = (1-t) 2^-j``,
    ``j = 1 .. terms``, each with ``1/(j (j+1))`` of it; 1/3 uniform on ``(t, 1)``. The last part is
    ``P(Bin(N+1, t) <= X) / ((N+1) C(N, X) t^X (1-t)^(N-X+1))``.
    """
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


@lru_cache(maxsize=65536)
def margin_martingale(
    votes: int, rival: int, draws: int, m: Fraction, bets: tuple[Fraction, ...]
) -> Decimal:
    """The same of ``p_y - p_l <= m``: bets ``lam = bet/(1+m)`` with equal weights, rounded down.

    ``(1 + lam (1-m))^X_y (1 - lam m)^(N - X_y - X_l) (1 - lam (1+m))^X_l``.
    """
    if not 0 <= m < 1:
        return ZERO
    total = ZERO
    for bet in bets:
        lam = bet / (1 + m)
        with rounding(up=False):
            part = power(decimal_of(1 + lam * (1 - m), False), votes)
            part *= power(decimal_of(1 - lam * m, False), draws - votes - rival)
            total += part * power(decimal_of(1 - bet, False), rival)
    with rounding(up=False):
        return total / len(bets)
