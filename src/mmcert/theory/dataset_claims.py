"""Classification over a data set: how many of the certified samples may be false ones.

Draws are independent across samples, so with every sample tested at its own level ``a`` the number
of false certificates is stochastically at most ``Bin(S, a)``: of ``M`` certified samples at least
``M - v`` are robust, ``v`` the ``1 - alpha`` quantile (method, section 3.6). Beyond the paper,
whose reading is one ``alpha`` per sample: there ``S * alpha`` certificates may be false on average.
With ``binomial`` or ``margin`` per sample one event per sample decides all its budgets, so the
claim holds jointly over budgets. It does not say which samples; Holm over samples
(:func:`mmcert.theory.multiplicity.holm`, one element per sample) names them.
"""

from __future__ import annotations

from mmcert.errors import ConfigError
from mmcert.theory.bounds import check_alpha, clopper_pearson_lower, upper_tail


def false_claims(S: int, a: float, alpha: float) -> int:
    """The number ``v`` of false certificates that is not exceeded with probability ``1 - alpha``.

    Args:
        S: Samples that were tested (not only the certified ones).
        a: Level of each sample's test, fixed before the votes.
        alpha: Failure probability of the claim over the data set.

    Returns:
        The smallest ``v`` with ``P(Bin(S, a) > v) <= alpha``.

    Raises:
        ConfigError: For levels outside (0, 1/2) or a negative number of samples.

    >>> false_claims(500, 1e-3, 0.001), false_claims(500, 2e-5, 0.001)
    (4, 1)
    """
    check_alpha(a)
    check_alpha(alpha)
    if S < 0:
        raise ConfigError(f"a data set cannot have {S} samples.")
    low, high = -1, S  # P(Bin > S) = 0: S is always enough
    while high - low > 1:
        v = (low + high) // 2
        if upper_tail(v + 1, S, a) <= alpha:
            high = v
        else:
            low = v
    return high


def certified_samples(M: int, S: int, a: float, alpha: float) -> int:
    """At least this many samples are robust: ``max(0, M - v)``, with probability ``1 - alpha``.

    Args:
        M: Samples certified at level ``a`` each.
        S: Samples tested.
        a: Level of each sample's test.
        alpha: Failure probability of the claim over the data set.

    Raises:
        ConfigError: Where ``M`` is not between 0 and ``S``, or a level is out of range.

    >>> certified_samples(200, 500, 1e-3, 0.001)
    196
    """
    if not 0 <= M <= S:
        raise ConfigError(f"{M} certified samples of {S} tested ones make no sense.")
    return max(0, M - false_claims(S, a, alpha))


def sample_level(S: int, v: int, alpha: float) -> float:
    """The largest level ``a`` per sample at which at most ``v`` certificates of ``S`` are false.

    For planning: fix ``v`` and take ``a`` from here, before the votes. ``v = 0`` is close to
    Bonferroni, ``a = 1 - (1 - alpha)^(1/S)``.

    Returns:
        ``a``, rounded down; 1/2 at most.

    Raises:
        ConfigError: Unless ``0 <= v < S``.

    >>> false_claims(500, sample_level(500, 4, 0.001), 0.001)
    4
    """
    check_alpha(alpha)
    if not 0 <= v < S:
        raise ConfigError(f"v = {v} false certificates must lie between 0 and S - 1 = {S - 1}.")
    return min(clopper_pearson_lower(v + 1, S, alpha), 0.5 - 1e-9)
