"""The margin of an attack from nothing but counts (method: ``m = 1 + S'/S - 2 O/S``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

ONE = Fraction(1)


@lru_cache(maxsize=65536)
def ratio(n_before: int, n_after: int, k: int) -> Fraction:
    """``C(n_after, k) / C(n_before, k)`` factor by factor."""
    if n_after < k:
        return Fraction(0)
    if abs(n_after - n_before) > k:  # fewer factors this way
        return Fraction(math.perm(n_after, k), math.perm(n_before, k))
    top = bottom = 1
    if n_after <= n_before:
        for j in range(n_after + 1, n_before + 1):
            top *= j - k
            bottom *= j
    else:
        for j in range(n_before + 1, n_after + 1):
            top *= j
            bottom *= j - k
    return Fraction(top, bottom)


def margin(
    scheme: str,
    sizes: Mapping[str, tuple[int, int]],
    budget: Mapping[str, int],
    kinds: Mapping[str, str],
) -> Fraction:
    """``min(m, 1)`` of the worst attack within the budget.

    Args:
        scheme: ``mmcert``, ``randomized_ablation`` or ``randomized_ablation_aligned``.
        sizes: ``(n, k)`` per modality.
        budget: ``r`` per modality; absent is 0.
        kinds: Threat kind per modality; absent is modification.

    Raises:
        ValueError: For an unknown scheme, modality or kind, and for kinds that the aligned scheme
            cannot certify.
    """
    unknown = set(budget) - set(sizes)
    if unknown:
        raise ValueError(f"budget for unknown modality {sorted(unknown)}")
    after: dict[str, int] = {}
    common: dict[str, int] = {}
    for name, (n, _) in sizes.items():
        r, kind = budget.get(name, 0), kinds.get(name, "modification")
        hit = min(r, n)
        if kind == "modification":
            after[name], common[name] = n, n - hit
        elif kind == "edits":
            # modify what there is; what is left of the budget can only add
            after[name], common[name] = n + r - hit, n - hit
        elif kind == "addition":
            after[name], common[name] = n + r, n
        elif kind == "deletion":
            after[name], common[name] = n - hit, n - hit
        else:
            raise ValueError(f"unknown threat kind {kind!r}")
    if scheme == "mmcert":
        groups = [(n, after[name], common[name], k) for name, (n, k) in sizes.items()]
    elif scheme == "randomized_ablation":
        n = sum(pair[0] for pair in sizes.values())
        k = sum(pair[1] for pair in sizes.values())
        groups = [(n, sum(after.values()), sum(common.values()), k)]
    elif scheme == "randomized_ablation_aligned":
        grids = {pair[0] for pair in sizes.values()}
        attacked = {kinds.get(name, "modification") for name in budget}
        if len(grids) != 1 or attacked - {"modification"}:
            raise ValueError("the aligned scheme needs equal grids and modification")
        n = grids.pop()
        k = sum(pair[1] for pair in sizes.values()) // len(sizes)
        lost = min(n, sum(min(r, n) for r in budget.values()))
        groups = [(n, n, n - lost, k)]
    else:
        raise ValueError(f"unknown scheme {scheme!r}")
    possible, shared = ONE, ONE
    for n, n_after, n_common, k in groups:
        if k == 0:
            continue
        if n_after < k:
            return ONE
        possible *= ratio(n, n_after, k)
        shared *= ratio(n, n_common, k)
    return min(ONE, 1 + possible - 2 * shared)


def float_above(value: Fraction) -> float:
    """The smallest float that is not below ``value``."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


@dataclass(frozen=True)
class Limit:
    """What the votes of a sample must exceed at one budget.

    Args:
        t: ``(1 + m)/2`` as the float above it: the threshold that was tested.
        m: ``min(m, 1)`` as the float above it.
        exact: ``min(m, 1)``.
    """

    t: Fraction
    m: Fraction
    exact: Fraction


@lru_cache(maxsize=65536)
def limit_of(m: Fraction) -> Limit:
    """The limits that belong to a margin."""
    return Limit(Fraction(float_above((1 + m) / 2)), Fraction(float_above(m)), m)
