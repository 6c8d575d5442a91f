"""How many elements closed testing certifies at least, for samples and for whole data sets."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from mmcert.certification.verifier.evalues import closed_count, harmonic, steps
from mmcert.certification.verifier.margins import gap_of_bounds
from mmcert.certification.verifier.martingales import (
    margin_martingales,
    martingale,
    martingale_table,
)
from mmcert.certification.verifier.overlap import Limit
from mmcert.certification.verifier.rule import Rule
from mmcert.certification.verifier.settling import level_of_tests, settled
from mmcert.certification.verifier.tails import (
    ONE,
    ZERO,
    decimal_of,
    exact,
    power,
    rounding,
    upper_tails,
)
from mmcert.certification.verifier.tally import Pair, View

Groups = list[tuple[Decimal, int]]


def at_least(rule: Rule, views: Sequence[View], alpha: Fraction, label: int | None) -> list[int]:
    """Certified elements of one family, at least, per budget.

    Args:
        rule: ``closed_evalues``.
        views: The samples whose elements make the family.
        alpha: Level of the family.
        label: The class whose elements make it; None for those of all classes.
    """
    families, level = _families(rule, views, alpha, [[_members(one, label) for one in views]])
    return [closed_count(groups, level) for groups in families[0]]


def by_class(
    rule: Rule, views: Sequence[View], alpha: Fraction
) -> tuple[list[tuple[Groups, ...]], Decimal]:
    """One family of all classes: its elements by e-value, per budget and class, and its level."""
    members = [[_members(one, label) for one in views] for label in range(views[0].classes)]
    families, level = _families(rule, views, alpha, members)
    return list(zip(*families, strict=True)), level


def _families(
    rule: Rule, views: Sequence[View], alpha: Fraction, parts: Sequence[list[dict[Pair, int]]]
) -> tuple[list[list[Groups]], Decimal]:
    """The elements of one family by e-value, per part of it and budget; and the level of its test.

    Elements whose label is not settled have an e-value of 0.

    Args:
        rule: ``closed_evalues``.
        views: The samples.
        alpha: Level of the family.
        parts: Elements by their votes, of each part of the family and each sample.
    """
    size = sum(sum(own.values()) for part in parts for own in part)
    alpha = level_of_tests(rule, views, alpha)
    sure = [settled(rule, one, max(size, 1), alpha) for one in views]
    level = decimal_of(alpha, up=False)
    if rule.joint and size:
        with rounding(up=False):
            level = level / harmonic(size)
        views = chained(views)
    families = []
    for part in parts:
        unsettled = sum(
            n
            for own, pairs in zip(part, sure, strict=True)
            for pair, n in own.items()
            if pair not in pairs
        )
        members = [
            {pair: n for pair, n in own.items() if pair in pairs}
            for own, pairs in zip(part, sure, strict=True)
        ]
        if rule.sequential:
            budgets = _sequential(rule, views, members)
        else:
            each = [_groups(rule, one, own, level) for one, own in zip(views, members, strict=True)]
            budgets = [list(itertools.chain(*groups)) for groups in zip(*each, strict=True)]
        families.append([[(ZERO, unsettled), *groups] for groups in budgets])
    return families, level


def _members(one: View, label: int | None) -> dict[Pair, int]:
    chosen = one.counted if label is None else [one.counted[label]]
    total: dict[Pair, int] = {}
    for own in chosen:
        for pair, count in own.items():
            total[pair] = total.get(pair, 0) + count
    return total


def chained(views: Sequence[View]) -> list[View]:
    """Limits that rise along one order of the budgets for every sample, as joint claims need.

    Budgets are sorted by their largest threshold over the samples (then by the sum of them); each
    sample's limits become their running maximum, so what is certified stays certified.
    """
    budgets = range(len(views[0].limits))
    t = {id(one.limits): [limit.t for limit in one.limits] for one in views}
    m = {id(one.limits): [limit.m for limit in one.limits] for one in views}
    rises: dict[int, tuple[Limit, ...]] = {}
    for rows in (t, m):
        each = [rows[id(one.limits)] for one in views]
        order = sorted(budgets, key=lambda g: (max(r[g] for r in each), sum(r[g] for r in each)))
        for row in rows.values():
            for before, after in itertools.pairwise(order):
                row[after] = max(row[after], row[before])
    for one in views:
        rises[id(one.limits)] = tuple(
            Limit(t[id(one.limits)][g], m[id(one.limits)][g], one.limits[g].exact) for g in budgets
        )
    return [replace(one, limits=rises[id(one.limits)]) for one in views]


def _groups(rule: Rule, one: View, own: dict[Pair, int], alpha: Decimal) -> list[Groups]:
    """A sample's elements by e-value, per budget, from a fixed number of draws."""
    total = sum(own.values())
    by_votes = Ranking([(Fraction(votes), n) for (votes, _), n in own.items()])
    by_margin: dict[Decimal, Ranking] = {}
    result = []
    for limit in one.limits:
        unanimous = _unanimous(one, limit, rule.test)
        values, reached = [ZERO], [total]
        for b, value in steps(rule.levels, rule.weights, alpha, unanimous):
            values.append(value)
            if rule.test == "binomial":
                fewest = _critical(one.draws, limit.t, b)
                reached.append(by_votes.at_least(Fraction(fewest)))
            elif b == unanimous:
                reached.append(own.get((one.draws, 0), 0))
            else:
                if b not in by_margin:
                    by_margin[b] = _rejected_margins(one, own, b)
                reached.append(by_margin[b].at_least(limit.m) if limit.m < 1 else 0)
        reached.append(0)
        result.append([(e, reached[i] - reached[i + 1]) for i, e in enumerate(values)])
    return result


class Ranking:
    """Numbers of elements with scores, to be asked how many have at least some score."""

    def __init__(self, scored: Sequence[tuple[Fraction, int]]) -> None:
        falling = sorted((-score, n) for score, n in scored)
        self._falling = [score for score, _ in falling]
        self._sums = [0]
        for _, n in falling:
            self._sums.append(self._sums[-1] + n)

    def at_least(self, score: Fraction) -> int:
        """How many elements have that score or more."""
        return self._sums[bisect_right(self._falling, -score)]


def _rejected_margins(one: View, own: dict[Pair, int], b: Decimal) -> Ranking:
    """Elements by the margin that two bounds reject at level ``b``."""
    each = exact(b) / 2
    return Ranking([(gap_of_bounds(*pair, one.draws, each), n) for pair, n in own.items()])


def _unanimous(one: View, limit: Limit, test: str) -> Decimal:
    """The p-value of unanimous votes, the smallest that any votes give."""
    if test == "binomial":
        return upper_tails(one.draws, limit.t)[one.draws]
    if limit.m >= 1:
        return ONE
    with rounding(up=True):  # both tails are equal at s = (1 + m)/2
        return min(2 * power(decimal_of((1 + limit.m) / 2, up=True), one.draws), ONE)


@lru_cache(maxsize=65536)
def _critical(draws: int, t: Fraction, b: Decimal) -> int:
    """The fewest votes with a p-value of at most ``b``; ``N + 1`` where none has."""
    return draws + 1 - bisect_right(upper_tails(draws, t)[::-1], b)


def _sequential(
    rule: Rule, views: Sequence[View], members: Sequence[dict[Pair, int]]
) -> list[Groups]:
    """The same from votes that decided their own number.

    For joint claims no e-value may rise along growing thresholds: a running minimum.
    """
    groups: list[Groups] = [[] for _ in views[0].limits]
    lowest: list[list[Decimal]] | None = None
    for g in sorted(range(len(groups)), key=lambda g: sum(one.limits[g].t for one in views)):
        e = [evalues_at(rule, one, list(own), g) for one, own in zip(views, members, strict=True)]
        if rule.joint and lowest is not None:
            e = [list(map(min, own, before)) for own, before in zip(e, lowest, strict=True)]
        lowest = e
        groups[g] = [
            group for values, own in zip(e, members, strict=True)
            for group in zip(values, own.values(), strict=True)
        ]  # fmt: skip
    return groups


def evalues_at(rule: Rule, one: View, pairs: list[Pair], g: int) -> list[Decimal]:
    """e-values at the time the votes stopped, at one budget, of elements with these votes."""
    limit = one.limits[g]
    if rule.test == "margin":
        return margin_martingales(pairs, one.draws, limit.m, rule.bets)
    if len(pairs) == 1:
        return [martingale(pairs[0][0], one.draws, limit.t, rule.terms)]
    table = martingale_table(one.draws, limit.t, rule.terms)
    return [Decimal(table[votes]) for votes, _ in pairs]
