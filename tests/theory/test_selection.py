import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mmcert.theory.bounds import upper_tail
from mmcert.theory.evalues import calibrate, closed_count, closed_counts, evalue_groups
from mmcert.theory.multiplicity import bonferroni_thresholds, holm, holm_thresholds
from mmcert.theory.selection import (
    deployed_certified,
    selected_label,
    top_label_lower_bound,
    top_label_pvalue,
    top_label_thresholds,
)


def all_votes(N, C):
    for cut in itertools.combinations(range(N + C - 1), C - 1):
        edges = (-1, *cut, N + C - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def multinomial(votes, p):
    coefficient = math.factorial(sum(votes))
    for x in votes:
        coefficient //= math.factorial(x)
    return coefficient * math.prod(q**x for q, x in zip(p, votes, strict=True))


def simplex(C, steps):
    for votes in all_votes(steps, C):
        yield tuple(v / steps for v in votes)


@pytest.mark.parametrize(("C", "N", "steps"), [(2, 12, 40), (3, 9, 20), (4, 6, 12)])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_selecting_and_testing_on_the_same_votes_keeps_the_size(C, N, steps, alpha):
    # Exact: over a grid of label probabilities, the worst ones (t, 1 - t) included, the chance of
    # claiming "p_top > t" for a label with p <= t.
    for t in (0.5, 0.55, 0.6, 0.7, 0.9):
        pvalues = top_label_pvalue(np.arange(N + 1), N, t)
        bounds = top_label_lower_bound(np.arange(N + 1), N, alpha)
        worst = [(t, 1 - t, *([0.0] * (C - 2))), *simplex(C, steps)]
        for p in worst:
            false_p = false_bound = 0.0
            for votes in all_votes(N, C):
                X = max(votes)
                if p[votes.index(X)] <= t + 1e-12:
                    chance = multinomial(votes, p)
                    false_p += chance * (pvalues[X] <= alpha)
                    false_bound += chance * (bounds[X] >= t)
            assert false_p <= alpha + 1e-12
            assert false_bound <= alpha + 1e-12


@pytest.mark.parametrize(("C", "N", "steps"), [(2, 12, 40), (3, 9, 20)])
def test_the_lower_bound_of_the_top_label_is_joint_over_all_budgets(C, N, steps):
    alpha = 0.1
    bounds = top_label_lower_bound(np.arange(N + 1), N, alpha)
    for p in simplex(C, steps):
        false = sum(
            multinomial(votes, p)
            for votes in all_votes(N, C)
            # Some budget t in [1/2, bound] with p_top <= t is claimed.
            if bounds[max(votes)] >= max(0.5, p[votes.index(max(votes))]) and bounds[max(votes)] > 0
        )
        assert false <= alpha


def test_without_its_condition_the_p_value_claims_nothing():
    # t > (X - 1)/(N - 1): f is not convex there.
    assert float(top_label_pvalue(7, 10, 0.68)) == 1.0
    assert float(top_label_pvalue(10, 10, 0.9999)) < 1.0
    assert float(top_label_pvalue(10, 10, 1.0)) == 1.0


def test_a_tie_or_a_single_draw_is_never_stable():
    assert float(top_label_pvalue(1, 1, 0.5)) == 1.0
    for N in (2, 10, 100):
        assert float(top_label_pvalue(N // 2, N, 0.5)) == 1.0
        assert float(top_label_lower_bound(N // 2, N, 0.05)) == 0.0


def test_below_one_half_nothing_is_claimed_without_selection_draws():
    assert float(top_label_pvalue(100, 100, 0.4)) == 1.0


def test_the_price_of_looking_is_at_most_a_factor_of_two():
    X = np.arange(80, 101)
    ratio = top_label_pvalue(X, 100, 0.6) / upper_tail(X, 100, 0.6)
    assert np.all(ratio >= 1)
    assert np.all(ratio <= 2)
    assert ratio[-1] == pytest.approx(1 + (0.4 / 0.6) ** 100)


def test_the_p_value_falls_with_votes_and_rises_with_the_threshold():
    t = np.linspace(0.5, 0.99, 50)
    table = top_label_pvalue(np.arange(101)[None], 100, t[:, None])
    assert np.all(np.diff(table, axis=1) <= 0)
    assert np.all(np.diff(table, axis=0) >= 0)


def test_selection_draws_choose_and_are_not_tested():
    assert selected_label(np.array([[5, 2], [5, 3], [0, 4]])).tolist() == [0, 2]
    # With a label chosen by other draws the plain test applies: exact size by enumeration.
    N, t, alpha = 15, 0.6, 0.1
    certified = upper_tail(np.arange(N + 1), N, t) <= alpha
    assert float(stats.binom.pmf(np.arange(N + 1), N, t)[certified].sum()) <= alpha


def test_deployed_needs_certified_and_true():
    got = deployed_certified([0, 1, 1], [True, True, False], [0, 0, 1])
    assert got.tolist() == [True, False, False]


def test_holm_and_e_values_take_the_stable_test_at_every_threshold_at_once():
    rng = np.random.default_rng(4)
    N, alpha = 60, 0.05
    t = np.linspace(0.5, 0.99, 40)
    sizes = rng.multinomial(3000, rng.dirichlet(np.linspace(0.01, 0.3, N + 1)))
    bounds = holm_thresholds(sizes, alpha, top_label_thresholds)
    values, groups = evalue_groups(sizes, t, alpha, pvalue=top_label_pvalue)
    counts = closed_counts(values, groups, alpha)
    occupied = sizes > 0
    for i, threshold in enumerate(t):
        pvalues = top_label_pvalue(np.arange(N + 1), N, threshold)
        by_test = holm(pvalues, sizes, alpha)
        assert by_test[occupied].tolist() == (threshold <= bounds)[occupied].tolist()
        table = calibrate(pvalues, pvalues[N], alpha)
        assert counts[i] == closed_count(table, sizes, alpha)
    # Stable claims on the test votes cost something against a label fixed before them.
    assert np.all(bounds <= holm_thresholds(sizes, alpha) + 1e-12)
    some = bonferroni_thresholds(N, 3000, alpha, top_label_thresholds)
    assert np.all(some[occupied] <= bounds[occupied])
