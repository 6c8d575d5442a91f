"""Many elements at once: which of them may be called certified, jointly at ``alpha``.

Elements with equal votes have equal p-values, so a family of ``P`` elements is described by its
*levels*: ``pvalues (L,)`` and ``sizes (L,)``, ``P = sum sizes``. Nothing is sorted per pixel.
Family-wise error: with probability at least ``1 - alpha`` *no* certified element is a false one,
under any dependence between the elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import special

from mmcert.theory.bounds import INFLATION, upper_tail

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

#: ``(X, N, alphas) -> t``: the largest threshold that ``X`` of ``N`` votes reject at each level.
LargestThresholds = Callable[[npt.NDArray[np.int64], int, FloatArray], FloatArray]


def checked_levels(
    values: npt.ArrayLike, sizes: npt.ArrayLike
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """``values (L,)`` as float64 and ``sizes (L,)`` as int64.

    Raises:
        ValueError: Where the shapes differ, a value is not a number, or a size is negative.
    """
    value_array = np.asarray(values, dtype=np.float64)
    size_array = np.asarray(sizes, dtype=np.int64)
    if value_array.ndim != 1 or value_array.shape != size_array.shape:
        raise ValueError(
            f"levels need one value and one size each, not shapes {value_array.shape} and "
            f"{size_array.shape}"
        )
    if np.isnan(value_array).any():
        raise ValueError("a level has no value (NaN)")
    if (size_array < 0).any():
        raise ValueError("a level has a negative size")
    return value_array, size_array


def bonferroni(pvalues: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float) -> BoolArray:
    """Which levels Bonferroni certifies: ``p <= alpha / P``.

    Holds jointly over all budgets too, since the level of each element's test does not depend on
    the votes: it is the one-sided confidence bound of that element at ``alpha / P``.

    Args:
        pvalues: p-value of each level, ``(L,)``.
        sizes: Elements in each level, ``(L,)``.
        alpha: Failure probability of the whole family.

    Returns:
        bool ``(L,)``.

    >>> bonferroni([0.001, 0.02, 0.5], [2, 1, 1], alpha=0.05).tolist()
    [True, False, False]
    """
    values, counts = checked_levels(pvalues, sizes)
    return values * max(int(counts.sum()), 1) <= alpha


def holm(pvalues: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float) -> BoolArray:
    """Which levels Holm's step-down procedure certifies (Holm 1979, Theorem 3).

    Levels are visited from the smallest p-value up. A level of ``g`` elements that starts at
    position ``j`` (from 1) is certified whole iff its ``p <= alpha / (P - j + 1)``; at the first
    level that fails the procedure stops, whatever comes later. This equals the element by element
    procedure: the limit only grows within a level, so its first element decides.

    Args:
        pvalues: p-value of each level, ``(L,)``, in any order.
        sizes: Elements in each level, ``(L,)``.
        alpha: Failure probability of the whole family.

    Returns:
        bool ``(L,)``, in the order given.

    >>> holm([0.01, 0.02, 0.03, 0.001], [1, 1, 1, 1], alpha=0.05).tolist()
    [True, True, True, True]
    >>> holm([0.001, 0.04, 0.01], [1, 1, 2], alpha=0.03).tolist()
    [True, False, True]
    """
    values, counts = checked_levels(pvalues, sizes)
    order = np.argsort(values, kind="stable")
    before = np.concatenate(([0], np.cumsum(counts[order])[:-1]))
    left = np.maximum(int(counts.sum()) - before, 1)
    passed = np.logical_and.accumulate(values[order] * left <= alpha)
    certified = np.zeros(len(values), dtype=np.bool_)
    certified[order] = passed
    return certified


def rejected_thresholds(X: npt.NDArray[np.int64], N: int, alphas: FloatArray) -> FloatArray:
    """A float just below the largest ``t`` with ``P(Bin(N, t) >= X) <= alphas``; 0 at ``X = 0``.

    The one-sided Clopper-Pearson bound, at a level for each ``X`` (Clopper, Pearson 1934).

    Args:
        X: Votes, ``(L,)``.
        N: Draws.
        alphas: Level of each, ``(L,)``.

    Returns:
        float64 ``(L,)``, rounded down.
    """
    votes = np.maximum(X, 1)
    root = special.betaincinv(votes, N - votes + 1.0, alphas / INFLATION)
    bounds = np.zeros(len(X), dtype=np.float64)
    # The inverse is not right to the last digit: step down until the p-value itself agrees.
    for step in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6):
        below = root * (1 - step)
        agrees = (bounds == 0) & (X > 0) & (upper_tail(votes, N, below) <= alphas)
        bounds = np.where(agrees, below, bounds)
    return bounds


def holm_thresholds(
    sizes: npt.ArrayLike,
    alpha: float,
    thresholds_of: LargestThresholds = rejected_thresholds,
) -> FloatArray:
    """The largest threshold ``t`` at which Holm certifies each vote level: all budgets in one run.

    Vote levels are passed from ``N`` votes down. The level of ``X`` votes starts at the position
    after all elements with more votes, whatever ``t`` is, so ``p <= alpha / (P - j + 1)`` is
    ``t <= L_X`` with ``L_X`` the one-sided Clopper-Pearson bound at that level; stopping at the
    first failure is a running minimum. Equal to :func:`holm` at each ``t`` (Holm 1979), and still
    *each*, not joint over budgets: the position of a level depends on the votes.

    Args:
        sizes: Elements with ``X`` votes, ``(N + 1,)``, index ``X``.
        alpha: Failure probability of the whole family.
        thresholds_of: The test: by default that of a label fixed before the votes;
            :func:`mmcert.theory.selection.top_label_thresholds` for histograms of the most votes.

    Returns:
        float64 ``(N + 1,)``, non-decreasing in ``X``: elements with ``X`` votes are certified at
        threshold ``t`` iff ``t <= holm_thresholds[X]`` (and ``t > 0``). Rounded down.

    >>> bounds = holm_thresholds([0, 0, 0, 0, 5], alpha=0.05)
    >>> bool(0.01 ** 0.25 - 1e-9 < bounds[4] < 0.01 ** 0.25)
    True
    """
    _, counts = checked_levels(np.zeros(len(np.asarray(sizes))), sizes)
    N = len(counts) - 1
    left = np.maximum(np.cumsum(counts), 1)  # P - j + 1 where j is the first position of level X
    bounds = thresholds_of(np.arange(N + 1), N, alpha / left)
    # An empty level is no test: it must not stop the procedure.
    bounds[counts == 0] = np.inf
    bounds = np.minimum.accumulate(bounds[::-1])[::-1]
    finite = bounds[np.isfinite(bounds)]
    return np.where(np.isfinite(bounds), bounds, finite.max() if finite.size else 0.0)


def bonferroni_thresholds(
    N: int, P: int, alpha: float, thresholds_of: LargestThresholds = rejected_thresholds
) -> FloatArray:
    """The largest threshold ``t`` at which Bonferroni certifies an element with ``X`` votes.

    The one-sided Clopper-Pearson bound at ``alpha / P``; joint over all budgets.

    Args:
        N: Draws.
        P: Elements in the family.
        alpha: Failure probability of the whole family.
        thresholds_of: As in :func:`holm_thresholds`.

    Returns:
        float64 ``(N + 1,)``, non-decreasing in ``X``. Rounded down.

    >>> bool(bonferroni_thresholds(4, 5, 0.05)[4] < 0.01 ** 0.25)
    True
    """
    return thresholds_of(np.arange(N + 1), N, np.full(N + 1, alpha / max(P, 1)))
