"""The power calculation that fixes the levels and weights of the e-values, before any votes.

Any levels and weights give a valid e-value; which ones give many certified elements depends on what
the votes will look like, and votes may not be looked at. So the choice is made on a *planning
population* that is a function of ``N``, ``alpha``, ``P`` and ``target`` only:

- a share ``target`` of the elements is confident: the probability that the base model errs on a
  random sub-sample is spread log-uniformly between 1e-4 and 1e-1;
- nothing is known of the others: the probability of their label is uniform on (0, 1).

Its expected histogram of votes is certified at thresholds spread evenly over [1/2, 1), from no
attack to the wall, and a design is judged by the certified share averaged over them: one design
serves the whole curve, not the one budget at which it would shine. The optimum is flat (losing the
best design costs some tenths of a percent of the elements), so one design is fixed for all runs:
the one whose regret against the best of each setting is smallest in the worst of the
``REFERENCE_SETTINGS``. It is ``LEVELS`` and ``WEIGHTS`` of :mod:`mmcert.theory.evalues`, and a test
reproduces it from here.

Beyond the paper; Vovk, Wang ("E-values", Annals of Statistics 2021, Section 2) for the family of
calibrators that is searched.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from mmcert.errors import ConfigError
from mmcert.theory.evalues import closed_counts, evalue_groups
from mmcert.theory.one_family import worst_figures

#: Reciprocals of the levels that are tried, as fractions of ``alpha``.
LADDER = (3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
#: Weights of the larger of two levels that are tried.
FIRST_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9)
#: ``(N, alpha, P, target)``: draws from few to many, the usual alphas, one KITTI image.
REFERENCE_SETTINGS = tuple(
    (N, alpha, 465_750, target)
    for N, alpha, target in itertools.product((100, 1000), (0.05, 0.001), (0.8, 0.9, 0.95))
)


@dataclass(frozen=True)
class EvalueDesign:
    """Levels (fractions of ``alpha``, largest first) and their weights."""

    levels: tuple[float, ...]
    weights: tuple[float, ...]


def candidates() -> tuple[EvalueDesign, ...]:
    """All designs with one or two levels of the ladder, simplest first."""
    one = [EvalueDesign((1 / step,), (1.0,)) for step in LADDER]
    two = [
        EvalueDesign((1 / high, 1 / low), (weight, round(1 - weight, 12)))
        for high, low in itertools.combinations(LADDER, 2)
        for weight in FIRST_WEIGHTS
    ]
    return (*one, *two)


def planning_histogram(N: int, P: int, target: float) -> npt.NDArray[np.int64]:
    """The expected votes of the planning population, rounded to whole elements.

    Args:
        N: Draws.
        P: Elements in the family.
        target: Share of confident elements, in (0, 1].

    Returns:
        int64 ``(N + 1,)``, index = votes; sums to ``P``.

    >>> int(planning_histogram(100, 465750, 0.9).sum())
    465750
    """
    if N < 1 or P < 1 or not 0 < target <= 1:
        raise ConfigError(
            f"a power calculation needs N >= 1, P >= 1 and a target share in (0, 1], "
            f"not N = {N}, P = {P}, target = {target}."
        )
    X = np.arange(N + 1)
    errs = 10.0 ** np.linspace(-4, -1, 200)[:, None]  # (200, 1)
    log_choose = special.gammaln(N + 1) - special.gammaln(X + 1) - special.gammaln(N - X + 1)
    confident = np.exp(log_choose + X * np.log1p(-errs) + (N - X) * np.log(errs)).mean(axis=0)
    mass = target * confident / confident.sum() + (1 - target) / (N + 1)
    edges = np.floor(np.cumsum(mass) / mass.sum() * P + 0.5).astype(np.int64)
    return np.asarray(np.diff(edges, prepend=0), dtype=np.int64)


@lru_cache(maxsize=256)
def power(N: int, alpha: float, P: int, target: float) -> npt.NDArray[np.float64]:
    """The mean certified share of the planning population under every candidate design.

    Args:
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        target: Share of confident elements.

    Returns:
        Read-only float64, one per entry of :func:`candidates`: the share of ``P`` that
        ``closed_evalues`` certifies, averaged over thresholds ``.5, .505, .., .995``.
    """
    sizes = planning_histogram(N, P, target)
    thresholds = np.linspace(0.5, 1.0, 101)[:-1]
    shares = np.array(
        [
            closed_counts(
                *evalue_groups(sizes, thresholds, alpha, design.levels, design.weights), alpha
            ).mean()
            / P
            for design in candidates()
        ]
    )
    shares.setflags(write=False)
    return shares


def best_design(N: int, alpha: float, P: int, target: float) -> EvalueDesign:
    """The design with the most power in one setting; of equal ones the simplest.

    >>> best_design(100, 0.001, 465750, 0.9).levels
    (0.05, 0.02)
    """
    shares = np.round(power(N, alpha, P, target), 9)
    return candidates()[int(np.argmax(shares))]


def families_power(
    N: int, alpha: float, P: int, target: float, positives: float = 0.2
) -> tuple[float, float]:
    """What decides ``families`` of ``closed_evalues`` before any votes: the F-score of either way.

    The planning population is split into a positive class and the rest, alike in their votes. One
    family is the default: its largest regret over the reference settings and shares of .05, .2 and
    .5 is the smaller one, and its metrics hold jointly. Where the class is rare (.05) families per
    class are ahead by up to a hundredth.

    Args:
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        target: Share of confident elements.
        positives: Share of the positive class.

    Returns:
        Certified F-score, averaged over thresholds ``.5, .505, .., .995``, from one family at
        ``alpha`` and from one family per class at ``alpha / 2``.

    >>> one, per_class = families_power(100, 0.001, 465750, 0.9)
    >>> one > per_class
    True
    """
    sizes = [
        planning_histogram(N, max(1, round(P * share)), target)
        for share in (1 - positives, positives)
    ]
    thresholds = np.linspace(0.5, 1.0, 101)[:-1]
    groups = [evalue_groups(own, thresholds, alpha) for own in sizes]
    P_neg, P_pos = (int(own.sum()) for own in sizes)

    def f_score(J_pos: npt.NDArray[np.int64], J_neg: npt.NDArray[np.int64]) -> Any:
        return 2 * (P_pos - J_pos), 2 * P_pos - J_pos + J_neg

    ((J_pos, J_neg),) = worst_figures(groups[0][0], groups[1][1], groups[0][1], alpha, [f_score])
    above, below = f_score(J_pos, J_neg)
    split = [evalue_groups(own, thresholds, alpha / 2) for own in sizes]
    N_neg, N_pos = (closed_counts(*own, alpha / 2) for own in split)
    per_class = 2 * N_pos / (P_pos + N_pos + P_neg - N_neg)
    return float((above / below).mean()), float(per_class.mean())


def minimax_design(
    settings: Sequence[tuple[int, float, int, float]] = REFERENCE_SETTINGS,
) -> tuple[EvalueDesign, float]:
    """The one design for all runs: least regret in the worst of the settings.

    Args:
        settings: ``(N, alpha, P, target)`` each.

    Returns:
        The design, and its largest regret: the share of elements by which the best design of some
        setting certifies more, averaged over thresholds.
    """
    regrets = np.max([power(*setting).max() - power(*setting) for setting in settings], axis=0)
    chosen = int(np.argmin(np.round(regrets, 9)))
    return candidates()[chosen], float(regrets[chosen])
