"""Every metric of closed testing from one family: its smallest value over the sets of true nulls.

A set of nulls is possible where it is empty or its ``alpha e - 1`` sum to less than 0. A metric of
one class depends on how many nulls are in that class and how many outside it, and the sets that
leave least take the smallest e-values on each side. All sums are integers: excesses are rounded
down to a multiple of ``10**-30``, so that more sets are thought possible, never fewer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from mmcert.certification.verifier.evalues import SHRUNK
from mmcert.certification.verifier.figures import CLASS_METRICS, Ratio, class_ratio, reported
from mmcert.certification.verifier.tails import ONE, rounding

Groups = Sequence[tuple[Decimal, int]]
#: Certified elements of a class, and certified elements outside it.
Pair = tuple[int, int]
_UNIT = Decimal("1e-30")


@dataclass(frozen=True)
class Worst:
    """Certified numbers in the worst case of each figure.

    Args:
        cases: ``(metric, class) -> pair``, as a hashable table.
    """

    cases: tuple[tuple[tuple[str, int], Pair], ...]

    def pair(self, metric: str, label: int) -> Pair:
        """The pair of one metric of one class."""
        return dict(self.cases)[metric, label]


def worst_cases(by_class: Sequence[Groups], alpha: Decimal, sizes: Sequence[int]) -> Worst:
    """The worst case of every reported figure.

    Args:
        by_class: e-value and number of elements of each group, per class.
        alpha: Not above the level of the family.
        sizes: Elements of each class that the metrics are about.
    """
    cases = []
    for label in reported(len(by_class)):
        others = [group for c, own in enumerate(by_class) if c != label for group in own]
        stairs = Stairs(by_class[label], others, alpha)
        for metric in CLASS_METRICS:
            cases.append(((metric, label), _smallest(metric, label, stairs, sizes)))
    return Worst(tuple(cases))


class Stairs:
    """For every number of nulls inside a class, the largest possible number outside it.

    Args:
        own: Groups of the class.
        others: Groups outside it.
        alpha: Not above the level of the family.
    """

    def __init__(self, own: Groups, others: Groups, alpha: Decimal) -> None:
        inside, outside = (_excesses(groups, alpha) for groups in (own, others))
        self.inside, self.outside = (sum(size for _, size in g) for g in (inside, outside))
        self._credit = -sum(x * size for x, size in (*inside, *outside) if x < 0)
        self._free = [
            sum(size for x, size in groups if x <= 0) if self._credit else 0
            for groups in (inside, outside)
        ]
        self._own, self._others = (
            _Costs([(x, size) for x, size in groups if x > 0]) for groups in (inside, outside)
        )
        self.steps = self._own.affordable(self._credit)

    def certified(self, step: int) -> Pair:
        """What is certified where ``step`` nulls of the class have to be paid for."""
        left = self._credit - self._own.of(step)
        return (
            self.inside - self._free[0] - step,
            self.outside - self._free[1] - self._others.affordable(left),
        )


def _excesses(groups: Groups, alpha: Decimal) -> list[tuple[int, int]]:
    """``alpha e - 1`` in units, rounded down, smallest first."""
    found = []
    with rounding(up=False):
        for e, size in groups:
            units = (alpha * e * SHRUNK - ONE) / _UNIT
            found.append((int(units.to_integral_value(rounding=ROUND_FLOOR)), size))
    return sorted((x, size) for x, size in found if size)


class _Costs:
    """Sums of positive costs, cheapest first."""

    def __init__(self, groups: Sequence[tuple[int, int]]) -> None:
        self._cost = [x for x, _ in groups]
        self._counts, self._sums = [0], [0]
        for x, size in groups:
            self._counts.append(self._counts[-1] + size)
            self._sums.append(self._sums[-1] + x * size)

    def of(self, count: int) -> int:
        """What the ``count`` cheapest cost."""
        at = max(bisect_left(self._counts, count) - 1, 0)
        rest = count - self._counts[at]
        return self._sums[at] + (self._cost[at] * rest if rest else 0)

    def affordable(self, credit: int) -> int:
        """The most that cost less than ``credit`` together."""
        if credit <= 0:
            return 0
        at = bisect_left(self._sums, credit) - 1
        if at == len(self._cost):
            return self._counts[-1]
        return self._counts[at] + (credit - self._sums[at] - 1) // self._cost[at]


def _smallest(metric: str, label: int, stairs: Stairs, sizes: Sequence[int]) -> Pair:
    """The pair at which a metric is smallest, by branch and bound over the steps.

    Over steps ``a`` to ``b`` a metric is at least its value at the inside of ``b`` with the outside
    of ``a``.
    """

    def less(one: Ratio | None, other: Ratio | None) -> bool:
        return one is not None and other is not None and one[0] * other[1] < other[0] * one[1]

    known: dict[int, Pair] = {}

    def pair(step: int) -> Pair:
        if step not in known:
            known[step] = stairs.certified(step)
        return known[step]

    def value(own: int, others: int) -> Ratio | None:
        return class_ratio(metric, label, (own, others), sizes)

    best = min((pair(0), pair(stairs.steps)), key=lambda p: _order(value(*p)))
    open_ranges = [(0, stairs.steps)]
    while open_ranges:
        a, b = open_ranges.pop()
        if b - a < 2 or not less(value(pair(b)[0], pair(a)[1]), value(*best)):
            continue
        middle = (a + b) // 2
        if less(value(*pair(middle)), value(*best)):
            best = pair(middle)
        open_ranges += [(a, middle), (middle, b)]
    return best


def _order(ratio: Ratio | None) -> float:
    """Only for a good start of the search."""
    return 0.0 if ratio is None else ratio[0] / ratio[1]
