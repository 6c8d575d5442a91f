"""Results of segmentation: many elements per sample, counted under one option, claim and family.

Letters: ``S`` samples, ``C`` classes, ``G`` budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.averages import Ratios, mean_over_classes, mean_ratios
from mmcert.certification.counting import closed_metric_counts, named_counts, view
from mmcert.certification.formulas import (
    ACCURACY,
    CLASS_METRICS,
    NEED_POSITIVES,
    class_terms,
    reported_classes,
)
from mmcert.certification.grid import Grid
from mmcert.certification.histograms import SampleHistogram
from mmcert.certification.one_family import worst_metric_counts
from mmcert.certification.options import Option

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Counted:
    """Certified elements under one option, claim and family.

    Args:
        option: The option.
        claim: The claim.
        family: ``sample`` or ``dataset``.
        ids: The samples that were counted.
        total: Certified elements of all classes, ``(S, G)``; ``S`` is 1 where ``pooled``.
        by_class: Certified elements per class, ``(S, C, G)``; zeros where ``worst`` says more.
        sizes: Elements per class, ``(S, C)``.
        pooled: Whether the samples are one pool.
        worst: Metric -> certified elements of each class and of the others, ``(S, C, G)`` each, in
            the worst case of that metric; empty where ``by_class`` serves all metrics.
    """

    option: Option
    claim: str
    family: str
    ids: tuple[str, ...]
    total: IntArray
    by_class: IntArray
    sizes: IntArray
    pooled: bool
    worst: Mapping[str, tuple[IntArray, IntArray]] = field(default_factory=dict)

    @property
    def guarantee(self) -> str:
        """``per_element``, ``per_sample`` or ``dataset``."""
        if not self.option.families:
            return "per_element"
        return "dataset" if self.pooled else "per_sample"


def count(
    samples: Sequence[SampleHistogram],
    option: Option,
    claim: str,
    family: str,
    grid: Grid,
    alpha: float,
) -> Counted | None:
    """Count what an option certifies; None where it can say nothing about the claim.

    Closed testing counts the elements of families that are fixed before the votes, so it has no
    *deployed* number where the labels were chosen by the votes themselves.
    """
    known = [sample for sample in samples if claim == "stable" or sample.robust is not None]
    closed = option.name == "closed_evalues"
    if not known or (closed and claim == "deployed" and not all(s.selected for s in known)):
        return None
    views = [view(sample, claim, option, grid) for sample in known]
    sizes = np.stack(
        [
            (sample.stable if claim == "stable" or sample.robust is None else sample.robust)
            .elements.sum(axis=1)
            for sample in known
        ]
    )  # fmt: skip
    pooled = family == "dataset"
    worst: Mapping[str, tuple[IntArray, IntArray]] = {}
    if closed and option.one_family:
        about = sizes.sum(axis=0, keepdims=True) if pooled else sizes
        jointly = worst_metric_counts(option, views, about, alpha, family)
        total, worst = jointly.total, jointly.of_metric
        by_class = np.zeros((len(total), sizes.shape[1], total.shape[1]), np.int64)
    elif closed:
        numbers = closed_metric_counts(option, views, alpha, family)
        total, by_class = numbers.total, numbers.by_class
    else:
        by_class = named_counts(option, views, alpha, family)
        by_class = by_class.sum(axis=0, keepdims=True) if pooled else by_class
        total = by_class.sum(axis=1)
    if pooled:
        sizes = sizes.sum(axis=0, keepdims=True)
    ids = tuple(sample.id for sample in known)
    return Counted(option, claim, family, ids, total, by_class, sizes, pooled, worst)


def metric_ratios(counted: Counted, metric: str, label: int) -> Ratios:
    """Numerators and denominators of one metric of one class, for every sample and budget."""
    sizes = counted.sizes  # (S, C)
    everything = sizes.sum(axis=1)  # (S,)
    if counted.worst:
        tp, tn = (side[:, label] for side in counted.worst[metric])  # (S, G)
    else:
        tp = counted.by_class[:, label]
        tn = counted.by_class.sum(axis=1) - tp
    fn = sizes[:, label, None] - tp
    fp = (everything - sizes[:, label])[:, None] - tn
    defined = everything > 0
    if metric in NEED_POSITIVES:
        defined = sizes[:, label] > 0
    numerators, denominators = class_terms(metric, tp, fn, fp)
    return Ratios(numerators, denominators, defined)


def _share(counted: Counted, numerators: IntArray) -> Ratios:
    everything = counted.sizes.sum(axis=1)
    denominators = np.broadcast_to(everything[:, None], numerators.shape)
    return Ratios(numerators, denominators, everything > 0)


def grid_points(counted: Counted, grid: Grid, zero: int) -> list[dict[str, Any]]:
    """One entry per budget of the grid: the budget and its figures, rounded down.

    Args:
        counted: Counts at the budgets of the grid, and at budget 0 at position ``zero``.
        grid: The budgets that are reported.
        zero: Position of budget 0 among the counts.
    """
    points: list[dict[str, Any]] = [{"budget": dict(budget)} for budget in grid.budgets]
    first, spread = _distinct(counted)
    figures = _figures(counted, zero, first)
    for point, position in zip(points, spread, strict=False):
        point |= figures[position]
    return points


def _distinct(counted: Counted) -> tuple[list[int], list[int]]:
    """Budgets with distinct counts, and for each budget its place among them.

    Beyond the largest certifiable budget all counts are 0; schemes that pool repeat themselves.
    """
    G = counted.total.shape[1]
    parts = [counted.by_class, *(side for pair in counted.worst.values() for side in pair)]
    columns = np.concatenate([*(part.reshape(-1, G) for part in parts), counted.total])
    place: dict[bytes, int] = {}
    first: list[int] = []
    spread: list[int] = []
    for g, column in enumerate(np.ascontiguousarray(columns.T)):
        key = column.tobytes()
        if key not in place:
            place[key] = len(first)
            first.append(g)
        spread.append(place[key])
    return first, spread


def _figures(counted: Counted, zero: int, budgets: list[int]) -> list[dict[str, Any]]:
    """The figures at some budgets."""
    at_zero = counted.total[:, [zero]]
    counted = replace(
        counted,
        total=counted.total[:, budgets],
        by_class=counted.by_class[:, :, budgets],
        worst={
            metric: (own[:, :, budgets], others[:, :, budgets])
            for metric, (own, others) in counted.worst.items()
        },
    )
    if counted.claim == "stable":
        everything = counted.sizes.sum(axis=1)[:, None]
        abstained: float | None = None
        if counted.option.name != "closed_evalues":
            abstained = mean_ratios(_share(counted, everything - at_zero))[0]
        stable = mean_ratios(_share(counted, counted.total))
        return [{"stable_rate": value, "abstain_rate": abstained} for value in stable]
    columns: dict[str, list[float | None]] = {ACCURACY: mean_ratios(_share(counted, counted.total))}
    classes = counted.sizes.shape[1]
    per_class: dict[str, list[list[float | None]]] = {}
    for metric in CLASS_METRICS:
        ratios = [metric_ratios(counted, metric, c) for c in reported_classes(classes)]
        columns[metric] = mean_over_classes(ratios)
        if classes > 2:
            per_class[metric] = [mean_ratios(one) for one in ratios]
    figures: list[dict[str, Any]] = []
    for i in range(len(budgets)):
        one: dict[str, Any] = {metric: values[i] for metric, values in columns.items()}
        if classes > 2:
            one["per_class"] = {
                metric: [values[i] for values in lists] for metric, lists in per_class.items()
            }
        figures.append(one)
    return figures


def reaches_target(counted: Counted, target: tuple[str, Fraction]) -> NDArray[np.bool_]:
    """At which budgets each sample's metric is at least the target level, bool ``(S, G)``.

    Undefined metrics reach no target. Integers are compared, no floats.
    """
    metric, level = target
    if metric == ACCURACY:
        ratios = [_share(counted, counted.total)]
    else:
        classes = counted.sizes.shape[1]
        ratios = [metric_ratios(counted, metric, c) for c in reported_classes(classes)]
    if len(ratios) > 1:
        reached = [
            [_mean_at(ratios, s, g, level) for g in range(counted.total.shape[1])]
            for s in range(len(counted.sizes))
        ]
        return np.array(reached, dtype=np.bool_)
    only = ratios[0]
    # numerator / denominator >= p / q, in Python integers: q may be large
    left = only.numerators.astype(object) * level.denominator
    right = only.denominators.astype(object) * level.numerator
    return np.asarray((left >= right) & (only.denominators > 0) & only.defined[:, None], dtype=bool)


def _mean_at(ratios: Sequence[Ratios], s: int, g: int, level: Fraction) -> bool:
    values = [
        Fraction(int(one.numerators[s, g]), max(int(one.denominators[s, g]), 1))
        for one in ratios
        if one.defined[s]
    ]
    return bool(values) and sum(values, Fraction(0)) / len(values) >= level
