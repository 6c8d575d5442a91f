"""Closed testing with averages of e-values: how many elements are robust, not which.

An e-value is a non-negative statistic with mean at most 1 under its null; averages of e-values are
e-values under any dependence. Closed testing (Goeman, Solari, Statistical Science 2011) with the
average as the combined test (Vovk, Wang, Annals of Statistics 2021, Section 3; "Confidence and
discoveries with e-values", Statistical Science 2023, Algorithm 1) says of a family of ``P``
hypotheses that was fixed in advance: with probability at least ``1 - alpha`` the number of true
nulls is at most the largest ``j`` whose ``j`` smallest e-values average below ``1/alpha``. So **at
least** ``P - j`` elements are robust. Nothing is claimed about *which*: no map and no slice by
image may be drawn from it. It costs ``1/alpha`` where Holm needs ``P/alpha``.

Symbols: ``P`` elements, ``N`` draws, ``t`` threshold, ``J`` levels ``b_j`` with weights ``w_j``,
``T`` thresholds (budgets), ``L`` groups of elements with equal e-value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mmcert.theory.bounds import INFLATION, pvalue_table, upper_tail

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: ``(X, N, t) -> p-value``, broadcasting, falling in ``X`` and rising in ``t``.
PValue = Callable[[npt.ArrayLike, int, npt.ArrayLike], FloatArray]

#: Slack of the running sums, per unit of their total: far above what float64 can lose.
_SLACK = 1e-12

#: Levels as fractions of ``alpha`` and their weights, fixed before any votes by the calculation in
#: :mod:`mmcert.theory.power`.
LEVELS = (1 / 20, 1 / 500)
WEIGHTS = (0.9, 0.1)


def check_design(
    levels: Sequence[float], weights: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """Levels and weights as arrays ``(J,)``, largest level first.

    Raises:
        ValueError: Unless every level is in (0, 1) and the positive weights sum to at most 1.
    """
    level_array = np.asarray(levels, dtype=np.float64)
    weight_array = np.asarray(weights, dtype=np.float64)
    if level_array.ndim != 1 or len(level_array) == 0 or level_array.shape != weight_array.shape:
        raise ValueError(f"one weight for each level, not {weights} for {levels}")
    if not ((level_array > 0) & (level_array < 1)).all():
        raise ValueError(f"levels are fractions of alpha in (0, 1), not {levels}")
    if not (weight_array > 0).all() or weight_array.sum() > 1 + 1e-12:
        raise ValueError(f"weights are positive and sum to at most 1, not {weights}")
    order = np.argsort(-level_array, kind="stable")
    return level_array[order], weight_array[order]


def calibrate(
    pvalues: npt.ArrayLike,
    smallest: npt.ArrayLike,
    alpha: float,
    levels: Sequence[float] = LEVELS,
    weights: Sequence[float] = WEIGHTS,
) -> FloatArray:
    """e-values from p-values: ``E = sum_j w_j 1{p <= b_j} / b_j``, ``b_j = max(a_j, smallest)``.

    Valid since ``P(p <= b) <= b`` under the null, for any ``b`` that is fixed before the votes
    (Vovk, Wang 2021, Section 2). No test of ``N`` draws has a smaller p-value than unanimous votes
    give: a level below it would be wasted.

    Args:
        pvalues: p-values.
        smallest: The smallest p-value that the test can give, whatever the votes.
        alpha: Failure probability of the family.
        levels: ``a_j / alpha``, ``(J,)``.
        weights: ``w_j``, ``(J,)``.

    Returns:
        float64 of the shape of ``pvalues`` and ``smallest``, multiplied by ``1 - 1e-9``.
    """
    values, floors = np.broadcast_arrays(
        np.asarray(pvalues, dtype=np.float64), np.asarray(smallest, dtype=np.float64)
    )
    total = np.zeros(values.shape, dtype=np.float64)
    for level, weight in zip(*check_design(levels, weights), strict=True):
        b = np.maximum(level * alpha, floors)
        # p = 1 is no evidence; a level of 1 would pay 1 for nothing and is worth nothing either.
        total += np.where((values <= b) & (values < 1.0), weight / b, 0.0)
    return total / INFLATION


def evalue_table(
    N: int,
    t: float,
    alpha: float,
    levels: Sequence[float] = LEVELS,
    weights: Sequence[float] = WEIGHTS,
) -> FloatArray:
    """The e-value against ``H: p_y <= t`` for every number of votes (method, section 3.5).

    ``E = sum_j w_j 1{p <= b_j} / b_j`` with ``p`` the exact binomial p-value and
    ``b_j = max(alpha * levels_j, t^N)``. Non-decreasing in the votes, non-increasing in ``t``.

    Args:
        N: Draws.
        t: Threshold; 1 or more certifies nothing.
        alpha: Failure probability of the family.
        levels: ``a_j / alpha``.
        weights: ``w_j``.

    Returns:
        float64 ``(N + 1,)``, index = votes for the label.

    >>> evalue_table(100, 0.5, 0.001)[[0, 60, 70, 100]].round(3).tolist()
    [0.0, 0.0, 18000.0, 68000.0]
    """
    pvalues = pvalue_table(N, t)
    return calibrate(pvalues, pvalues[N], alpha, levels, weights)


def critical_counts(
    N: int, thresholds: npt.ArrayLike, b: npt.ArrayLike, pvalue: PValue = upper_tail
) -> IntArray:
    """The fewest votes ``X`` of ``N`` with ``P(Bin(N, t) >= X) <= b``; ``N + 1`` where none does.

    Args:
        N: Draws.
        thresholds: ``t``, ``(T,)``.
        b: Levels, below 1, ``(T,)`` or one.
        pvalue: Another test than that of a label fixed before the votes.

    Returns:
        int64 ``(T,)``.

    >>> critical_counts(4, [0.5, 0.5, 1.0], [0.07, 0.06, 0.5]).tolist()
    [4, 5, 5]
    """
    t, level = np.broadcast_arrays(
        np.asarray(thresholds, dtype=np.float64), np.asarray(b, dtype=np.float64)
    )
    low = np.zeros(t.shape, dtype=np.int64)  # never enough
    high = np.full(t.shape, N + 1, dtype=np.int64)
    while (high - low > 1).any():
        middle = (low + high) // 2
        enough = (pvalue(middle, N, t) <= level) & (middle > low)
        high = np.where(enough, middle, high)
        low = np.where(enough, low, np.maximum(middle, low))
    return np.asarray(high, dtype=np.int64)


def evalue_groups(
    sizes: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    alpha: float,
    levels: Sequence[float] = LEVELS,
    weights: Sequence[float] = WEIGHTS,
    *,
    joint: bool = False,
    pvalue: PValue = upper_tail,
) -> tuple[FloatArray, IntArray]:
    """The elements of one sample by e-value, at every threshold: never more than ``J + 1`` groups.

    Equal to looking :func:`evalue_table` up for each element, without a table per threshold. The
    groups of several samples (each with its own ``N`` and ``t``) are joined along the last axis to
    make one family over a data set.

    Args:
        sizes: Elements with ``X`` votes, ``(N + 1,)``, index ``X``.
        thresholds: ``t`` per budget, ``(T,)``, in any order.
        alpha: Failure probability of the family (``harmonic_alpha`` for joint budgets).
        levels: ``a_j / alpha``, ``(J,)``.
        weights: ``w_j``, ``(J,)``.
        joint: Make the e-value of each element non-increasing along growing ``t`` (the running
            minimum), as claims that hold jointly over budgets need. In exact arithmetic it is so
            already; this keeps rounding out of it.
        pvalue: The test: by default that of a label fixed before the votes;
            :func:`mmcert.theory.selection.top_label_pvalue` for histograms of the most votes.

    Returns:
        e-values ``(T, J + 1)`` and sizes ``(T, J + 1)``.
    """
    counts = np.asarray(sizes, dtype=np.int64)
    t = np.asarray(thresholds, dtype=np.float64)
    if counts.ndim != 1 or len(counts) == 0 or t.ndim != 1:
        raise ValueError(f"a histogram (N + 1,) and thresholds (T,), not {counts.shape}, {t.shape}")
    design = (tuple(levels), tuple(weights))
    evalues, fewest = _steps(len(counts) - 1, t.tobytes(), alpha, design, joint, pvalue)
    at_least = np.concatenate((np.cumsum(counts[::-1])[::-1], [0]))  # (N + 2,)
    reached = at_least[fewest]  # (T, J): elements with an e-value of at least evalues[:, j + 1]
    everything = np.full((len(t), 1), at_least[0])
    nothing = np.zeros((len(t), 1), dtype=np.int64)
    return evalues, -np.diff(np.concatenate((everything, reached, nothing), axis=1), axis=1)


@lru_cache(maxsize=64)
def _steps(
    N: int,
    thresholds: bytes,
    alpha: float,
    design: tuple[tuple[float, ...], tuple[float, ...]],
    joint: bool,
    pvalue: PValue,
) -> tuple[FloatArray, IntArray]:
    """The e-value as a step function of the votes, at each threshold: alike for all samples.

    Returns:
        The values ``(T, J + 1)``, from 0, and the fewest votes for each but the first ``(T, J)``.
    """
    t, place = np.unique(np.frombuffer(thresholds, dtype=np.float64), return_inverse=True)
    smallest = pvalue(np.full(t.shape, N), N, t)
    evalues = np.zeros((len(t), len(design[0]) + 1), dtype=np.float64)
    fewest = np.full((len(t), len(design[0])), N + 1, dtype=np.int64)
    for j, (fraction, weight) in enumerate(zip(*check_design(*design), strict=True)):
        b = np.maximum(fraction * alpha, smallest)
        usable = b < 1.0
        fewest[usable, j] = critical_counts(N, t[usable], b[usable], pvalue)
        if joint:  # t is sorted
            b = np.maximum.accumulate(b)
            fewest[:, j] = np.maximum.accumulate(fewest[:, j])
        evalues[:, j + 1] = evalues[:, j] + np.where(usable, weight / b, 0.0)
    evalues /= INFLATION
    return _read_only(evalues[place]), _read_only(fewest[place])


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _most_true_nulls(
    evalues: FloatArray, sizes: IntArray, alpha: float, credit: FloatArray
) -> IntArray:
    """The most elements of the family that may be true nulls, ``(...,)``.

    The largest ``j`` with ``sum over the j smallest of (alpha e - 1) < credit`` (``<= 0`` in total
    for an empty sum, hence at least 0). Sums are tilted against us by ``_SLACK``.
    """
    order = np.argsort(evalues, axis=-1, kind="stable")
    e = np.take_along_axis(evalues, order, axis=-1) * alpha
    g = np.take_along_axis(sizes, order, axis=-1).astype(np.float64)
    running = np.cumsum((e - 1.0) * g, axis=-1) - credit[..., None]
    slack = _SLACK * (np.cumsum((e + 1.0) * g, axis=-1) + credit[..., None])
    before = np.concatenate((-credit[..., None], running[..., :-1]), axis=-1)
    whole = (running - slack < 0) | (g == 0)  # an empty group stops nothing
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.ceil((slack - before) / (e - 1.0)) - 1.0
    # Where the running mean crosses, e > 1/alpha: h more of that level belong to j. Levels are
    # visited in order, so only the first that does not belong whole is entered in part.
    part = np.where((e > 1.0) & np.isfinite(part), np.clip(part, 0.0, g), 0.0)
    first = ~whole & np.logical_and.accumulate(
        np.concatenate((np.ones((*whole.shape[:-1], 1), dtype=bool), whole[..., :-1]), axis=-1),
        axis=-1,
    )
    prefix = np.logical_and.accumulate(whole, axis=-1)
    return np.asarray(
        np.sum(np.where(prefix, g, 0.0) + np.where(first, part, 0.0), axis=-1), dtype=np.int64
    )


def _checked_family(
    evalues: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float
) -> tuple[FloatArray, IntArray]:
    values = np.asarray(evalues, dtype=np.float64)
    counts = np.asarray(sizes, dtype=np.int64)
    if values.shape != counts.shape or values.ndim < 1:
        raise ValueError(f"one e-value and one size per group, not {values.shape}, {counts.shape}")
    if not (values >= 0).all() or np.isinf(values).any() or (counts < 0).any():
        raise ValueError("e-values are finite and at least 0, sizes at least 0")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha lies in (0, 1), not {alpha}")
    return values, counts


def closed_counts(evalues: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float) -> IntArray:
    """How many elements are at least robust, for many budgets at once.

    Args:
        evalues: e-value of each group, ``(..., L)``, in any order.
        sizes: Elements in each group, ``(..., L)``.
        alpha: Failure probability of the family, for each budget by itself.

    Returns:
        int64 ``(...,)``. See :func:`closed_count`.
    """
    values, counts = _checked_family(evalues, sizes, alpha)
    none = np.zeros(values.shape[:-1], dtype=np.float64)
    return np.asarray(counts.sum(axis=-1) - _most_true_nulls(values, counts, alpha, none))


def closed_count(evalues: npt.ArrayLike, sizes: npt.ArrayLike, alpha: float) -> int:
    """At least this many elements of the family are robust, with probability ``1 - alpha``.

    ``P - j``, ``j`` the largest number whose ``j`` smallest e-values average (strictly) below
    ``1/alpha``; by the histogram: in the group (value ``e``, size ``g``) where the running mean
    crosses, with ``c`` elements of sum ``s`` below it,
    ``h = ceil((c/alpha - s)/(e - 1/alpha)) - 1`` more belong to ``j`` (Vovk, Wang 2023,
    Algorithm 1; method, section 3.5). With one level ``b`` and ``M`` elements at ``p <= b`` that is
    ``P - (ceil((P - M)/(1 - b/alpha)) - 1)``, ``P`` if ``M = P``. An average within rounding of
    ``1/alpha`` counts against us. An empty family gives 0.

    Args:
        evalues: e-value of each group, ``(L,)``, in any order.
        sizes: Elements in each group, ``(L,)``.
        alpha: Failure probability of the family.

    Returns:
        A number of elements. It says nothing about which.

    >>> closed_count([0.0, 400.0], [10, 90], alpha=0.05)  # one level b = alpha/20
    90
    >>> closed_count([0.0, 80.0], [10, 90], alpha=0.05)  # b = alpha/4: three lost cost a fourth
    87
    """
    return int(closed_counts(evalues, sizes, alpha))


def closed_count_subset(
    evalues: npt.ArrayLike,
    sizes: npt.ArrayLike,
    sizes_outside: npt.ArrayLike,
    alpha: float,
) -> int:
    """At least this many of a *subset* ``A`` are robust, simultaneously for all subsets ``A``.

    ``|A| - s`` with ``s`` the largest number such that ``sum of (e - 1/alpha) over the s smallest
    in A + sum over j not in A of min(0, e_j - 1/alpha) < 0`` (Goeman, Solari 2011, Section 2, with
    the average of e-values as the local test). ``A`` may be chosen after looking, e.g. one image of
    a data-set family; the claim is weaker than that of a family of its own.

    Args:
        evalues: e-value of each group, ``(L,)``.
        sizes: Elements of ``A`` in each group, ``(L,)``.
        sizes_outside: Elements of the family outside ``A`` in each group, ``(L,)``.
        alpha: Failure probability of the family.

    Returns:
        A number of elements of ``A``; it equals :func:`closed_count` where nothing is outside.

    >>> closed_count_subset([0.0, 400.0], [1, 90], [0, 0], alpha=0.05)
    90
    >>> closed_count_subset([0.0, 400.0], [0, 90], [20, 0], alpha=0.05)
    89
    """
    values, counts = _checked_family(evalues, sizes, alpha)
    _, outside = _checked_family(evalues, sizes_outside, alpha)
    credit = np.asarray(np.sum(np.maximum(0.0, 1.0 - alpha * values) * outside), dtype=np.float64)
    return int(counts.sum() - _most_true_nulls(values, counts, alpha, credit))


def harmonic_alpha(alpha: float, P: int) -> float:
    """``alpha / H_P``: run e-values at this level and their counts hold jointly over all budgets.

    Along a chain of growing thresholds the true nulls form growing sets. With ``E_i`` the e-value
    of element ``i`` where it first is a null, and ``E`` non-increasing in ``t``, the average over
    the first ``m`` is at most ``sum_i E_i / i`` for every ``m`` at once, whose mean is at most
    ``H_P = 1 + 1/2 + .. + 1/P`` (method, section 3.7; Markov's inequality).

    Rounded down.

    >>> round(0.001 / harmonic_alpha(0.001, 465750), 1)  # one KITTI image
    13.6
    """
    if P < 1:
        return alpha
    if P < 10_000:
        harmonic = float(np.sum(1.0 / np.arange(1, P + 1)))
    else:  # the next term of the series is negative: an upper bound
        harmonic = float(np.log(P)) + float(np.euler_gamma) + 1 / (2 * P)
    return alpha / (harmonic * (1 + 1e-12))


def chain_thresholds(thresholds: npt.ArrayLike) -> FloatArray:
    """Make the budgets of samples of several sizes one chain, as joint claims need.

    Two image sizes may order two budgets differently. Budgets are sorted by a reference ``t`` (the
    largest over samples) and each sample's ``t`` is replaced by its running maximum: never smaller,
    so what is certified stays certified (method, section 3.7).

    Args:
        thresholds: ``t`` of each sample at each budget, ``(samples, T)``.

    Returns:
        float64 ``(samples, T)`` in the order given, every row ordered alike.

    >>> chain_thresholds([[0.6, 0.7, 0.8], [0.6, 0.75, 0.72]]).tolist()
    [[0.6, 0.7, 0.8], [0.6, 0.75, 0.75]]
    """
    t = np.asarray(thresholds, dtype=np.float64)
    if t.size == 0:
        return t.copy()
    order = np.lexsort((t.sum(axis=0), t.max(axis=0)))
    chained = np.empty_like(t)
    chained[:, order] = np.maximum.accumulate(t[:, order], axis=1)
    return chained
