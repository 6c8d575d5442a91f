import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmcert.theory.evalues import (
    chain_thresholds,
    closed_count,
    closed_count_subset,
    closed_counts,
    critical_counts,
    evalue_groups,
    evalue_table,
    harmonic_alpha,
)


def not_rejected(evalues, subset, alpha):
    return sum(Fraction(evalues[i]) for i in subset) < len(subset) / Fraction(alpha)


def closed_testing(evalues, alpha, of=None):
    """By definition: the largest intersection hypothesis (within ``of``) that no superset clears.

    The true nulls may be a set H only where the test of H does not reject; their number in A is at
    most the largest |H and A| over the sets H that are not rejected.
    """
    P = len(evalues)
    of = set(range(P)) if of is None else of
    largest = 0
    for size in range(1, P + 1):
        for subset in itertools.combinations(range(P), size):
            if not_rejected(evalues, subset, alpha):
                largest = max(largest, len(of.intersection(subset)))
    return len(of) - largest


# Values whose averages cannot equal 1/alpha: ties within rounding count against us on purpose.
values = st.sampled_from(
    [0.0, 0.3141592, 3.7182818, 11.302775, 17.912878, 23.166247, 61.774234, 411.31709, 16000.31]
)


@settings(max_examples=150)
@given(st.lists(values, min_size=1, max_size=8), st.sampled_from([0.05, 0.013]))
def test_closed_count_equals_closed_testing_over_all_subsets(evalues, alpha):
    assert closed_count(evalues, [1] * len(evalues), alpha) == closed_testing(evalues, alpha)
    distinct, sizes = np.unique(evalues, return_counts=True)
    assert closed_count(distinct, sizes, alpha) == closed_testing(evalues, alpha)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(values, st.booleans()), min_size=1, max_size=8),
    st.sampled_from([0.05, 0.013]),
)
def test_every_subset_has_its_claim_simultaneously(family, alpha):
    evalues = [value for value, _ in family]
    inside = [int(chosen) for _, chosen in family]
    expected = closed_testing(evalues, alpha, {i for i, chosen in enumerate(inside) if chosen})
    assert closed_count_subset(evalues, inside, [1 - i for i in inside], alpha) == expected


@given(
    st.lists(
        st.tuples(values, st.integers(0, 40)), min_size=1, max_size=6, unique_by=lambda g: g[0]
    ),
    st.sampled_from([0.05, 0.001]),
)
def test_the_histogram_formula_equals_counting_element_by_element(groups, alpha):
    evalues = sorted(Fraction(value) for value, size in groups for _ in range(size))
    total, j = Fraction(0), 0
    for count, value in enumerate(evalues, start=1):
        total += value
        if total < count / Fraction(alpha):
            j = count
    got = closed_count([v for v, _ in groups], [g for _, g in groups], alpha)
    assert got == len(evalues) - j


@given(
    st.integers(1, 400),
    st.integers(0, 400),
    st.sampled_from([0.000713, 0.010317, 0.030719, 0.049137, 0.05, 0.2]),
)
def test_one_level_is_one_line(P, M, b):
    M = min(M, P)
    alpha = 0.05
    exact = P
    if b >= alpha:
        exact = 0
    elif M < P:
        exact = max(0, P - (math.ceil((P - M) / (1 - Fraction(b) / Fraction(alpha))) - 1))
    assert closed_count([0.0, 1 / b], [P - M, M], alpha) == exact


def test_equality_with_the_bound_counts_against_us():
    # The two smallest average exactly 1/alpha = 16: strict inequality would keep one more; within
    # rounding the tie is not trusted.
    assert closed_count([0.0, 32.0], [1, 3], 0.0625) == 2
    assert closed_testing([0.0, 32.0, 32.0, 32.0], 0.0625) == 3


def test_an_empty_family_gives_nothing():
    assert closed_count([], [], 0.05) == 0
    assert closed_count([0.0, 5.0], [0, 0], 0.05) == 0
    assert closed_count_subset([0.0, 4000.0], [0, 0], [5, 5], 0.05) == 0


def test_the_table_is_an_e_value_under_the_worst_null():
    for N in (1, 10, 100, 1000):
        for t in (0.5, 0.7, 0.95, 0.999):
            for alpha in (0.05, 0.001):
                table = evalue_table(N, t, alpha)
                mean = float(np.dot(table, stats.binom.pmf(np.arange(N + 1), N, t)))
                assert mean <= 1.0
                assert np.all(np.diff(table) >= 0)
                # No null inside the hypothesis does better.
                for p in (0.1, t / 2, t - 1e-3):
                    assert np.dot(table, stats.binom.pmf(np.arange(N + 1), N, p)) <= mean + 1e-12


def test_the_table_never_rises_with_the_threshold():
    for N in (1, 5, 100, 1000):
        tables = np.array([evalue_table(N, t, 0.001) for t in np.linspace(0.5, 1.0, 301)])
        assert np.all(np.diff(tables, axis=0) <= 0)
        assert not tables[-1].any()


def test_a_level_is_never_below_what_unanimous_votes_can_reach():
    # t^N = .5: larger than both levels, so only unanimous votes count, and they pay 1/t^N.
    table = evalue_table(1, 0.5, 0.001)
    assert table[0] == 0.0
    assert table[1] == pytest.approx(2.0, rel=1e-8)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=2, max_size=40), st.sampled_from([0.05, 0.001]))
def test_groups_hold_what_the_table_says(sizes, alpha):
    N = len(sizes) - 1
    thresholds = np.array([0.5, 0.61, 0.58, 0.93, 0.999, 1.0])
    for joint in (False, True):
        values_, counts = evalue_groups(sizes, thresholds, alpha, joint=joint)
        assert (counts.sum(axis=1) == sum(sizes)).all()
        many = closed_counts(values_, counts, alpha)
        for t, e, g, count in zip(thresholds, values_, counts, many, strict=True):
            table = evalue_table(N, t, alpha)
            assert np.dot(e, g) == pytest.approx(np.dot(table, sizes), rel=1e-12)
            assert count == closed_count(table, sizes, alpha)


def test_critical_counts_are_the_least_votes_that_pass():
    rng = np.random.default_rng(1)
    for N in (1, 2, 9, 100, 1000):
        t = rng.uniform(0.4, 1.0, 50)
        b = 10.0 ** rng.uniform(-8, -0.5, 50)
        X = critical_counts(N, t, b)
        tail = stats.binom.sf(X - 1, N, t)
        assert np.all(tail[X <= N] <= b[X <= N])
        assert np.all(stats.binom.sf(X - 2, N, t)[X >= 1] > b[X >= 1] * (1 - 1e-8))


def test_certified_counts_never_rise_with_the_budget():
    rng = np.random.default_rng(0)
    thresholds = np.linspace(0.5, 1.0, 200)
    for _ in range(20):
        sizes = rng.multinomial(5000, rng.dirichlet(np.full(101, 0.05)))
        for alpha in (0.05, 0.001, harmonic_alpha(0.001, 5000)):
            groups = evalue_groups(sizes, thresholds, alpha, joint=True)
            assert np.all(np.diff(closed_counts(*groups, alpha)) <= 0)


def test_a_family_over_a_data_set_joins_elements_with_their_own_draws_and_thresholds():
    rng = np.random.default_rng(3)
    alpha = 0.01
    parts, elements = [], []
    for N, t in ((20, 0.6), (50, 0.75), (7, 0.55)):
        sizes = rng.integers(0, 5, N + 1)
        parts.append(evalue_groups(sizes, [t], alpha))
        elements += [
            v for v, g in zip(evalue_table(N, t, alpha), sizes, strict=True) for _ in range(g)
        ]
    joined = closed_counts(
        np.concatenate([e for e, _ in parts], axis=1),
        np.concatenate([g for _, g in parts], axis=1),
        alpha,
    )
    assert joined.tolist() == [closed_count(elements, [1] * len(elements), alpha)]


def test_harmonic_alpha_is_alpha_over_the_harmonic_number():
    for P in (1, 2, 10, 9999, 10_000, 30_000):
        exact = sum(Fraction(1, i) for i in range(1, min(P, 300) + 1))
        if P <= 300:
            assert harmonic_alpha(0.05, P) == pytest.approx(0.05 / float(exact), rel=1e-9)
            assert Fraction(harmonic_alpha(0.05, P)) <= Fraction(0.05) / exact
    assert harmonic_alpha(0.05, 9_999) == pytest.approx(harmonic_alpha(0.05, 10_000), rel=1e-4)
    assert 0.001 / harmonic_alpha(0.001, 465750) == pytest.approx(13.6, abs=0.05)


def test_budgets_of_images_of_two_sizes_form_one_chain():
    rng = np.random.default_rng(5)
    t = rng.uniform(0.5, 1.0, (6, 40))
    chained = chain_thresholds(t)
    assert np.all(chained >= t)
    order = np.argsort(chained[0], kind="stable")
    for row in chained:
        for i, j in itertools.combinations(range(40), 2):
            assert not (chained[0][i] < chained[0][j] and row[i] > row[j])
    assert len(order) == 40
    one = rng.uniform(0.5, 1.0, (1, 40))
    assert np.array_equal(chain_thresholds(one), one)


@pytest.mark.parametrize(
    ("levels", "weights"),
    [
        ((), ()),
        ((0.1,), (0.5, 0.5)),
        ((1.5,), (1.0,)),
        ((0.1,), (1.2,)),
        ((0.1, 0.01), (0.5, -0.1)),
    ],
)
def test_a_design_that_is_no_e_value_is_refused(levels, weights):
    with pytest.raises(ValueError, match=r"level|weight"):
        evalue_table(10, 0.6, 0.05, levels, weights)


@pytest.mark.parametrize("P", [1, 2, 3])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_exact_size_with_independent_elements_on_the_null(P, alpha):
    # Every element has p_y = t: any positive count is a false claim. Enumerate all vote vectors.
    N, t = 8, 0.6
    table = evalue_table(N, t, alpha, (0.3, 0.05), (0.6, 0.4))
    mass = stats.binom.pmf(np.arange(N + 1), N, t)
    errors = sum(
        float(np.prod(mass[list(votes)]))
        for votes in np.ndindex(*(N + 1,) * P)
        if closed_count(table[list(votes)], [1] * P, alpha) > 0
    )
    assert errors <= alpha
    identical = sum(mass[x] for x in range(N + 1) if closed_count([table[x]], [P], alpha) > 0)
    assert identical <= alpha
