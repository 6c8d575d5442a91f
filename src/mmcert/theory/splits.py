"""Which split of the retained elements over the modalities serves a ratio of budgets best.

For ``IndependentSubsampling`` only: a pooled baseline keeps its total whatever the split.

Why the optimum is a corner. Each element that modality ``i`` retains multiplies ``O/S`` by about
``1 - r_i/n_i``. With few elements retained that price hardly changes from one element to the next,
so the cheapest modality (the smallest ``r_i/n_i``) takes all it can and each other one keeps its
floor. The certificate knows nothing of what the base model can still see: **the floors decide**,
and they come from the base model (how few depth points, audio chunks, ... it needs). Only where a
modality retains a large part of its elements does its price rise enough for an interior optimum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.planning import largest_step, last_step, unanimous_margin
from mmcert.theory.schemes import IndependentSubsampling, sizes_after


def best_split(
    n: Mapping[str, int],
    total: int,
    ratio: Mapping[str, int],
    floors: Mapping[str, int],
    *,
    N: int,
    alpha: float,
    P: int,
    statistics: str,
    kinds: Mapping[str, str] | str = "modification",
    options: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """The ``k_i`` with ``sum k_i = total`` whose unanimous votes reach furthest along ``ratio``.

    Among the splits that reach the same budget, the one with the smallest margin there. Exact: at
    each budget every split of two modalities is looked at; with more, every split of each pair in
    turn, from every corner, until no pair improves.

    Args:
        n: Elements per modality.
        total: Elements retained over all modalities.
        ratio: Ratio of the budgets in whole numbers, e.g. ``{"rgb": 1, "depth": 2}``.
        floors: The fewest elements per modality that the base model needs; 0 where not named.
        N: Draws.
        alpha: Failure probability of the family.
        P: Elements in the family.
        statistics: One of ``planning.STATISTICS``.
        kinds: Threat kind per modality, or one for all.
        options: Options of the statistics.

    Raises:
        ConfigError: Where the floors or the total do not fit, or these draws can certify nothing.

    >>> best_split({"rgb": 465750, "depth": 465750}, 9984, {"rgb": 1, "depth": 2}, {"depth": 996},
    ...            N=100, alpha=0.001, P=465750, statistics="holm")
    {'rgb': 8988, 'depth': 996}
    """
    low = {name: floors.get(name, 0) for name in n}
    _check(n, total, ratio, floors, low)
    reach = unanimous_margin(N, alpha, P, statistics, options)
    if reach < 0:
        raise ConfigError(
            f"with N = {N} draws at alpha = {alpha:g} over {P} elements, {statistics} certifies "
            f"nothing even from unanimous votes; raise voting.draws."
        )
    found: dict[int, tuple[dict[str, int], Fraction]] = {}

    def within(c: int) -> bool:
        attack = Attack({name: c * share for name, share in ratio.items()}, kinds)
        found[c] = smallest_margin_split(n, total, low, attack)
        return found[c][1] <= reach

    furthest = largest_step(within, last_step(sum(n.values()), ratio))
    return found[max(furthest, 1)][0]


def smallest_margin_split(
    n: Mapping[str, int], total: int, floors: Mapping[str, int], attack: Attack
) -> tuple[dict[str, int], Fraction]:
    """The split of ``total`` above the floors with the smallest margin under ``attack``.

    Args:
        n: Elements per modality.
        total: Elements retained over all modalities.
        floors: The fewest per modality, for each one.
        attack: The attack.

    Returns:
        The split and its exact margin.
    """
    names = list(n)
    sizes = [n[name] for name in names]
    least = [floors[name] for name in names]
    tables = []
    for name, size in zip(names, sizes, strict=True):
        after, common = sizes_after(size, attack.r(name), attack.kind(name))
        most = min(size, total)
        tables.append((_log_ratios(size, after, most), _log_ratios(size, common, most)))

    def exact(split: list[int]) -> Fraction:
        counts = dict(zip(names, split, strict=True))
        return IndependentSubsampling.from_counts(n, counts).margin(attack)

    best: tuple[Fraction, list[int]] | None = None
    for start in _corners(sizes, least, total):
        split = _descend(start, sizes, least, tables)
        margin = exact(split)
        # The logarithms are right to about 1e-13: settle what they cannot tell apart exactly.
        while (better := _better_neighbour(split, sizes, least, margin, exact)) is not None:
            margin, split = better
        if best is None or margin < best[0]:
            best = margin, split
    assert best is not None
    return dict(zip(names, best[1], strict=True)), best[0]


def split_note(split: Mapping[str, int], floors: Mapping[str, int]) -> str:
    """One sentence on why the split is what it is.

    >>> split_note({"rgb": 8988, "depth": 996}, {"depth": 996})
    'the best split is a corner: depth keeps its floor (996) and rgb takes the rest; \
the floors, not the certificate, say what the base model needs'
    """
    held = [name for name, k in split.items() if k == floors.get(name, 0)]
    free = [name for name in split if name not in held]
    if len(split) == 1:
        return "there is one modality: nothing to split"
    if len(free) > 1:
        return (
            f"the best split lies between the floors: {' and '.join(free)} retain so large a part "
            f"of their elements that each further one costs more"
        )
    kept = " and ".join(f"{name} keeps its floor ({split[name]})" for name in held)
    rest = f" and {free[0]} takes the rest" if free else ""
    return (
        f"the best split is a corner: {kept}{rest}; "
        f"the floors, not the certificate, say what the base model needs"
    )


def _check(
    n: Mapping[str, int],
    total: int,
    ratio: Mapping[str, int],
    floors: Mapping[str, int],
    low: Mapping[str, int],
) -> None:
    for key, named in (("ratio", ratio), ("floors", floors)):
        unknown = sorted(set(named) - set(n))
        if unknown:
            raise ConfigError(f"{key} names {unknown}, the modalities are {sorted(n)}.")
    for name, size in n.items():
        if not 0 <= low[name] <= size:
            raise ConfigError(f"the floor of '{name}' must lie in 0..{size}, not {low[name]}.")
    if not sum(low.values()) <= total <= sum(n.values()):
        raise ConfigError(
            f"a total of {total} retained elements does not lie between the sum of the floors "
            f"({sum(low.values())}) and all elements ({sum(n.values())})."
        )


def _log_ratios(n_from: int, n_to: int, most: int) -> NDArray[np.float64]:
    """``log C(n_to, k)/C(n_from, k)`` for ``k = 0..most``, float64 ``(most + 1,)``."""
    j = np.arange(most)
    with np.errstate(divide="ignore"):
        factors = np.log(np.maximum(n_to - j, 0) / (n_from - j))
    return np.concatenate([[0.0], np.cumsum(factors)])


Tables = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


def _corners(sizes: list[int], least: list[int], total: int) -> Iterator[list[int]]:
    """Give all that is above the floors to one modality after the other, in every order."""
    for order in itertools.permutations(range(len(sizes))):
        split, left = list(least), total - sum(least)
        for i in order:
            given = min(left, sizes[i] - least[i])
            split[i], left = split[i] + given, left - given
        yield split


def _descend(split: list[int], sizes: list[int], least: list[int], tables: Tables) -> list[int]:
    """Move to the best split of one pair of modalities after the other until none improves."""
    split = list(split)
    improved = True
    while improved:
        improved = False
        for i, j in itertools.combinations(range(len(split)), 2):
            both = split[i] + split[j]
            k_i = np.arange(max(least[i], both - sizes[j]), min(sizes[i], both - least[j]) + 1)
            others = [other for other in range(len(split)) if other not in (i, j)]
            log_after, log_common = (
                tables[i][side][k_i]
                + tables[j][side][both - k_i]
                + sum(tables[other][side][split[other]] for other in others)
                for side in (0, 1)
            )
            margins = np.minimum(1 + np.exp(log_after) - 2 * np.exp(log_common), 1.0)
            here = margins[split[i] - k_i[0]]
            best = int(np.argmin(margins))
            if margins[best] < here - 1e-13:
                split[i], split[j] = int(k_i[best]), both - int(k_i[best])
                improved = True
    return split


def _better_neighbour(
    split: list[int],
    sizes: list[int],
    least: list[int],
    margin: Fraction,
    exact: Any,
) -> tuple[Fraction, list[int]] | None:
    """A split one element away with an exactly smaller margin; None where there is none."""
    for i, j in itertools.permutations(range(len(split)), 2):
        if split[i] > least[i] and split[j] < sizes[j]:
            moved = list(split)
            moved[i] -= 1
            moved[j] += 1
            value: Fraction = exact(moved)
            if value < margin:
                return value, moved
    return None
