"""The sampler of small pools as compiled code: candidate after candidate, without rounds.

Where a draw retains tens of hundreds of elements, numpy spends its time on rounds of short arrays,
and drawing takes a fifth of a vote on features. The same subsets, six times faster.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.sampling import streams

#: Pools of at most so many positions; larger ones are drawn beside a large network anyway.
LARGEST = 1 << 13
#: Fewer draws than these at a time are not worth two seconds of compiling.
FEWEST = 500

#: ``fill(keys, n, k, mask, indices)``.
Fill = Callable[[streams.Words, int, int, NDArray[np.bool_], NDArray[np.int64]], Any]

_GOLDEN, _LOW = np.uint64(streams._GOLDEN), np.uint64(streams._HALF_MASK)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(streams._MULTIPLY_1), np.uint64(streams._MULTIPLY_2)
_ONE, _SIX, _WORD_MASK = np.uint64(1), np.uint64(6), np.uint64(63)
# The place of the lowest bit of a word: Leiserson, Prokop, Randall, "Using de Bruijn sequences to
# index a 1 in a computer word" (1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACES = np.zeros(64, np.int64)
for _place in range(64):
    _PLACES[(0x03F79D71B4CB0A89 << _place) % (1 << 64) >> 58] = _place


def _fill(
    keys: streams.Words,
    n: int,
    k: int,
    mask: NDArray[np.bool_],
    indices: NDArray[np.int64],
) -> None:
    """The first ``k`` distinct candidates of each draw, as ``streams.candidates`` numbers them.

    Args:
        keys: Draw keys, uint64 (B,).
        n: Positions, ``1 <= n < 2**31``.
        k: Retained ones, ``0 <= k <= n / 2``.
        mask: bool (B, n), False everywhere; receives the subsets.
        indices: int64 (B, k), receives the positions, ascending.
    """
    size = np.uint64(n)
    threshold = np.uint64((1 << 32) % n)
    bits = np.zeros((n + 63) // 64, np.uint64)
    for b in range(len(keys)):
        found, counter = 0, np.uint64(0)
        bits[:] = np.uint64(0)
        while found < k:
            counter += _GOLDEN
            z = keys[b] + counter
            z = (z ^ (z >> np.uint64(30))) * _MULTIPLY_1
            z = (z ^ (z >> np.uint64(27))) * _MULTIPLY_2
            z = z ^ (z >> np.uint64(31))
            for half in (z & _LOW, z >> np.uint64(32)):
                product = half * size
                if (product & _LOW) < threshold or found == k:
                    continue
                value = product >> np.uint64(32)
                word, bit = value >> _SIX, _ONE << (value & _WORD_MASK)
                if not bits[word] & bit:
                    bits[word] |= bit
                    found += 1
        place = 0
        for word in range(len(bits)):
            left = bits[word]
            while left:
                lowest = left & (~left + _ONE)
                position = 64 * word + _PLACES[(lowest * _DE_BRUIJN) >> np.uint64(58)]
                mask[b, position] = True
                indices[b, place] = position
                place += 1
                left ^= lowest


@functools.lru_cache(maxsize=1)
def compiled() -> Fill | None:
    """:func:`_fill` compiled, which needs about two seconds once per process; None without numba.

    It lets other threads run. Nothing is cached on disk, so that no folder need be writable.
    """
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(nogil=True)(_fill)
