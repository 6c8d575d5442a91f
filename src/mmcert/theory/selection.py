"""Whose label is certified: the true one, or the one that the ensemble gives now (no label needed).

*robust*: ``G`` keeps the true label; the label is fixed before the votes and the tests of
:mod:`mmcert.theory.bounds` apply as they are. *stable*: ``G`` keeps the label it gives; which one
that is must be read off votes. Either off separate *selection draws* (Cohen, Rosenfeld, Kolter,
ICML 2019, Algorithm "Certify"), and the test draws then test that label as if it were given; or off
the test votes themselves, with p-values that pay for having looked (method, section 3.3; beyond the
paper). *deployed*: selected, certified and true.

What is claimed of many elements without selection draws: the hypothesis "no label of element ``i``
has ``p > t``" does not depend on the votes, so Holm names, and e-values count, elements at which
``G`` is stable. That ``G``'s label there is the one with the most votes is part of the claim of a
single element and of ``bonferroni`` (a union bound over wrong labels); for Holm no proof covers
wrong labels under any dependence. Where the label itself is delivered (maps, *deployed*) for a
family, use selection draws, or ``bonferroni``.

Letters: ``N`` draws, ``X`` votes of the label with the most votes, ``t >= 1/2`` the threshold,
``f(s) = P(Bin(N, s) >= X)``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmcert.theory.bounds import check_counts, clopper_pearson_lower, upper_tail
from mmcert.theory.multiplicity import rejected_thresholds

FloatArray = npt.NDArray[np.float64]


def selected_label(selection_counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """The label with the most selection votes, the smallest one of a tie.

    Any rule is sound that looks at the selection draws only: they are independent of the draws that
    test the label.

    Args:
        selection_counts: Integer ``(C, ...)``.

    Returns:
        int64 ``(...)``.

    >>> selected_label([[3, 1], [3, 5]]).tolist()
    [0, 1]
    """
    return np.asarray(np.argmax(np.asarray(selection_counts), axis=0), dtype=np.int64)


def top_label_pvalue(X: npt.ArrayLike, N: int, t: npt.ArrayLike) -> FloatArray:
    """p-value of "the label with the most votes has ``p <= t``", selected on the same votes.

    ``p = f(t) + f(1 - t)`` where ``t <= (X - 1)/(N - 1)``, else 1. Every label with ``p <= t`` is a
    false choice: either one label has more than ``t`` and all others share less than ``1 - t``, or
    none has, and since ``f`` is convex up to ``(X - 1)/(N - 1)`` the sum over labels is largest at
    ``(t, 1 - t)``. A tie never certifies (then ``X <= N/2``).

    Args:
        X: Most votes of any label, any shape.
        N: Draws.
        t: Threshold, broadcast against ``X``; below 1/2 nothing is claimed (p = 1).

    Returns:
        float64 of the broadcast shape, rounded up.

    >>> float(top_label_pvalue(10, 10, 0.5)) >= 2 * 0.5**10, float(top_label_pvalue(5, 10, 0.5))
    (True, 1.0)
    """
    check_counts(X, N)
    votes, thresholds = np.broadcast_arrays(
        np.asarray(X, dtype=np.float64), np.asarray(t, dtype=np.float64)
    )
    # Slightly stricter than t <= (X - 1)/(N - 1): rounding must not let the boundary in.
    convex = (thresholds >= 0.5) & (thresholds * (N - 1) * (1 + 1e-12) <= votes - 1) & (N > 1)
    inside = np.clip(thresholds, 0.5, 1.0)
    total = upper_tail(votes, N, inside) + upper_tail(votes, N, np.nextafter(1 - inside, 1))
    return np.asarray(np.where(convex & (thresholds < 1), np.minimum(total, 1.0), 1.0))


def top_label_thresholds(X: npt.NDArray[np.int64], N: int, alphas: FloatArray) -> FloatArray:
    """The largest ``t`` with :func:`top_label_pvalue` at most ``alphas``, for Holm at all budgets.

    The p-value rises with ``t`` where its condition holds, so bisection finds the end. Unlike
    :func:`top_label_lower_bound` this is for one budget at a time.

    Args:
        X: Most votes of any label, ``(L,)``.
        N: Draws.
        alphas: Level of each, ``(L,)``.

    Returns:
        float64 ``(L,)``, rounded down; 0 where not even ``t = 1/2`` is rejected.
    """
    # Away from 1/2 the second term is negligible: a hair below the bound of a given label will do.
    bounds = rejected_thresholds(X, N, alphas * (1 - 1e-6))
    close = ~(top_label_pvalue(X, N, bounds) <= alphas)
    hopeless = ~(top_label_pvalue(X, N, 0.5) <= alphas)
    bounds[hopeless] = 0.0
    close &= ~hopeless
    if close.any():
        bounds[close] = _bisected(X[close], N, alphas[close])
    return bounds


def _bisected(X: npt.NDArray[np.int64], N: int, alphas: FloatArray) -> FloatArray:
    """The same by bisection, where ``t = 1/2`` is rejected."""
    low, high = np.full(len(X), 0.5), np.ones(len(X))
    for _ in range(53):
        middle = (low + high) / 2
        rejected = top_label_pvalue(X, N, middle) <= alphas
        low, high = np.where(rejected, middle, low), np.where(rejected, high, middle)
    return low


def top_label_lower_bound(X: npt.ArrayLike, N: int, alpha: float) -> FloatArray:
    """Lower bound of ``p`` of the label with the most votes, selected on the same votes.

    Joint over all budgets with ``t >= 1/2`` and for any number of classes: the one-sided
    Clopper-Pearson bound at ``alpha/2``; a budget is certified iff ``1/2 <= t <= bound``. Only two
    labels can matter: one with ``p > 1/2``, at most the largest of the others.

    Args:
        X: Most votes of any label, any shape.
        N: Draws.
        alpha: Failure probability, for all budgets together.

    Returns:
        float64 of the shape of ``X``; 0 where the bound is below 1/2 and claims nothing.

    >>> bool(top_label_lower_bound(100, 100, 0.001) < 0.0005 ** 0.01)
    True
    """
    bound = np.asarray(clopper_pearson_lower(np.atleast_1d(np.asarray(X)), N, alpha / 2))
    bound = np.where(bound >= 0.5, bound, 0.0)
    return np.asarray(bound.reshape(np.shape(X)), dtype=np.float64)


def deployed_certified(
    selected: npt.ArrayLike, certified: npt.ArrayLike, target: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """*deployed*: the selected label is certified, and it is the true one.

    Neither *robust* (where the true label is tested) nor *stable* (where truth is not asked for).

    Args:
        selected: Selected labels, integer ``(...)``.
        certified: Whether each is certified stable, bool ``(...)``.
        target: True labels, integer ``(...)``.

    Returns:
        bool ``(...)``.

    >>> deployed_certified([1, 1, 2], [True, False, True], [1, 1, 0]).tolist()
    [True, False, False]
    """
    right = np.asarray(selected) == np.asarray(target)
    return np.asarray(np.asarray(certified, dtype=np.bool_) & right, dtype=np.bool_)
