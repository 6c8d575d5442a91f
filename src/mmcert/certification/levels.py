"""Which vote levels an option certifies at each budget of a grid.

Every option comes down to a score per level and a limit per budget: a level is certified where its
score reaches the limit. Letters: ``L`` levels, ``G`` budgets, ``C`` classes, ``N`` draws,
``J`` e-value levels.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.grid import Thresholds
from mmcert.certification.histograms import Levels
from mmcert.certification.options import Option
from mmcert.errors import ConfigError, RecordError
from mmcert.theory.bounds import (
    INFLATION,
    clopper_pearson_lower,
    clopper_pearson_upper,
)
from mmcert.theory.evalues import evalue_groups
from mmcert.theory.multiplicity import (
    bonferroni_thresholds,
    holm_thresholds,
    rejected_thresholds,
)
from mmcert.theory.sequential import log_evalue, log_margin_evalue

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Up to this many draws the bounds of all numbers of votes are kept as a table.
TABLE_DRAWS = 20_000


def reaching(scores: NDArray[Any], elements: IntArray, limits: NDArray[Any]) -> IntArray:
    """How many elements have a score of at least each limit.

    Args:
        scores: One per level, ``(L,)``.
        elements: Elements in each level, ``(C, L)``.
        limits: ``(G,)``.

    Returns:
        int64 ``(C, G)``.

    >>> reaching(np.array([0.1, 0.5, 0.9]), np.array([[4, 2, 1]]), np.array([0.5, 0.95])).tolist()
    [[3, 0]]
    """
    order = np.argsort(scores, kind="stable")
    from_top = np.cumsum(elements[:, order[::-1]], axis=1)[:, ::-1]
    from_top = np.concatenate((from_top, np.zeros((len(elements), 1), np.int64)), axis=1)
    return np.asarray(from_top[:, np.searchsorted(scores[order], limits, side="left")])


def split_over_labels(alpha: float, option: Option, selected: bool, classes: int) -> float:
    """The level of a test, where the claimed labels were chosen by the votes they are tested on.

    One by one: the label with most votes holds jointly over all budgets with ``t >= 1/2`` at
    ``alpha/2``, whatever the number of classes (method, section 3.3); for the margin each label is
    tested at ``alpha/C``; published bounds hold for all labels at once at half their level.
    Stepwise options spend the other half on :func:`settled`. Nothing is split with separate
    selection draws, nor where everything was counted.
    """
    if selected or option.name == "exhaustive":
        return alpha
    by_margin = option.test == "margin" and option.name != "published"
    return alpha / classes if by_margin and not option.stepwise else alpha / 2


def settled(
    option: Option,
    votes: IntArray,
    rivals: IntArray | None,
    classes: int,
    N: int,
    alpha: float,
    P: int,
) -> NDArray[np.bool_]:
    """Labels chosen by the votes that are, all of them jointly, those of the ensemble now.

    Which hypotheses a family holds must not depend on the votes that test it. Here Bonferroni at
    ``alpha`` settles the labels without an attack; with those given, the rest of ``alpha`` tests
    fixed labels as if they had been known. Elements whose label is not settled count as failed.

    Args:
        option: A stepwise option.
        votes: Most votes of any label, ``(L,)``.
        rivals: Most votes of another label, ``(L,)`` (test ``margin``).
        classes: ``C``.
        N: Draws.
        alpha: Failure probability of this step.
        P: Elements in the family.

    Returns:
        bool ``(L,)``.
    """
    P = max(P, 1)
    if option.sequential:
        unattacked = Thresholds(np.array([0.5]), np.array([0.0]), ())
        others = votes if rivals is None else rivals
        evalues = martingale_evalues(option, votes, others, N, unattacked)[0]
        return np.asarray(evalues >= classes * P / alpha)
    if option.test == "margin":
        levels = Levels(votes, rivals, np.zeros((classes, len(votes)), np.int64))
        return margin_bounds(levels, N, alpha / (classes * P)) >= 0
    return rejected_thresholds(votes, N, np.full(len(votes), alpha / (2 * P))) >= 0.5


@lru_cache(maxsize=64)
def _lower_table(N: int, alpha: float) -> FloatArray:
    return clopper_pearson_lower(np.arange(N + 1), N, alpha)


@lru_cache(maxsize=64)
def _upper_table(N: int, alpha: float) -> FloatArray:
    return clopper_pearson_upper(np.arange(N + 1), N, alpha)


def lower_bounds(votes: IntArray, N: int, alpha: float) -> FloatArray:
    """Clopper-Pearson lower bounds of ``p`` for numbers of votes ``(L,)``."""
    if N <= TABLE_DRAWS:
        return _lower_table(N, alpha)[votes]
    values, inverse = np.unique(votes, return_inverse=True)
    return clopper_pearson_lower(values, N, alpha)[inverse]


def upper_bounds(votes: IntArray, N: int, alpha: float) -> FloatArray:
    """Clopper-Pearson upper bounds of ``p`` for numbers of votes ``(L,)``."""
    if N <= TABLE_DRAWS:
        return _upper_table(N, alpha)[votes]
    values, inverse = np.unique(votes, return_inverse=True)
    return clopper_pearson_upper(values, N, alpha)[inverse]


def margin_bounds(levels: Levels, N: int, alpha: float) -> FloatArray:
    """Largest rejected margin of each level by two bounds, ``(L,)``; -1 where none is.

    Equal to ``theory.difference.largest_margin(..., "two_bounds")``.
    """
    if levels.rival is None:
        raise ValueError("these levels do not tell the votes of the rival")
    gap = lower_bounds(levels.votes, N, alpha / 2) - upper_bounds(levels.rival, N, alpha / 2)
    return np.where(gap > 0, np.nextafter(gap, -1), -1.0)


def level_bounds(
    option: Option, levels: Levels, N: int, alpha: float, P: int, selected: bool
) -> FloatArray:
    """The largest threshold (test ``margin``: margin) at which each level is certified, ``(L,)``.

    For the options that name elements.

    Args:
        option: Any option but ``closed_evalues``.
        levels: Levels of one sample; for ``holm`` one level per number of votes 0..N.
        N: Draws.
        alpha: Level of the family, or of one element.
        P: Elements in the family.
        selected: Whether the label was fixed before the votes.

    Raises:
        ConfigError: For Berger-Boos on elements of an image.
    """
    if option.name == "exhaustive":
        return np.asarray(_leads(levels), dtype=np.float64)
    classes = len(levels.elements)
    if option.stepwise:
        # The published p-values are C times the tail: Holm at alpha / C.
        bounds = holm_thresholds(levels.sizes, alpha / (classes if option.name != "holm" else 1))
        if not selected:
            sure = settled(option, levels.votes, levels.rival, classes, N, alpha, P)
            bounds = np.where(sure, bounds, 0.0)
        return bounds
    if option.name == "bonferroni":
        if option.test == "margin":
            return margin_bounds(levels, N, alpha / max(P, 1))
        return bonferroni_thresholds(N, P, alpha)[levels.votes]
    if option.test == "margin":
        if option.method == "berger_boos":
            raise ConfigError(
                "statistics.margin.method=berger_boos takes up to 2 s for each pair of vote "
                "counts; for pixels use two_bounds (or auto)."
            )
        return margin_bounds(levels, N, alpha)
    return lower_bounds(levels.votes, N, alpha)


def limits(option: Option, thresholds: Thresholds, N: int) -> FloatArray:
    """What the bounds of :func:`level_bounds` are compared with, ``(G,)``."""
    if option.name == "exhaustive":
        return leads_needed(thresholds, N).astype(np.float64)
    return thresholds.m if option.test == "margin" else thresholds.t


def leads_needed(thresholds: Thresholds, S: int) -> IntArray:
    """The smallest lead over every rival that certifies with all ``S`` counted, int64 ``(G,)``.

    The lead must exceed ``m * S = (S - O) + (S' - O)``, an integer (``theory.exhaustive``).

    Raises:
        RecordError: For more sub-samples than anybody counts.
    """
    if S >= 2**53:
        raise RecordError(
            f"{S} sub-samples cannot have been counted; the votes are not exhaustive."
        )
    return np.array([math.floor(margin * S) + 1 for margin in thresholds.exact], dtype=np.int64)


def _leads(levels: Levels) -> IntArray:
    if levels.rival is None:
        raise ValueError("these levels do not tell the votes of the rival")
    return levels.votes - levels.rival


def evalue_family(
    option: Option,
    levels: Levels,
    elements: IntArray,
    N: int,
    thresholds: Thresholds,
    alpha: float,
    unsettled: int | None = None,
) -> tuple[FloatArray, IntArray]:
    """Elements grouped by e-value at every budget.

    Args:
        option: ``closed_evalues``.
        levels: Levels of one sample.
        elements: Elements of the families to group, ``(F, L)``.
        N: Draws.
        thresholds: Thresholds of the sample at ``G`` budgets.
        alpha: Level of the family.
        unsettled: Elements in the family, where its labels were chosen by the votes; None where
            they were fixed before.

    Returns:
        e-values ``(G, K)`` of ``K`` groups, and numbers of elements ``(F, G, K)``.
    """
    if unsettled is None:
        return _groups(option, levels, elements, N, thresholds, alpha)
    classes = len(levels.elements)
    sure = settled(option, levels.votes, levels.rival, classes, N, alpha, unsettled)
    values, counts = _groups(option, levels, np.where(sure, elements, 0), N, thresholds, alpha)
    # The others keep their place in the family, with an e-value of 0.
    failed = np.where(sure, 0, elements).sum(axis=1)[:, None, None]
    failed = np.broadcast_to(failed, (*counts.shape[:2], 1))
    zeros = np.zeros((len(values), 1))
    return np.concatenate([values, zeros], axis=1), np.concatenate([counts, failed], axis=2)


def _groups(
    option: Option,
    levels: Levels,
    elements: IntArray,
    N: int,
    thresholds: Thresholds,
    alpha: float,
) -> tuple[FloatArray, IntArray]:
    if option.sequential:
        return _martingale_groups(option, levels, elements, N, thresholds)
    if option.test == "margin":
        return _margin_groups(option, levels, elements, thresholds, N, alpha)
    rows = [
        evalue_groups(row, thresholds.t, alpha, option.levels, option.weights, joint=option.joint)
        for row in elements
    ]
    return rows[0][0], np.stack([groups for _, groups in rows])


def _margin_groups(
    option: Option,
    levels: Levels,
    elements: IntArray,
    thresholds: Thresholds,
    N: int,
    alpha: float,
) -> tuple[FloatArray, IntArray]:
    """The same by the margin: ``E = sum_j w_j 1{margin rejected at b_j} / b_j``, ``b_j`` fixed."""
    budgets = len(thresholds.m)
    values = [0.0]
    reached = [np.repeat(elements.sum(axis=1)[:, None], budgets, axis=1)]
    for j in np.argsort(-np.asarray(option.levels)):
        b = option.levels[j] * alpha
        reached.append(reaching(margin_bounds(levels, N, b), elements, thresholds.m))
        values.append(values[-1] + option.weights[j] / b / INFLATION)
    steps = np.stack([*reached, np.zeros_like(reached[0])], axis=-1)
    return np.tile(values, (budgets, 1)), steps[..., :-1] - steps[..., 1:]


def _martingale_groups(
    option: Option,
    levels: Levels,
    elements: IntArray,
    N: int,
    thresholds: Thresholds,
) -> tuple[FloatArray, IntArray]:
    """The same for votes that decided their own number: one group per level that has elements."""
    present = np.flatnonzero(elements.any(axis=0))
    votes = levels.votes[present]
    rivals = votes if levels.rival is None else levels.rival[present]
    evalues = martingale_evalues(option, votes, rivals, N, thresholds)
    counts = np.broadcast_to(
        elements[:, None, present], (len(elements), len(evalues), len(present))
    )
    return evalues, counts


def martingale_evalues(
    option: Option, votes: IntArray, rivals: IntArray, N: int, thresholds: Thresholds
) -> FloatArray:
    """E-values at the time the votes stopped, float64 ``(G, L)``."""
    limit = thresholds.m if option.test == "margin" else thresholds.t
    distinct, place = np.unique(limit, return_inverse=True)
    if option.test == "margin":
        logs = np.stack([log_margin_evalue(votes, rivals, N, float(m)) for m in distinct])
    else:
        logs = log_evalue(votes[None, :], N, distinct[:, None])
    if option.joint:  # along growing thresholds no e-value may rise
        logs = np.minimum.accumulate(logs, axis=0)
    return np.asarray(np.exp(logs)[place.reshape(-1)], dtype=np.float64)
