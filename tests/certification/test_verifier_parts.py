"""The verifier's own arithmetic against brute force over small cases."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from mmcert.certification.verifier.evalues import closed_count, harmonic
from mmcert.certification.verifier.figures import mean
from mmcert.certification.verifier.margins import (
    berger_boos_rejects,
    lead_tail,
    two_tails_pvalue,
)
from mmcert.certification.verifier.martingales import (
    margin_martingales,
    martingale,
    martingale_table,
)
from mmcert.certification.verifier.overlap import margin
from mmcert.certification.verifier.tails import (
    Decimal,
    exact,
    lower_limit,
    upper_limit,
    upper_tail,
    upper_tails,
)

HALF = Fraction(1, 2)


def binomial(x, n, p):
    return math.comb(n, x) * p**x * (1 - p) ** (n - x)


def tail(x, n, p):
    return sum((binomial(j, n, p) for j in range(x, n + 1)), Fraction(0))


def just_above(value, true):
    """Not below the true number, and not above it by more than 30 digits."""
    return 0 <= value - true <= true * Fraction(1, 10**30)


@pytest.mark.parametrize("n", [1, 2, 7, 30])
@pytest.mark.parametrize("t", [Fraction(1, 3), HALF, Fraction(0.9)])
def test_tails_are_never_below_the_true_ones(n, t):
    table = upper_tails(n, t)
    for x in range(n + 1):
        true = tail(x, n, t)
        for value in (exact(table[x]), exact(upper_tail(x, n, t))):
            assert value == 1 or just_above(value, true)
            assert value >= true


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("level", [Fraction(1, 20), Fraction(1, 10**6)])
def test_limits_hold_and_hardly_anything_beyond_does(n, level):
    for x in range(n + 1):
        low, high = lower_limit(x, n, level), upper_limit(x, n, level)
        assert x == 0 or tail(x, n, low) <= level < tail(x, n, low * (1 + Fraction(1, 10**20)))
        assert x == n or 1 - tail(x + 1, n, high) <= level


def survivors(n, k, budget, kinds):
    """``(S, S', O)`` of independent modalities by enumeration of one worst attack."""
    S = S_after = common = 1
    for name in n:
        before = list(range(n[name]))
        r = budget[name]
        if kinds[name] == "modification":
            after = [*(-1 - i for i in range(r)), *before[r:]]
        elif kinds[name] == "addition":
            after = [*(-1 - i for i in range(r)), *before]
        else:
            after = before[r:]
        one = set(itertools.combinations(sorted(before), k[name]))
        other = set(itertools.combinations(sorted(after), k[name]))
        S, S_after, common = S * len(one), S_after * len(other), common * len(one & other)
    return S, S_after, common


@pytest.mark.parametrize(
    "kinds", list(itertools.product(["modification", "addition", "deletion"], repeat=2))
)
def test_margins_are_those_of_counted_sub_samples(kinds):
    n, k = {"a": 6, "b": 5}, {"a": 2, "b": 1}
    kind = dict(zip(n, kinds, strict=True))
    for budget in ({"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 1, "b": 2}, {"a": 3, "b": 1}):
        S, S_after, common = survivors(n, k, budget, kind)
        true = min(Fraction(1), 1 + Fraction(S_after, S) - 2 * Fraction(common, S))
        sizes = {name: (n[name], k[name]) for name in n}
        assert margin("mmcert", sizes, budget, kind) == true


def worst_margin(n, k, r, kinds, pooled):
    """The largest ``m`` over all ways to spend at most ``r``, by binomial coefficients."""
    ways = {"modification": (1, 0, 0), "addition": (0, 1, 0), "deletion": (0, 0, 1)}
    spent = []
    for name in n:
        allowed = ways.get(kinds[name], (1, 1, 1))
        spent.append(
            [
                (n[name] + b - c, n[name] - a - c)
                for a, b, c in itertools.product(range(r[name] + 1), repeat=3)
                if a + b + c <= r[name]
                and a + c <= n[name]
                and all(use or not number for use, number in zip(allowed, (a, b, c), strict=True))
            ]
        )
    worst = Fraction(0)
    for attack in itertools.product(*spent):
        groups = [
            (n[name], after, common, k[name])
            for name, (after, common) in zip(n, attack, strict=True)
        ]
        if pooled:
            groups = [tuple(map(sum, zip(*groups, strict=True)))]
        if any(after < kept for _, after, _, kept in groups):
            return Fraction(1)  # the attacked ensemble is undefined
        S, S_after, common = (
            math.prod(math.comb(one[place], one[3]) for one in groups) for place in range(3)
        )
        worst = max(worst, 1 + Fraction(S_after, S) - 2 * Fraction(common, S))
    return min(worst, Fraction(1))


@pytest.mark.parametrize(
    "kinds",
    list(itertools.product(["modification", "addition", "deletion", "edits"], repeat=2)),
    ids="-".join,
)
@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_no_attack_within_the_budget_has_a_larger_margin(kinds, scheme):
    n, k = {"a": 7, "b": 5}, {"a": 2, "b": 1}
    kind = dict(zip(n, kinds, strict=True))
    sizes = {name: (n[name], k[name]) for name in n}
    for r in itertools.product(range(5), repeat=2):
        budget = dict(zip(n, r, strict=True))
        worst = worst_margin(n, k, budget, kind, scheme != "mmcert")
        assert margin(scheme, sizes, budget, kind) == worst


def test_a_pool_and_a_shared_mask_have_their_own_margins():
    sizes = {"a": (5, 2), "b": (5, 1)}
    budget = {"a": 1, "b": 0}
    kinds = dict.fromkeys(sizes, "modification")
    pooled = 1 - Fraction(math.comb(9, 3), math.comb(10, 3))
    assert margin("randomized_ablation", sizes, budget, kinds) == 2 * pooled
    budget = {"a": 1, "b": 1}
    aligned = 1 - Fraction(math.comb(3, 1), math.comb(5, 1))
    assert margin("randomized_ablation_aligned", sizes, budget, kinds) == 2 * aligned


def test_the_tail_of_a_lead_is_never_below_the_true_one():
    rng = random.Random(0)
    for _ in range(40):
        n = rng.randint(1, 8)
        lead = rng.randint(1, n)
        p_y, p_l = Fraction(rng.randint(40, 70), 100), Fraction(rng.randint(1, 29), 100)
        true = sum(
            math.comb(n, y) * math.comb(n - y, x) * p_y**y * p_l**x * (1 - p_y - p_l) ** (n - y - x)
            for y in range(n + 1)
            for x in range(n - y + 1)
            if y - x >= lead
        )
        value = exact(lead_tail(lead, n, p_y, p_l))
        assert value == 1 or just_above(value, true)
        assert value >= true


def test_berger_boos_is_of_its_level():
    """By enumeration: at ``p_y - p_l = m`` false rejections have a probability of at most alpha."""
    n, level, m = 12, Fraction(1, 20), Fraction(1, 4)
    for percent in (25, 40, 60, 80, 100):
        pi = Fraction(percent, 100)
        p_y, p_l = (pi + m) / 2, (pi - m) / 2
        wrong = sum(
            math.comb(n, y) * math.comb(n - y, x) * p_y**y * p_l**x * (1 - pi) ** (n - y - x)
            for y in range(n + 1)
            for x in range(n - y + 1)
            if berger_boos_rejects(y, x, n, m, level)
        )
        assert wrong <= level


def test_two_tails_are_an_upper_bound_close_to_the_infimum():
    n, m = 20, Fraction(1, 5)
    for votes, rival in ((18, 1), (15, 5), (20, 0), (12, 2)):
        grid = [
            2 * max(tail(votes, n, s), 1 - tail(rival + 1, n, s - m))
            for s in (Fraction(i, 400) for i in range(80, 401))
        ]
        value = exact(two_tails_pvalue(votes, rival, n, m))
        assert value <= min(grid) * (1 + Fraction(1, 10**12))
        assert value >= min(grid) * Fraction(9, 10)


def test_closed_testing_finds_the_most_true_nulls():
    rng = random.Random(1)
    shrunk = 1 - Fraction(1, 10**9)
    for _ in range(300):
        alpha = Fraction(1, rng.choice([20, 1000]))
        groups = [
            (Decimal(rng.choice([0, 5, 20, 25, 400, 5000])), rng.randint(0, 6)) for _ in range(4)
        ]
        each = sorted(Fraction(e) * shrunk for e, size in groups for _ in range(size))
        nulls = [j for j in range(1, len(each) + 1) if sum(each[:j]) / j < 1 / alpha]
        expected = len(each) - max(nulls, default=0)
        assert closed_count(groups, Decimal(alpha.numerator) / alpha.denominator) == expected


@pytest.mark.parametrize("t", [HALF, Fraction(0.8)])
def test_martingales_have_mean_one_at_most(t):
    for n in (1, 4, 15):
        total = sum(exact(martingale(x, n, t, 40)) * binomial(x, n, t) for x in range(n + 1))
        assert Fraction(9, 10) < total <= 1
        for x, value in enumerate(martingale_table(n, t, 40)):
            single = exact(martingale(x, n, t, 40))
            assert (
                single * (1 - Fraction(1, 10**12))
                <= Fraction(value)
                <= single * (1 + Fraction(1, 10**12))
            )


def test_margin_martingales_have_mean_one_at_most():
    n, m, bets = 8, Fraction(1, 4), (Fraction(1), HALF, Fraction(1, 10))
    for pi in (Fraction(1, 4), HALF, Fraction(1)):
        p_y, p_l = (pi + m) / 2, (pi - m) / 2
        total = sum(
            exact(margin_martingales([(y, x)], n, m, bets)[0])
            * math.comb(n, y) * math.comb(n - y, x) * p_y**y * p_l**x * (1 - pi) ** (n - y - x)
            for y in range(n + 1)
            for x in range(n - y + 1)
        )  # fmt: skip
        assert 1 - Fraction(1, 10**9) < total <= 1


@pytest.mark.parametrize("P", [1, 7, 10_000, 20_000])
def test_harmonic_numbers_are_not_below_the_true_ones(P):
    true = float(np.sum(1 / np.arange(1, P + 1)))
    assert true * (1 - 1e-12) <= float(harmonic(P)) <= true * (1 + 1e-8)
    if P == 7:
        assert exact(harmonic(7)) >= sum(Fraction(1, j) for j in range(1, 8))


def test_means_are_exact():
    ratios = [(1, 3), (2, 7), None, (0, 5)]
    numerator, denominator = mean(ratios)
    assert Fraction(numerator, denominator) == (Fraction(1, 3) + Fraction(2, 7)) / 3
    assert mean([None]) is None
