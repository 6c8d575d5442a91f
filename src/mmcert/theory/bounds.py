"""One-sided exact binomial tests and the Clopper-Pearson bounds that belong to them.

Letters: ``N`` draws, ``X`` votes, ``t`` the threshold of the null hypothesis ``p <= t``, ``alpha``
the failure probability. Every number is rounded against the certificate: p-values up, lower bounds
down, upper bounds up. Source: Clopper, Pearson, Biometrika 1934; method, sections 2 and 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mmcert.errors import ConfigError, RecordError

#: Computed tails are multiplied by this. The incomplete beta function of scipy is right to a
#: relative 3e-12 up to N = 10^6 (a test compares it with 60-digit arithmetic).
INFLATION = 1 + 1e-9
#: No p-value is reported below this, so that an underflow to 0 is still an upper bound.
SMALLEST_PVALUE = 1e-300


def check_alpha(alpha: float) -> None:
    """Refuse a failure probability outside (0, 1/2).

    Raises:
        ConfigError: With the value.
    """
    if not 0 < alpha < 0.5:
        raise ConfigError(f"alpha must lie strictly between 0 and 0.5, not {alpha}.")


def check_counts(X: ArrayLike, N: int) -> None:
    """Refuse vote counts that cannot come from ``N`` draws.

    Raises:
        ConfigError: Where ``N < 1``.
        RecordError: Where a count is negative or above ``N``.
    """
    if N < 1:
        raise ConfigError(f"the number of draws must be at least 1, not {N}.")
    counts = np.asarray(X)
    if counts.size and not (counts.min() >= 0 and counts.max() <= N):
        raise RecordError(
            f"vote counts must lie between 0 and the number of draws {N}; "
            f"found {counts.min()} to {counts.max()}."
        )


@overload
def upper_tail(X: int, N: int, t: float) -> float: ...
@overload
def upper_tail(X: ArrayLike, N: ArrayLike, t: ArrayLike) -> NDArray[np.float64]: ...
def upper_tail(X: ArrayLike, N: ArrayLike, t: ArrayLike) -> float | NDArray[np.float64]:
    """P-value ``P(Bin(N, t) >= X)`` of the null ``p <= t``, rounded up.

    Args:
        X: Votes, integer, any shape.
        N: Draws, broadcast against ``X``.
        t: Threshold, broadcast against ``X``; at ``t >= 1`` nothing can be rejected.

    Returns:
        A float where all are scalars, else a float64 array of the broadcast shape.

    >>> upper_tail(10, 10, 0.5) >= 0.5**10, upper_tail(0, 10, 0.5), upper_tail(10, 10, 1.0)
    (True, 1.0, 1.0)
    """
    votes = np.asarray(X, dtype=np.float64)
    draws = np.asarray(N, dtype=np.float64)
    threshold = np.asarray(t, dtype=np.float64)
    # max(X, 1) keeps the beta function defined where X = 0; that tail is 1 and set below.
    inside = special.betainc(
        np.maximum(votes, 1), np.maximum(draws - votes + 1, 0.5), np.clip(threshold, 0, 1)
    )
    tail = np.clip(inside * INFLATION, SMALLEST_PVALUE, 1)
    tail = np.where((votes <= 0) | (threshold >= 1), 1.0, tail)
    return float(tail) if tail.ndim == 0 else tail


@lru_cache(maxsize=512)
def pvalue_table(N: int, t: float) -> NDArray[np.float64]:
    """P-values of ``p <= t`` for every possible vote count.

    Args:
        N: Draws.
        t: Threshold.

    Returns:
        Read-only float64 ``(N + 1,)``, non-increasing: entry ``X`` is ``P(Bin(N, t) >= X)``,
        rounded up.
    """
    check_counts(0, N)
    table = np.ones(N + 1)
    if t < 1:
        # 40 standard deviations and 800 counts around the mean hold every p-value that is neither
        # 1 nor SMALLEST_PVALUE to within rounding. Below the window 1 is an upper bound anyhow.
        reach = 40 * np.sqrt(N * t * (1 - t)) + 800
        low = max(1, int(N * t - reach))
        high = min(N, int(N * t + reach) + 1)
        tails = upper_tail(np.arange(low, high + 1), N, t)
        table[low : high + 1] = tails
        # Above the window a p-value is at most the last one computed.
        table[high + 1 :] = tails[-1]
        # The exact table falls with X; rounding noise may not make it rise.
        table = np.maximum.accumulate(table[::-1])[::-1].copy()
    table.setflags(write=False)
    return table


def _boundary(
    rejects: Callable[[NDArray[np.float64]], NDArray[np.bool_]], guess: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The largest float in [0, 1] that is rejected, near ``guess``; 0 is taken as rejected."""
    low = np.clip(guess, 0.0, 1.0)
    step = np.spacing(low)
    pending = ~rejects(low)
    while pending.any():
        low = np.where(pending, np.maximum(low - step, 0.0), low)
        step = np.where(pending, 2 * step, step)
        pending &= (low > 0) & ~rejects(low)
    step = np.maximum(np.spacing(low), np.finfo(np.float64).tiny)
    high = np.minimum(low + step, 1.0)
    pending = rejects(high) & (high < 1)
    while pending.any():
        low = np.where(pending, high, low)
        step = np.where(pending, 2 * step, step)
        high = np.where(pending, np.minimum(low + step, 1.0), high)
        pending &= rejects(high) & (high < 1)
    while True:
        middle = low + (high - low) / 2
        pending = (middle > low) & (middle < high)
        if not pending.any():
            return low
        good = rejects(middle)
        low = np.where(pending & good, middle, low)
        high = np.where(pending & ~good, middle, high)


@overload
def clopper_pearson_lower(X: int, N: int, alpha: float) -> float: ...
@overload
def clopper_pearson_lower(X: ArrayLike, N: int, alpha: float) -> NDArray[np.float64]: ...
def clopper_pearson_lower(X: ArrayLike, N: int, alpha: float) -> float | NDArray[np.float64]:
    """One-sided lower confidence bound ``L`` of ``p`` at level ``1 - alpha``, rounded down.

    ``L`` is the largest float at which :func:`upper_tail` is at most ``alpha``, so that
    ``upper_tail(X, N, t) <= alpha`` and ``t <= L`` are the same decision. It serves all thresholds
    (all budgets) jointly at the one ``alpha``.

    Args:
        X: Votes, integer, any shape.
        N: Draws.
        alpha: Failure probability, at any level below 1/2.

    Returns:
        A float for a scalar ``X``, else float64 of its shape; 0 where ``X = 0``.

    Raises:
        ConfigError: For an ``alpha`` outside (0, 1/2).
        RecordError: For counts that ``N`` draws cannot give.

    >>> 0.0 < 0.001 ** (1 / 100) - clopper_pearson_lower(100, 100, 0.001) < 1e-10
    True
    """
    check_alpha(alpha)
    check_counts(X, N)
    votes = np.asarray(X, dtype=np.float64)
    flat = np.atleast_1d(votes).ravel()
    positive = np.maximum(flat, 1)
    guess = special.betaincinv(positive, N - positive + 1, alpha / INFLATION)
    lower = _boundary(lambda t: upper_tail(positive, N, t) <= alpha, guess)
    lower = np.where(flat > 0, lower, 0.0)
    return float(lower[0]) if votes.ndim == 0 else lower.reshape(votes.shape)


@overload
def clopper_pearson_upper(X: int, N: int, alpha: float) -> float: ...
@overload
def clopper_pearson_upper(X: ArrayLike, N: int, alpha: float) -> NDArray[np.float64]: ...
def clopper_pearson_upper(X: ArrayLike, N: int, alpha: float) -> float | NDArray[np.float64]:
    """One-sided upper confidence bound of ``p`` at level ``1 - alpha``, rounded up.

    Args and errors as :func:`clopper_pearson_lower`; 1 where ``X = N``.

    >>> clopper_pearson_upper(10, 10, 0.001)
    1.0
    """
    check_counts(X, N)
    lower = np.asarray(clopper_pearson_lower(N - np.asarray(X), N, alpha))
    # 1 - L is rounded to the nearest float: one step up makes it an upper bound in any case.
    upper = np.where(lower > 0, np.minimum(np.nextafter(1 - lower, 2), 1.0), 1.0)
    return float(upper) if upper.ndim == 0 else upper
