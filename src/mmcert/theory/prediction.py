"""Predicting votes and certified metrics from a validation split, before the test split is touched.

Two unknowns separate validation votes from a certification. *The draws*: ``V`` votes per element
were counted, the certification will count ``N``. *The samples*: other ones will be certified.

Draws. ``N = V``: the validation votes themselves are certified. ``N < V``: the first ``N`` of ``V``
exchangeable draws are a random subset of them, so ``X_N`` given ``X_V`` is hypergeometric and the
expected histogram is exact (:func:`thinned`). ``N > V``: what is not known is how the votes of
further draws are spread; the distribution of ``p`` over the elements is estimated by nonparametric
maximum likelihood (Kiefer, Wolfowitz, Annals of Mathematical Statistics 1956; expectation
maximisation on a fixed grid, Laird, JASA 1978) and ``N`` draws are mixed over it
(:func:`extended`). That extrapolates: ``V`` votes tell a ``p`` from its neighbours to about
``1/V``.

Samples. Intervals are *prediction* intervals: they hold the metric of ``future`` further samples,
drawn as the validation samples were, with probability about ``coverage``. For the share of samples
(classification) the exact beta-binomial prediction under Jeffreys' prior; for a mean or any other
figure (segmentation) Student's t over jackknife pseudo-values (Tukey 1958). Between-sample and
finite-draw variability are both in the validation samples, so both are in the interval. Not in it:
that the best of several candidates was chosen on the same samples, and a test split that differs
from the validation split in kind (other speakers, another city).

A prediction is no certificate: nothing here reaches a certified number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from mmcert.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Points of the grid of ``p`` on either side of one half.
GRID_POINTS = 60
#: Rounds of expectation maximisation: predictions change by less than 1e-3 beyond.
EM_ROUNDS = 300


def expected_votes(sizes: IntArray, N: int) -> FloatArray:
    """The expected histogram of ``N`` votes of elements whose ``V`` votes are known.

    Args:
        sizes: Elements by their votes for the true label, int ``(V + 1,)``.
        N: Draws that are wanted.

    Returns:
        float64 ``(N + 1,)``, summing to the number of elements.

    >>> expected_votes(np.array([0, 0, 0, 0, 8]), 2).tolist()
    [0.0, 0.0, 8.0]
    """
    V = len(sizes) - 1
    if N < 1 or V < 1:
        raise ConfigError(f"a prediction needs at least 1 draw, not N = {N} from V = {V}.")
    if N == V:
        return np.asarray(sizes, dtype=np.float64)
    return thinned(sizes, N) if N < V else extended(sizes, N)


def thinned(sizes: IntArray, N: int) -> FloatArray:
    """The exact expected histogram of ``N < V`` of the ``V`` draws, chosen at random.

    >>> thinned(np.array([0, 4, 0]), 1).tolist()  # one vote of two: half of the elements keep it
    [2.0, 2.0]
    """
    V = len(sizes) - 1
    present = np.flatnonzero(sizes)
    weights = stats.hypergeom.pmf(np.arange(N + 1)[None, :], V, present[:, None], N)  # (L, N + 1)
    return np.asarray(np.asarray(sizes)[present] @ weights, dtype=np.float64)


def extended(sizes: IntArray, N: int) -> FloatArray:
    """The expected histogram of ``N > V`` draws, by the estimated distribution of ``p``."""
    points, share = mixing_distribution(sizes)
    return np.asarray(int(np.sum(sizes)) * (share @ _binomial(N, points)), dtype=np.float64)


def mixing_distribution(sizes: IntArray) -> tuple[FloatArray, FloatArray]:
    """The distribution of ``p`` over the elements that makes the votes most likely.

    Args:
        sizes: Elements by their votes, int ``(V + 1,)``.

    Returns:
        The grid of ``p`` and the share of the elements at each point, float64 ``(M,)`` each.
    """
    V = len(sizes) - 1
    near = np.geomspace(0.1 / V, 0.5, GRID_POINTS)
    points = np.concatenate([[0.0], near, 1 - near[-2::-1], [1.0]])
    share = np.full(len(points), 1 / len(points))
    present = np.flatnonzero(sizes)
    if not len(present):
        return points, share
    weights = np.asarray(sizes, dtype=np.float64)[present] / np.sum(sizes)
    likelihood = _binomial(V, points, present).T  # (L, M)
    for _ in range(EM_ROUNDS):
        share = share * ((weights / (likelihood @ share)) @ likelihood)
    return points, np.asarray(share / share.sum(), dtype=np.float64)


def _binomial(N: int, points: FloatArray, votes: IntArray | None = None) -> FloatArray:
    """``P(Bin(N, p) = x)`` for every point ``p`` and each of the votes (None: all), ``(M, L)``."""
    X = (np.arange(N + 1) if votes is None else np.asarray(votes))[None, :]
    p = points[:, None]
    choose = special.gammaln(N + 1) - special.gammaln(X + 1) - special.gammaln(N - X + 1)
    return np.asarray(
        np.exp(choose + special.xlogy(X, p) + special.xlog1py(N - X, -p)), dtype=np.float64
    )


def whole_elements(expected: FloatArray) -> IntArray:
    """An expected histogram in whole elements, with the same total and the same shape of its tail.

    The running total from the most votes down is rounded, so no tail is off by more than one half.

    >>> whole_elements(np.array([0.5, 0.5, 1.2, 1.8])).tolist()
    [0, 1, 1, 2]
    """
    tail = np.cumsum(np.asarray(expected)[::-1])
    edges = np.floor(tail * (round(float(tail[-1])) / max(float(tail[-1]), 1e-300)) + 0.5)
    return np.diff(edges, prepend=0).astype(np.int64)[::-1].copy()


def redrawn_counts(
    counts: Sequence[int],
    label: int,
    N: int,
    mixing: tuple[FloatArray, FloatArray],
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """``N`` votes of one sample, as its ``V`` votes let expect them; of a classification task.

    Fewer: a random subset of the votes. More: the votes, and further ones with a ``p`` of the label
    drawn from its posterior under ``mixing``; what is left goes to the rivals in proportion to
    their votes plus one shared vote (a Dirichlet draw).

    Args:
        counts: Votes per class, ``(C,)``.
        label: The class that is claimed.
        N: Draws that are wanted.
        mixing: What :func:`mixing_distribution` found over all samples.
        rng: Source of the random numbers.
    """
    V = sum(counts)
    if N <= V:
        drawn = rng.multivariate_hypergeometric(counts, N, method="marginals") if N < V else counts
        return tuple(int(count) for count in drawn)
    points, share = mixing
    weights = share * _binomial(V, points, np.array([counts[label]]))[:, 0]
    own = int(rng.binomial(N - V, rng.choice(points, p=weights / weights.sum())))
    rivals = [c for c in range(len(counts)) if c != label]
    spread = rng.dirichlet([counts[c] + 1 / len(rivals) for c in rivals])
    added = np.zeros(len(counts), np.int64)
    added[label] = own
    added[rivals] = rng.multinomial(N - V - own, spread)
    return tuple(int(count) for count in np.asarray(counts) + added)


def jackknife(groups: int, value: Callable[[Sequence[int]], float | None]) -> list[float] | None:
    """Pseudo-values of a figure over groups of samples.

    Args:
        groups: ``G``, at least 2.
        value: The figure of the groups with the given indices; None where it is undefined.

    Returns:
        ``G theta - (G - 1) theta_(-g)`` for each ``g``; None where a figure is undefined.
    """
    full = value(range(groups))
    without = [value([g for g in range(groups) if g != left]) for left in range(groups)]
    if full is None or any(one is None for one in without):
        return None
    return [groups * full - (groups - 1) * one for one in without if one is not None]


def mean_interval(
    value: float, pseudo: Sequence[float], known: int, future: int, coverage: float
) -> tuple[float, float] | None:
    """Where a figure of ``future`` further samples will lie, by Student's t over pseudo-values.

    ``value +- t_(G-1) s sqrt(1/G + (known/G)/future)``: ``s^2/G`` is the variance of the figure of
    the known samples, and a group stands for ``known/G`` of them.

    Args:
        value: The figure of the known samples, in [0, 1].
        pseudo: Its pseudo-values, one per group of samples, ``(G,)``.
        known: Samples in all groups.
        future: Further samples.
        coverage: Probability that the interval holds it.

    Returns:
        The interval within [0, 1]; None from fewer than two groups.
    """
    G = len(pseudo)
    if G < 2:
        return None
    _check(known, future, coverage)
    spread = float(np.std(np.asarray(pseudo), ddof=1))
    t = float(stats.t.ppf((1 + coverage) / 2, G - 1))
    half = t * spread * math.sqrt(1 / G + known / G / future)
    return max(0.0, value - half), min(1.0, value + half)


def proportion_interval(
    successes: float, known: int, future: int, coverage: float
) -> tuple[float, float]:
    """Where the share of successes among ``future`` further samples will lie.

    Beta-binomial prediction under Jeffreys' prior: unlike Student's t it stays honest where all
    known samples agree.

    >>> low, high = proportion_interval(10, 10, 100, 0.9)
    >>> bool(0.7 < low < 1), high
    (True, 1.0)
    """
    _check(known, future, coverage)
    a, b = successes + 0.5, known - successes + 0.5
    below = np.cumsum(stats.betabinom.pmf(np.arange(future + 1), future, a, b))
    low, high = np.searchsorted(below, [(1 - coverage) / 2, (1 + coverage) / 2])
    return int(low) / future, min(int(high), future) / future


def _check(known: int, future: int, coverage: float) -> None:
    if known < 1 or future < 1 or not 0 < coverage < 1:
        raise ConfigError(
            f"a prediction interval needs samples on both sides and a coverage in (0, 1), not "
            f"{known}, {future} and {coverage}."
        )
