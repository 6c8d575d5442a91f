"""Which elements are certified, under the options that name them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from mmcert.certification.verifier.margins import (
    berger_boos_reach,
    gap_of_bounds,
    two_tails_pvalue,
    uses_berger_boos,
)
from mmcert.certification.verifier.rule import Rule
from mmcert.certification.verifier.settling import level_of_tests, settled
from mmcert.certification.verifier.tails import ONE, decimal_of, rounding, upper_tails
from mmcert.certification.verifier.tally import Pair, View


@dataclass(frozen=True)
class Named:
    """The certified elements of one sample: at each budget a prefix of its pairs.

    Args:
        pairs: The pairs of votes of the family, best first.
        cuts: How many of them are certified, per budget.
    """

    pairs: tuple[Pair, ...]
    cuts: tuple[int, ...]

    def counted(self, one: View) -> list[tuple[int, ...]]:
        """Certified elements that count, by class, per budget."""
        sums = [(0,) * one.classes]
        for pair in self.pairs:
            sums.append(
                tuple(
                    before + own.get(pair, 0)
                    for before, own in zip(sums[-1], one.counted, strict=True)
                )
            )
        return [sums[cut] for cut in self.cuts]

    def members(self, one: View, budget: int) -> int:
        """Certified elements of the family, whether they count or not."""
        return sum(one.family[pair] for pair in self.pairs[: self.cuts[budget]])


def named(rule: Rule, views: Sequence[View], alpha: Fraction) -> list[Named]:
    """Decide every element of every sample at every budget.

    Args:
        rule: A rule that names elements.
        views: The samples.
        alpha: Level of a family (of each element where there is none).
    """
    if rule.name == "holm" and rule.dataset:
        return _holm_of_all(rule, views, level_of_tests(rule, views, alpha))
    total = sum(one.size for one in views)
    result = []
    for one in views:
        P, C = max(total if rule.dataset else one.size, 1), one.classes
        if rule.name == "exhaustive":
            result.append(_by_lead(one))
        elif rule.stepwise:
            level = level_of_tests(rule, [one], alpha)
            sure = settled(rule, one, P, level)
            # the published p-values are C p
            result.append(_holm_of_one(one, level / (1 if rule.name == "holm" else C), sure))
        else:
            level = alpha / (P if rule.name == "bonferroni" else 1)
            by_margin = rule.test == "margin"
            result.append(_by_margin(rule, one, level) if by_margin else _by_level(one, level))
    return result


def most_votes_first(one: View) -> tuple[Pair, ...]:
    """The pairs of votes of a sample by the votes for the label, most first."""
    return tuple(sorted(one.family, key=lambda pair: -pair[0]))


def _by_level(one: View, level: Fraction) -> Named:
    """Every element at one level; ``level/2`` where the votes chose the label (any ``C``).

    Of the wrong labels at most two can matter jointly over all budgets with ``t >= 1/2``: one with
    ``p > 1/2``, or the largest of the others.
    """
    pairs = most_votes_first(one)
    at = decimal_of(level if one.fixed else level / 2, up=False)
    cuts = []
    for limit in one.limits:
        tails = upper_tails(one.draws, limit.t)
        certain = limit.t < 1 and (one.fixed or limit.t >= Fraction(1, 2))
        cuts.append(bisect_right([tails[votes] for votes, _ in pairs], at) if certain else 0)
    return Named(pairs, tuple(cuts))


def _holm_of_one(one: View, alpha: Fraction, sure: frozenset[Pair]) -> Named:
    """Holm: the longest prefix with ``p_(j) <= alpha/(P-j+1)``; unsettled labels have ``p = 1``."""
    pairs = most_votes_first(one)
    level = decimal_of(alpha, up=False)
    cuts = []
    for limit in one.limits:
        p = upper_tails(one.draws, limit.t)
        left, cut = one.size, 0
        with rounding(up=True):
            for pair in pairs:
                if pair not in sure or p[pair[0]] * left > level:
                    break
                left -= one.family[pair]
                cut += 1
        cuts.append(cut)
    return Named(pairs, tuple(cuts))


def _holm_of_all(rule: Rule, views: Sequence[View], alpha: Fraction) -> list[Named]:
    """Holm over the elements of all samples, each with its own draws and thresholds."""
    level = decimal_of(alpha, up=False)
    margin = rule.test == "margin"
    orders = [most_votes_first(one) for one in views]
    # Samples with the same draws and limits are alike: one p-value for equal votes.
    alike: dict[tuple[object, ...], int] = {}
    kinds = [
        alike.setdefault((one.draws, one.fixed, one.classes, one.limits), len(alike))
        for one in views
    ]
    examples = dict(zip(kinds, views, strict=True))
    total = sum(one.size for one in views)
    sizes: dict[tuple[int, Pair], int] = {}
    for kind, one in zip(kinds, views, strict=True):
        for pair in settled(rule, one, total, alpha):  # the others have p = 1
            key = (kind, pair if margin else (pair[0], 0))
            sizes[key] = sizes.get(key, 0) + one.family[pair]
    cuts: list[list[int]] = [[] for _ in views]
    for g in range(len(views[0].limits)):
        left, certified = total, set()
        ranked = sorted((_pvalue(examples[key[0]], g, key[1], margin), key) for key in sizes)
        with rounding(up=True):
            for p, key in ranked:
                if p >= 1 or p * left > level:
                    break
                left -= sizes[key]
                certified.add(key)
        for kind, order, own in zip(kinds, orders, cuts, strict=True):
            own.append(sum((kind, p if margin else (p[0], 0)) in certified for p in order))
    return [Named(order, tuple(own)) for order, own in zip(orders, cuts, strict=True)]


def _pvalue(one: View, g: int, pair: Pair, margin: bool) -> Decimal:
    if not margin:
        return upper_tails(one.draws, one.limits[g].t)[pair[0]]
    return min(two_tails_pvalue(*pair, one.draws, one.limits[g].m), ONE)


def _by_margin(rule: Rule, one: View, level: Fraction) -> Named:
    """Every element at one level, by the largest margin that its votes reject."""
    if rule.name == "published":
        # C limits hold at once for a label that is given, 2 C for any that is chosen
        each = level / (one.classes if one.fixed else 2 * one.classes)
        return _by_bound(one, lambda votes, rival: gap_of_bounds(votes, rival, one.draws, each))
    own = level if one.fixed else level / one.classes
    if rule.task == "classification" and uses_berger_boos(rule.method, one.draws):
        margins = tuple(sorted({limit.m for limit in one.limits}))
        return _by_bound(
            one, lambda votes, rival: berger_boos_reach(votes, rival, one.draws, own, margins)
        )
    return _by_bound(one, lambda votes, rival: gap_of_bounds(votes, rival, one.draws, own / 2))


def _by_bound(one: View, bound: Callable[[int, int], Fraction]) -> Named:
    bounds = {pair: bound(*pair) for pair in one.family}
    pairs = tuple(sorted(bounds, key=lambda pair: -bounds[pair]))
    falling = [-bounds[pair] for pair in pairs]
    cuts = [bisect_right(falling, -limit.m) if limit.m < 1 else 0 for limit in one.limits]
    return Named(pairs, tuple(cuts))


def _by_lead(one: View) -> Named:
    """All sub-samples were counted: ``X_y - X_l > m S``, in whole numbers."""
    pairs = tuple(sorted(one.family, key=lambda pair: pair[1] - pair[0]))
    falling = [rival - votes for votes, rival in pairs]
    cuts = [bisect_left(falling, -limit.exact * one.draws) for limit in one.limits]
    return Named(pairs, tuple(cuts))
