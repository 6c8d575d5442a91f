"""Exactly uniform k-subsets: the first k distinct values of a sequence of uniform integers.

The first ``k`` distinct values of independent uniform integers in ``[0, n)`` form a uniform
k-subset (by symmetry no value is preferred at any step). Candidates are taken in rounds: ``k`` at
first, then as many as are still missing, so that no round can overshoot and the set is exactly
that of the sequence, however the work is batched. A rejected candidate counts like a repeated one.
Where ``2k > n`` the complement is drawn instead, which is uniform as well.

Random float keys with a top-k would be shorter and wrong: float32 keys collide at image sizes, and
ties favour positions.

Small pools have compiled code of their own (``distinct_compiled``).

Symbols: ``B`` draws, ``n`` positions, ``k`` retained. numpy on the CPU (sorting rows of int32 is
fastest there), the same integers by torch on other devices.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.sampling import distinct_compiled, streams

# Bytes of mask and numbers of candidates that one round works on: both stay within a core's cache.
_CHUNK_POSITIONS = 1 << 20
_CHUNK_CANDIDATES = 1 << 15
# Minus the logarithm of the probability that a draw on a GPU stays incomplete.
_UNLIKELY = 80 * math.log(2)


def uniform_masks(
    keys: streams.Words, n: int, k: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64] | None]:
    """One uniform subset per draw key.

    Args:
        keys: Draw keys, uint64 (B,).
        n: Positions, ``1 <= n < 2**31``.
        k: Retained positions of each draw, int64 (B,), ``0 <= k <= n``.

    Returns:
        Mask, bool (B, n), and the sorted positions, int64 (B, k), or None where ``k`` varies.
    """
    size = len(keys)
    mask = np.zeros((size, n), np.bool_)
    equal = size > 0 and bool((k == k[0]).all())
    indices = np.empty((size, int(k[0])), np.int64) if equal else None
    if indices is not None and size >= distinct_compiled.FEWEST and 2 * int(k[0]) <= n:
        fill = distinct_compiled.compiled() if n <= distinct_compiled.LARGEST else None
        if fill is not None:
            fill(keys, n, int(k[0]), mask, indices)
            return mask, indices
    drawn = np.minimum(k, n - k)
    widest = int(drawn.max(initial=1))
    rows = max(1, min(_CHUNK_POSITIONS // n, _CHUNK_CANDIDATES // max(widest, 1)))
    for start in range(0, size, rows):
        part = slice(start, start + rows)
        values = _first_distinct(keys[part], n, drawn[part])
        _write(values, mask[part], None if indices is None else indices[part], k[part], n)
    return mask, indices


def _write(
    values: NDArray[np.int32],
    mask: NDArray[np.bool_],
    indices: NDArray[np.int64] | None,
    k: NDArray[np.int64],
    n: int,
) -> None:
    """Put the drawn positions, or their complement, into ``mask`` and ``indices``."""
    flat = values + np.arange(len(values), dtype=np.int64)[:, None] * n
    mask.reshape(-1)[flat if indices is not None else flat[values < n]] = True
    complement = 2 * k > n
    if complement.any():
        mask[complement] ^= True
    if indices is not None:
        if complement.any():
            indices[...] = (np.flatnonzero(mask) % n).reshape(indices.shape)
        else:
            indices[...] = values


def _first_distinct(keys: streams.Words, n: int, k: NDArray[np.int64]) -> NDArray[np.int32]:
    """Sorted first ``k[b]`` distinct candidates of each row: int32 (B, max k).

    Unused places at the end of a row hold ``n + 1``.
    """
    width = int(k.max(initial=0))
    values = streams.candidates(keys, width, n)
    if width == 0:
        return values
    if (k < width).any():
        values[np.arange(width) >= k[:, None]] = n + 1
    taken = k.copy()
    active = np.arange(len(keys))
    work = values
    while True:
        work.sort(axis=1)
        if work is not values:
            values[active] = work
        missing = work == n
        missing[:, 1:] |= (work[:, 1:] == work[:, :-1]) & (work[:, 1:] <= n)
        slots = np.flatnonzero(missing)
        if not len(slots):
            return values
        row, column = np.divmod(slots, width)
        counts = np.bincount(row, minlength=len(active))
        rank = np.arange(len(slots)) - np.repeat(np.cumsum(counts) - counts, counts)
        source = active[row]
        work[row, column] = streams.candidates_at(keys[source], taken[source] + rank, n)
        taken[active] += counts
        unfinished = counts > 0
        active, work = active[unfinished], work[unfinished]


def uniform_masks_torch(
    keys: torch.Tensor, n: int, k: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """:func:`uniform_masks` on the device of ``keys``, the same subsets, without asking the host.

    A loop until nothing is missing would have the host wait for the device in every round, so as
    many candidates are made at once as practically always suffice (:func:`enough_candidates`).

    Args:
        keys: Draw keys as int64 bit patterns, (B,).
        n: Positions, ``1 <= n < 2**31``.
        k: Retained positions of each draw, int64 (B,), on the host.

    Returns:
        Mask, bool (B, n), the sorted positions, int64 (B, k), or None where ``k`` varies, and
        whether all draws are complete, bool (); of an incomplete one nothing may be used.
    """
    size = len(keys)
    equal = size > 0 and bool((k == k[0]).all())
    drawn = np.minimum(k, n - k)
    values, complete = _first_distinct_torch(keys, n, drawn, equal)
    # Column n + 1 catches the unused places of shorter rows.
    mask = torch.zeros((size, n + 2), dtype=torch.bool, device=keys.device)
    mask = mask.scatter_(1, values, True)[:, :n]
    if not equal:
        return mask ^ upload(2 * k > n, keys.device)[:, None], None, complete
    if 2 * int(k[0]) <= n:
        return mask.contiguous(), values, complete
    mask = ~mask
    return mask, _positions(mask, int(k[0])), complete


def _first_distinct_torch(
    keys: torch.Tensor, n: int, k: NDArray[np.int64], equal: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`_first_distinct` in torch, int64 (B, max k), and whether that many were found."""
    width = int(k.max(initial=0))
    if width == 0:
        whole = torch.ones((), dtype=torch.bool, device=keys.device)
        return torch.empty((len(keys), 0), dtype=torch.int64, device=keys.device), whole
    wanted = width if equal else upload(k, keys.device)[:, None]
    sequence = streams.candidates_torch(keys, enough_candidates(n, width), n)
    ordered, place = sequence.sort(dim=1, stable=True)
    first = ordered < n
    first[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    # How many different candidates there are up to each one, in the order of the sequence.
    found = torch.zeros_like(sequence).scatter_(1, place, first.long()).cumsum(1)
    kept = first & (found.gather(1, place) <= wanted)
    values = torch.where(kept, ordered, n + 1).sort(dim=1).values[:, :width]
    return values, (found[:, -1:] >= wanted).all()


def _positions(mask: torch.Tensor, k: int) -> torch.Tensor:
    """The positions of the ``k`` True in each row, int64 (B, k), ascending."""
    size, n = mask.shape
    rank = torch.where(mask, mask.cumsum(1) - 1, k)
    positions = torch.arange(n, device=mask.device).expand(size, n)
    return rank.new_empty((size, k + 1)).scatter_(1, rank, positions)[:, :k]


@functools.lru_cache(maxsize=256)
def enough_candidates(n: int, k: int) -> int:
    """Candidates of which ``k`` differ, but for a probability below ``2**-80`` per draw.

    The number that is needed is a sum of geometric waiting times, with success probability
    ``(1 - i / n)`` times the share of candidates that are not rejected, ``i = 0 .. k-1``; its tail
    is bounded by Chernoff's method.

    Args:
        n: Positions.
        k: Different ones wanted, ``1 <= k <= n``.

    >>> enough_candidates(465750, 8988), enough_candidates(50, 25)
    (9194, 130)
    """
    accepted = (1 << streams.HALF_BITS) // n * n / (1 << streams.HALF_BITS)
    success = np.minimum(accepted * (1 - np.arange(k) / n), 1 - 1e-12)
    largest = -math.log1p(-success[-1])
    least = math.inf
    for share in np.geomspace(1e-3, 0.999, 60):
        s = share * largest
        moments = s + np.log(success) - np.log1p(-(1 - success) * math.exp(s))
        least = min(least, (moments.sum() + _UNLIKELY) / s)
    return max(k, math.ceil(least))


def upload(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on ``device``; a GPU is given a pinned copy, which nobody waits for."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
