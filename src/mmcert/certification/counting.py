"""Certified elements per class at every budget, for images and for whole data sets.

Letters: ``S`` samples, ``C`` classes, ``G`` budgets, ``P`` elements in a family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.grid import Grid, Thresholds
from mmcert.certification.histograms import Levels, SampleHistogram
from mmcert.certification.levels import (
    evalue_family,
    level_bounds,
    limits,
    reaching,
    settled,
    split_over_labels,
)
from mmcert.certification.options import Option
from mmcert.theory.bounds import upper_tail
from mmcert.theory.evalues import chain_thresholds, closed_counts, harmonic_alpha
from mmcert.theory.multiplicity import holm

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """The elements of one sample as one claim sees them.

    Args:
        levels: Levels whose sizes are the family.
        counted: The part of the elements that the metrics count, ``(C, L)``.
        N: Draws.
        thresholds: Thresholds at ``G`` budgets.
        selected: Whether the label was fixed before the votes (true, or by selection draws).
    """

    levels: Levels
    counted: IntArray
    N: int
    thresholds: Thresholds
    selected: bool


def view(sample: SampleHistogram, claim: str, option: Option, grid: Grid) -> View:
    """One sample as ``claim`` sees it, in the levels that ``option`` needs."""
    pairs = option.test == "margin"
    if claim == "robust":
        levels = (pairs and sample.robust_pairs) or sample.robust
        assert levels is not None  # the caller leaves unlabelled samples out
        counted, selected = levels.elements, True
    else:
        levels = (pairs and sample.stable_pairs) or sample.stable
        counted, selected = levels.elements, sample.selected
        if claim == "deployed":
            assert levels.true is not None
            counted = levels.true
    return View(levels, counted, sample.draws, grid.thresholds(sample.scheme), selected)


def named_counts(option: Option, views: Sequence[View], alpha: float, family: str) -> IntArray:
    """Certified elements where the option says which: int64 ``(S, C, G)``.

    Args:
        option: Any option but ``closed_evalues``.
        views: Samples.
        alpha: Level of a family (of one element for the options without families).
        family: ``sample``: one family per sample; ``dataset``: one for all.
    """
    if family == "dataset" and option.name == "holm":
        return _holm_over_samples(option, views, alpha)
    total = _elements(views)
    counts = []
    for one in views:
        P = total if family == "dataset" else int(one.levels.sizes.sum())
        level = split_over_labels(alpha, option, one.selected, len(one.counted))
        bounds = level_bounds(option, one.levels, one.N, level, P, one.selected)
        counts.append(reaching(bounds, one.counted, limits(option, one.thresholds, one.N)))
    return np.stack(counts)


def _holm_over_samples(option: Option, views: Sequence[View], alpha: float) -> IntArray:
    """Holm over the elements of all samples."""
    groups: dict[tuple[int, bytes, bool], list[int]] = {}
    for index, one in enumerate(views):
        groups.setdefault((one.N, one.thresholds.t.tobytes(), one.selected), []).append(index)
    sizes = [
        np.sum([views[index].levels.sizes for index in members], axis=0)
        for members in groups.values()
    ]
    classes = len(views[0].counted)
    first = [members[0] for members in groups.values()]
    P = _elements(views)
    alpha = split_over_labels(alpha, option, all(one.selected for one in views), classes)
    if len(groups) == 1:
        whole, one = replace(views[0].levels, elements=_summed(views)), views[0]
        bounds = level_bounds(option, whole, one.N, alpha, P, one.selected)
        return np.stack(
            [
                reaching(bounds, each.counted, limits(option, each.thresholds, each.N))
                for each in views
            ]
        )
    present = [np.flatnonzero(size) for size in sizes]
    flat_sizes = np.concatenate([s[at] for s, at in zip(sizes, present, strict=True)])
    ends = np.cumsum([len(at) for at in present])[:-1]
    sures = [
        np.full(len(at), True)
        if views[i].selected
        else settled(option, at, None, classes, views[i].N, alpha, P)
        for at, i in zip(present, first, strict=True)
    ]
    budgets = len(views[0].thresholds.t)
    counts = np.zeros((len(views), classes, budgets), np.int64)
    for g in range(budgets):
        pvalues = [
            np.where(sure, upper_tail(at, views[i].N, views[i].thresholds.t[g]), 1.0)
            for at, i, sure in zip(present, first, sures, strict=True)
        ]
        passed = np.split(holm(np.concatenate(pvalues), flat_sizes, alpha), ends)
        for members, at, certified in zip(groups.values(), present, passed, strict=True):
            for index in members:
                counts[index, :, g] = views[index].counted[:, at[certified]].sum(axis=1)
    return counts


def _elements(views: Sequence[View]) -> int:
    return sum(int(one.levels.sizes.sum()) for one in views)


def _summed(views: Sequence[View]) -> IntArray:
    return np.asarray(np.sum([one.levels.elements for one in views], axis=0), dtype=np.int64)


@dataclass(frozen=True)
class ClosedCounts:
    """At least so many elements are certified; nothing is said about which.

    Args:
        total: Of all classes together, from one family at ``alpha``; int64 ``(S, G)``.
        by_class: Of each class, from one family per class at ``alpha / C``; int64 ``(S, C, G)``,
            ``C`` = 0 where the labels were chosen by the votes. ``S`` is 1 where the family is the
            data set.
    """

    total: IntArray
    by_class: IntArray


def closed_metric_counts(
    option: Option, views: Sequence[View], alpha: float, family: str
) -> ClosedCounts:
    """Certified numbers from closed testing with e-values.

    The families are made of the counted elements, which are fixed before the votes: by the true
    class, or (stable and deployed claims) by separate selection draws. Labels that the votes chose
    themselves make one family of all elements, in which a part cannot be counted by itself; the
    caller does not ask for it.
    """
    batches = [list(views)] if family == "dataset" else [[one] for one in views]
    fixed = all(one.selected for one in views)
    classes = len(views[0].counted)
    alpha = split_over_labels(alpha, option, fixed, classes)
    totals, by_class = [], []
    for batch in batches:
        totals.append(_closed(option, batch, alpha, [None])[0])
        members = list(range(classes)) if fixed else []
        by_class.append(_closed(option, batch, alpha / classes, members))
    shape = (len(batches), classes if fixed else 0, len(views[0].thresholds.t))
    return ClosedCounts(np.stack(totals), np.array(by_class, dtype=np.int64).reshape(shape))


def _closed(
    option: Option, batch: Sequence[View], alpha: float, members: Sequence[int | None]
) -> list[IntArray]:
    """For each family (a class, or None for all): at least so many certified, ``(G,)``."""
    if option.over_budgets != "joint":
        return _closed_at(option, batch, alpha, members) if members else []
    rising = chained(batch)
    counts = []
    for member in members:  # each family has its own size, hence its own level
        rows = [one.counted.sum() if member is None else one.counted[member].sum() for one in batch]
        counts += _closed_at(option, rising, harmonic_alpha(alpha, int(sum(rows))), [member])
    return counts


def chained(batch: Sequence[View]) -> list[View]:
    """The samples with thresholds that rise along one order of budgets, as joint claims need."""
    t = chain_thresholds(np.stack([one.thresholds.t for one in batch]))
    m = chain_thresholds(np.stack([one.thresholds.m for one in batch]))
    return [
        replace(one, thresholds=Thresholds(t[i], m[i], one.thresholds.exact))
        for i, one in enumerate(batch)
    ]


def _closed_at(
    option: Option, batch: Sequence[View], alpha: float, members: Sequence[int | None]
) -> list[IntArray]:
    evalues, groups = [], []
    P = _elements(batch)
    for one in merged(batch):
        rows = np.stack(
            [
                one.counted.sum(axis=0) if member is None else one.counted[member]
                for member in members
            ]
        )
        values, counts = evalue_family(
            option, one.levels, rows, one.N, one.thresholds, alpha, None if one.selected else P
        )
        evalues.append(values)
        groups.append(counts)
    values = np.concatenate(evalues, axis=-1)
    counts = np.concatenate(groups, axis=-1)
    return [closed_counts(values, counts[i], alpha) for i in range(len(members))]


def merged(batch: Sequence[View]) -> list[View]:
    """Samples with equal thresholds and draws as one, so that a family has few groups."""
    groups: dict[tuple[int, bytes, bool], list[View]] = {}
    for one in batch:
        key = (one.N, one.thresholds.t.tobytes(), one.selected)
        groups.setdefault(key, []).append(one)
    merged = []
    for members in groups.values():
        first = members[0]
        if all(np.array_equal(one.levels.votes, first.levels.votes) for one in members) and all(
            first.levels.rival is None
            or (
                one.levels.rival is not None
                and np.array_equal(one.levels.rival, first.levels.rival)
            )
            for one in members
        ):
            counted = np.sum([one.counted for one in members], axis=0)
            merged.append(replace(first, counted=counted))
        else:
            merged.extend(members)
    return merged
