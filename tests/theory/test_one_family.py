"""Worst null sets against brute force over all of them."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mmcert.certification.formulas import CLASS_METRICS, class_metric, class_terms
from mmcert.theory.evalues import closed_count
from mmcert.theory.one_family import worst_figures, worst_nulls


def possible_sets(e, classes, alpha, C):
    """Nulls per class of every set that is empty or has ``sum (alpha e - 1) < 0``, exactly."""
    excess = [Fraction(alpha) * Fraction(float(value)) - 1 for value in e]
    found = {(0,) * C}
    for size in range(1, len(e) + 1):
        for chosen in itertools.combinations(range(len(e)), size):
            if sum(excess[i] for i in chosen) < 0:
                found.add(tuple(sum(classes[i] == c for i in chosen) for c in range(C)))
    return found


def random_family(rng, C, P):
    """Elements with e-values from a few levels, most of them 0 or far above ``1/alpha``."""
    levels = np.where(rng.random(4) < 0.4, 0.0, rng.exponential(60, 4))
    group = rng.integers(0, 4, P)
    classes = np.concatenate([np.arange(C), rng.integers(0, C, max(P - C, 0))])[:P]
    sizes = np.stack([[np.sum((group == g) & (classes == c)) for g in range(4)] for c in range(C)])
    return levels, levels[group], classes.tolist(), sizes


def figures_of(sizes, label):
    own = int(sizes[label].sum())
    return [
        lambda J_pos, J_neg, m=metric: tuple(
            part + 0 * J_pos + 0 * J_neg for part in class_terms(m, own - J_pos, J_pos, J_neg)
        )
        for metric in CLASS_METRICS
    ]


@pytest.mark.parametrize("C", [2, 3])
@pytest.mark.parametrize("seed", range(60))
def test_every_figure_is_its_smallest_over_all_null_sets(C, seed):
    rng = np.random.default_rng([seed, C])
    levels, e, classes, sizes = random_family(rng, C, int(rng.integers(0, 11)))
    alpha = float(rng.choice([0.05, 0.1, 0.3]))
    sets = possible_sets(e, classes, alpha, C)
    everything = sizes.sum(axis=0)
    # Accuracy is the same family's count.
    most = max(sum(nulls) for nulls in sets)
    assert closed_count(levels, everything, alpha) == len(e) - most
    for label in range(C):
        figures = figures_of(sizes, label)
        found = worst_figures(
            levels[None], sizes[label][None], (everything - sizes[label])[None], alpha, figures
        )
        for metric, (J_pos, J_neg) in zip(CLASS_METRICS, found, strict=True):

            def value(inside, outside, m=metric, c=label):
                tp = int(sizes[c].sum()) - inside
                return class_metric(m, tp, inside, outside)

            if metric != "certified_precision" and not sizes[label].any():
                continue  # undefined
            exact = min(value(n[label], sum(n) - n[label]) for n in sets)
            assert value(int(J_pos[0]), int(J_neg[0])) == exact


@pytest.mark.parametrize("seed", range(20))
def test_the_mean_over_classes_is_never_above_its_worst_case(seed):
    rng = np.random.default_rng(seed)
    levels, e, classes, sizes = random_family(rng, 3, 9)
    sets = possible_sets(e, classes, 0.1, 3)
    everything = sizes.sum(axis=0)
    totals = sizes.sum(axis=1)
    for position, metric in enumerate(CLASS_METRICS):
        claimed = []
        for label in range(3):
            figures = figures_of(sizes, label)
            found = worst_figures(
                levels[None], sizes[label][None], (everything - sizes[label])[None], 0.1, figures
            )
            J_pos, J_neg = (int(side[0]) for side in found[position])
            claimed.append(class_metric(metric, int(totals[label]) - J_pos, J_pos, J_neg))
        worst = min(
            sum(class_metric(metric, int(totals[c]) - n[c], n[c], sum(n) - n[c]) for c in range(3))
            for n in sets
        )
        assert sum(claimed) <= worst


@pytest.mark.parametrize("seed", range(30))
def test_the_pairs_are_all_that_the_null_sets_leave(seed):
    rng = np.random.default_rng([seed, 7])
    levels, e, classes, sizes = random_family(rng, 2, 10)
    sets = possible_sets(e, classes, 0.1, 2)
    J_pos, J_neg = worst_nulls(levels, sizes[1], sizes[0], 0.1)
    pairs = set(zip(J_neg.tolist(), J_pos.tolist(), strict=True))
    assert pairs <= sets
    for inside_0, inside_1 in sets:
        assert any(a >= inside_0 and b >= inside_1 for a, b in pairs)


@pytest.mark.parametrize("big", [3, 50, 4000])
def test_many_budgets_at_once_agree_with_every_pair_of_each(big):
    """The search that looks near the ends of pieces finds what a search of all pairs finds."""
    rng = np.random.default_rng(big)
    for _ in range(150):
        L, alpha = int(rng.integers(1, 7)), float(rng.choice([0.3, 0.05, 0.001]))
        e = rng.exponential(3 / alpha, (4, L)) * (rng.random((4, L)) < 0.7)
        own, others = (rng.integers(0, big, L) for _ in range(2))
        own, others = (
            np.stack([rng.permutation(side) for _ in range(4)]) for side in (own, others)
        )
        figures = figures_of(np.stack([others[0], own[0]]), 1)
        found = worst_figures(e, own, others, alpha, figures)
        for row in range(4):
            J_pos, J_neg = worst_nulls(e[row], own[row], others[row], alpha)
            for figure, (best_pos, best_neg) in zip(figures, found, strict=True):
                above, below = figure(J_pos, J_neg)
                least = min(
                    Fraction(int(a), int(b) or 1) for a, b in zip(above, below, strict=True)
                )
                a, b = figure(best_pos[row], best_neg[row])
                assert Fraction(int(a), int(b) or 1) == least


def test_a_coarse_staircase_is_never_above_the_fine_one():
    e, own, others = [0.0, 400.0, 900.0], [500, 4000, 100], [700, 900, 5000]
    fine = worst_nulls(e, own, others, 0.01)
    coarse = worst_nulls(e, own, others, 0.01, pairs=10)
    assert len(coarse[0]) <= 12 < len(fine[0])
    for inside, outside in zip(*fine, strict=True):
        assert ((coarse[0] >= inside) & (coarse[1] >= outside)).any()


def test_no_evidence_against_nothing_is_nothing():
    assert [side.tolist() for side in worst_nulls([], [], [], 0.05)] == [[0], [0]]
    assert [side.tolist() for side in worst_nulls([400.0], [3], [5], 0.05)] == [[0], [0]]
    assert [side.tolist() for side in worst_nulls([0.0], [3], [5], 0.05)] == [[3], [5]]


@pytest.mark.parametrize(
    "given",
    [
        ([1.0], [1, 2], [1], 0.1),
        ([-1.0], [1], [1], 0.1),
        ([np.inf], [1], [1], 0.1),
        ([1.0], [-1], [1], 0.1),
        ([1.0], [1], [1], 1.5),
    ],
)
def test_what_makes_no_sense_is_refused(given):
    with pytest.raises(ValueError, match=r"e-value|alpha"):
        worst_nulls(*given)
