"""Tests of ``p_y - p_l <= m`` from the votes for a label and for its strongest rival.

*Two bounds*: the lower limit of ``p_y`` less the upper limit of ``p_l``. *Berger-Boos*: the largest
tail of ``D = X_y - X_l`` over a confidence interval of ``p_y + p_l``, by branch and bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from mmcert.certification.verifier.overlap import float_above
from mmcert.certification.verifier.tails import (
    ONE,
    ZERO,
    choose,
    decimal_of,
    lower_limit,
    power,
    rounding,
    upper_limit,
    upper_tail,
)

#: ``auto`` means Berger-Boos up to this many draws.
BERGER_BOOS_DRAWS = 2000


def gap_of_bounds(votes: int, rival: int, draws: int, each: Fraction) -> Fraction:
    """``L_y - U_l`` with either limit at level ``each``; every smaller margin is rejected."""
    return lower_limit(votes, draws, each) - upper_limit(rival, draws, each)


def uses_berger_boos(method: str, draws: int) -> bool:
    """Which of the two tests a ``method`` setting means; it looks at ``N`` only, not at votes."""
    return method == "berger_boos" or (method == "auto" and draws <= BERGER_BOOS_DRAWS)


def berger_boos_reach(
    votes: int, rival: int, draws: int, level: Fraction, margins: tuple[Fraction, ...]
) -> Fraction:
    """The largest of some ascending margins that Berger-Boos rejects; -1 where it rejects none."""
    low, high = -1, len(margins)  # nested: what rejects a margin rejects every smaller one
    while high - low > 1:
        middle = (low + high) // 2
        if margins[middle] < 1 and berger_boos_rejects(votes, rival, draws, margins[middle], level):
            low = middle
        else:
            high = middle
    return margins[low] if low >= 0 else Fraction(-1)


@lru_cache(maxsize=65536)
def berger_boos_rejects(votes: int, rival: int, draws: int, m: Fraction, level: Fraction) -> bool:
    """Whether ``p_y - p_l <= m`` is rejected at ``level``.

    ``beta = level/50`` pays for the upper limit of ``pi = p_y + p_l``; the tail of ``D`` must be at
    most ``level - beta`` for every ``pi`` from ``m`` to that limit. On a cell ``[a, b]`` it is at
    most its value at ``p_y = (b + m)/2, p_l = (a - m)/2``, since it grows with ``p_y`` and falls
    with ``p_l``. Cells are halved until they hold; where one of width 1e-7 does not, nothing is
    claimed.
    """
    lead = votes - rival
    if lead < 1 or m > Fraction(lead, draws):
        return False
    beta = level / 50
    goal = decimal_of(level - beta, up=False)
    top = float_above(upper_limit(votes + rival, draws, beta))
    if lead_tail(lead, draws, (Fraction(top) + m) / 2, (Fraction(top) - m) / 2) > goal:
        return False
    b, width = top, 1e-4
    while b > m:
        a = b - width
        p_l = max((Fraction(a) - m) / 2, Fraction(0))
        if lead_tail(lead, draws, (Fraction(b) + m) / 2, p_l) <= goal:
            b, width = a, 1.3 * width
        elif width < 1e-7:
            return False
        else:
            width /= 2
    return True


def lead_tail(lead: int, draws: int, p_y: Fraction, p_l: Fraction) -> Decimal:
    """``P(X_y - X_l >= d)`` for multinomial votes, rounded up.

    Given that ``K`` votes go to either of the two labels, ``X_y`` is ``Bin(K, p_y/(p_y+p_l))``. Of
    the numbers ``K``, those with the parity of ``d`` need ``X_y - X_l >= d``, the others need
    ``d + 1``.

    >>> [float(lead_tail(1, 1, Fraction(7, 10), Fraction(2, 10))),
    ...  float(lead_tail(1, 2, Fraction(1, 2), Fraction(1, 4)))]
    [0.7, 0.5]
    """
    if p_l <= 0:
        return upper_tail(lead, draws, p_y)
    pi = p_y + p_l
    if pi >= 1:
        return upper_tail((lead + draws + 1) // 2, draws, p_y)
    total = _one_parity(lead, draws, pi, p_y / pi) + _one_parity(lead + 1, draws, pi, p_y / pi)
    return min(total, ONE)


def _one_parity(lead: int, draws: int, pi: Fraction, rho: Fraction) -> Decimal:
    """``sum over K = d, d+2, .. of P(Bin(N, pi) = K) P(Bin(K, rho) >= (d+K)/2)``, rounded up.

    From ``(K, c)`` to ``(K+2, c+1)`` the inner tail grows by
    ``(1-rho) P(Bin(K, rho) = c) (rho (K+1)/(K+1-c) - 1)``, which is positive for ``rho > 1/2``: a
    sum of positive terms, in which rounding up cannot cancel.
    """
    if lead > draws:
        return ZERO
    win, lose = decimal_of(rho, up=True), decimal_of(1 - rho, up=True)
    odds = decimal_of(pi / (1 - pi), up=True)
    with rounding(up=True):
        weight = choose(draws, lead, True) * power(decimal_of(pi, True), lead)
        weight *= power(decimal_of(1 - pi, True), draws - lead)
        tail = at = power(win, lead)
        both, odds_twice = win * lose, odds * odds
        total = ZERO
        for i in range((draws - lead) // 2 + 1):
            K, c = lead + 2 * i, lead + i
            total += weight * min(tail, ONE)
            if draws < K + 2:
                break
            grows = win * (K + 1) / (i + 1) - 1
            if grows > 0:
                tail += lose * at * grows
            at *= both * ((K + 1) * (K + 2)) / ((c + 1) * (i + 1))
            weight *= odds_twice * ((draws - K) * (draws - K - 1)) / ((K + 1) * (K + 2))
    return total


@lru_cache(maxsize=65536)
def two_tails_pvalue(votes: int, rival: int, draws: int, m: Fraction) -> Decimal:
    """``inf over s of 2 max(P(Bin(N, s) >= X_y), P(Bin(N, s - m) <= X_l))``, not below it.

    Any ``s`` gives an upper bound, so the search for the one where both tails are equal needs no
    rigour; the smallest value seen is taken.
    """
    low, high = float(Fraction(rival, draws) + m), votes / draws
    if m >= 1 or Fraction(votes - rival, draws) <= m or not low < high:
        return ONE
    best = ONE

    def gap(s: float) -> float:
        """``log tail_y - log tail_l``, which rises with ``s``."""
        nonlocal best
        tail_y = upper_tail(votes, draws, Fraction(s))
        tail_l = upper_tail(draws - rival, draws, 1 - (Fraction(s) - m))
        with rounding(up=True):
            best = min(best, 2 * max(tail_y, tail_l))
        return _log(tail_y) - _log(tail_l)

    _find_root(gap, low, high)
    return best


def _find_root(gap: Callable[[float], float], low: float, high: float) -> None:
    """Regula falsi in the Illinois variant, until the two logarithms agree to 12 digits."""
    at_low, at_high = gap(low), gap(high)
    last = 0
    for _ in range(100):
        slope = at_high - at_low
        s = high - at_high * (high - low) / slope if math.isfinite(slope) and slope > 0 else low
        if not low < s < high:
            s = (low + high) / 2
        value = gap(s)
        if abs(value) < 1e-12 or not low < s < high:
            return
        if value > 0:
            high, at_high = s, value
            at_low = at_low / 2 if last == 1 else at_low
            last = 1
        else:
            low, at_low = s, value
            at_high = at_high / 2 if last == -1 else at_high
            last = -1


def _log(value: Decimal) -> float:
    """The natural logarithm as a float, of numbers far below the smallest float too."""
    if not value:
        return -math.inf
    power_of_ten = value.adjusted()
    return math.log(float(value.scaleb(-power_of_ten))) + power_of_ten * math.log(10)


def margin_holds(votes: int, rival: int, draws: int, level: Fraction, m: float) -> bool:
    """Whether a claimed Berger-Boos bound is one: its margin is rejected. Below 0 claims nothing.

    >>> margin_holds(90, 4, 100, Fraction(1, 1000), 0.5)
    True
    >>> margin_holds(90, 4, 100, Fraction(1, 1000), 0.86)
    False
    """
    return m < 0 or berger_boos_rejects(votes, rival, draws, Fraction(m), level)
