import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mmcert.errors import ConfigError
from mmcert.theory.bounds import upper_tail
from mmcert.theory.difference import largest_margin
from mmcert.theory.published import published_margin, published_pvalue


def votes_of(N, C):
    for cut in itertools.combinations(range(N + C - 1), C - 1):
        edges = (-1, *cut, N + C - 1)
        yield tuple(b - a - 1 for a, b in itertools.pairwise(edges))


def multinomial(votes, p):
    coefficient = math.factorial(sum(votes))
    for x in votes:
        coefficient //= math.factorial(x)
    return coefficient * math.prod(q**x for q, x in zip(p, votes, strict=True))


@pytest.mark.parametrize(("C", "N"), [(2, 14), (3, 10)])
@pytest.mark.parametrize("alpha", [0.05, 0.3])
def test_the_exact_size_is_at_most_alpha_for_all_budgets_jointly(C, N, alpha):
    margins = {votes: published_margin(votes, 0, N, alpha) for votes in votes_of(N, C)}
    for p in votes_of(20, C):
        p = tuple(v / 20 for v in p)
        truth = p[0] - max(p[1:])
        false = sum(multinomial(v, p) for v, m in margins.items() if m >= max(truth, 0.0))
        assert false <= alpha


def test_with_two_classes_the_bounds_and_the_p_value_are_one_test():
    N, alpha = 100, 0.001
    for X in range(50, 101):
        margin = published_margin([X, N - X], 0, N, alpha)
        for m in (0.0, 0.05, 0.2, 0.5, 0.8):
            p = float(published_pvalue(X, N, (1 + m) / 2, 2))
            assert (m <= margin) == (p <= alpha)


def test_it_never_beats_the_one_sided_test_nor_two_bounds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        votes = rng.multinomial(200, (0.7, 0.15, 0.1, 0.05))
        margin = published_margin(votes, 0, 200, 0.001)
        assert margin <= largest_margin(votes, 0, 200, 0.001, method="two_bounds")
    X = np.arange(101)
    assert np.all(published_pvalue(X, 100, 0.6, 2) >= upper_tail(X, 100, 0.6))


def test_the_upper_bound_covers_a_rival_without_votes():
    # A quantile of Beta(X_l, N - X_l + 1) would be 0 here, and the margin too large.
    margin = published_margin([100, 0], 0, 100, 0.05)
    assert margin == pytest.approx(2 * 0.025**0.01 - 1, rel=1e-6)
    assert margin < stats.beta.ppf(0.025, 100, 1)


def test_a_tie_and_a_loser_are_not_certified():
    assert published_margin([50, 50], 0, 100, 0.05) == -1.0
    assert published_margin([10, 90], 0, 100, 0.05) == -1.0
    assert published_margin([1, 0], 0, 1, 0.001) == -1.0


def test_one_class_is_refused():
    with pytest.raises(ConfigError, match="at least 2 classes"):
        published_pvalue(3, 10, 0.5, 1)
