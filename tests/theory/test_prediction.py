"""Predictions of votes and intervals, against simulation."""

import numpy as np
import pytest

from mmcert.errors import ConfigError
from mmcert.theory.prediction import (
    expected_votes,
    extended,
    jackknife,
    mean_interval,
    mixing_distribution,
    proportion_interval,
    redrawn_counts,
    thinned,
    whole_elements,
)


def population(rng, elements):
    """Probabilities as base models have them: most elements sure, some unknown."""
    sure = 1 - rng.exponential(2e-3, elements)
    unknown = rng.beta(4, 2, elements)
    return np.clip(np.where(rng.random(elements) < 0.9, sure, unknown), 0, 1)


def histogram(rng, p, draws):
    return np.bincount(rng.binomial(draws, p), minlength=draws + 1)


def test_votes_that_are_counted_are_predicted_as_they_are():
    sizes = np.array([3, 0, 5])
    assert expected_votes(sizes, 2).tolist() == [3, 0, 5]


def test_fewer_draws_are_a_random_subset_of_the_draws():
    """Against counting the first N of V draws, over many runs of the same elements."""
    rng = np.random.default_rng(0)
    p = population(rng, 300)
    first, predicted = np.zeros(9), np.zeros(9)
    for _ in range(400):
        votes = rng.random((300, 20)) < p[:, None]
        first += np.bincount(votes[:, :8].sum(axis=1), minlength=9)
        predicted += thinned(np.bincount(votes.sum(axis=1), minlength=21), 8)
    assert np.abs(first - predicted).max() / 400 < 0.02 * 300


def test_more_draws_are_predicted_where_thresholds_lie():
    """The tail of the histogram at 1000 draws, from 100 of them: what a certificate reads."""
    rng = np.random.default_rng(1)
    p = population(rng, 50_000)
    predicted = extended(histogram(rng, p, 100), 1000)
    truth = histogram(rng, p, 1000)
    for share in (0.55, 0.7, 0.9, 0.97):
        level = int(1000 * share)
        assert abs(predicted[level:].sum() - truth[level:].sum()) < 0.01 * 50_000


def test_the_mixing_distribution_is_one():
    points, share = mixing_distribution(np.array([0, 1, 0, 7]))
    assert (points >= 0).all()
    assert (points <= 1).all()
    assert share.sum() == pytest.approx(1)


def test_whole_elements_keep_the_total_and_every_tail():
    rng = np.random.default_rng(2)
    for _ in range(20):
        expected = rng.random(50)
        expected *= 40 / expected.sum()
        whole = whole_elements(expected)
        assert whole.sum() == 40
        assert np.abs(whole[::-1].cumsum() - expected[::-1].cumsum()).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("N", [30, 100, 400])
def test_redrawn_votes_have_the_expectation_of_new_ones(N):
    rng = np.random.default_rng(3)
    p = np.array([0.7, 0.2, 0.1])
    counts = [rng.multinomial(100, p) for _ in range(400)]
    mixing = mixing_distribution(np.bincount([c[0] for c in counts], minlength=101))
    drawn = np.array([redrawn_counts(c.tolist(), 0, N, mixing, rng) for c in counts])
    assert (drawn.sum(axis=1) == N).all()
    assert drawn.mean(axis=0) / N == pytest.approx(p, abs=0.02)


def test_the_interval_of_a_mean_holds_the_mean_of_further_samples():
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        known, future = rng.beta(8, 3, 10), rng.beta(8, 3, 30)
        low, high = mean_interval(known.mean(), known.tolist(), 10, 30, 0.9)
        held += low <= future.mean() <= high
    assert 0.87 <= held / 1000 <= 0.93


def test_the_interval_of_a_pooled_ratio_holds_by_pseudo_values():
    rng = np.random.default_rng(5)

    def drawn(samples):
        size = rng.integers(50, 150, samples)
        return rng.binomial(size, rng.beta(8, 3, samples)), size

    held = 0
    for _ in range(600):
        (hits, size), (later, sizes) = drawn(12), drawn(40)

        def ratio(groups, hits=hits, size=size):
            groups = list(groups)
            return hits[groups].sum() / size[groups].sum()

        low, high = mean_interval(ratio(range(12)), jackknife(12, ratio), 12, 40, 0.9)
        held += low <= later.sum() / sizes.sum() <= high
    assert 0.86 <= held / 600 <= 0.94


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_the_interval_of_a_share_holds_even_where_all_known_samples_agree(p):
    rng = np.random.default_rng(6)
    held = 0
    intervals = [proportion_interval(known, 30, 60, 0.9) for known in range(31)]
    for known, future in zip(rng.binomial(30, p, 4000), rng.binomial(60, p, 4000), strict=True):
        low, high = intervals[known]
        held += low <= future / 60 <= high
    assert held / 4000 >= 0.88


def test_one_group_has_no_interval():
    assert mean_interval(0.5, [0.5], 1, 10, 0.9) is None


def test_an_undefined_figure_has_no_pseudo_values():
    assert jackknife(3, lambda groups: None if 0 in groups else 0.5) is None


def test_settings_without_a_meaning_are_refused():
    with pytest.raises(ConfigError, match="at least 1 draw"):
        expected_votes(np.array([0, 1]), 0)
    with pytest.raises(ConfigError, match="coverage"):
        proportion_interval(1, 2, 3, 1.5)
