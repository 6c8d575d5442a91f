"""Planning: what can be certified at all, before any draw is made.

The best that a base model can do is to vote unanimously. Whatever unanimous votes cannot certify,
no run with these ``n, k, N, alpha`` and statistics will. Symbols as in the method: ``N`` draws,
``P`` elements in a family, ``m`` the margin of a budget. Source: method, section 3.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.bounds import check_alpha, check_counts, clopper_pearson_lower, upper_tail
from mmcert.theory.difference import BERGER_BOOS_DRAWS, largest_margin
from mmcert.theory.evalues import LEVELS, WEIGHTS, calibrate, closed_count, harmonic_alpha
from mmcert.theory.schemes import Scheme

#: Statistics whose reach with unanimous votes is known here.
STATISTICS = ("binomial", "margin", "bonferroni", "holm", "closed_evalues")
#: The planner does not look for a number of draws above this.
MOST_DRAWS = 10**8


def unanimous_margin(
    N: int, alpha: float, P: int, statistics: str, options: Mapping[str, Any] | None = None
) -> Fraction:
    """The largest margin that unanimous votes certify; negative where not even no attack is.

    ``holm`` and ``bonferroni`` coincide here: with all ``P`` elements unanimous Holm's first step
    decides for all of them. ``closed_evalues`` is asked for all ``P`` elements.

    Args:
        N: Draws per element.
        alpha: Failure probability of the family (the share of one family where it is split).
        P: Elements in the family; ``binomial`` and ``margin`` do not depend on it.
        statistics: One of ``STATISTICS``.
        options: ``method`` of ``margin``; ``levels``, ``weights`` and ``over_budgets`` of
            ``closed_evalues``.

    Returns:
        ``m`` such that a budget is within reach iff its margin is at most ``m``.

    Raises:
        ConfigError: For other statistics, or an ``N``, ``alpha`` or ``P`` that make no sense.

    >>> unanimous_margin(10, 0.05, 1, "binomial") < unanimous_margin(10, 0.05, 1, "margin")
    False
    """
    given = dict(options or {})
    method = str(given.get("method", "auto"))
    levels = tuple(float(level) for level in given.get("levels", LEVELS))
    weights = tuple(float(weight) for weight in given.get("weights", WEIGHTS))
    if statistics == "closed_evalues" and given.get("over_budgets") == "joint":
        alpha = harmonic_alpha(alpha, P)
    return _unanimous_margin(N, alpha, P, statistics, method, levels, weights)


@lru_cache(maxsize=4096)
def _unanimous_margin(
    N: int,
    alpha: float,
    P: int,
    statistics: str,
    method: str,
    levels: tuple[float, ...],
    weights: tuple[float, ...],
) -> Fraction:
    check_alpha(alpha)
    check_counts(0, N)
    if P < 1:
        raise ConfigError(f"a family needs at least 1 element, not {P}.")
    if statistics == "margin":
        return Fraction(largest_margin([N, 0], 0, N, alpha, method))  # type: ignore[arg-type]
    if statistics == "binomial":
        threshold = clopper_pearson_lower(N, N, alpha)
    elif statistics in ("bonferroni", "holm"):
        threshold = clopper_pearson_lower(N, N, alpha / P)
    elif statistics == "closed_evalues":
        threshold = _evalue_threshold(N, alpha, P, levels, weights)
    else:
        raise ConfigError(
            f"the planner knows the statistics {', '.join(STATISTICS)}, not {statistics!r}."
        )
    return 2 * Fraction(threshold) - 1


def _evalue_threshold(
    N: int, alpha: float, P: int, levels: tuple[float, ...], weights: tuple[float, ...]
) -> float:
    """The largest ``t`` at which the e-value of unanimous votes exceeds ``1/alpha``."""
    low, high = 0.0, 1.0
    while low < (middle := low + (high - low) / 2) < high:
        p_value = upper_tail(N, N, middle)
        evalue = float(calibrate(p_value, p_value, alpha, levels, weights))
        if closed_count([evalue], [P], alpha) == P:
            low = middle
        else:
            high = middle
    return low


def certifiable(
    scheme: Scheme,
    budgets: Sequence[Mapping[str, int]],
    kinds: Mapping[str, str] | str,
    *,
    N: int,
    alpha: float,
    P: int,
    statistics: str,
    options: Mapping[str, Any] | None = None,
) -> list[bool]:
    """Which budgets unanimous votes certify, in the order of ``budgets``.

    Args:
        scheme: The scheme of one sample.
        budgets: ``r_i`` per modality.
        kinds: Threat kind per modality, or one for all.
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        statistics: One of ``STATISTICS``.
        options: Options of the statistics.
    """
    reach = unanimous_margin(N, alpha, P, statistics, options)
    return [scheme.margin(Attack(budget, kinds)) <= reach for budget in budgets]


def largest_budget(
    scheme: Scheme,
    direction: Mapping[str, int],
    N: int,
    alpha: float,
    P: int,
    statistics: str,
    kinds: Mapping[str, str] | str = "modification",
    options: Mapping[str, Any] | None = None,
) -> int | None:
    """The largest ``c`` such that unanimous votes certify the budget ``c * direction``.

    Args:
        scheme: The scheme of one sample.
        direction: Ratio of the budgets in whole numbers, e.g. ``{"rgb": 1, "depth": 2}``.
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        statistics: One of ``STATISTICS``.
        kinds: Threat kind per modality, or one for all.
        options: Options of the statistics.

    Returns:
        ``c``; None where not even ``c = 0`` (no attack) can be certified. Where the attack never
        costs anything more (unused modalities), the ``c`` that attacks every element.

    Raises:
        ConfigError: For a direction without a positive entry, or an unknown modality.

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> kitti = IndependentSubsampling.from_counts(
    ...     {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996})
    >>> largest_budget(kitti, {"rgb": 1, "depth": 2}, 100, 0.001, 465750, "holm")
    16
    """
    reach = unanimous_margin(N, alpha, P, statistics, options)
    if reach < 0:
        return None

    def within(c: int) -> bool:
        budget = {name: c * share for name, share in direction.items()}
        return scheme.margin(Attack(budget, kinds)) <= reach

    return largest_step(within, last_step(sum(m.n for m in scheme.modalities), direction))


def largest_step(within: Callable[[int], bool], end: int) -> int:
    """The largest ``c`` in ``0..end`` that is within reach, by doubling and halving.

    Args:
        within: Whether ``c`` is within reach: true at 0 and never again true once false. It is
            asked about ``c = 1``, about the result, and about few more.
        end: The largest ``c`` of interest, at least 1.

    >>> largest_step(lambda c: c <= 37, 1000), largest_step(lambda c: True, 1000)
    (37, 1000)
    """
    low, high = 0, 1
    while within(high):
        if high == end:
            return end
        low, high = high, min(2 * high, end)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def last_step(elements: int, direction: Mapping[str, int]) -> int:
    """The ``c`` at which each attacked modality could lose or gain all ``elements``.

    Beyond it a margin either is 1 or does not grow any more.

    Raises:
        ConfigError: For a direction without a positive entry.
    """
    shares = [share for share in direction.values() if share > 0]
    if not shares or min(direction.values()) < 0:
        raise ConfigError(
            f"a ratio of budgets needs whole numbers of at least 0, one of them positive, "
            f"not {dict(direction)}."
        )
    return -(-elements // min(shares))


def draws_needed(
    scheme: Scheme,
    attack: Attack,
    alpha: float,
    P: int,
    statistics: str,
    options: Mapping[str, Any] | None = None,
) -> int | None:
    """The fewest draws with which unanimous votes certify ``attack``.

    Args:
        scheme: The scheme of one sample.
        attack: The budget that is wanted.
        alpha: Failure probability of the family.
        P: Elements in the family.
        statistics: One of ``STATISTICS``.
        options: Options of the statistics.

    Returns:
        ``N``; None where no number of draws does (margin 1), or none up to 10^8.

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> digits = IndependentSubsampling.from_counts({"image": 784}, {"image": 60})
    >>> draws_needed(digits, Attack({"image": 0}), 0.001, 1, "binomial")
    10
    """
    margin = scheme.margin(attack)
    if margin >= 1:
        return None

    def enough(N: int) -> bool:
        return margin <= unanimous_margin(N, alpha, P, statistics, options)

    high = 1
    while not enough(high):
        # The sharper margin test ends at BERGER_BOOS_DRAWS: it may reach what a few more draws
        # with two bounds do not.
        high = BERGER_BOOS_DRAWS if high < BERGER_BOOS_DRAWS < 2 * high else 2 * high
        if high > MOST_DRAWS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def warnings_for(
    scheme: Scheme,
    budgets: Sequence[Mapping[str, int]],
    kinds: Mapping[str, str] | str,
    *,
    N: int,
    alpha: float,
    P: int,
    statistics: Mapping[str, Mapping[str, Any] | None],
) -> list[str]:
    """What a run cannot certify even with unanimous votes: one sentence per statistics.

    Args:
        scheme: The scheme of one sample.
        budgets: The budgets that are asked for.
        kinds: Threat kind per modality, or one for all.
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        statistics: Name -> options, as in the configuration; others than ``STATISTICS`` have no
            fixed reach and are passed over.

    Returns:
        Sentences for the terminal; empty where every budget is within reach.
    """
    margins = [scheme.margin(Attack(budget, kinds)) for budget in budgets]
    sentences = []
    for name, options in statistics.items():
        if name not in STATISTICS:
            continue
        reach = unanimous_margin(N, alpha, P, name, options)
        lost = sorted((margin, index) for index, margin in enumerate(margins) if margin > reach)
        if not lost:
            continue
        nearest = budgets[lost[0][1]]
        needed = draws_needed(scheme, Attack(nearest, kinds), alpha, P, name, options)
        advice = (
            f"the nearest, {_shown(nearest)}, needs at least {needed} draws"
            if needed is not None
            else f"the nearest, {_shown(nearest)}, is out of reach of any number of draws: "
            f"retain fewer elements"
        )
        sentences.append(
            f"{name}: {len(lost)} of {len(budgets)} budgets cannot be certified even by unanimous "
            f"votes (N = {N}, alpha = {alpha:g}, {P} elements in the family); {advice}."
        )
    return sentences


def _shown(budget: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {r}" for name, r in budget.items())
