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
    ONE,
    ZERO,
    decimal_of,
    rounding,
)

#: Above Euler's constant, 0.5772156649015328606065120900824024310421593359...
_EULER = Decimal("0.57721566490153286060651209008240243104216")
#: The method takes e-values so much smaller: an average within rounding of 1/alpha is no evidence.
SHRUNK = ONE - Decimal("1e-9")
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
        excess = sorted((alpha * e * SHRUNK - ONE, size) for e, size in groups if size)
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
