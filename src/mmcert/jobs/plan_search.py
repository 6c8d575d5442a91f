"""Which retained counts are tried, in which order: from coarse to fine around the best.

The certified metric at a target is, along the total of retained elements, first rising (the attack
reaches fewer draws) and then falling (the base model sees too little), and smooth. So the totals
are halved until the score falls; then single modalities and all together move by factors that
shrink from 2 to 2^(1/4), from the best so far, until nothing improves. Every count is tried once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

#: Factors of the totals, as long as the score does not fall; then the steps of the refinement.
HALVINGS = 6
STEPS = (2.0, 2**0.5, 2**0.25)

Counts = tuple[int, ...]
#: The score of counts; None where there is no time left to find it.
Score = Callable[[Counts], float | None]


class OutOfTimeError(Exception):
    """The time for votes is used up; the best so far stands."""


class Search:
    """A search over counts, one per modality (MMCert) or a single total (the baselines).

    Args:
        start: Where to begin.
        most: The largest count of each.
        score: Higher is better; asked once for every point.
    """

    def __init__(self, start: Counts, most: Counts, score: Score) -> None:
        self._start, self._most, self._score = start, most, score
        self._wanted: list[Counts] = []
        self.scores: dict[Counts, float] = {}

    def start_from(self, counts: Counts) -> None:
        """Try these counts too, before the refinement."""
        self._wanted.append(counts)

    def run(self) -> bool:
        """Search; whether it came to its end, rather than to the end of the time."""
        try:
            self._halve()
            for counts in self._wanted:
                self._ask(counts)
            for step in STEPS:
                while self._improve(step):
                    pass
        except OutOfTimeError:
            return False
        return True

    @property
    def best(self) -> Counts | None:
        """The counts with the highest score; of equal ones those with fewer elements."""
        if not self.scores:
            return None
        return max(self.scores, key=lambda counts: (self.scores[counts], -sum(counts)))

    def _ask(self, counts: Counts) -> float:
        if counts not in self.scores:
            found = self._score(counts)
            if found is None:
                raise OutOfTimeError
            self.scores[counts] = found
        return self.scores[counts]

    def _halve(self) -> None:
        counts = self._start
        last = self._ask(counts)
        for _ in range(HALVINGS):
            smaller = self._moved(counts, [0.5] * len(counts))
            if smaller == counts:
                return
            value = self._ask(smaller)
            if value < last:
                return
            counts, last = smaller, value

    def _improve(self, step: float) -> bool:
        """Try all neighbours of the best; whether one is better."""
        centre = self.best
        assert centre is not None
        value = self.scores[centre]
        for factors in _directions(len(centre), step):
            self._ask(self._moved(centre, factors))
        best = self.best
        assert best is not None
        return self.scores[best] > value

    def _moved(self, counts: Counts, factors: list[float]) -> Counts:
        return tuple(
            moved(count, factor, most)
            for count, factor, most in zip(counts, factors, self._most, strict=True)
        )


def _directions(length: int, step: float) -> list[list[float]]:
    """All together first, then each alone, then shifts from one to another."""
    moves = [list(signs) for signs in product((-1, 0, 1), repeat=length) if any(signs)]
    together = [[sign] * length for sign in (-1, 1)]
    alone = [move for move in moves if sum(map(abs, move)) == 1]
    pairs = [move for move in moves if sum(map(abs, move)) == 2 and sum(move) == 0]
    ordered = [move for kind in (together, alone, pairs) for move in kind]
    unique = list(dict.fromkeys(tuple(move) for move in ordered))
    return [[step**sign for sign in move] for move in unique]


def moved(count: int, factor: float, most: int) -> int:
    """``count`` times a factor in whole elements, changed by at least one, within 1 and ``most``.

    A count of 0 stays: a modality that was left out on purpose stays out.

    >>> moved(3, 2**.5, 100), moved(3, 2**.25, 100), moved(1, .5, 100), moved(80, 2, 100)
    (4, 4, 1, 100)
    """
    if count == 0 or factor == 1:
        return count
    scaled = round(count * factor)
    if scaled == count:
        scaled += 1 if factor > 1 else -1
    return max(1, min(scaled, most))


def coordinates(scheme: str, k: Mapping[str, int], n: Mapping[str, int]) -> tuple[Counts, Counts]:
    """What is searched over for a scheme, and its largest values.

    MMCert: the counts of the modalities. The pooled baseline: their total. The aligned one: the
    positions that all modalities share.
    """
    if scheme == "randomized_ablation":
        return (sum(k.values()),), (sum(n.values()),)
    if scheme == "randomized_ablation_aligned":
        return (max(1, sum(k.values()) // len(k)),), (min(n.values()),)
    return tuple(k.values()), tuple(n[name] for name in k)


def retained(scheme: str, counts: Counts, n: Mapping[str, int]) -> dict[str, int]:
    """``scheme.k`` of a point of the search.

    The pooled baseline only uses the total, which is written in proportion to ``n``.

    >>> retained("randomized_ablation", (5,), {"image": 30, "audio": 10})
    {'image': 4, 'audio': 1}
    """
    if scheme == "randomized_ablation":
        total, everything = counts[0], sum(n.values())
        shares = {name: total * size // everything for name, size in n.items()}
        for name in sorted(n, key=lambda name: total * n[name] % everything, reverse=True):
            if sum(shares.values()) < total:
                shares[name] += 1
        return shares
    if scheme == "randomized_ablation_aligned":
        return dict.fromkeys(n, counts[0])
    return dict(zip(n, counts, strict=True))
