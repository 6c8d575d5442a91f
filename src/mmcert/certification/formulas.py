"""Certified metrics from certified counts: the one home of the formulas.

What is not certified counts as wrong, so every figure is a lower bound on the metric under attack:
all of them rise with the certified counts. Letters: ``C`` classes; for class ``c``, ``TP`` its
certified elements, ``FN`` its others, ``FP`` the elements of other classes that are not certified
(they may be predicted as ``c``). Binary tasks report the positive class, index 1, alone; with more
classes each metric is a mean over classes. Source: MMCert (Wang et al., CVPR 2024), section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mmcert.theory.schemes import round_down

#: The positive class of a task with two classes.
POSITIVE = 1
ACCURACY = "certified_pixel_accuracy"
#: Metrics of one class, in the order in which they are reported.
CLASS_METRICS = ("certified_recall", "certified_precision", "certified_f_score", "certified_iou")
METRICS = (ACCURACY, *CLASS_METRICS)
#: Undefined, rather than zero, where the class is absent.
NEED_POSITIVES = frozenset({"certified_recall", "certified_f_score", "certified_iou"})


def class_terms(metric: str, tp: Any, fn: Any, fp: Any) -> tuple[Any, Any]:
    """Numerator and denominator of one metric of one class; integers or arrays of them."""
    if metric == "certified_recall":
        return tp, tp + fn
    if metric == "certified_precision":
        return tp, tp + fp
    if metric == "certified_f_score":
        return 2 * tp, 2 * tp + fp + fn
    if metric == "certified_iou":
        return tp, tp + fp + fn
    raise ValueError(f"unknown metric {metric!r}")


def class_metric(metric: str, tp: int, fn: int, fp: int) -> Fraction | None:
    """One metric of one class, exactly.

    None where the class has no elements (recall, F-score, IoU); precision is 0 where nothing is
    predicted.

    >>> [str(class_metric(name, 3, 1, 2)) for name in CLASS_METRICS]
    ['3/4', '3/5', '2/3', '1/2']
    >>> class_metric("certified_iou", 0, 0, 5) is None
    True
    """
    if metric in NEED_POSITIVES and tp + fn == 0:
        return None
    numerator, denominator = class_terms(metric, tp, fn, fp)
    return Fraction(numerator, denominator) if denominator else Fraction(0)


def reported_classes(classes: int) -> tuple[int, ...]:
    """The classes whose metrics are averaged: the positive one of two, else all."""
    return (POSITIVE,) if classes == 2 else tuple(range(classes))


@dataclass(frozen=True)
class Rates:
    """Certified metrics of one sample, or of one pool of elements, exactly.

    Args:
        mean: Metric -> value; None where it is undefined.
        per_class: Class metric -> value of each class (all ``C``), None where undefined.
    """

    mean: dict[str, Fraction | None]
    per_class: dict[str, tuple[Fraction | None, ...]]


def rates(certified: Sequence[int], totals: Sequence[int]) -> Rates:
    """All metrics from certified elements per ground-truth class.

    Args:
        certified: Certified elements of each class, ``(C,)``.
        totals: Elements of each class, ``(C,)``.

    Raises:
        ValueError: Where the lengths differ or a count is not within its total.

    >>> result = rates([5, 3], [7, 4])   # TN = 5 of 7, TP = 3 of 4
    >>> [str(result.mean[name]) for name in METRICS]
    ['8/11', '3/4', '3/5', '2/3', '1/2']
    """
    if len(certified) != len(totals) or len(totals) < 2:
        raise ValueError(f"{len(certified)} certified counts for {len(totals)} classes")
    if any(not 0 <= hit <= total for hit, total in zip(certified, totals, strict=True)):
        raise ValueError(f"certified counts {list(certified)} are not within {list(totals)}")
    everything, hits = sum(totals), sum(certified)
    missed = everything - hits
    per_class: dict[str, tuple[Fraction | None, ...]] = {}
    mean: dict[str, Fraction | None] = {
        ACCURACY: Fraction(hits, everything) if everything else None
    }
    for metric in CLASS_METRICS:
        per_class[metric] = tuple(
            class_metric(metric, hit, total - hit, missed - (total - hit)) if everything else None
            for hit, total in zip(certified, totals, strict=True)
        )
        defined = [
            value
            for c in reported_classes(len(totals))
            if (value := per_class[metric][c]) is not None
        ]
        mean[metric] = sum(defined, Fraction(0)) / len(defined) if defined else None
    return Rates(mean, per_class)


def shown(value: Fraction | None) -> float | None:
    """A certified figure as a float: rounded down, an undefined one as None."""
    return None if value is None else round_down(value)
