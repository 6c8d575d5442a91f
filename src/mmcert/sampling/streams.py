"""Counter-based random streams: every random word is a function of (key, draw, counter).

Key: 64 bits of BLAKE2b over (seed, sample id, stream, pool). Draw key: the SplitMix64 output
function of the mixed key at counter ``d``. Word ``w`` of a draw: the same function of the draw key
at counter ``w``. Nothing is stepped, so the words of a draw do not depend on batch size, processes
or the order of work. A word holds two 32-bit *halves*, the low one first; each half is one
candidate for a bounded integer (Lemire's multiplication, exact by rejection).

The same integers in numpy (uint64) and torch (int64 with wrapping multiplication), on any device;
golden values in the tests pin them.

Sources: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), with
the output function of Stafford's variant 13; Lemire, "Fast random integer generation in an
interval" (ACM TOMACS 2019), Algorithm 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.errors import ConfigError

#: Independent streams of a sample: voting, selection of a label, training.
STREAMS = ("test", "select", "train")

HALF_BITS = 32
_HALF_MASK = (1 << HALF_BITS) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLY_1 = 0xBF58476D1CE4E5B9
_MULTIPLY_2 = 0x94D049BB133111EB
_PERSON = b"mmcert-subset-v1"  # at most 16 bytes; a change of the draws changes this name

Words = NDArray[np.uint64]


def stream_key(
    seed: int, sample_id: str, stream: str, pool: Sequence[str], worker: Sequence[int] = ()
) -> int:
    """The 64-bit key of one pool of one sample in one stream.

    Args:
        seed: The seed of the run, ``0 <= seed < 2**64``.
        sample_id: The id of the sample.
        stream: One of :data:`STREAMS`.
        pool: The names of the modalities that the pool serves.
        worker: Integers that tell apart processes which must draw differently (training ranks).

    Raises:
        ConfigError: For a seed out of range, an empty sample id or an unknown stream.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ConfigError(f"seed must be an integer with 0 <= seed < 2**64, not {seed!r}.")
    if not isinstance(sample_id, str) or not sample_id:
        raise ConfigError(f"a sample id must be a non-empty string, not {sample_id!r}.")
    if stream not in STREAMS:
        raise ConfigError(f"unknown stream {stream!r}; choose one of {', '.join(STREAMS)}.")
    digest = hashlib.blake2b(digest_size=8, person=_PERSON)
    parts = (str(seed), sample_id, stream, str(len(pool)), *pool, *(str(w) for w in worker))
    for part in parts:
        encoded = part.encode()
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "little")


def mix(z: Words) -> Words:
    """The SplitMix64 output function, in place on a uint64 array of any shape."""
    shifted = z >> np.uint64(30)
    z ^= shifted
    z *= np.uint64(_MULTIPLY_1)
    np.right_shift(z, np.uint64(27), out=shifted)
    z ^= shifted
    z *= np.uint64(_MULTIPLY_2)
    np.right_shift(z, np.uint64(31), out=shifted)
    z ^= shifted
    return z


def draw_keys(keys: Words, draws: NDArray[np.int64]) -> Words:
    """The key of each draw.

    Args:
        keys: Stream keys, uint64, broadcast against ``draws``.
        draws: Draw numbers ``d >= 0``, int64 (B,).

    Returns:
        uint64 (B,).

    >>> key = np.array([stream_key(0, "a", "test", ["rgb"])], np.uint64)
    >>> [hex(word) for word in draw_keys(key, np.array([0, 1]))]
    ['0x245373b8a16fb656', '0xc9613eb1f0b05430']
    """
    counters = draws.astype(np.uint64) + np.uint64(1)
    return mix(mix(keys.copy()) + counters * np.uint64(_GOLDEN))


def candidates(keys: Words, count: int, n: int) -> NDArray[np.int32]:
    """The first ``count`` candidates of every draw: int32 (B, count), ``n`` marks a rejected one.

    Args:
        keys: Draw keys, uint64 (B,).
        count: Candidates per draw.
        n: Bound, ``1 <= n < 2**31``.
    """
    words = (count + 1) // 2
    counters = np.arange(1, words + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    mixed = mix(keys[:, None] + counters)  # (B, words)
    pairs = np.empty((len(keys), words, 2), np.int32)
    bounded(mixed & np.uint64(_HALF_MASK), n, out=pairs[..., 0])
    mixed >>= np.uint64(HALF_BITS)
    bounded(mixed, n, out=pairs[..., 1])
    return pairs.reshape(len(keys), 2 * words)[:, :count]


def candidates_at(keys: Words, positions: NDArray[np.int64], n: int) -> NDArray[np.int32]:
    """Candidate number ``positions[i]`` of the draw with key ``keys[i]``: int32 (M,)."""
    at = positions.astype(np.uint64)
    mixed = mix(keys + ((at >> np.uint64(1)) + np.uint64(1)) * np.uint64(_GOLDEN))
    mixed >>= (at & np.uint64(1)) * np.uint64(HALF_BITS)
    mixed &= np.uint64(_HALF_MASK)
    return bounded(mixed, n, out=np.empty(len(keys), np.int32))


def bounded(
    half: Words, n: int, *, out: NDArray[np.int32], bits: int = HALF_BITS
) -> NDArray[np.int32]:
    """Uniform integers in ``[0, n)``, exact: a half that would bias them gives ``n`` (rejected).

    Exactly ``2**bits mod n`` of the ``2**bits`` halves are rejected, and each value has exactly
    ``floor(2**bits / n)`` halves.

    Args:
        half: uint64 of any shape, values below ``2**bits``; overwritten.
        n: Bound, ``1 <= n < 2**31`` and ``n <= 2**bits``.
        out: int32 of the same shape, receives the result.
        bits: Width of a half; 32 except where a test wants to see rejections.

    Returns:
        ``out``.
    """
    half *= np.uint64(n)
    np.right_shift(half, np.uint64(bits), out=out, casting="unsafe")
    threshold = (1 << bits) % n
    if threshold:
        half &= np.uint64((1 << bits) - 1)
        rejected = half < np.uint64(threshold)
        if rejected.any():
            out[rejected] = n
    return out


def _signed(value: int) -> int:
    """The int64 with the same bits as the unsigned 64-bit ``value``."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift_right(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift of int64 (torch shifts arithmetically)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix_torch(z: torch.Tensor) -> torch.Tensor:
    """:func:`mix` on int64 bit patterns, on any device."""
    z = (z ^ _shift_right(z, 30)) * _signed(_MULTIPLY_1)
    z = (z ^ _shift_right(z, 27)) * _signed(_MULTIPLY_2)
    return z ^ _shift_right(z, 31)


def candidates_torch(keys: torch.Tensor, count: int, n: int) -> torch.Tensor:
    """:func:`candidates` on int64 bit patterns: int64 (B, count)."""
    words = (count + 1) // 2
    counters = torch.arange(1, words + 1, dtype=torch.int64, device=keys.device)
    mixed = mix_torch(keys[:, None] + counters * _signed(_GOLDEN))
    halves = torch.stack((mixed & _HALF_MASK, _shift_right(mixed, HALF_BITS)), dim=-1)
    return bounded_torch(halves.reshape(len(keys), 2 * words)[:, :count], n)


def candidates_at_torch(keys: torch.Tensor, positions: torch.Tensor, n: int) -> torch.Tensor:
    """:func:`candidates_at` on int64 bit patterns: int64 (M,)."""
    mixed = mix_torch(keys + ((positions >> 1) + 1) * _signed(_GOLDEN))
    high = (positions & 1).bool()
    half = torch.where(high, _shift_right(mixed, HALF_BITS), mixed & _HALF_MASK)
    return bounded_torch(half, n)


def bounded_torch(half: torch.Tensor, n: int, bits: int = HALF_BITS) -> torch.Tensor:
    """:func:`bounded` in torch: int64 of the same shape, ``n`` marks a rejected half."""
    product = half * n  # below 2**63 for n < 2**31
    rejected = (product & ((1 << bits) - 1)) < (1 << bits) % n
    return torch.where(rejected, n, product >> bits)
