import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate

from mmcert.errors import UnsoundError
from mmcert.theory.bounds import clopper_pearson_lower
from mmcert.theory.evalues import closed_count
from mmcert.theory.sequential import (
    BETS,
    best_case,
    finished_prefix,
    joint_over_budgets,
    log_evalue,
    log_margin_evalue,
    require_fixed,
    sequential_table,
)


@pytest.mark.parametrize("t", [0.5, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("p", [1.0, 0.7])
def test_the_process_is_a_supermartingale_under_the_null(t, p):
    # E[E_{N+1} | X] <= E_N for every label probability up to t, at every state.
    p = p * t
    for N in (0, 1, 5, 40, 200):
        now = sequential_table(N, t)
        then = sequential_table(N + 1, t)
        mean = p * then[1:] + (1 - p) * then[:-1]
        assert np.all(mean <= now * (1 + 1e-6))


@pytest.mark.parametrize("t", [0.5, 0.73, 0.95])
@pytest.mark.parametrize(("X", "N"), [(0, 0), (3, 5), (9, 10), (10, 10), (40, 60)])
def test_the_three_parts_are_what_they_are_named(t, X, N):
    def ratio(q):
        return (q / t) ** X * ((1 - q) / (1 - t)) ** (N - X)

    unanimous = ratio(1.0)
    geometric = sum(ratio(1 - (1 - t) * 0.5**j) / (j * (j + 1)) for j in range(1, 41))
    uniform = integrate.quad(ratio, t, 1)[0] / (1 - t)
    expected = (unanimous + geometric + uniform) / 3
    assert float(np.exp(log_evalue(X, N, t))) == pytest.approx(expected, rel=1e-6)
    assert float(np.exp(log_evalue(X, N, t))) <= expected


def test_more_votes_for_the_label_never_lower_the_e_value():
    for N in (1, 10, 300):
        for t in (0.5, 0.8, 0.999):
            assert np.all(np.diff(sequential_table(N, t)) >= 0)


def test_large_counts_neither_overflow_nor_turn_into_nan():
    X = np.array([0, 500_000, 999_999, 1_000_000])
    for t in (0.5, 0.9, 1 - 1e-9, 1.0):
        values = np.exp(log_evalue(X, 1_000_000, t))
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)
    assert not np.exp(log_evalue(X, 1_000_000, 1.0)).any()


@pytest.mark.parametrize("m", [0.0, 0.2, 0.7])
def test_the_margin_process_is_a_supermartingale_under_its_null(m):
    for p_y, p_l in ((m, 0.0), ((1 + m) / 2, (1 - m) / 2), (m + 0.1, 0.1), (0.2, 0.3)):
        for X_y, X_l in ((0, 0), (3, 1), (10, 0), (10, 7)):
            N = X_y + X_l + 2
            now = float(np.exp(log_margin_evalue(X_y, X_l, N, m)))
            then = sum(
                chance * float(np.exp(log_margin_evalue(X_y + a, X_l + b, N + 1, m)))
                for chance, a, b in ((p_y, 1, 0), (p_l, 0, 1), (1 - p_y - p_l, 0, 0))
            )
            assert then <= now * (1 + 1e-6)


def test_the_margin_process_is_the_mixture_of_its_bets():
    X_y, X_l, N, m = 12, 3, 20, Fraction(1, 5)
    expected = Fraction(0)
    for bet in BETS:
        lam = Fraction(bet) / (1 + m)
        expected += (
            (1 + lam * (1 - m)) ** X_y
            * (1 - lam * m) ** (N - X_y - X_l)
            * (1 - lam * (1 + m)) ** X_l
        )
    expected /= len(BETS)
    assert math.exp(log_margin_evalue(X_y, X_l, N, 0.2)) == pytest.approx(float(expected), rel=1e-6)


def test_the_rival_with_most_votes_gives_the_minimum_over_rivals():
    values = log_margin_evalue(np.full(20, 30), np.arange(20), 60, 0.1)
    assert np.all(np.diff(values) <= 0)


def test_only_a_prefix_of_the_draws_is_counted():
    assert finished_prefix([]) == 0
    assert finished_prefix(range(7)) == 7
    assert finished_prefix([0, 1, 2, 4, 5, 9]) == 3
    with pytest.raises(ValueError, match="start at 0"):
        finished_prefix([-1])


def test_counting_fast_blocks_out_of_order_would_break_the_guarantee():
    # Blocks of one draw finish early where they vote for the label. Counting whatever is finished
    # certifies p = .5 against t = .5 almost surely; the prefix does not.
    rng = np.random.default_rng(7)
    out_of_order = in_order = 0
    for _ in range(200):
        votes = rng.random(100) < 0.5
        early = votes[votes]
        out_of_order += bool(log_evalue(int(early.sum()), len(early), 0.5) >= math.log(20))
        prefix = finished_prefix(np.flatnonzero(votes).tolist())
        in_order += bool(log_evalue(int(votes[:prefix].sum()), prefix, 0.5) >= math.log(20))
    assert out_of_order > 190
    assert in_order <= 20


def crossed(t, horizon, alpha):
    """``(horizon + 1, horizon + 1)`` bool: certified after N draws with X votes."""
    X = np.arange(horizon + 1)
    N = np.arange(horizon + 1)[:, None]
    return (log_evalue(np.minimum(X, N), N, t) >= -math.log(alpha)) & (X <= N)


def simulate_ever(t, p, horizon, alpha, runs, rng):
    table = crossed(t, horizon, alpha)
    ever = 0
    for start in range(0, runs, 10_000):
        size = min(10_000, runs - start)
        X = np.cumsum(rng.random((size, horizon)) < p, axis=1)
        ever += int(table[np.arange(1, horizon + 1), X].any(axis=1).sum())
    return ever


def check_anytime(runs, horizon):
    rng = np.random.default_rng(11)
    for alpha in (0.05, 0.001):
        for t in (0.5, 0.8, 0.97):
            false = simulate_ever(t, t, horizon, alpha, runs, rng)
            lower = clopper_pearson_lower(false, runs, 0.001)
            assert lower <= alpha, (alpha, t, false)


def test_stopping_at_the_best_moment_keeps_the_level():
    check_anytime(runs=2000, horizon=200)


@pytest.mark.slow
def test_stopping_at_the_best_moment_keeps_the_level_in_1e5_runs():
    check_anytime(runs=100_000, horizon=500)


def frozen_false_rate(runs, dependence, alpha, rng):
    """Images stop at their own time; all e-values, frozen there, make one family of nulls."""
    t, images, pixels, horizon = 0.7, 4, 5, 60
    tables = np.zeros((horizon + 1, horizon + 1))
    for N in range(horizon + 1):
        tables[N, : N + 1] = sequential_table(N, t)
    shape = {"independent": (images, pixels), "block": (images, 1), "identical": (1, 1)}[dependence]
    false = 0
    for _ in range(runs):
        draws = rng.random((*shape, horizon)) < t
        X = np.cumsum(np.broadcast_to(draws, (images, pixels, horizon)), axis=2)
        frozen = np.empty((images, pixels))
        for image in range(images):
            e = tables[np.arange(1, horizon + 1), X[image]]  # (pixels, horizon)
            reached = np.flatnonzero(e.mean(axis=0) >= 2 / alpha)
            stop = reached[0] if reached.size else horizon - 1
            frozen[image] = e[:, stop]
        false += closed_count(frozen.ravel(), np.ones(frozen.size, dtype=int), alpha) > 0
    return false


@pytest.mark.parametrize("dependence", ["independent", "block", "identical"])
def test_e_values_frozen_at_their_samples_stopping_times_make_a_valid_family(dependence):
    runs, alpha = 1500, 0.05
    false = frozen_false_rate(runs, dependence, alpha, np.random.default_rng(5))
    assert clopper_pearson_lower(false, runs, 0.001) <= alpha


def test_claims_over_budgets_are_joint_after_the_running_minimum():
    t = np.array([0.7, 0.5, 0.9, 0.6])
    joint = joint_over_budgets(np.array([2.0, 1.0, 5.0, 3.0]), t)
    assert joint.tolist() == [1.0, 1.0, 1.0, 1.0]
    # Simulated: at every time and for every budget at once, no claim t >= p is made too often.
    rng = np.random.default_rng(2)
    grid = np.linspace(0.5, 0.95, 10)
    p, alpha, horizon, runs = 0.65, 0.05, 100, 1000
    N = np.arange(1, horizon + 1)
    false = 0
    for _ in range(runs):
        X = np.cumsum(rng.random(horizon) < p)
        log_e = np.minimum.accumulate(log_evalue(X[:, None], N[:, None], grid[None]), axis=1)
        false += bool((log_e[:, grid >= p] >= -math.log(alpha)).any())
    assert clopper_pearson_lower(false, runs, 0.001) <= alpha


def test_a_target_that_unanimous_future_votes_would_miss_is_out_of_reach():
    sizes = np.array([0, 3, 0, 7])
    future = best_case(sizes, 20)
    assert future.sum() == 10
    assert future[21] == 3
    assert future[23] == 7
    # Every element's e-value grows with a vote for its label.
    for t in (0.5, 0.9):
        for N, X in itertools.product((1, 10, 50), (0.5, 1.0)):
            votes = int(N * X)
            assert log_evalue(votes + 1, N + 1, t) >= log_evalue(votes, N, t) - 1e-9


def test_fixed_n_statistics_are_refused_on_sequential_votes():
    require_fixed("fixed", "holm")
    with pytest.raises(UnsoundError, match=r"holm.*fixed in advance"):
        require_fixed("sequential", "holm")


@pytest.mark.parametrize("arguments", [(3, 2, 0.5), (-1, 2, 0.5)])
def test_votes_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="votes"):
        log_evalue(*arguments)
