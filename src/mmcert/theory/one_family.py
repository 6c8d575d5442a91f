"""One family for every metric: the true nulls that closed testing leaves possible, class by class.

With probability at least ``1 - alpha`` the set ``K`` of true nulls of a family is empty or has
``sum over K of (alpha E - 1) < 0``, because the intersection of the hypotheses in ``K`` is not
rejected by the average of their e-values (Goeman, Solari, Statistical Science 2011; Vovk, Wang,
Statistical Science 2023; method, section 3.5). So every metric is at least its worst value over all
sets with that property: accuracy, recall, precision, F-score and IoU hold *jointly*, from one
family at ``alpha``, with nothing split over classes.

For a metric of one class the sets matter only through ``(J_pos, J_neg)``, how many nulls they have
in that class and in the others, and the worst sets take the smallest e-values of each side. Which
pairs are left is a staircase: for every ``J_pos`` the largest ``J_neg``. Its corners lie along a
concave line of few pieces, and a ratio of linear functions is smallest near an end of a piece.
Letters: ``T`` budgets, ``L`` groups of elements with equal e-value, ``M`` pairs, ``V`` places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
#: ``(J_pos, J_neg) -> (numerator, denominator)`` of a figure, linear in both and falling with both;
#: of int64 arrays, exactly, and of float64 arrays.
Figure = Callable[[Any, Any], tuple[Any, Any]]

#: Slack of the sums, per unit of their total: far above what float64 can lose.
_SLACK = 1e-12
#: Most pairs of a staircase; a longer one is coarsened, against us.
PAIRS = 1 << 16
#: Steps of the staircase that are looked at on each side of an end of a piece.
_NEAR = 5
#: Groups up to which many budgets are searched at once.
_FEW_GROUPS = 40


def worst_figures(
    evalues: npt.ArrayLike,
    positives: npt.ArrayLike,
    negatives: npt.ArrayLike,
    alpha: float,
    figures: Sequence[Figure],
) -> list[tuple[IntArray, IntArray]]:
    """The numbers of true nulls at which each figure is smallest, for many budgets at once.

    The figures at these pairs are lower bounds that hold jointly, with probability ``1 - alpha`` at
    each budget. Equal to the smallest figure over :func:`worst_nulls`, of which only the corners
    near the ends of pieces are looked at, and the others where these do not settle it.

    Args:
        evalues: e-value of each group, ``(T, L)``, in any order.
        positives: Elements of the class in each group, ``(T, L)``.
        negatives: Elements of the family outside the class in each group, ``(T, L)``.
        alpha: Failure probability of the family.
        figures: Up to ``10**9`` elements fit.

    Returns:
        For each figure ``J_pos`` and ``J_neg``, int64 ``(T,)``.

    >>> recall = lambda J_pos, J_neg: (34 - J_pos, 34 + 0 * J_neg)
    >>> worst_figures([[0.0, 80.0]], [[4, 30]], [[6, 60]], 0.05, [recall])
    [(array([7]), array([6]))]
    """
    e = np.asarray(evalues, dtype=np.float64)
    own, others = np.asarray(positives, dtype=np.int64), np.asarray(negatives, dtype=np.int64)
    found = [(np.zeros(len(e), np.int64), np.zeros(len(e), np.int64)) for _ in figures]
    open_rows = np.arange(len(e))
    if e.shape[1] <= _FEW_GROUPS:
        stairs = _Staircases(e, own, others, alpha)
        open_rows = stairs.search(figures, found)
    for row in open_rows:
        J_pos, J_neg = worst_nulls(e[row], own[row], others[row], alpha)
        for figure, (best_pos, best_neg) in zip(figures, found, strict=True):
            at = int(_smallest(*figure(J_pos[None], J_neg[None]))[0])
            best_pos[row], best_neg[row] = J_pos[at], J_neg[at]
    return found


class _Staircases:
    """The staircases of many budgets; see :func:`worst_nulls`, which they agree with."""

    def __init__(self, e: FloatArray, own: IntArray, others: IntArray, alpha: float) -> None:
        if not e.shape == own.shape == others.shape or not 0 < alpha < 1:
            raise ValueError(f"shapes {e.shape}, {own.shape}, {others.shape} at alpha = {alpha}")
        order = np.argsort(e, axis=1, kind="stable")
        excess = alpha * np.take_along_axis(e, order, axis=1) - 1.0
        self._own = np.take_along_axis(own, order, axis=1)
        self._others = np.take_along_axis(others, order, axis=1)
        sizes = self._own + self._others
        free = excess <= _SLACK
        self._base = np.stack([(side * free).sum(axis=1) for side in (self._own, self._others)])
        credit = np.sum(np.maximum(-excess, 0.0) * sizes, axis=1)
        credit += 2 * _SLACK * (credit + sizes.sum(axis=1))
        self._credit = np.where(self._base.any(axis=0), credit, 0.0)[:, None]
        self._cost = np.where(free, 1.0, np.maximum(np.minimum(excess, 2 * self._credit), _SLACK))
        self._own, self._others = self._own * ~free, self._others * ~free
        self._own_paid = _before(self._own * self._cost)
        self._others_paid = _before(self._others * self._cost)
        self._most = self._affordable(self._credit, self._own, self._own_paid)

    def search(
        self, figures: Sequence[Figure], found: Sequence[tuple[IntArray, IntArray]]
    ) -> IntArray:
        """Fill in the smallest of each figure; the budgets that must be searched wholly."""
        steps = self._near_the_ends()  # (T, V)
        J_pos, J_neg = self._base[0][:, None] + steps, self._outside(steps)
        # Between two of these steps the line is straight, and a figure smallest at one end of it.
        gap = np.diff(steps, axis=1) > 1
        unseen = np.concatenate([steps[:, :-1] + 1, steps[:, 1:] - 1], axis=1)
        skipped = np.concatenate([gap, gap], axis=1)
        line = self._line(unseen)
        unsettled = np.zeros(len(steps), dtype=bool)
        for figure, (best_pos, best_neg) in zip(figures, found, strict=True):
            above, below = figure(J_pos, J_neg)
            at = _smallest(above, below)[:, None]
            best_pos[:] = np.take_along_axis(J_pos, at, axis=1)[:, 0]
            best_neg[:] = np.take_along_axis(J_neg, at, axis=1)[:, 0]
            best = np.take_along_axis(_quotient(above, below), at, axis=1)
            bound = _quotient(*figure((self._base[0][:, None] + unseen).astype(float), line))
            unsettled |= (skipped & (bound < best + 1e-12)).any(axis=1)
        return np.flatnonzero(unsettled)

    def _near_the_ends(self) -> IntArray:
        """Steps within ``_NEAR`` of an end of a piece, ascending, ``(T, V)``."""
        T = len(self._most)
        inside = np.cumsum(self._own, axis=1)  # ends where a group of the class is used up
        left = self._credit - self._others_paid  # and where a group outside it is
        outside = np.floor(self._fractional(left, self._own, self._own_paid)).astype(np.int64)
        ends = np.concatenate([np.zeros((T, 1), np.int64), self._most, inside, outside], axis=1)
        near = ends[:, :, None] + np.arange(-_NEAR, _NEAR + 2)
        return np.sort(np.clip(near.reshape(T, -1), 0, self._most), axis=1)

    def _outside(self, steps: IntArray) -> IntArray:
        """The most nulls outside the class beside ``steps`` paid ones in it."""
        left = self._credit - self._paid(steps)
        paid_for = self._affordable(left, self._others, self._others_paid)
        return np.asarray(self._base[1][:, None] + paid_for, dtype=np.int64)

    def _line(self, steps: IntArray) -> FloatArray:
        """Above the staircase, and straight between ends of pieces.

        Where a null of the class costs what one outside it does, whole numbers lie on a straight
        line themselves.
        """
        left = self._credit - self._paid(steps)
        beside = self._affordable(left, self._others, self._others_paid)
        alike = self._next(steps, self._own) == self._next(beside, self._others)
        fraction = self._fractional(left, self._others, self._others_paid)
        return np.asarray(self._base[1][:, None] + np.where(alike, beside, fraction))

    def _next(self, counts: IntArray, sizes: IntArray) -> FloatArray:
        """The cost of the element after so many cheapest ones; 0 after the last."""
        before = _before(sizes)
        cost = np.zeros(counts.shape)
        for k in range(sizes.shape[1]):
            here = (before[:, [k]] <= counts) & (counts < before[:, [k]] + sizes[:, [k]])
            cost += np.where(here, self._cost[:, [k]], 0.0)
        return cost

    def _paid(self, steps: IntArray) -> FloatArray:
        before = _before(self._own)
        total = np.zeros(steps.shape)
        for k in range(before.shape[1]):
            used = np.clip(steps - before[:, [k]], 0, self._own[:, [k]])
            total += used * self._cost[:, [k]]
        return total

    def _affordable(self, credit: FloatArray, sizes: IntArray, paid: FloatArray) -> IntArray:
        total = np.zeros(credit.shape, np.int64)
        for k in range(sizes.shape[1]):
            whole = np.ceil((credit - paid[:, [k]]) / self._cost[:, [k]]) - 1
            total += np.clip(whole, 0, sizes[:, [k]]).astype(np.int64)
        return total

    def _fractional(self, credit: FloatArray, sizes: IntArray, paid: FloatArray) -> FloatArray:
        total = np.zeros(credit.shape)
        for k in range(sizes.shape[1]):
            total += np.clip((credit - paid[:, [k]]) / self._cost[:, [k]], 0, sizes[:, [k]])
        return total


def _before(parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Sums of what comes before each along the last axis."""
    sums = np.zeros_like(parts)
    np.cumsum(parts[..., :-1], axis=-1, out=sums[..., 1:])
    return sums


def _quotient(above: Any, below: Any) -> FloatArray:
    """A ratio of nothing to nothing counts as 0."""
    return np.asarray(above / np.where(below == 0, 1, below), dtype=np.float64)


def _smallest(above: IntArray, below: IntArray) -> IntArray:
    """Where the ratio is smallest along the last axis, compared exactly, ``(T,)``."""
    below = np.where(below == 0, 1, below)
    at = np.argmin(above / below, axis=1)  # floats only sort
    while True:
        top, bottom = (np.take_along_axis(x, at[:, None], axis=1) for x in (above, below))
        smaller = above * bottom < top * below  # below 2**63 up to 10**9 elements
        wrong = smaller.any(axis=1)
        if not wrong.any():
            return np.asarray(at, dtype=np.int64)
        at = np.where(wrong, smaller.argmax(axis=1), at)


def worst_nulls(
    evalues: npt.ArrayLike,
    positives: npt.ArrayLike,
    negatives: npt.ArrayLike,
    alpha: float,
    *,
    pairs: int = PAIRS,
) -> tuple[IntArray, IntArray]:
    """The most true nulls that may be in a class and outside it, as pairs.

    With probability at least ``1 - alpha`` some pair ``m`` has at least as many nulls as there are,
    in the class (``J_pos[m]``) and outside it (``J_neg[m]``) at once. So the smallest value over
    the pairs of whatever falls with both is a lower bound, for all such figures jointly. Sums
    within rounding count against us.

    Args:
        evalues: e-value of each group, ``(L,)``, in any order.
        positives: Elements of the class in each group, ``(L,)``.
        negatives: Elements of the family outside the class in each group, ``(L,)``.
        alpha: Failure probability of the family.
        pairs: At most about so many pairs. Where more would be needed (families of many millions),
            some take a few nulls too many, never too few.

    Returns:
        ``J_pos`` and ``J_neg``, int64 ``(M,)`` with ``M >= 1``; ``J_pos`` rises, ``J_neg`` falls.

    Raises:
        ValueError: For shapes that differ, negative numbers, or ``alpha`` outside (0, 1).

    >>> [j.tolist() for j in worst_nulls([0.0, 80.0], [4, 30], [6, 60], alpha=0.05)]
    [[4, 5, 6, 7], [9, 8, 7, 6]]

    Ten e-values of 0 pay for three of 80, which cost 3 each, wherever these lie.
    """
    e, own, others = _checked(evalues, positives, negatives, alpha)
    excess = alpha * e - 1.0
    free = excess <= _SLACK
    base = int(own[free].sum()), int(others[free].sum())
    if base == (0, 0):
        return np.zeros(1, np.int64), np.zeros(1, np.int64)
    sizes = own + others
    credit = float(np.sum(np.maximum(-excess, 0.0) * sizes))
    credit += 2 * _SLACK * (credit + float(sizes.sum()))
    cost = np.minimum(excess[~free], 2 * credit)  # that much is out of reach
    most = _affordable(np.array([credit]), cost, own[~free])[0]
    step = -(-int(most + 1) // pairs)
    added = np.minimum(np.arange(0, most + step, step, dtype=np.int64), most)
    # Between two of its numbers a coarse staircase is bounded by the larger of each coordinate.
    first = np.concatenate((added[:1], added[:-1] + 1)) if step > 1 else added
    left = credit - _paid(first, cost, own[~free])
    return base[0] + added, base[1] + _affordable(left, cost, others[~free])


def _checked(
    evalues: npt.ArrayLike, positives: npt.ArrayLike, negatives: npt.ArrayLike, alpha: float
) -> tuple[FloatArray, IntArray, IntArray]:
    """The groups that have elements, smallest e-value first."""
    e = np.asarray(evalues, dtype=np.float64)
    own, others = np.asarray(positives, dtype=np.int64), np.asarray(negatives, dtype=np.int64)
    if e.ndim != 1 or not e.shape == own.shape == others.shape:
        raise ValueError(
            f"one e-value and two sizes per group, not {e.shape}, {own.shape}, {others.shape}"
        )
    if not (e >= 0).all() or np.isinf(e).any() or (own < 0).any() or (others < 0).any():
        raise ValueError("e-values are finite and at least 0, sizes at least 0")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies in (0, 1), not {alpha}")
    order = np.argsort(e, kind="stable")
    order = order[(own + others)[order] > 0]
    return e[order], own[order], others[order]


def _paid(counts: IntArray, cost: FloatArray, sizes: IntArray) -> FloatArray:
    """What the so many cheapest elements cost together; ``cost`` ascends, ``(L,)``."""
    have = sizes > 0
    steps = np.concatenate(([0], np.cumsum(sizes[have]))).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(cost[have] * sizes[have])))
    return np.asarray(np.interp(counts.astype(np.float64), steps, sums), dtype=np.float64)


def _affordable(credit: FloatArray, cost: FloatArray, sizes: IntArray) -> IntArray:
    """The most elements, cheapest first, whose costs sum to less than each credit; 0 if none is."""
    have = sizes > 0
    steps = np.concatenate(([0], np.cumsum(sizes[have]))).astype(np.float64)
    sums = np.concatenate(([0.0], np.cumsum(cost[have] * sizes[have])))
    reached = np.interp(credit, sums, steps)
    fewer = np.where(credit > sums[-1], steps[-1], np.ceil(reached) - 1)
    return np.maximum(fewer, 0).astype(np.int64)
