"""Votes as histograms: how many elements of which class got how many votes.

All that segmentation certificates need of the votes of one sample; a grid of budgets is evaluated
on histograms alone, nothing is sorted per pixel. Letters: ``C`` classes, ``N`` draws, ``L`` levels
(elements with the same votes), ``H x W`` pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.records.votes import SampleVotes
from mmcert.theory.schemes import Scheme

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Levels:
    """Elements of one sample, grouped by their votes.

    Args:
        votes: Votes for the label, int64 ``(L,)``.
        rival: Most votes of another label, int64 ``(L,)``; None where the groups do not tell.
        elements: Elements of each class in each level, int64 ``(C, L)``. ``C`` is the class of the
            label that is claimed.
        true: The part of ``elements`` whose label is the true one, int64 ``(C, L)``; None where
            there are no labels.
    """

    votes: IntArray
    rival: IntArray | None
    elements: IntArray
    true: IntArray | None = None

    @property
    def sizes(self) -> IntArray:
        """Elements in each level, ``(L,)``."""
        return np.asarray(self.elements.sum(axis=0), dtype=np.int64)


@dataclass(frozen=True)
class SampleHistogram:
    """Histograms of one sample.

    Args:
        id: Sample id.
        draws: ``N``.
        scheme: Scheme with the sample's ``n`` and ``k``.
        robust: Elements by true class and votes for it, one level per number of votes 0..N; None
            without labels.
        stable: Elements by claimed class and votes for it, with the true ones apart.
        robust_pairs: Like ``robust``, by votes for the true class and for its strongest rival.
        stable_pairs: Like ``stable``, by votes for the claimed class and its strongest rival.
        selected: Whether the claimed class comes from separate selection draws.
    """

    id: str
    draws: int
    scheme: Scheme
    robust: Levels | None
    stable: Levels
    robust_pairs: Levels | None = None
    stable_pairs: Levels | None = None
    selected: bool = False


def claimed_label(sample: SampleVotes) -> NDArray[np.intp]:
    """The label that is claimed: the winner of the selection draws, else of the votes themselves.

    The lowest index where classes tie; shape of an element map.
    """
    source = sample.counts if sample.selection_counts is None else sample.selection_counts
    if len(source) == 2:
        return np.asarray(source[1] > source[0]).astype(np.intp)
    return np.asarray(source.argmax(axis=0), dtype=np.intp)


def histogram(
    sample: SampleVotes, ignore_index: int, *, pairs: bool = False, stable: bool = True
) -> SampleHistogram:
    """Count the elements of one sample.

    Elements without a label leave the family where others have one; a target that labels nothing
    is none.

    Args:
        sample: Votes with counts ``(C, H, W)`` (or ``(C,)``: one element).
        ignore_index: Target of an element without a label.
        pairs: Also count pairs of votes (needed by ``margin`` with more than two classes).
        stable: Also count by the claimed label.
    """
    counts = sample.counts.reshape(len(sample.counts), -1)
    classes = len(counts)
    labelled = None
    target = None
    if sample.target is not None:
        target = np.asarray(sample.target).reshape(-1)
        if ((target < 0) | (target >= classes)).any():
            labelled = (target != ignore_index) & (target >= 0) & (target < classes)
            if labelled.any():
                counts, target = counts[:, labelled], target[labelled]
            else:
                labelled = target = None
    empty = np.zeros((classes, sample.draws + 1), np.int64)
    robust = stable_levels = Levels(np.arange(sample.draws + 1), None, empty)
    robust_pairs = stable_pairs = None
    if target is not None:
        robust, robust_pairs = _count(counts, target, None, sample.draws, pairs)
    if stable or target is None:
        claimed = claimed_label(sample).reshape(-1)
        claimed = claimed if labelled is None else claimed[labelled]
        correct = None if target is None else claimed == target
        stable_levels, stable_pairs = _count(counts, claimed, correct, sample.draws, pairs)
    return SampleHistogram(
        sample.id,
        sample.draws,
        sample.scheme,
        None if target is None else robust,
        stable_levels,
        robust_pairs,
        stable_pairs,
        sample.selection_counts is not None,
    )


def _count(
    counts: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    correct: NDArray[np.bool_] | None,
    draws: int,
    pairs: bool,
) -> tuple[Levels, Levels | None]:
    classes, width = len(counts), draws + 1
    by_votes = np.zeros((classes, width), np.int64)
    by_votes_true = None if correct is None else np.zeros((classes, width), np.int64)
    keys: list[IntArray] = []
    keys_true: list[IntArray] = []
    # Two classes: the rival's votes are the rest, and a level tells them already.
    pairs = pairs and classes > 2
    for label in range(classes):
        chosen = labels == label
        votes = counts[label][chosen]
        by_votes[label] = np.bincount(votes, minlength=width)
        right = None if correct is None else correct[chosen]
        if by_votes_true is not None and right is not None:
            by_votes_true[label] = np.bincount(votes[right], minlength=width)
        if pairs:
            rivals = np.delete(counts, label, axis=0)[:, chosen].max(axis=0)
            key = votes.astype(np.int64) * width + rivals
            keys.append(key)
            keys_true.append(key if right is None else key[right])
    levels = np.arange(width)
    rival = draws - levels if classes == 2 else None
    plain = Levels(levels, rival, by_votes, by_votes_true)
    if not pairs:
        return plain, None
    present = np.unique(np.concatenate(keys))
    elements = np.stack([_at(present, key) for key in keys])
    true = None if correct is None else np.stack([_at(present, key) for key in keys_true])
    return plain, Levels(present // width, present % width, elements, true)


def _at(present: IntArray, keys: IntArray) -> IntArray:
    """How often each of the sorted keys ``present`` occurs in ``keys``."""
    return np.bincount(np.searchsorted(present, keys), minlength=len(present)).astype(np.int64)
