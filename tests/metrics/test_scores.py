"""Scores add up over batches and processes, and use the formulas of certification."""

import numpy as np
import pytest
import torch

from mmcert.certification.formulas import rates
from mmcert.metrics.scores import LabelScores, confusion, scores_of


def test_pooled_scores_do_not_depend_on_the_batches():
    make = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (10, 4, 5), generator=make)
    targets = torch.randint(0, 3, (10, 4, 5), generator=make)
    targets[0, 0] = 255
    whole, parts = LabelScores(3), LabelScores(3)
    whole.update(labels, targets)
    for start in (0, 1, 5):
        end = {0: 1, 1: 5, 5: 10}[start]
        parts.update(labels[start:end], targets[start:end])
    assert {k: float(v) for k, v in whole.compute().items()} == {
        k: float(v) for k, v in parts.compute().items()
    }
    assert int(whole.matrix.sum()) == 10 * 20 - 5


def test_two_processes_sum_their_counts():
    one, two = LabelScores(2), LabelScores(2)
    one.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    two.update(torch.tensor([0, 1]), torch.tensor([1, 1]))
    reduce = one._reductions["matrix"]
    assert reduce(torch.stack((one.matrix, two.matrix))).tolist() == [[1, 1], [1, 2]]


def test_with_every_element_certified_or_wrong_the_formulas_agree():
    # A wrong element is labelled as the other class, so both kinds of score count it alike.
    matrix = torch.tensor([[50, 20], [10, 30]])
    expected = rates([50, 30], [70, 40]).mean
    scores = scores_of(matrix)
    assert float(scores["accuracy"]) == pytest.approx(float(expected["certified_pixel_accuracy"]))
    for name in ("recall", "precision", "f_score", "iou"):
        assert float(scores[name]) == pytest.approx(float(expected[f"certified_{name}"]))


def test_three_classes_report_means_over_the_classes_that_occur():
    matrix = torch.tensor([[4, 0, 1], [1, 3, 0], [0, 0, 0]])
    scores = scores_of(matrix)
    recalls = [4 / 5, 3 / 4]
    assert float(scores["recall"]) == pytest.approx(np.mean(recalls))
    assert float(scores["f_score"]) == pytest.approx(np.mean([8 / 10, 6 / 7]))


def test_a_class_that_never_occurs_is_undefined_and_not_perfect():
    assert np.isnan(float(scores_of(torch.tensor([[5, 0], [0, 0]]))["f_score"]))


def test_unlabelled_elements_are_left_out():
    counted = confusion(torch.tensor([0, 1, 1]), torch.tensor([255, 1, 0]), 2)
    assert counted.tolist() == [[0, 1], [0, 1]]
