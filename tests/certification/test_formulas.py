"""The formulas against hand-worked tables and exact rationals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcert.certification.averages import Ratios, mean_over_classes, mean_ratios
from mmcert.certification.formulas import METRICS, rates, shown
from mmcert.theory.schemes import round_down


def test_three_classes_worked_by_hand():
    # class: certified of total; missed in other classes (FP): 0: 2 of 4, 3; 1: 0 of 3, 2; 2: 0 of 0
    result = rates([2, 0, 0], [4, 3, 0])
    half, third = Fraction(1, 2), Fraction(1, 3)
    assert result.per_class == {
        "certified_recall": (half, Fraction(0), None),
        "certified_precision": (Fraction(2, 5), Fraction(0), Fraction(0)),
        "certified_f_score": (Fraction(4, 9), Fraction(0), None),
        "certified_iou": (Fraction(2, 7), Fraction(0), None),
    }
    assert result.mean["certified_pixel_accuracy"] == Fraction(2, 7)
    assert result.mean["certified_recall"] == half / 2
    assert result.mean["certified_precision"] == Fraction(2, 5) * third


def test_without_positives_recall_f_and_iou_are_undefined_never_1():
    result = rates([5, 0], [5, 0])
    assert [result.mean[name] for name in METRICS] == [1, None, Fraction(0), None, None]


def test_without_any_label_nothing_is_defined():
    assert set(rates([0, 0], [0, 0]).mean.values()) == {None}


def test_everything_certified_is_exactly_one():
    assert {shown(value) for value in rates([5, 3], [5, 3]).mean.values()} == {1.0}


def test_figures_are_rounded_down():
    assert Fraction(shown(Fraction(2, 3))) < Fraction(2, 3)
    assert shown(None) is None


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_no_metric_falls_when_more_is_certified(tn, fp, tp, fn):
    before = rates([tn, tp], [tn + fp + 1, tp + fn + 1])
    for more in ([tn + 1, tp], [tn, tp + 1]):
        after = rates(more, [tn + fp + 1, tp + fn + 1])
        assert all(after.mean[name] >= before.mean[name] for name in METRICS)


def test_counts_outside_their_totals_are_refused():
    with pytest.raises(ValueError, match="not within"):
        rates([3, 1], [2, 1])


SIZES = st.sampled_from([3, 465750, 2**40])


def random_ratios(seed, samples, budgets, size):
    rng = np.random.default_rng(seed)
    denominators = rng.integers(0, size, (samples, budgets), endpoint=True)
    numerators = rng.integers(0, denominators, endpoint=True)
    return Ratios(numerators, denominators, rng.random(samples) < 0.8)


@given(st.integers(1, 6), st.integers(1, 5), SIZES, st.integers(0, 99))
def test_means_are_the_exact_mean_rounded_down(samples, budgets, size, seed):
    ratios = random_ratios(seed, samples, budgets, size)
    for g, value in enumerate(mean_ratios(ratios)):
        exact = ratios.exact(g)
        assert value == (None if exact is None else round_down(exact))


@given(st.integers(1, 6), SIZES, st.integers(0, 99))
def test_means_over_classes_are_exact_means_of_means_rounded_down(samples, size, seed):
    classes = [random_ratios(seed + 1000 * c, samples, 3, size) for c in range(4)]
    for g, value in enumerate(mean_over_classes(classes)):
        means = [mean for ratios in classes if (mean := ratios.exact(g)) is not None]
        assert value == (round_down(sum(means) / len(means)) if means else None)


def test_thirds_that_add_up_to_one_half_give_exactly_one_half():
    ratios = Ratios(np.array([[1], [2]]), np.array([[3], [3]]), np.array([True, True]))
    assert mean_ratios(ratios) == [0.5]
