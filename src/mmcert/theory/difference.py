"""Bounds on ``p_y - p_l``: the true label against every rival, from the same ``N`` draws.

The null for a rival ``l`` is ``p_y - p_l <= m``, ``m`` the margin of the attack. A sample is
certified where the null of every rival is rejected at ``alpha`` (an intersection-union test, so
``alpha`` is not split); all rivals share ``N``, so the one with most votes decides. Both tests here
are nested in ``m``: one number per sample, the largest rejected margin, serves all budgets jointly.

At ``C = 2`` there is one rival and ``p_l = 1 - p_y``: the tests are valid, but ``binomial`` tests
the same null without spending anything on ``p_l`` and certifies more. Use that one there.

Sources: two Clopper-Pearson bounds with a Bonferroni split (method, section 3.2); confidence-set
p-values, Berger, Boos, JASA 1994.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from mmcert.errors import ConfigError, RecordError
from mmcert.theory.bounds import (
    INFLATION,
    check_alpha,
    check_counts,
    clopper_pearson_lower,
    clopper_pearson_upper,
    upper_tail,
)

Method = Literal["auto", "two_bounds", "berger_boos"]

#: ``auto`` takes the sharper Berger-Boos test up to this many draws, two bounds beyond.
BERGER_BOOS_DRAWS = 2000
#: Share of ``alpha`` that the Berger-Boos test spends on the confidence limit of ``p_y + p_l``.
BERGER_BOOS_SHARE = 1 / 50


def runner_up(counts: ArrayLike, y: int) -> tuple[int, int]:
    """``(X_y, X_l)``: votes of label ``y``, and most votes of any other label.

    Args:
        counts: Votes per class, integer ``(C,)``, ``C >= 2``.
        y: The label.

    Raises:
        RecordError: Where there are fewer than two classes, or no class ``y``.
    """
    votes = np.asarray(counts)
    if votes.ndim != 1 or votes.size < 2:
        raise RecordError(f"margin needs the votes of at least 2 classes, got shape {votes.shape}.")
    if not 0 <= y < votes.size:
        raise RecordError(f"label {y} is not one of the {votes.size} classes that have votes.")
    return int(votes[y]), int(np.delete(votes, y).max())


def largest_margin(
    counts: ArrayLike, y: int, N: int, alpha: float, method: Method = "auto"
) -> float:
    """The largest ``m`` such that ``p_y - p_l <= m`` is rejected for every rival, rounded down.

    A budget is certified iff its margin, rounded up, is at most this number; with probability
    ``1 - alpha`` that is right for all budgets jointly.

    Args:
        counts: Votes per class, integer ``(C,)``.
        y: The label to certify.
        N: Draws.
        alpha: Failure probability.
        method: ``two_bounds``, ``berger_boos``, or ``auto``: the latter up to 2000 draws.

    Returns:
        A margin in [0, 1), or -1.0 where not even ``m = 0`` (no attack) is rejected.

    Raises:
        ConfigError: For an unknown method or an ``alpha`` outside (0, 1/2).
        RecordError: For counts that ``N`` draws cannot give.

    >>> round(largest_margin([90, 4, 6], 0, 100, 0.001, "two_bounds"), 3)
    0.588
    """
    X_y, X_l = runner_up(counts, y)
    _check_pair(X_y, X_l, N)
    if (total := int(np.sum(counts))) > N:
        raise RecordError(f"all classes have {total} votes, of {N} draws.")
    check_alpha(alpha)
    if method == "auto":
        method = "berger_boos" if N <= BERGER_BOOS_DRAWS else "two_bounds"
    if method == "two_bounds":
        return _two_bounds(X_y, X_l, N, alpha)
    if method == "berger_boos":
        return _berger_boos(X_y, X_l, N, alpha)
    raise ConfigError(f"unknown margin method {method!r}; use auto, two_bounds or berger_boos.")


def _check_pair(X_y: ArrayLike, X_l: ArrayLike, N: int) -> None:
    check_counts(X_y, N)
    check_counts(X_l, N)
    total = np.asarray(X_y) + np.asarray(X_l)
    if total.size and total.max() > N:
        raise RecordError(f"two classes have {total.max()} votes together, of {N} draws.")


@lru_cache(maxsize=1 << 16)
def _two_bounds(X_y: int, X_l: int, N: int, alpha: float) -> float:
    """``L_y - U_l``, each bound at ``alpha/2``.

    ``U_l`` is at most ``1 - L_y`` already, since ``X_l <= N - X_y``.
    """
    gap = clopper_pearson_lower(X_y, N, alpha / 2) - clopper_pearson_upper(X_l, N, alpha / 2)
    return math.nextafter(gap, -1) if gap > 0 else -1.0


def difference_tail(d: int, N: int, p_y: float, p_l: float) -> float:
    """``P(X_y - X_l >= d)`` for multinomial votes, rounded up.

    ``sum_j Bin(N, p_l)(j) P(Bin(N - j, p_y/(1 - p_l)) >= d + j)``, over the ``j`` that carry all
    but a negligible mass; that mass is added.

    Args:
        d: Difference of votes, at least 1.
        N: Draws.
        p_y: Probability of label ``y``.
        p_l: Probability of the rival, ``p_y + p_l <= 1``.

    >>> difference_tail(1, 1, 0.7, 0.2) >= 0.7
    True
    """
    if p_l <= 0:
        return float(upper_tail(d, N, p_y))
    if p_l >= 1:
        return 0.0
    # Bernstein: beyond 8 standard deviations and 20 the mass is below 1e-12; counted exactly below.
    reach = 8 * math.sqrt(N * p_l * (1 - p_l)) + 20
    low, high = max(0, int(N * p_l - reach)), min(N, int(N * p_l + reach) + 1)
    j = np.arange(low, high + 1)
    # Log weights by the ratio of neighbours, normalised over the window: no gamma functions, whose
    # absolute error grows with N.
    log_ratio = np.log((N - j[:-1]) / (j[:-1] + 1.0)) + (math.log(p_l) - math.log1p(-p_l))
    log_weight = np.concatenate([[0.0], np.cumsum(log_ratio)])
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    reachable = d + j <= N - j
    j, weight = j[reachable], weight[reachable]
    tails = upper_tail(d + j, N - j, min(1.0, math.nextafter(p_y / (1 - p_l), 2)))
    outside = (upper_tail(N - low + 1, N, 1 - p_l) if low > 0 else 0.0) + (
        upper_tail(high + 1, N, p_l) if high < N else 0.0
    )
    return float(min(1.0, float(weight @ tails) * INFLATION + outside))


@lru_cache(maxsize=1 << 16)
def _berger_boos(X_y: int, X_l: int, N: int, alpha: float) -> float:
    """The largest margin whose certified supremum stays at or below ``alpha - beta``.

    Symbols: ``pi = p_y + p_l``; ``pi_U`` its upper limit at ``beta = alpha/50`` from
    ``X_y + X_l``; the p-value is the supremum over ``pi`` in ``[m, pi_U]`` plus ``beta``.
    Nested: for ``m < m'`` every ``pi`` in ``[m, m']`` has ``p_y <= m'`` under ``m``, so its tail is
    at most that of ``(p_y, p_l) = (m', 0)``, which the test of ``m'`` includes.
    """
    d = X_y - X_l
    if d < 1:
        return -1.0
    beta = alpha * BERGER_BOOS_SHARE
    target = (alpha - beta) / INFLATION
    limit = clopper_pearson_upper(X_y + X_l, N, beta)
    # The tail grows with the variance, so the worst pi is the limit or close to it: solve there,
    # step back by a small part of a standard deviation, and certify the supremum.
    m = _pointwise_margin(d, N, limit, target)
    back = 2e-3 * math.sqrt(limit / N)
    while m is not None and (m := m - back) >= 0:
        stuck = _first_uncertified(d, N, m, limit, target)
        if stuck is None:
            return m
        pointwise = _pointwise_margin(d, N, max(stuck, m), target)
        m = None if pointwise is None else min(m, pointwise)
        back *= 2
    if _first_uncertified(d, N, 0.0, limit, target) is None:
        return 0.0
    return -1.0


def _pointwise_margin(d: int, N: int, pi: float, target: float) -> float | None:
    """The ``m`` at which the tail at this one ``pi`` is ``target``; None where ``m = 0`` fails."""

    def excess(m: float) -> float:
        tail = difference_tail(d, N, (pi + m) / 2, (pi - m) / 2)
        return math.log(max(tail, 1e-300)) - math.log(target)

    top = min(d / N, pi)
    if excess(0.0) > 0:
        return None
    if excess(top) <= 0:
        return top
    return float(optimize.brentq(excess, 0.0, top, xtol=1e-7, rtol=1e-6))


def _first_uncertified(d: int, N: int, m: float, limit: float, target: float) -> float | None:
    """Where the supremum over ``pi`` in ``[m, limit]`` cannot be shown to be at most ``target``.

    Covers the interval by cells ``[a, b]`` from the right. On a cell the tail is at most its value
    at ``p_y = (b + m)/2, p_l = (a - m)/2`` (it grows with ``p_y`` and falls with ``p_l``), so a
    cell is done when that value is at most ``target``; a cell that fails is halved, one that holds
    lets the next be twice as wide. None where the whole interval is covered.
    """
    b, width = limit, 1e-3
    while b > m:
        a = max(m, b - width)
        if difference_tail(d, N, (b + m) / 2, max(0.0, (a - m) / 2)) <= target:
            b, width = a, 2 * width
        elif width < 1e-7:
            return b
        else:
            width /= 2
    return None


def margin_pvalue(X_y: ArrayLike, X_l: ArrayLike, N: int, m: float) -> float | NDArray[np.float64]:
    """P-value of ``p_y - p_l <= m`` from two binomial tails, rounded up.

    ``inf over s of 2 max(P(Bin(N, s) >= X_y), P(Bin(N, s - m) <= X_l))``; every ``s`` gives a valid
    upper bound of the infimum, and the search for the ``s`` where both tails are equal keeps the
    best one seen. At most ``alpha`` iff ``two_bounds`` certifies ``m`` at ``alpha``. For Holm over
    the elements of a multi-class sample, where ``X_l`` is the runner-up's count: pass the unique
    pairs, not the elements.

    Args:
        X_y: Votes of the label, integer, any shape.
        X_l: Most votes of a rival, of the same shape.
        N: Draws.
        m: Margin, rounded up; at ``m >= 1`` nothing can be rejected.

    Returns:
        A float for scalars, else float64 of the shape of ``X_y``.

    Raises:
        RecordError: For counts that ``N`` draws cannot give.

    >>> margin_pvalue(90, 10, 100, 0.9), margin_pvalue(90, 4, 100, 0.2) < 1e-4
    (1.0, True)
    """
    _check_pair(X_y, X_l, N)
    votes, rival = np.broadcast_arrays(
        np.asarray(X_y, dtype=np.float64), np.asarray(X_l, dtype=np.float64)
    )
    p_value = np.ones(votes.shape)
    open_ = (votes / N - rival / N > m) & (m < 1)
    if open_.any():
        p_value[open_] = _two_tails(votes[open_], rival[open_], N, m)
    return float(p_value) if p_value.ndim == 0 else p_value


def _two_tails(
    X_y: NDArray[np.float64], X_l: NDArray[np.float64], N: int, m: float
) -> NDArray[np.float64]:
    """:func:`margin_pvalue` for pairs whose estimate exceeds ``m``: float64 ``(L,)``."""

    def tails(s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # P(Bin(N, s - m) <= X_l) = P(Bin(N, 1 - (s - m)) >= N - X_l); rounding up 1 - (s - m)
        # rounds the tail up.
        return upper_tail(X_y, N, s), upper_tail(N - X_l, N, np.nextafter(1 - (s - m), 2))

    # log tail_y rises and log tail_l falls in s; they cross between the two estimates. The Illinois
    # variant of regula falsi on their difference.
    low, high = X_l / N + m, X_y / N
    best = np.ones(X_y.shape)

    def gap(s: NDArray[np.float64]) -> NDArray[np.float64]:
        tail_y, tail_l = tails(s)
        np.minimum(best, 2 * np.maximum(tail_y, tail_l), out=best)
        return np.asarray(np.log(tail_y) - np.log(tail_l), dtype=np.float64)

    gap_low, gap_high = gap(low), gap(high)
    moved_high = np.full(X_y.shape, -1)  # which end moved last: 1 the high one, 0 the low one
    for _ in range(10):
        slope = gap_high - gap_low
        inside = np.isfinite(slope) & (slope > 0)
        s = np.where(inside, high - gap_high * (high - low) / np.where(inside, slope, 1.0), low)
        value = gap(np.clip(s, low, high))
        right = value > 0
        # An end that stays for the second time is halved, so that both ends close in.
        stays_low, stays_high = right & (moved_high == 1), ~right & (moved_high == 0)
        gap_low = np.where(right, np.where(stays_low, gap_low / 2, gap_low), value)
        gap_high = np.where(right, value, np.where(stays_high, gap_high / 2, gap_high))
        low, high = np.where(right, low, s), np.where(right, s, high)
        moved_high = right.astype(int)
    return best
