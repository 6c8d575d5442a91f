"""Certificates with probability 1: every sub-sample is counted, nothing is estimated.

Where all ``S`` sub-samples can be enumerated, ``p_l = X_l / S`` exactly and the condition of
MMCert's Theorem 1 (method, section 2) becomes one of integers:
``X_y - X_l > (S - O) + (S' - O)`` for every rival ``l``. It holds with certainty for a
deterministic base model, and it is tight for a black-box one. Exhaustive counts never go into a
sampling statistic and sampled counts never come here: a repeated or a missing sub-sample would
void the claim.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mmcert.errors import RecordError
from mmcert.theory.attacks import Attack
from mmcert.theory.schemes import Scheme


def sub_samples(scheme: Scheme) -> int:
    """``S``, the number of sub-samples that are possible: a product of exact binomials.

    >>> from mmcert.theory.schemes import IndependentSubsampling, PooledSubsampling
    >>> n, k = {"image": 5, "audio": 4}, {"image": 2, "audio": 1}
    >>> sub_samples(IndependentSubsampling.from_counts(n, k))
    40
    >>> sub_samples(PooledSubsampling.from_counts(n, k))
    84
    """
    return math.prod(math.comb(pool.n, pool.k) for pool in scheme.pools())


def votes_needed(scheme: Scheme, attack: Attack) -> int:
    """``(S - O) + (S' - O)``, at most ``S``: the lead over every rival must be *larger*.

    Args:
        scheme: The scheme whose sub-samples were all counted.
        attack: Budget and kinds.

    Returns:
        An integer; ``S`` where no votes can certify (no lead exceeds ``S``).
    """
    S = sub_samples(scheme)
    ratios = scheme.ratios(attack)
    if ratios is None:
        return S
    after, common = ratios
    needed = S + S * after - 2 * S * common
    if needed.denominator != 1:  # pragma: no cover - S'/S and O/S are ratios of integers over S
        raise ArithmeticError("the number of sub-samples is not an integer")
    return min(int(needed), S)


def lead(counts: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """``X_y - max over rivals of X_l``, per element; negative where another label leads.

    Args:
        counts: Votes per class, integer ``(C, ...)``, ``C >= 2``.
        y: Label of each element, integer ``(...)``.

    Returns:
        int64 ``(...)``.

    >>> int(lead([7, 2, 3], 0)), int(lead([7, 2, 3], 2))
    (4, -4)
    """
    votes = np.asarray(counts).astype(np.int64)
    labels = np.asarray(y, dtype=np.int64)
    if votes.ndim != labels.ndim + 1 or len(votes) < 2:
        raise RecordError(
            f"votes of shape (C, ...) with C >= 2 and labels of shape (...) are needed, "
            f"not {votes.shape} and {labels.shape}."
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < len(votes)):
        raise RecordError(f"labels must lie in 0..{len(votes) - 1}, found {labels.max()}.")
    own = np.take_along_axis(votes, labels[None], axis=0)[0]
    rivals = votes.copy()
    np.put_along_axis(rivals, labels[None], -1, axis=0)
    return np.asarray(own - rivals.max(axis=0), dtype=np.int64)


def exhaustively_certified(
    counts: npt.ArrayLike, y: npt.ArrayLike, scheme: Scheme, attack: Attack
) -> npt.NDArray[np.bool_]:
    """Whether ``y`` wins under every attack within the budget, with certainty, per element.

    Args:
        counts: Labels of *all* ``S`` sub-samples counted, integer ``(C, ...)``.
        y: Label of each element, integer ``(...)``.
        scheme: The scheme whose sub-samples were enumerated.
        attack: Budget and kinds.

    Returns:
        bool ``(...)``. Joint over all budgets: there is nothing random.

    Raises:
        RecordError: Where the counts of an element do not sum to ``S``.

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> scheme = IndependentSubsampling.from_counts({"audio": 10}, {"audio": 1})
    >>> [bool(exhaustively_certified([9, 1], 0, scheme, Attack({"audio": r}))) for r in (0, 3, 4)]
    [True, True, False]
    """
    S = sub_samples(scheme)
    votes = np.asarray(counts)
    totals = votes.astype(np.int64).sum(axis=0)
    if (totals != S).any():
        wrong = int(np.asarray(totals).ravel()[np.argmax(np.asarray(totals).ravel() != S)])
        raise RecordError(
            f"exhaustive votes must count all {S} sub-samples once, found {wrong}; sampled votes "
            f"belong to the other statistics."
        )
    return np.asarray(lead(votes, y) > votes_needed(scheme, attack), dtype=np.bool_)
