"""Certified metrics as exact ratios of integers, and the comparison with what is claimed.

A ratio is kept as numerator and denominator without common factors being looked for: sums over
samples stay cheap, and comparisons multiply crosswise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Numerator and positive denominator.
Ratio = tuple[int, int]
ACCURACY = "certified_pixel_accuracy"
CLASS_METRICS = ("certified_recall", "certified_precision", "certified_f_score", "certified_iou")


def class_ratio(
    metric: str, label: int, certified: tuple[int, int], sizes: Sequence[int]
) -> Ratio | None:
    """One metric of one class; what is not certified counts as wrong.

    None where the class has no elements (recall, F-score, IoU), or nothing has a label; precision
    is 0 where nothing is predicted.

    Args:
        metric: One of :data:`CLASS_METRICS`.
        label: The class.
        certified: Certified elements of the class, and of the others.
        sizes: Elements per class.

    >>> [class_ratio(metric, 1, (3, 5), [7, 4]) for metric in CLASS_METRICS]
    [(3, 4), (3, 5), (6, 9), (3, 6)]
    """
    tp, tn = certified
    fn = sizes[label] - tp
    fp = sum(sizes) - sizes[label] - tn
    if sum(sizes) == 0 or (sizes[label] == 0 and metric != "certified_precision"):
        return None
    if metric == "certified_recall":
        return tp, tp + fn
    if metric == "certified_precision":
        return (tp, tp + fp) if tp + fp else (0, 1)
    if metric == "certified_f_score":
        return 2 * tp, 2 * tp + fp + fn
    return tp, tp + fp + fn


def share(got: int, size: int) -> Ratio | None:
    """``got`` of ``size``; None of nothing."""
    return (got, size) if size else None


def mean(ratios: Sequence[Ratio | None]) -> Ratio | None:
    """The mean of those that are defined.

    >>> mean([(1, 2), None, (1, 4)])
    (6, 16)
    """
    defined = [ratio for ratio in ratios if ratio is not None]
    top, bottom = 0, 1
    for numerator, denominator in defined:
        if denominator == bottom:
            top += numerator
        else:
            top, bottom = top * denominator + numerator * bottom, bottom * denominator
    return (top, bottom * len(defined)) if defined else None


def reported(classes: int) -> range:
    """The classes whose metrics are averaged: the positive one of two, else all."""
    return range(1, 2) if classes == 2 else range(classes)


def at_most(claimed: float, derived: Ratio) -> bool:
    """Whether a claimed figure is no more than the exact one."""
    numerator, denominator = claimed.as_integer_ratio()
    return numerator * derived[1] <= derived[0] * denominator


def could_be_more(claimed: float, derived: Ratio) -> bool:
    """Whether the next larger float would still be no more than the exact figure."""
    return claimed < 1 and at_most(math.nextafter(claimed, math.inf), derived)
