"""The frontier: certified budgets that no other certified budget dominates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def maximal_budgets(
    budgets: Sequence[Mapping[str, int]], certified: Sequence[bool]
) -> list[dict[str, int]]:
    """The certified budgets that are not dominated by another certified one.

    A budget dominates another where it is at least as large in every modality. Margins never fall
    when a budget grows (method, section 2), so everything that a budget of the frontier dominates
    is certified by the same votes. Quote a frontier only where the certificates hold jointly over
    budgets (``binomial``, ``margin``, exhaustive votes, ``bonferroni``).

    Args:
        budgets: Budgets over the same modalities; one that lacks a modality has 0 there.
        certified: Whether each is certified, of the same length.

    Returns:
        The frontier without repetition, sorted; empty where nothing is certified.

    Raises:
        ValueError: Where the lengths differ.

    >>> grid = [{"rgb": a, "depth": b} for a in (0, 1, 2) for b in (0, 1)]
    >>> maximal_budgets(grid, [True, True, True, False, True, False])
    [{'rgb': 0, 'depth': 1}, {'rgb': 2, 'depth': 0}]
    """
    if len(budgets) != len(certified):
        raise ValueError(f"{len(budgets)} budgets, but {len(certified)} certificates")
    names = list(dict.fromkeys(name for budget in budgets for name in budget))
    sizes = np.array(
        [
            [budget.get(name, 0) for name in names]
            for budget, holds in zip(budgets, certified, strict=True)
            if holds
        ],
        dtype=np.int64,
    ).reshape(int(sum(certified)), len(names))
    # A dominating budget has the larger sum: whatever is first in that order is maximal.
    sizes = sizes[np.argsort(-sizes.sum(axis=1), kind="stable")]
    frontier = []
    while len(sizes):
        frontier.append(tuple(sizes[0].tolist()))
        sizes = sizes[(sizes > sizes[0]).any(axis=1)]
    return [dict(zip(names, budget, strict=True)) for budget in sorted(frontier)]
