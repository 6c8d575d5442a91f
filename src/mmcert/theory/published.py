"""The bounds as published, made sound: the yardstick for the other statistics.

MMCert (Wang, Fu, Zou, Jia, CVPR 2024) estimates a lower bound of the label's probability and an
upper bound of every rival's by Clopper-Pearson from the same ``N`` votes. Which share of ``alpha``
each bound gets is read here as ``alpha / C``, simultaneous over the ``C`` labels; with two classes,
as in the published segmentation task, that is the two-sided interval with ``alpha / 2`` on each
side. The choice is valid whichever reading was meant. *Made sound* means: both bounds are exact
(the upper one is the quantile of ``Beta(X_l + 1, N - X_l)``) and rounded against the certificate;
the label is fixed before the votes (the true one, or that of selection draws); ties do not win;
the margin of a budget is the exact rational, rounded up; over many elements Holm stops at its first
failure. It is wasteful: every rival must be rejected, so each may be tested at ``alpha``, and with
two classes one one-sided test at ``alpha`` does.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mmcert.errors import ConfigError
from mmcert.theory.bounds import clopper_pearson_lower, clopper_pearson_upper, upper_tail
from mmcert.theory.difference import runner_up


def published_margin(counts: npt.ArrayLike, y: int, N: int, alpha: float) -> float:
    """The largest margin certified by simultaneous Clopper-Pearson bounds at ``alpha / C``.

    A budget is certified iff its margin is at most this; right for all budgets jointly with
    probability ``1 - alpha``.

    Args:
        counts: Votes per class, integer ``(C,)``.
        y: The label, fixed before these votes.
        N: Draws.
        alpha: Failure probability.

    Returns:
        ``L_y - max_l U_l``, rounded down; -1 where nothing is certified.

    Raises:
        RecordError: For counts or a label that make no sense.

    >>> published_margin([100, 0], 0, 100, 0.001) < 2 * 0.0005 ** 0.01 - 1
    True
    >>> published_margin([50, 50], 0, 100, 0.001)
    -1.0
    """
    X_y, X_l = runner_up(counts, y)
    level = alpha / np.asarray(counts).size
    gap = clopper_pearson_lower(X_y, N, level) - clopper_pearson_upper(X_l, N, level)
    return math.nextafter(gap, -1.0) if gap > 0 else -1.0


def published_pvalue(
    X: npt.ArrayLike, N: int, t: npt.ArrayLike, classes: int
) -> npt.NDArray[np.float64]:
    """The same test as a p-value, for Holm over many elements: ``min(1, C P(Bin(N, t) >= X))``.

    With two classes ``L_y - U_l > m`` is ``L_y > t`` at ``alpha / 2``, so this is exact; with more
    it looks at the votes for the label only, as segmentation is certified.

    Args:
        X: Votes of the label, any shape.
        N: Draws.
        t: Threshold, broadcast against ``X``.
        classes: ``C``, at least 2.

    Returns:
        float64 of the broadcast shape, rounded up.

    >>> float(published_pvalue(10, 10, 0.5, 2)) >= 2 * 0.5**10
    True
    """
    if classes < 2:
        raise ConfigError(f"published bounds need at least 2 classes, not {classes}.")
    tails = np.asarray(upper_tail(X, N, np.asarray(t)), dtype=np.float64)
    return np.asarray(np.minimum(classes * tails, 1.0), dtype=np.float64)
