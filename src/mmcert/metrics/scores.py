"""Validation scores that add up over batches and processes.

The state is a confusion matrix of integers, summed over processes; the formulas of the scores are
those of ``certification.formulas``. Letters: ``C`` classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from mmcert.certification.formulas import class_terms, reported_classes

#: Name here -> name of the formula.
CLASS_SCORES = {
    "recall": "certified_recall",
    "precision": "certified_precision",
    "f_score": "certified_f_score",
    "iou": "certified_iou",
}


def confusion(labels: Tensor, targets: Tensor, classes: int, ignore_index: int = 255) -> Tensor:
    """How often an element of class ``row`` was labelled ``column``.

    Args:
        labels: int64, any shape, in [0, C).
        targets: int64, the same shape, in [0, C) or ``ignore_index``, which is left out.
        classes: C.
        ignore_index: Target of an element without a label.

    Returns:
        int64 (C, C).

    >>> confusion(torch.tensor([1, 0, 1]), torch.tensor([1, 1, 255]), 2).tolist()
    [[0, 0], [1, 1]]
    """
    known = targets != ignore_index
    pairs = targets[known] * classes + labels[known]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def scores_of(matrix: Tensor) -> dict[str, Tensor]:
    """Scores of a confusion matrix.

    Two classes report the positive one (index 1); more report the mean over classes, those without
    an element left out. A score without a single defined class is NaN.

    Args:
        matrix: Integers (C, C), rows are the true classes.

    Returns:
        ``accuracy``, ``recall``, ``precision``, ``f_score``, ``iou``: float32 scalars in [0, 1].

    >>> scores = scores_of(torch.tensor([[5, 2], [1, 3]]))
    >>> {name: round(float(value), 3) for name, value in scores.items()}
    {'accuracy': 0.727, 'recall': 0.75, 'precision': 0.6, 'f_score': 0.667, 'iou': 0.5}
    """
    counts = matrix.double()
    tp = counts.diagonal()
    fn, fp = counts.sum(1) - tp, counts.sum(0) - tp
    scores = {"accuracy": tp.sum() / counts.sum()}
    chosen = torch.tensor(reported_classes(len(matrix)), device=matrix.device)
    chosen = chosen[(tp + fn)[chosen] > 0]
    for name, formula in CLASS_SCORES.items():
        numerator, denominator = class_terms(formula, tp, fn, fp)
        value = torch.where(denominator > 0, numerator / denominator.clamp(min=1), 0.0)
        scores[name] = value[chosen].mean()
    return {name: value.float() for name, value in scores.items()}


class LabelScores(Metric):
    """Accuracy, recall, precision, F-score and IoU of labels, pooled over all elements.

    As input ``update`` takes labels and targets, int64 of equal shape (see :func:`confusion`); as
    output ``compute`` gives the dictionary of :func:`scores_of`.

    Args:
        classes: C, at least 2.
        ignore_index: Target of an element without a label.

    >>> metric = LabelScores(classes=2)
    >>> metric.update(torch.tensor([1, 0]), torch.tensor([1, 1]))
    >>> float(metric.compute()["recall"])
    0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    matrix: Tensor

    def __init__(self, classes: int, ignore_index: int = 255) -> None:
        super().__init__()
        self.classes = classes
        self.ignore_index = ignore_index
        empty = torch.zeros(classes, classes, dtype=torch.int64)
        self.add_state("matrix", empty, dist_reduce_fx="sum")

    def update(self, labels: Tensor, targets: Tensor) -> None:
        """Count one batch."""
        self.matrix += confusion(labels, targets, self.classes, self.ignore_index)

    def compute(self) -> dict[str, Tensor]:
        """The scores of everything counted."""
        return scores_of(self.matrix)
