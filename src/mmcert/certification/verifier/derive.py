"""What an entry of ``metrics.json`` may claim, derived from the votes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from mmcert.certification.verifier.closed import at_least, by_class, evalues_at
from mmcert.certification.verifier.figures import (
    ACCURACY,
    CLASS_METRICS,
    Ratio,
    class_ratio,
    mean,
    reported,
    share,
)
from mmcert.certification.verifier.naming import Named, named
from mmcert.certification.verifier.overlap import Limit, limit_of, margin
from mmcert.certification.verifier.rule import Rule
from mmcert.certification.verifier.tails import decimal_of, exact, rounding, upper_tail
from mmcert.certification.verifier.tally import Tally, View, class_sizes, view
from mmcert.certification.verifier.votes import Meta
from mmcert.certification.verifier.worst import Worst, worst_cases

Budget = Mapping[str, int]
#: Figure -> exact value at one budget; lists under ``per_class``.
Figures = dict[str, Any]
#: Certified elements by class, or in the worst case of each figure.
Got = tuple[int, ...] | Worst


@dataclass(frozen=True)
class Case:
    """The votes of a run, and the attacks that they are held against.

    Args:
        meta: What the samples have in common.
        tallies: The samples, counted.
        budgets: The grid, every budget naming every modality.
        kinds: Threat kind per modality.
    """

    meta: Meta
    tallies: tuple[Tally, ...]
    budgets: tuple[Budget, ...]
    kinds: Mapping[str, str]

    @cached_property
    def extended(self) -> tuple[Budget, ...]:
        """The grid, with the budget without attack at its end where it has none."""
        if any(not any(budget.values()) for budget in self.budgets):
            return self.budgets
        return (*self.budgets, dict.fromkeys(self.kinds, 0))

    @cached_property
    def zero(self) -> int:
        """The place of the budget without attack in the extended grid."""
        return next(g for g, budget in enumerate(self.extended) if not any(budget.values()))

    @cached_property
    def _limits(self) -> dict[tuple[tuple[str, tuple[int, int]], ...], tuple[Limit, ...]]:
        return {}

    def limits(self, sizes: Mapping[str, tuple[int, int]]) -> tuple[Limit, ...]:
        """What votes must exceed at each budget of the extended grid, for a sample of that size."""
        key = tuple(sizes.items())
        if key not in self._limits:
            self._limits[key] = tuple(
                limit_of(margin(self.meta.scheme, sizes, budget, self.kinds))
                for budget in self.extended
            )
        return self._limits[key]

    def known(self, claim: str) -> list[Tally]:
        """The samples that a claim can be about: with labels, for any but a stable claim."""
        return [one for one in self.tallies if claim == "stable" or one.robust is not None]


@dataclass(frozen=True)
class Derived:
    """What an entry may claim.

    Args:
        samples: The samples that it counts.
        figures: Exact figures per budget of the grid.
        reached: Certified elements per sample and budget of the extended grid: of all classes, and
            by class. None where the samples are one pool.
        by_sample: Which elements of each sample, or None where only a number is certified.
        sizes: Elements of each class, per sample.
    """

    samples: list[Tally]
    figures: list[Figures]
    reached: list[list[tuple[int, Got]]] | None
    by_sample: list[Named] | None
    sizes: list[tuple[int, ...]]


def derive(rule: Rule, case: Case) -> Derived | None:
    """Derive an entry; None where nothing can be said.

    Closed testing counts in families that are fixed before the votes, so it has no *deployed*
    number where the labels were chosen by the votes themselves.
    """
    samples = case.known(rule.claim)
    chosen = rule.claim == "deployed" and not all(one.selected for one in samples)
    if not samples or (rule.closed and chosen):
        return None
    only = rule.closed and not rule.by_itself
    views = [view(one, rule.claim, case.limits(one.sizes), counted_only=only) for one in samples]
    if rule.task == "classification":
        return _classification(rule, case, samples, views)
    return _segmentation(rule, case, samples, views)


def _segmentation(rule: Rule, case: Case, samples: list[Tally], views: list[View]) -> Derived:
    sizes = [class_sizes(one, rule.claim) for one in samples]
    everything = [sum(one) for one in sizes]
    names: list[Named] | None = None
    if rule.closed:
        batches = [views] if rule.dataset else [[one] for one in views]
        pools = [_sums(sizes)] if rule.dataset else sizes
        reached = [_closed(rule, batch, own) for batch, own in zip(batches, pools, strict=True)]
    else:
        names = named(rule, views, rule.alpha)
        counted = [own.counted(one) for own, one in zip(names, views, strict=True)]
        if rule.dataset:
            counted = [[_sums(column) for column in zip(*counted, strict=True)]]
        reached = [[(sum(got), got) for got in row] for row in counted]
    if rule.dataset:
        sizes = [_sums(sizes)]
        everything = [sum(sizes[0])]
    columns = list(zip(*reached, strict=True))
    memory: dict[object, Figures] = {}
    figures = []
    abstained = None
    if not rule.closed:
        at_zero = [row[case.zero][0] for row in reached]
        abstained = mean([share(P - n, P) for P, n in zip(everything, at_zero, strict=True)])
    for column in columns[: len(case.budgets)]:
        if column not in memory:
            if rule.claim == "stable":
                rate = mean([share(n, P) for (n, _), P in zip(column, everything, strict=True)])
                memory[column] = {"stable_rate": rate, "abstain_rate": abstained}
            else:
                memory[column] = _metrics(column, sizes)
        figures.append(memory[column])
    return Derived(samples, figures, None if rule.dataset else reached, names, sizes)


def _sums(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*rows, strict=True))


def _closed(rule: Rule, batch: list[View], sizes: tuple[int, ...]) -> list[tuple[int, Got]]:
    """All figures from one family; or accuracy from one, each class from its own at ``alpha/C``."""
    classes = batch[0].classes
    total = at_least(rule, batch, rule.alpha, None)
    if rule.claim == "stable":  # no figure by class is reported
        return [(n, (0,) * classes) for n in total]
    if rule.one_family:
        budgets, level = by_class(rule, batch, rule.alpha)
        memory: dict[object, Worst] = {}
        worst = []
        for groups in budgets:
            key = tuple(map(tuple, groups))
            if key not in memory:
                memory[key] = worst_cases(groups, level, sizes)
            worst.append(memory[key])
        return list(zip(total, worst, strict=True))
    own = [at_least(rule, batch, rule.alpha / classes, label) for label in range(classes)]
    return list(zip(total, zip(*own, strict=True), strict=True))


def ratio_of(metric: str, label: int, got: Got, sizes: tuple[int, ...]) -> Ratio | None:
    """One metric of one class from what is certified."""
    if isinstance(got, Worst):
        return class_ratio(metric, label, got.pair(metric, label), sizes)
    return class_ratio(metric, label, (got[label], sum(got) - got[label]), sizes)


def _metrics(column: Sequence[tuple[int, Got]], sizes: Sequence[tuple[int, ...]]) -> Figures:
    """All metrics at one budget: means over samples, then over classes."""
    classes = len(sizes[0])
    figures: Figures = {
        ACCURACY: mean([share(n, sum(own)) for (n, _), own in zip(column, sizes, strict=True)])
    }
    per_class: dict[str, list[Ratio | None]] = {}
    for metric in CLASS_METRICS:
        per_class[metric] = [
            mean(
                [
                    ratio_of(metric, label, got, own)
                    for (_, got), own in zip(column, sizes, strict=True)
                ]
            )
            for label in reported(classes)
        ]
        figures[metric] = mean(per_class[metric])
    if classes > 2:
        figures["per_class"] = per_class
    return figures


def _classification(rule: Rule, case: Case, samples: list[Tally], views: list[View]) -> Derived:
    S = len(samples)
    sizes = [class_sizes(one, rule.claim) for one in samples]
    names: list[Named] | None = None
    abstained: Ratio | None = None
    number = rule.dataset and rule.name in ("binomial", "margin", "published")
    if rule.closed and not rule.by_itself:
        reached = at_least(rule, views, rule.alpha, None)
    else:
        if rule.by_itself:
            names = [_by_martingale(rule, one) for one in views]
        else:
            level = rule.own_alpha if number and rule.own_alpha is not None else rule.alpha
            names = named(rule, views, level)
        rows = [own.counted(one) for own, one in zip(names, views, strict=True)]
        reached = [sum(sum(got) for got in column) for column in zip(*rows, strict=True)]
        if number:
            v = false_claims(S, level, rule.alpha)
            reached = [max(0, M - v) for M in reached]
        else:
            certified = sum(
                own.members(one, case.zero) for own, one in zip(names, views, strict=True)
            )
            abstained = (S - certified, S)
    figures: list[Figures] = [
        {
            "certified_accuracy": None if rule.claim == "stable" else (n, S),
            "stable_rate": (n, S) if rule.claim == "stable" else None,
            "abstain_rate": abstained,
        }
        for n in reached[: len(case.budgets)]
    ]
    return Derived(samples, figures, None, names, sizes)


def _by_martingale(rule: Rule, one: View) -> Named:
    """One sample's e-value certifies it by itself where it reaches ``1/alpha`` (Ville).

    ``C/alpha`` where the votes chose one of ``C`` labels.
    """
    (pair,) = one.family
    level = decimal_of(rule.alpha / (1 if one.fixed else one.classes), up=False)
    reached = [False] * len(one.limits)
    sure = True
    for g in sorted(range(len(reached)), key=lambda g: one.limits[g].t):
        (e,) = evalues_at(rule, one, [pair], g)
        with rounding(up=False):
            reached[g] = e * level >= 1
        # Jointly over budgets no e-value may rise along growing thresholds.
        sure = reached[g] = reached[g] and (sure or not rule.joint)
    return Named((pair,), tuple(map(int, reached)))


def false_claims(S: int, a: Fraction, alpha: Fraction) -> int:
    """The smallest ``v`` with ``P(Bin(S, a) > v) <= alpha``: so many certificates may be false.

    >>> false_claims(500, Fraction(1, 1000), Fraction(1, 1000))
    4
    """
    return next(v for v in range(S + 1) if exact(upper_tail(v + 1, S, a)) <= alpha or v == S)
