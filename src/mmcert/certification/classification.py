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
from mmcert.certification.levels import leads_needed, split_over_labels
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
        at_least: How many samples that count are at least certified, ``(G,)``; None where that is
            their number.
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
    pvalues = _pvalues(option, batch)
    if option.name == "holm":
        ones = np.ones(len(batch.samples), np.int64)
        columns = [holm(pvalues[:, g], ones, alpha) for g in range(pvalues.shape[1])]
        return Decided(np.stack(columns, axis=1))
    return Decided(None, _closed(option, batch, pvalues, alpha))


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


def _pvalues(option: Option, batch: Batch) -> FloatArray:
    """p-values ``(S, G)``; those of labels that the votes chose pay for the choice."""
    pvalues = np.ones((len(batch.samples), len(batch.grid)))
    for members, thresholds, N in _groups(batch):
        labels = [batch.samples[i].label(batch.claim) for i in members]
        pairs = [
            runner_up(batch.samples[i].counts, y) for i, y in zip(members, labels, strict=True)
        ]
        votes, rivals = np.array(pairs).T
        shares = np.array([batch.split(option, 1.0, i) for i in members])
        pvalues[members] = _tails(option, votes, rivals, N, thresholds) / shares[:, None]
    return np.minimum(pvalues, 1.0)


def _tails(
    option: Option, votes: IntArray, rivals: IntArray, N: int, thresholds: Thresholds
) -> FloatArray:
    """p-values of fixed labels ``(S, G)``, worked out once per distinct threshold and votes."""
    if option.test == "binomial":
        t, inverse = np.unique(thresholds.t, return_inverse=True)
        tails = upper_tail(votes[:, None], N, t[None, :])
    else:
        m, inverse = np.unique(thresholds.m, return_inverse=True)
        pairs, back = np.unique(np.stack([votes, rivals]), axis=1, return_inverse=True)
        tails = np.stack(
            [np.asarray(margin_pvalue(pairs[0], pairs[1], N, float(one))) for one in m], axis=1
        )[back.reshape(-1)]
    return np.asarray(tails[:, inverse.reshape(-1)], dtype=np.float64)


def _groups(batch: Batch) -> list[tuple[list[int], Thresholds, int]]:
    """Samples with the same scheme and draws."""
    groups: dict[tuple[Scheme, int], list[int]] = {}
    for index, sample in enumerate(batch.samples):
        groups.setdefault((sample.scheme, sample.draws), []).append(index)
    return [
        (members, batch.thresholds(members[0]), draws) for (_, draws), members in groups.items()
    ]


def _closed(option: Option, batch: Batch, pvalues: FloatArray, alpha: float) -> IntArray:
    """At least so many of the samples that count are certified, ``(G,)``."""
    counted = batch.correct
    if not counted.any():
        return np.zeros(len(batch.grid), np.int64)
    if option.over_budgets == "joint":
        alpha = harmonic_alpha(alpha, int(counted.sum()))
    evalues = calibrate(pvalues, _smallest(option, batch), alpha, option.levels, option.weights)
    if option.over_budgets == "joint":
        # Along growing thresholds no e-value may rise (method, section 3.7).
        chain = chain_thresholds(
            np.stack([batch.thresholds(i).t for i in range(len(batch.samples))])
        ).max(axis=0)
        order = np.argsort(chain, kind="stable")
        evalues[:, order] = np.minimum.accumulate(evalues[:, order], axis=1)
    family = evalues[counted].T  # (G, S)
    return closed_counts(family, np.ones(family.shape, np.int64), alpha)


def _smallest(option: Option, batch: Batch) -> FloatArray:
    """The p-value of unanimous votes, ``(S, G)``."""
    smallest = np.ones((len(batch.samples), len(batch.grid)))
    for members, thresholds, N in _groups(batch):
        shares = np.array([batch.split(option, 1.0, i) for i in members])
        row = _tails(option, np.full(1, N), np.zeros(1, np.int64), N, thresholds)
        smallest[members] = np.minimum(row / shares[:, None], 1.0)
    return smallest


def data_set_claim(option: Option, batch: Batch, certified: BoolArray, alpha: float) -> IntArray:
    """``M - v`` at each budget: at least so many of the certified samples are not false, ``(G,)``.

    The level of each sample's test was fixed in advance; draws are independent across samples.
    """
    a = alpha if option.per_sample_alpha is None else option.per_sample_alpha
    counted = (certified & batch.correct[:, None]).sum(axis=0)
    S = len(batch.samples)
    return np.array([certified_samples(int(M), S, a, alpha) for M in counted], dtype=np.int64)


def correct_counts(batch: Batch, decided: Decided) -> IntArray:
    """Samples that count, per budget, ``(G,)``."""
    if decided.at_least is not None:
        return decided.at_least
    assert decided.certified is not None
    return np.asarray((decided.certified & batch.correct[:, None]).sum(axis=0), dtype=np.int64)


def make_batch(samples: Sequence[SampleCounts], claim: str, grid: Grid) -> Batch:
    """The samples that a claim can be about: those with a target, for any but a stable claim."""
    known = [sample for sample in samples if claim == "stable" or sample.target is not None]
    return Batch(tuple(known), claim, grid)
