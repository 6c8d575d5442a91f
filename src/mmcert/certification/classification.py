"""Certified samples of a classification task: one element per sample.

Letters: ``S`` samples, ``C`` classes, ``G`` budgets, ``N`` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.grid import Grid, Thresholds
from mmcert.certification.levels import (
    leads_needed,
    martingale_evalues,
    settled,
    split_over_labels,
)
from mmcert.certification.options import Option
from mmcert.theory.bounds import clopper_pearson_lower, upper_tail
from mmcert.theory.dataset_claims import certified_samples
from mmcert.theory.difference import Method, largest_margin, margin_pvalue, runner_up
from mmcert.theory.evalues import calibrate, chain_thresholds, closed_counts, harmonic_alpha
from mmcert.theory.multiplicity import holm
from mmcert.theory.published import published_margin
from mmcert.theory.schemes import Scheme, round_down

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SampleCounts:
    """Votes of one sample of a classification task, plain numbers only.

    Args:
        id: Sample id.
        counts: Votes per class, ``(C,)``.
        target: True class, or None.
        predicted: Winner of the selection draws, else of the votes; None where classes tie.
        claimed: The label that a stable claim is about (the lowest of a tie).
        draws: ``N``.
        scheme: Scheme with the sample's ``n`` and ``k``.
        selected: Whether ``claimed`` comes from separate selection draws.
    """

    id: str
    counts: tuple[int, ...]
    target: int | None
    predicted: int | None
    claimed: int
    draws: int
    scheme: Scheme
    selected: bool

    def label(self, claim: str) -> int:
        """The label that the claim is about."""
        if claim == "robust":
            assert self.target is not None
            return self.target
        return self.claimed

    def fixed(self, claim: str) -> bool:
        """Whether that label was known before the votes."""
        return claim == "robust" or self.selected


@dataclass(frozen=True)
class Batch:
    """The samples that a claim is about, with their thresholds.

    Args:
        samples: Samples (with a target, unless the claim is ``stable``).
        claim: The claim.
        grid: The budgets.
    """

    samples: tuple[SampleCounts, ...]
    claim: str
    grid: Grid

    @cached_property
    def correct(self) -> BoolArray:
        """Which samples count if they are certified, ``(S,)``."""
        if self.claim != "deployed":
            return np.ones(len(self.samples), dtype=np.bool_)
        return np.array([sample.claimed == sample.target for sample in self.samples], dtype=bool)

    def thresholds(self, index: int) -> Thresholds:
        """Thresholds of one sample."""
        return self.grid.thresholds(self.samples[index].scheme)

    def split(self, option: Option, alpha: float, index: int) -> float:
        """The level of one sample's test."""
        sample = self.samples[index]
        return split_over_labels(alpha, option, sample.fixed(self.claim), len(sample.counts))


@dataclass(frozen=True)
class Decided:
    """What one option certifies.

    Args:
        certified: Which samples, ``(S, G)``; None where the option names none.
        at_least: How many samples that count are certified at least, jointly, ``(G,)``; None where
            that is the number of those in ``certified``.
        bounds: Lower bound of each sample, ``(S,)``; None where the option has none.
    """

    certified: BoolArray | None
    at_least: IntArray | None = None
    bounds: FloatArray | None = None


def decide(option: Option, batch: Batch, alpha: float) -> Decided | None:
    """Decide every sample at every budget; None where the option can say nothing about the claim.

    Closed testing counts in families that are fixed before the votes, so it has no *deployed*
    number where the labels were chosen by the votes themselves.
    """
    closed = option.name == "closed_evalues"
    if not batch.samples or (
        closed and batch.claim == "deployed" and not all(s.selected for s in batch.samples)
    ):
        return None
    if option.name == "exhaustive":
        return _by_counting(batch)
    if option.name in ("binomial", "margin", "bonferroni", "published"):
        level = alpha / len(batch.samples) if option.name == "bonferroni" else alpha
        return _by_bounds(option, batch, level)
    fixed = all(sample.fixed(batch.claim) for sample in batch.samples)
    level = split_over_labels(alpha, option, fixed, len(batch.samples[0].counts))
    if option.name == "holm":
        pvalues, _ = _pvalues(option, batch, level)
        ones = np.ones(len(batch.samples), np.int64)
        columns = [holm(pvalues[:, g], ones, level) for g in range(pvalues.shape[1])]
        return Decided(np.stack(columns, axis=1))
    return _closed(option, batch, level, alpha)


def _by_bounds(option: Option, batch: Batch, alpha: float) -> Decided:
    bounds = np.array(
        [
            _bound(option, sample, batch.claim, batch.split(option, alpha, index))
            for index, sample in enumerate(batch.samples)
        ]
    )
    rows = []
    for index, bound in enumerate(bounds):
        thresholds = batch.thresholds(index)
        limit = thresholds.m if option.test == "margin" else thresholds.t
        rows.append((limit <= bound) & (limit < 1))
    return Decided(np.stack(rows), bounds=bounds)


def _by_counting(batch: Batch) -> Decided:
    """All sub-samples were counted: the lead over every rival must exceed ``m * S``."""
    rows, bounds = [], []
    for index, sample in enumerate(batch.samples):
        own, rival = runner_up(sample.counts, sample.label(batch.claim))
        needed = leads_needed(batch.thresholds(index), sample.draws)
        rows.append(own - rival >= needed)
        bounds.append(round_down(Fraction(own - rival, sample.draws)))
    return Decided(np.stack(rows), bounds=np.array(bounds))


def _bound(option: Option, sample: SampleCounts, claim: str, alpha: float) -> float:
    label, N = sample.label(claim), sample.draws
    if option.name == "published":
        return published_margin(sample.counts, label, N, alpha)
    if option.test == "margin":
        method: Method = option.method  # type: ignore[assignment]  # checked with the options
        return largest_margin(sample.counts, label, N, alpha, method)
    return clopper_pearson_lower(sample.counts[label], N, alpha)


@dataclass(frozen=True)
class _Group:
    """Samples with the same scheme and draws, whose labels were chosen alike."""

    members: list[int]
    thresholds: Thresholds
    N: int
    selected: bool
    classes: int


def _groups(batch: Batch) -> list[_Group]:
    groups: dict[tuple[Scheme, int, bool], list[int]] = {}
    for index, sample in enumerate(batch.samples):
        key = (sample.scheme, sample.draws, sample.fixed(batch.claim))
        groups.setdefault(key, []).append(index)
    classes = len(batch.samples[0].counts)
    return [
        _Group(members, batch.thresholds(members[0]), draws, selected, classes)
        for (_, draws, selected), members in groups.items()
    ]


def _pvalues(option: Option, batch: Batch, alpha: float) -> tuple[FloatArray, FloatArray]:
    """p-values, and those of unanimous votes, ``(S, G)`` each; 1 where a label is not settled."""
    pvalues = np.ones((len(batch.samples), len(batch.grid)))
    smallest = np.ones_like(pvalues)
    for group in _groups(batch):
        votes, rivals = _pairs(batch, group)
        tails = _tails(option, votes, rivals, group)
        sure = _settled(option, batch, group, alpha)
        pvalues[group.members] = np.where(sure[:, None], tails, 1.0)
        smallest[group.members] = _tails(option, np.array([group.N]), np.array([0]), group)
    return pvalues, smallest


def _settled(option: Option, batch: Batch, group: _Group, alpha: float) -> BoolArray:
    if group.selected:
        return np.ones(len(group.members), dtype=np.bool_)
    votes, rivals = _pairs(batch, group)
    return settled(option, votes, rivals, group.classes, group.N, alpha, len(batch.samples))


def _pairs(batch: Batch, group: _Group) -> IntArray:
    """Votes for the label and for its strongest rival, ``(2, members)``."""
    chosen = [batch.samples[index] for index in group.members]
    return np.array([runner_up(one.counts, one.label(batch.claim)) for one in chosen]).T


def _tails(option: Option, votes: IntArray, rivals: IntArray, group: _Group) -> FloatArray:
    """p-values ``(members, G)``, worked out once per distinct threshold and votes."""
    if option.test == "binomial":
        t, place = np.unique(group.thresholds.t, return_inverse=True)
        tails = upper_tail(votes[:, None], group.N, t[None, :])
    else:
        m, place = np.unique(group.thresholds.m, return_inverse=True)
        pairs, back = np.unique(np.stack([votes, rivals]), axis=1, return_inverse=True)
        columns = [margin_pvalue(pairs[0], pairs[1], group.N, float(one)) for one in m]
        tails = np.stack([np.asarray(column) for column in columns], axis=1)[back.reshape(-1)]
    return np.asarray(tails[:, place.reshape(-1)], dtype=np.float64)


def _evalues(option: Option, batch: Batch, alpha: float) -> FloatArray:
    """e-values ``(S, G)``; 0 where a label is not settled."""
    if not option.sequential:
        pvalues, smallest = _pvalues(option, batch, alpha)
        return calibrate(pvalues, smallest, alpha, option.levels, option.weights)
    evalues = np.zeros((len(batch.samples), len(batch.grid)))
    for group in _groups(batch):
        sure = _settled(option, batch, group, alpha)
        evalues[group.members] = np.where(sure[:, None], _martingales(option, batch, group), 0.0)
    return evalues


def _martingales(option: Option, batch: Batch, group: _Group) -> FloatArray:
    votes, rivals = _pairs(batch, group)
    return martingale_evalues(option, votes, rivals, group.N, group.thresholds).T


def _alone(option: Option, batch: Batch, alpha: float) -> BoolArray:
    """Which samples their own e-value certifies, each by itself: where it reaches ``1/alpha``."""
    certified = np.zeros((len(batch.samples), len(batch.grid)), dtype=np.bool_)
    for group in _groups(batch):
        labels = 1 if group.selected else group.classes  # one of them was chosen by the votes
        certified[group.members] = _martingales(option, batch, group) >= labels / alpha
    return certified


def _closed(option: Option, batch: Batch, alpha: float, alpha_alone: float) -> Decided:
    """At least so many of the samples that count are certified; by martingales, also which.

    With a fixed number of draws ``binomial`` and ``margin`` decide single samples better than an
    e-value, and nothing is said here.
    """
    counted = batch.correct
    certified = _alone(option, batch, alpha_alone) if option.sequential else None
    if not counted.any():
        return Decided(certified, np.zeros(len(batch.grid), np.int64))
    if option.over_budgets == "joint":
        alpha = harmonic_alpha(alpha, int(counted.sum()))
    evalues = _evalues(option, batch, alpha)
    if option.over_budgets == "joint":
        # Along growing thresholds no e-value may rise (method, section 3.7).
        t = np.stack([batch.thresholds(index).t for index in range(len(batch.samples))])
        order = np.argsort(chain_thresholds(t).max(axis=0), kind="stable")
        evalues[:, order] = np.minimum.accumulate(evalues[:, order], axis=1)
    family = evalues[counted].T  # (G, S)
    return Decided(certified, closed_counts(family, np.ones(family.shape, np.int64), alpha))


def data_set_claim(option: Option, batch: Batch, certified: BoolArray, alpha: float) -> IntArray:
    """``M - v`` at each budget: at least so many of the certified samples are not false, ``(G,)``.

    The level of each sample's test was fixed in advance; draws are independent across samples.
    """
    a = alpha if option.per_sample_alpha is None else option.per_sample_alpha
    counted = (certified & batch.correct[:, None]).sum(axis=0)
    S = len(batch.samples)
    return np.array([certified_samples(int(M), S, a, alpha) for M in counted], dtype=np.int64)


def make_batch(samples: Sequence[SampleCounts], claim: str, grid: Grid) -> Batch:
    """The samples that a claim can be about: those with a target, for any but a stable claim."""
    known = [sample for sample in samples if claim == "stable" or sample.target is not None]
    return Batch(tuple(known), claim, grid)
