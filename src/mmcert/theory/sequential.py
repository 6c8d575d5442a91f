"""Sequential voting by test martingales: stop when the votes say enough, not at a fixed ``N``.

Under the null the process ``E`` is a non-negative supermartingale in the filtration of all votes,
so its mean is at most 1 at *any* stopping time (optional stopping), and ``P(E ever >= 1/alpha) <=
alpha`` (Ville 1939; method, section 3.8; betting: Waudby-Smith, Ramdas, JRSS B 2023). Averages stay
e-values at one common time, and with each part frozen at the stopping time of its own sample;
averages of running maxima do not, so nothing here keeps a maximum. The e-values of one time go into
:func:`mmcert.theory.evalues.closed_count` as those of fixed ``N`` do; a single label is certified
where ``E >= 1/alpha``.

Letters: ``X`` votes for the label among the ``N`` draws of a *prefix* of the planned draws, ``t``
threshold, ``m`` margin.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import special

from mmcert.errors import UnsoundError

FloatArray = npt.NDArray[np.float64]

#: e-values are capped here: a smaller e-value is an e-value, and sums stay finite.
LARGEST_EVALUE = 1e200
#: Terms of the geometric part, ``1 - q = (1 - t) 2^-j``, weighted by ``1/(j (j + 1))``.
GEOMETRIC_TERMS = 40
#: Bets of the margin martingale as fractions of the largest one that cannot lose more than all.
BETS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)


def _rounded_down(log_e: FloatArray, size: FloatArray) -> FloatArray:
    """``log_e`` less what rounding of terms of that ``size`` can add, and the cap."""
    return np.minimum(log_e - 1e-9 - 1e-14 * size, np.log(LARGEST_EVALUE))


def _log_uniform_part(X: FloatArray, others: FloatArray, t: FloatArray) -> FloatArray:
    """``log of 1/(1-t) int_t^1 (q/t)^X ((1-q)/(1-t))^others dq``.

    That is ``B(X+1, others+1) I_{1-t}(others+1, X+1) / (1-t) / (t^X (1-t)^others)``. Where the
    incomplete beta function underflows (few votes for the label), its series
    ``t / (others+1) * sum_i prod_{j<i} (1-t) (N+2+j) / (others+2+j)``, cut off: a lower bound.
    """
    log_t, log_rest = np.log(t), np.log1p(-t)
    inverse = special.betainc(others + 1, X + 1, 1 - t)
    with np.errstate(divide="ignore"):
        log_integral = special.betaln(X + 1, others + 1) + np.log(inverse)
    log_part = np.asarray(log_integral - X * log_t - (others + 1) * log_rest)
    small = inverse < 1e-290
    if small.any():
        votes, rest, rate = X[small], others[small], (1 - t[small])[:, None]
        j = np.arange(100)
        factors = rate * (votes + rest + 2)[:, None] + rate * j
        terms = np.cumprod(factors / ((rest + 2)[:, None] + j), axis=1)
        series = 1 + terms.sum(axis=1)
        log_part[small] = log_t[small] - np.log(rest + 1) + np.log(series)
    return log_part


def log_evalue(X: npt.ArrayLike, N: npt.ArrayLike, t: npt.ArrayLike) -> FloatArray:
    """``log E`` against ``H: p_y <= t`` after ``N`` draws with ``X`` votes for the label.

    ``E(X) = sum_q w_q (q/t)^X ((1-q)/(1-t))^(N-X)`` over ``q`` in ``(t, 1]``: weight 1/3 on
    ``q = 1`` (unanimous votes), 1/3 spread over ``1 - q = (1-t) 2^-j``, 1/3 uniform on ``(t, 1)``
    (an incomplete beta function). The weights are fixed here, once, before any votes.

    Args:
        X: Votes, integer, any shape.
        N: Draws, broadcast against ``X``.
        t: Threshold; at 1 or more the e-value is 0.

    Returns:
        float64 of the broadcast shape, rounded down and capped; ``-inf`` is an e-value of 0.

    >>> float(np.exp(log_evalue(0, 0, 0.7))) <= 1.0
    True
    >>> bool(log_evalue(100, 100, 0.7) > np.log(1000) > log_evalue(70, 100, 0.7))
    True
    """
    votes, draws, thresholds = np.broadcast_arrays(
        np.asarray(X, dtype=np.float64),
        np.asarray(N, dtype=np.float64),
        np.asarray(t, dtype=np.float64),
    )
    if (votes < 0).any() or (votes > draws).any():
        raise ValueError("votes lie between 0 and the number of draws")
    open_ = (thresholds > 0) & (thresholds < 1)
    inside = np.where(open_, thresholds, 0.5)
    others = draws - votes
    log_t, log_rest = np.log(inside), np.log1p(-inside)
    parts = [np.where(others == 0, -votes * log_t, -np.inf) - np.log(3)]
    for j in range(1, GEOMETRIC_TERMS + 1):
        log_q = np.log1p(-(1 - inside) * 0.5**j)
        weight = 1 / (3 * j * (j + 1))
        parts.append(votes * (log_q - log_t) - others * j * np.log(2) + np.log(weight))
    parts.append(_log_uniform_part(votes, others, inside) - np.log(3))
    total = special.logsumexp(np.stack(parts), axis=0)
    size = votes * np.abs(log_t) + others * (np.abs(log_rest) + 1) + draws
    return np.asarray(np.where(open_, _rounded_down(total, size), -np.inf))


def sequential_table(N: int, t: float) -> FloatArray:
    """The e-value after ``N`` draws for every number of votes, for histograms of many elements.

    Returns:
        float64 ``(N + 1,)``, index = votes. Non-decreasing.
    """
    return np.exp(log_evalue(np.arange(N + 1), N, t))


def log_margin_evalue(X_y: npt.ArrayLike, X_l: npt.ArrayLike, N: int, m: float) -> FloatArray:
    """``log E`` against ``H: p_y - p_l <= m`` for the rival with the most votes.

    ``(1 + lam(1-m))^X_y (1 - lam m)^(N - X_y - X_l) (1 - lam(1+m))^X_l`` with bets ``lam`` in
    ``(0, 1/(1+m)]``, averaged with equal weights over ``BETS`` fixed in advance. Each draw's factor
    has mean ``1 + lam (p_y - p_l - m) <= 1``. The rival with the most votes gives the minimum over
    rivals, which is what rejecting every rival needs.

    Args:
        X_y: Votes of the label, any shape.
        X_l: Votes of the runner-up, of the same shape.
        N: Draws.
        m: Margin; at 1 or more the e-value is 0.

    Returns:
        float64 of the shape of ``X_y``, rounded down and capped.
    """
    own, rival = np.broadcast_arrays(
        np.asarray(X_y, dtype=np.float64), np.asarray(X_l, dtype=np.float64)
    )
    if (own < 0).any() or (rival < 0).any() or (own + rival > N).any():
        raise ValueError("votes of two classes lie between 0 and the number of draws together")
    if not 0 <= m < 1:
        return np.full(own.shape, -np.inf)
    rest = N - own - rival
    parts = []
    for bet in BETS:
        lam = bet / (1 + m)
        lost = np.log1p(-bet) if bet < 1 else -np.inf
        rival_part = np.where(rival > 0, rival * lost if bet < 1 else -np.inf, 0.0)
        parts.append(own * np.log1p(lam * (1 - m)) + rest * np.log1p(-lam * m) + rival_part)
    total = special.logsumexp(np.stack(parts), axis=0) - np.log(len(BETS))
    size = own + rest * np.abs(np.log1p(-m / (1 + m))) + rival * 5.0 + N
    return np.asarray(_rounded_down(total, size), dtype=np.float64)


def joint_over_budgets(log_e: npt.ArrayLike, thresholds: npt.ArrayLike) -> FloatArray:
    """The running minimum over growing thresholds: one label's claims then hold jointly.

    The true nulls are the thresholds from ``p_y`` up; the smallest of them on the grid bounds all
    the others, so one supermartingale decides whether any claim is false.

    Args:
        log_e: ``log E`` at each threshold, ``(T,)``, of one label at one time.
        thresholds: ``t`` or ``m`` per budget, ``(T,)``, the grid fixed in advance.

    Returns:
        float64 ``(T,)`` in the order given.
    """
    values = np.asarray(log_e, dtype=np.float64)
    order = np.argsort(np.asarray(thresholds), kind="stable")
    joint = np.empty_like(values)
    joint[order] = np.minimum.accumulate(values[order])
    return joint


def finished_prefix(blocks: Iterable[int]) -> int:
    """How many blocks may be counted: those before the first one that is missing.

    Which block finishes first may depend on its votes (their time, their machine); counting the
    early ones out of order would be a choice made by the votes. They wait.

    Args:
        blocks: Indices of finished blocks, from 0, in any order.

    >>> finished_prefix([0, 1, 3, 4]), finished_prefix([2, 0, 1]), finished_prefix([1])
    (2, 3, 0)
    """
    done = set(blocks)
    if any(block < 0 for block in done):
        raise ValueError("block indices start at 0")
    prefix = 0
    while prefix in done:
        prefix += 1
    return prefix


def best_case(sizes: npt.ArrayLike, draws_left: int) -> npt.NDArray[np.int64]:
    """The histogram after ``draws_left`` more draws that all vote for the label.

    The e-value of every element grows with each such draw, so a target that this histogram misses
    is out of reach and voting may stop (stopping without a claim is always allowed).

    Args:
        sizes: Elements with ``X`` of ``N`` votes, ``(N + 1,)``.
        draws_left: Draws still planned.

    Returns:
        int64 ``(N + draws_left + 1,)``.

    >>> best_case([0, 2, 5], 2).tolist()
    [0, 0, 0, 2, 5]
    """
    return np.concatenate((np.zeros(draws_left, dtype=np.int64), np.asarray(sizes, dtype=np.int64)))


def require_fixed(stopping: str, statistics: str) -> None:
    """Refuse a statistic of a fixed ``N`` on votes whose number was chosen by the votes.

    Args:
        stopping: ``fixed`` or ``sequential``, as recorded with the votes.
        statistics: Its name, for the message.

    Raises:
        UnsoundError: Where ``stopping`` is not ``fixed``.
    """
    if stopping != "fixed":
        raise UnsoundError(
            f"statistics '{statistics}' need a number of draws that was fixed in advance; these "
            f"votes are '{stopping}': use statistics for sequential votes, or vote again with a "
            f"fixed number of draws."
        )
