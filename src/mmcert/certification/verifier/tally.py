"""How many elements of a sample have which votes, and the claims that can be made about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmcert.certification.verifier.overlap import Limit
from mmcert.certification.verifier.votes import IntArray, Meta, Votes

#: Votes for a label, and the most votes of another label.
Pair = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """Elements with the same label, the same votes, and labels that are equally right."""

    label: int
    pair: Pair
    correct: bool
    count: int


@dataclass(frozen=True)
class Tally:
    """One sample, counted.

    Args:
        id: Sample id.
        draws: ``N``.
        sizes: ``(n, k)`` per modality.
        classes: ``C``.
        selected: Number of separate draws that chose the claimed label; 0: the votes did.
        robust: Elements by their true label, unlabelled ones left out; None without a label.
        stable: Elements by their claimed label; with a target, unlabelled ones are left out.
        counts: Votes per class (classification).
        target: True class (classification), or None.
        predicted: Winner of the selection draws, else of the votes; None where classes tie.
    """

    id: str
    draws: int
    sizes: Mapping[str, tuple[int, int]]
    classes: int
    selected: int
    robust: tuple[Row, ...] | None
    stable: tuple[Row, ...]
    counts: tuple[int, ...] | None
    target: int | None
    predicted: int | None


def tally(votes: Votes, meta: Meta) -> Tally:
    """Count the elements of a sample."""
    counts, target, claimed = votes.counts, votes.target, votes.claimed()
    single = meta.task == "classification"
    label = int(target[0]) if target is not None and single else None
    if single and label == meta.ignore_index:
        target = label = None
    predicted = None
    if single:
        source = counts[:, 0] if votes.selection is None else votes.selection[:, 0]
        predicted = int(claimed[0]) if (source == source.max()).sum() == 1 else None
    if target is not None:
        known = (target >= 0) & (target < meta.classes)
        if known.any():
            counts, target, claimed = counts[:, known], target[known], claimed[known]
        else:
            target = None
    correct = np.zeros(claimed.shape, bool) if target is None else claimed == target
    return Tally(
        id=votes.id,
        draws=votes.draws,
        sizes=votes.sizes,
        classes=meta.classes,
        selected=votes.selected,
        robust=None if target is None else _rows(counts, target, target == target, votes.draws),
        stable=_rows(counts, claimed, correct, votes.draws),
        counts=tuple(votes.counts[:, 0].tolist()) if single else None,
        target=label,
        predicted=predicted,
    )


def _rows(
    counts: IntArray, labels: IntArray, correct: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    draws: int,
) -> tuple[Row, ...]:  # fmt: skip
    own, rival = pairs_of(counts, labels, draws)
    base = draws + 1
    keys = ((labels * base + own) * base + rival) * 2 + correct
    found, sizes = np.unique(keys, return_counts=True)
    rows = []
    for key, size in zip(found.tolist(), sizes.tolist(), strict=True):
        rest, right = divmod(key, 2)
        rest, most = divmod(rest, base)
        label, votes = divmod(rest, base)
        rows.append(Row(label, (votes, most), bool(right), size))
    return tuple(rows)


def pairs_of(counts: IntArray, labels: IntArray, draws: int) -> tuple[IntArray, IntArray]:
    """Votes for each element's label, and the most votes for another one."""
    own = np.take_along_axis(counts, labels[None], axis=0)[0]
    if len(counts) == 2:
        return own, draws - own
    others = counts.copy()
    np.put_along_axis(others, labels[None], -1, axis=0)
    return own, others.max(axis=0)


@dataclass(frozen=True)
class View:
    """The elements of one sample as one claim sees them.

    Args:
        draws: ``N``.
        classes: ``C``.
        fixed: Whether the label was fixed before the votes: true, or chosen by other draws.
        limits: What the votes must exceed at each budget.
        family: Elements that are tested, by their votes.
        counted: The elements among them that count if they are certified, by class.
    """

    draws: int
    classes: int
    fixed: bool
    limits: tuple[Limit, ...]
    family: Mapping[Pair, int]
    counted: tuple[Mapping[Pair, int], ...]

    @property
    def size(self) -> int:
        """Elements that are tested."""
        return sum(self.family.values())


def view(one: Tally, claim: str, limits: tuple[Limit, ...], *, counted_only: bool = False) -> View:
    """A sample as a claim sees it.

    Args:
        one: The sample.
        claim: ``robust``; ``stable``; ``deployed``, where only true labels count.
        limits: What its votes must exceed at each budget.
        counted_only: Whether the family is made of the elements that count (closed testing).
    """
    rows = one.stable if claim != "robust" else one.robust
    family: dict[Pair, int] = {}
    counted: list[dict[Pair, int]] = [{} for _ in range(one.classes)]
    for row in rows or ():
        counts = row.correct or claim != "deployed"
        if counts:
            own = counted[row.label]
            own[row.pair] = own.get(row.pair, 0) + row.count
        if counts or not counted_only:
            family[row.pair] = family.get(row.pair, 0) + row.count
    fixed = claim == "robust" or one.selected > 0
    return View(one.draws, one.classes, fixed, limits, family, tuple(counted))


def class_sizes(one: Tally, claim: str) -> tuple[int, ...]:
    """Elements of each class: of the true ones, for a stable claim of the claimed ones."""
    rows = one.stable if claim == "stable" or one.robust is None else one.robust
    sizes = [0] * one.classes
    for row in rows:
        sizes[row.label] += row.count
    return tuple(sizes)
