"""Binomial tails and Clopper-Pearson bounds: exact, one-sided, rounded against the certificate."""

import decimal
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mmcert.errors import ConfigError, RecordError
from mmcert.theory.bounds import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    pvalue_table,
    upper_tail,
)

ALPHAS = st.sampled_from([0.05, 0.001, 1e-6])


def exact_tail(X, N, t):
    p = Fraction(t)
    return sum(math.comb(N, x) * p**x * (1 - p) ** (N - x) for x in range(X, N + 1))


@pytest.mark.parametrize("N", [1, 2, 7, 60])
@pytest.mark.parametrize("t", [0.5, 0.6180339887, 0.99])
def test_a_p_value_is_never_below_the_exact_tail_and_close_to_it(N, t):
    for X in range(N + 1):
        exact = exact_tail(X, N, t)
        assert exact <= Fraction(upper_tail(X, N, t)) <= min(1, exact * (1 + Fraction(3, 10**9)))


@pytest.mark.slow
@pytest.mark.parametrize("N", [1000, 10**4, 10**5, 10**6])
def test_the_inflation_covers_the_error_of_the_beta_function(N):
    with decimal.localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**12), 10**12
        for t, z in [(0.5, 1), (0.55, -2), (0.7, 4), (0.9, 12), (0.999, 3), (0.81, 30)]:
            X = min(N, int(N * t + z * math.sqrt(N * t * (1 - t))))
            combinations = math.comb(N, X)
            shift = max(0, combinations.bit_length() - 220)
            p = decimal.Decimal(t)
            term = decimal.Decimal(combinations >> shift) * decimal.Decimal(2) ** shift
            total = term = term * p**X * (1 - p) ** (N - X)
            for x in range(X, N):
                term = term * (N - x) / (x + 1) * p / (1 - p)
                total += term
                if term < total * decimal.Decimal(10) ** -40:
                    break
            error = abs(decimal.Decimal(upper_tail(X, N, t)) / total - 1)
            assert error < decimal.Decimal("1.1e-9")
            assert decimal.Decimal(upper_tail(X, N, t)) > total


@pytest.mark.parametrize(("N", "t"), [(1, 0.5), (100, 0.61), (3000, 0.97), (20000, 0.7)])
def test_the_table_holds_the_p_value_of_every_count(N, t):
    table = pvalue_table(N, t)
    tails = upper_tail(np.arange(N + 1), N, t)
    assert table.shape == (N + 1,)
    assert (np.diff(table) <= 0).all()
    assert (table >= tails).all()
    np.testing.assert_allclose(table, tails, rtol=1e-12)


def test_a_table_for_a_million_draws_costs_milliseconds_not_seconds():
    table = pvalue_table(10**6, 0.7)
    assert table[0] == 1
    assert table[700_000] == pytest.approx(0.5, abs=1e-3)
    assert 0 < table[-1] <= 1e-300


def test_nothing_is_rejected_at_a_threshold_of_one():
    assert upper_tail(10, 10, 1.0) == 1
    assert (pvalue_table(10, 1.5) == 1).all()


def test_an_underflow_is_still_an_upper_bound():
    assert upper_tail(10**6, 10**6, 0.5) == 1e-300


@given(st.integers(1, 3000), st.data(), ALPHAS)
@settings(max_examples=150, deadline=None)
def test_reject_by_p_value_and_by_lower_bound_are_the_same_decision(N, data, alpha):
    X = data.draw(st.integers(0, N))
    L = clopper_pearson_lower(X, N, alpha)
    t = data.draw(st.floats(0.01, 1) | st.just(L) | st.just(min(1.0, math.nextafter(L, 2))))
    if t > 0:
        assert (upper_tail(X, N, t) <= alpha) == (t <= L)


@given(st.integers(1, 5000), st.data(), ALPHAS)
@settings(max_examples=150, deadline=None)
def test_a_vote_for_never_lowers_and_a_vote_against_never_raises_a_bound(N, data, alpha):
    X = data.draw(st.integers(0, N))
    for bound in (clopper_pearson_lower, clopper_pearson_upper):
        assert bound(X + 1, N + 1, alpha) >= bound(X, N, alpha) >= bound(X, N + 1, alpha)


@given(st.integers(1, 2000), st.data(), ALPHAS)
@settings(max_examples=100, deadline=None)
def test_bounds_agree_with_the_beta_quantiles_and_enclose_the_estimate(N, data, alpha):
    X = data.draw(st.integers(0, N))
    L, U = clopper_pearson_lower(X, N, alpha), clopper_pearson_upper(X, N, alpha)
    assert 0 <= L <= X / N <= U <= 1
    if X > 0:
        exact = stats.beta.ppf(alpha, X, N - X + 1)
        assert exact * (1 - 1e-8) <= L <= exact * (1 + 1e-13)
    if X < N:
        assert pytest.approx(stats.beta.ppf(1 - alpha, X + 1, N - X), rel=1e-8) == U


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("N", [1, 5, 20, 100, 181, 182, 183])
def test_the_size_of_the_test_is_at_most_alpha_and_more_draws_never_lose_the_test(N, alpha):
    counts = np.arange(N + 1)
    bounds = clopper_pearson_lower(counts, N, alpha)
    for t in [*bounds[1:], *np.linspace(0.01, 0.99, 25)]:
        size = stats.binom.pmf(counts, N, t)[bounds >= t].sum()
        assert size <= alpha * (1 + 1e-12)
    assert clopper_pearson_lower(N + 1, N + 1, alpha) > bounds[-1]


def test_bounds_of_many_counts_are_those_of_each():
    X = np.array([[0, 3], [50, 100]])
    for bound in (clopper_pearson_lower, clopper_pearson_upper):
        together = bound(X, 100, 0.001)
        assert together.tolist() == [[bound(int(x), 100, 0.001) for x in row] for row in X]


@pytest.mark.parametrize("alpha", [0, 0.5, 1, -0.1, float("nan")])
def test_a_failure_probability_that_makes_no_sense_is_refused(alpha):
    with pytest.raises(ConfigError, match="alpha must lie"):
        clopper_pearson_lower(3, 5, alpha)


@pytest.mark.parametrize(
    ("X", "N", "error"), [(6, 5, RecordError), (-1, 5, RecordError), (0, 0, ConfigError)]
)
def test_counts_that_the_draws_cannot_give_are_refused(X, N, error):
    with pytest.raises(error):
        clopper_pearson_lower(X, N, 0.001)
