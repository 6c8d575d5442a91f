"""Every metric of closed testing from one family: the worst null sets that the votes leave.

Letters: ``S`` families (samples, or 1 for a data set), ``C`` classes, ``G`` budgets, ``M`` pairs of
numbers of nulls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.counting import View, chained, merged
from mmcert.certification.formulas import CLASS_METRICS, class_terms, reported_classes
from mmcert.certification.levels import evalue_family, split_over_labels
from mmcert.certification.options import Option
from mmcert.theory.evalues import closed_counts, harmonic_alpha
from mmcert.theory.one_family import Figure, worst_figures

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class WorstCounts:
    """What is certified at least, in the worst case of each figure; all of them hold jointly.

    Args:
        total: Of all classes together, int64 ``(S, G)``.
        of_metric: Metric -> certified elements of each class and certified elements of the other
            classes, int64 ``(S, C, G)`` each: the pair of numbers at which the metric of that class
            is smallest. Empty where the labels were chosen by the votes.
    """

    total: IntArray
    of_metric: Mapping[str, tuple[IntArray, IntArray]]


def worst_metric_counts(
    option: Option, views: Sequence[View], sizes: IntArray, alpha: float, family: str
) -> WorstCounts:
    """The worst case of every metric, from one family of the counted elements.

    The mean of a metric over classes takes the worst case of each class, which is sound and may be
    less than the worst case of the mean.

    Args:
        option: ``closed_evalues``.
        views: Samples.
        sizes: Elements of each class that the metrics are about, ``(S, C)``.
        alpha: Failure probability of a family.
        family: ``sample``: one family per sample; ``dataset``: one for all.
    """
    batches = [list(views)] if family == "dataset" else [[one] for one in views]
    fixed = all(one.selected for one in views)
    classes = len(views[0].counted)
    alpha = split_over_labels(alpha, option, fixed, classes)
    G = len(views[0].thresholds.t)
    totals = np.zeros((len(batches), G), np.int64)
    worst = {
        metric: np.zeros((2, len(batches), classes, G), np.int64)
        for metric in (CLASS_METRICS if fixed else ())
    }
    for s, batch in enumerate(batches):
        values, counts, level = _groups(option, batch, alpha)
        first, spread = _distinct(values, counts)
        values, counts = values[first], counts[:, first]
        everything = counts.sum(axis=0)
        totals[s] = closed_counts(values, everything, level)[spread]
        for label in reported_classes(classes) if worst else ():
            others = everything - counts[label]
            # The family is the same at every budget, whatever its groups.
            certifiable = int(counts[label, 0].sum()), int(others[0].sum())
            figures = _figures(label, certifiable, sizes[s])
            nulls = worst_figures(values, counts[label], others, level, figures)
            for held, pair in zip(worst.values(), nulls, strict=True):
                for side in (0, 1):
                    held[side, s, label] = (certifiable[side] - pair[side])[spread]
    return WorstCounts(totals, {metric: (held[0], held[1]) for metric, held in worst.items()})


def _groups(
    option: Option, batch: Sequence[View], alpha: float
) -> tuple[FloatArray, IntArray, float]:
    """The elements of one family by e-value and class: ``(G, K)``, ``(C, G, K)``, and its level."""
    P = sum(int(one.levels.sizes.sum()) for one in batch)
    if option.over_budgets == "joint":
        alpha = harmonic_alpha(alpha, sum(int(one.counted.sum()) for one in batch))
        batch = chained(batch)
    groups = [
        evalue_family(
            option, one.levels, one.counted, one.N, one.thresholds, alpha,
            None if one.selected else P,
        )
        for one in merged(batch)
    ]  # fmt: skip
    values = np.concatenate([values for values, _ in groups], axis=-1)
    return values, np.concatenate([counts for _, counts in groups], axis=-1), alpha


def _distinct(values: FloatArray, counts: IntArray) -> tuple[list[int], list[int]]:
    """Budgets with distinct groups, and for each budget its place among them."""
    place: dict[bytes, int] = {}
    first: list[int] = []
    spread: list[int] = []
    by_budget = np.ascontiguousarray(np.moveaxis(counts, 1, 0))
    for g in range(len(values)):
        key = values[g].tobytes() + by_budget[g].tobytes()
        if key not in place:
            place[key] = len(first)
            first.append(g)
        spread.append(place[key])
    return first, spread


def _figures(label: int, certifiable: tuple[int, int], sizes: IntArray) -> list[Figure]:
    """Each metric of a class as a ratio of what numbers of nulls leave.

    Args:
        label: The class.
        certifiable: Elements of the family in the class and outside it.
        sizes: Elements of each class that the metrics are about, ``(C,)``.
    """
    own = int(sizes[label])
    others = int(sizes.sum()) - own

    def figure(metric: str, J_pos: Any, J_neg: Any) -> tuple[Any, Any]:
        true = certifiable[0] - J_pos
        false = others - (certifiable[1] - J_neg)
        above, below = class_terms(metric, true, own - true, false)
        return above, below + 0 * above  # of one shape

    return [partial(figure, metric) for metric in CLASS_METRICS]
