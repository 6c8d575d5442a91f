"""Exactly uniform k-subsets: the first k distinct values of a sequence of uniform integers.

The first ``k`` distinct values of independent uniform integers in ``[0, n)`` form a uniform
k-subset (by symmetry no value is preferred at any step). Candidates are taken in rounds: ``k`` at
first, then as many as are still missing, so that no round can overshoot and the set is exactly
that of the sequence, however the work is batched. A rejected candidate counts like a repeated one.
Where ``2k > n`` the complement is drawn instead, which is uniform as well.

Random float keys with a top-k would be shorter and wrong: float32 keys collide at image sizes, and
ties favour positions.

Symbols: ``B`` draws, ``n`` positions, ``k`` retained. numpy on the CPU (sorting rows of int32 is
fastest there), the same integers by torch on other devices.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.sampling import streams

# Bytes of mask and numbers of candidates that one round works on: both stay within a core's cache.
_CHUNK_POSITIONS = 1 << 20
_CHUNK_CANDIDATES = 1 << 15


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
    keys: torch.Tensor, n: int, k: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """:func:`uniform_masks` on the device of ``keys`` (int64 bit patterns), the same subsets."""
    size = len(keys)
    mask = torch.zeros((size, n + 2), dtype=torch.bool, device=keys.device)
    values = _first_distinct_torch(keys, n, torch.minimum(k, n - k))
    # Column n + 1 catches the unused places of shorter rows.
    mask = mask.scatter_(1, values, True)[:, :n]
    mask = mask ^ (2 * k > n)[:, None]
    if size == 0 or not bool((k == k[0]).all()):
        return mask, None
    if 2 * int(k[0]) <= n:
        return mask, values
    return mask, mask.nonzero()[:, 1].reshape(size, int(k[0]))


def _first_distinct_torch(keys: torch.Tensor, n: int, k: torch.Tensor) -> torch.Tensor:
    """:func:`_first_distinct` in torch: int64 (B, max k)."""
    width = int(k.max()) if len(k) else 0
    values = streams.candidates_torch(keys, width, n)
    if width == 0:
        return values
    unused = torch.arange(width, device=keys.device) >= k[:, None]
    values = values.masked_fill(unused, n + 1)
    taken = k.clone()
    active = torch.arange(len(keys), device=keys.device)
    work = values
    while True:
        work = work.sort(dim=1).values
        values[active] = work
        missing = work == n
        missing[:, 1:] |= (work[:, 1:] == work[:, :-1]) & (work[:, 1:] <= n)
        row, column = missing.nonzero(as_tuple=True)
        if not len(row):
            return values
        counts = missing.sum(dim=1)
        rank = torch.arange(len(row), device=keys.device) - (counts.cumsum(0) - counts)[row]
        source = active[row]
        work[row, column] = streams.candidates_at_torch(keys[source], taken[source] + rank, n)
        taken[active] += counts
        unfinished = counts > 0
        active, work = active[unfinished], work[unfinished]
