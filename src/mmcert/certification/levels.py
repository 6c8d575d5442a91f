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
from mmcert.theory.bounds import clopper_pearson_lower, clopper_pearson_upper
from mmcert.theory.evalues import evalue_groups
from mmcert.theory.multiplicity import bonferroni_thresholds, holm_thresholds

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
    """The level of one test, where the claimed label was chosen by the votes that it is tested on.

    The label with most votes holds jointly over all budgets with ``t >= 1/2`` at ``alpha/2``,
    whatever the number of classes (method, section 3.3); for the margin each label is tested at
    ``alpha/C``. With separate selection draws nothing is split.
    """
    if selected or option.name in ("published", "exhaustive"):
        # Published bounds are simultaneous over the classes; counting everything costs nothing.
        return alpha
    return alpha / 2 if option.test == "binomial" else alpha / classes


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


def level_bounds(option: Option, levels: Levels, N: int, alpha: float, P: int) -> FloatArray:
    """The largest threshold (test ``margin``: margin) at which each level is certified, ``(L,)``.

    For the options that name elements.

    Args:
        option: Any option but ``closed_evalues``.
        levels: Levels of one sample; for ``holm`` one level per number of votes 0..N.
        N: Draws.
        alpha: Level of the family, or of one element.
        P: Elements in the family.

    Raises:
        ConfigError: For Berger-Boos on elements of an image.
    """
    if option.name == "exhaustive":
        return np.asarray(_leads(levels), dtype=np.float64)
    if option.name == "holm":
        return holm_thresholds(levels.sizes, alpha)
    if option.name == "published":  # its p-values are C times the tail: Holm at alpha / C
        return holm_thresholds(levels.sizes, alpha / len(levels.elements))
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
    split: float,
) -> tuple[FloatArray, IntArray]:
    """Elements grouped by e-value at every budget.

    Args:
        option: ``closed_evalues``.
        levels: Levels of one sample.
        elements: Elements of the families to group, ``(C, L)``.
        N: Draws.
        thresholds: Thresholds of the sample at ``G`` budgets.
        alpha: Level of the family.
        split: Level of one label's test as a share of ``alpha`` (1: the label was fixed before).

    Returns:
        e-values ``(G, J + 1)`` and numbers of elements ``(C, G, J + 1)``.
    """
    if option.test == "margin":
        evalues, reached = _margin_groups(option, levels, elements, N, thresholds, alpha, split)
    else:
        evalues, fewest = _cuts(
            N, thresholds.t.tobytes(), alpha, option.levels, option.weights, split, option.joint
        )
        reached = [reaching(levels.votes, elements, cut) for cut in fewest.T]
    everything = np.repeat(elements.sum(axis=1)[:, None], len(thresholds.t), axis=1)
    steps = np.stack([everything, *reached, np.zeros_like(everything)], axis=-1)
    return evalues, steps[..., :-1] - steps[..., 1:]


@lru_cache(maxsize=64)
def _cuts(
    N: int,
    t: bytes,
    alpha: float,
    levels: tuple[float, ...],
    weights: tuple[float, ...],
    split: float,
    joint: bool,
) -> tuple[FloatArray, IntArray]:
    """e-values ``(G, J + 1)`` and the fewest votes that earn each of them ``(G, J)``.

    With a split the p-value is the tail divided by it: ``p <= b`` iff the tail is at most
    ``split * b``, which earns ``w / b``, that is ``split * w / (split * b)``.
    """
    thresholds = np.frombuffer(t, dtype=np.float64)
    # One element per number of votes: the group sizes then tell the cuts.
    evalues, groups = evalue_groups(
        np.ones(N + 1, np.int64),
        thresholds,
        alpha,
        tuple(level * split for level in levels),
        weights,
        joint=joint,
    )
    above = np.cumsum(groups[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return evalues * split, N + 1 - above


def _margin_groups(
    option: Option,
    levels: Levels,
    elements: IntArray,
    N: int,
    thresholds: Thresholds,
    alpha: float,
    split: float,
) -> tuple[FloatArray, list[IntArray]]:
    """The same by the margin: ``E = sum_j w_j 1{margin rejected at b_j} / b_j``, ``b_j`` fixed."""
    order = np.argsort(-np.asarray(option.levels))
    values, reached = [0.0], []
    for j in order:
        b = option.levels[j] * alpha
        bounds = margin_bounds(levels, N, b * split)
        reached.append(reaching(bounds, elements, thresholds.m))
        values.append(values[-1] + option.weights[j] / b / (1 + 1e-9))
    return np.tile(values, (len(thresholds.m), 1)), reached
