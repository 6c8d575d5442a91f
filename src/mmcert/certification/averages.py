"""Exact means of many ratios of integers, rounded down, at the speed of integer arrays.

Adding 58 fractions per budget and metric as rationals takes minutes on a grid of thousands. Here
sums are bracketed in fixed point, and rationals serve only where the bracket spans a float.
Letters: ``S`` samples, ``G`` budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mmcert.theory.schemes import round_down

#: Most bits of each of the two limbs of a quotient.
LIMB = 40


@dataclass(frozen=True)
class Ratios:
    """Ratios of integers of every sample at every budget; undefined ones are left out.

    Args:
        numerators: int64 ``(S, G)``, ``0 <= numerator <= denominator``.
        denominators: int64 ``(S, G)``; a ratio with denominator 0 counts as 0.
        defined: bool ``(S,)``, which samples the ratio is defined for.
    """

    numerators: NDArray[np.int64]
    denominators: NDArray[np.int64]
    defined: NDArray[np.bool_]

    def exact(self, g: int) -> Fraction | None:
        """The mean at budget ``g`` as a rational number; None where no sample is defined."""
        values = [
            Fraction(int(self.numerators[s, g]), int(self.denominators[s, g]))
            for s in np.flatnonzero(self.defined)
            if self.denominators[s, g]
        ]
        count = int(self.defined.sum())
        return sum(values, Fraction(0)) / count if count else None

    def brackets(self) -> tuple[list[int], list[int], int, int]:
        """``(low, inexact, count, bits)`` per budget.

        The mean lies in ``[low, low + inexact] / (count * 2**bits)``, and is ``low`` exactly where
        ``inexact``, the number of quotients that were cut off, is 0.
        """
        numerators = self.numerators[self.defined]
        denominators = self.denominators[self.defined]
        limb = min(62 - int(denominators.max(initial=1)).bit_length(), LIMB)
        divisors = np.maximum(denominators, 1)
        whole, rest = np.divmod(np.where(denominators > 0, numerators, 0) << limb, divisors)
        part, cut = np.divmod(rest << limb, divisors)
        high, low = whole.sum(axis=0).tolist(), part.sum(axis=0).tolist()
        inexact = (cut > 0).sum(axis=0).tolist()
        sums = [(a << limb) + b for a, b in zip(high, low, strict=True)]
        return sums, inexact, len(numerators), 2 * limb


def quotient_down(numerator: int, denominator: int) -> float:
    """The largest float that is not above ``numerator / denominator``.

    The same as ``round_down`` of the fraction, which need not be in lowest terms here.

    >>> quotient_down(2, 6) == round_down(Fraction(1, 3))
    True
    """
    nearest = numerator / denominator
    a, b = nearest.as_integer_ratio()
    return nearest if a * denominator <= numerator * b else math.nextafter(nearest, -math.inf)


def mean_ratios(ratios: Ratios) -> list[float | None]:
    """The mean over samples at each budget, the largest float that is not above it.

    >>> ones = np.ones((3, 1), np.int64)
    >>> mean_ratios(Ratios(ones, 3 * ones, ones[:, 0] > 0)) == [round_down(Fraction(1, 3))]
    True
    """
    return mean_over_classes([ratios])


def mean_over_classes(classes: Sequence[Ratios]) -> list[float | None]:
    """The mean over classes of the means over samples, at each budget, rounded down.

    Classes that are defined for no sample are left out.
    """
    present = [ratios for ratios in classes if ratios.defined.any()]
    budgets = classes[0].numerators.shape[1]
    if not present:
        return [None] * budgets
    brackets = [ratios.brackets() for ratios in present]
    # One denominator for all classes: sums of low / (count * 2**bits), divided by their number.
    bits = max(one[3] for one in brackets)
    common = math.lcm(*(one[2] for one in brackets))
    scales = [(common // count) << (bits - own) for _, _, count, own in brackets]
    denominator = (common * len(present)) << bits
    result: list[float | None] = []
    for g in range(budgets):
        low = sum(one[0][g] * scale for one, scale in zip(brackets, scales, strict=True))
        slack = sum(one[1][g] * scale for one, scale in zip(brackets, scales, strict=True))
        value = quotient_down(low, denominator)
        if slack and quotient_down(low + slack, denominator) != value:
            exact = [ratios.exact(g) for ratios in present]
            value = round_down(
                sum((mean for mean in exact if mean is not None), Fraction(0)) / len(exact)
            )
        result.append(value)
    return result
