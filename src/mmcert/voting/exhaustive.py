"""All sub-samples of a scheme, in one fixed order: votes without sampling error.

Sub-samples are numbered ``0 .. S-1``: mixed radix over the pools (the last one changes fastest),
and within a pool the subsets of ``k`` out of ``n`` in colexicographic order, which is the order of
their numbers ``sum_i C(c_i, i)`` for positions ``c_1 < .. < c_k`` (the combinatorial number
system; Knuth, The Art of Computer Programming 4A, 7.2.1.3, Theorem L).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from mmcert.errors import ConfigError
from mmcert.sampling.distinct import upload
from mmcert.sampling.subsets import Subset
from mmcert.theory.exhaustive import sub_samples
from mmcert.theory.schemes import Pool, Scheme

#: Sub-samples that are hashed at a time.
_HASHED_AT_ONCE = 1 << 16


def check_limit(scheme: Scheme, limit: int, sample_id: str) -> int:
    """``S``, where it is at most ``limit``.

    Raises:
        ConfigError: Naming the sample and both numbers.
    """
    total = sub_samples(scheme)
    if total > limit:
        raise ConfigError(
            f"sample '{sample_id}' has {total:.4g} sub-samples, more than voting.limit={limit}; "
            f"retain fewer elements, raise voting.limit, or use voting=fixed."
            if total < 1e300
            else f"sample '{sample_id}' has more than 1e300 sub-samples; use voting=fixed."
        )
    return total


def colex_positions(n: int, k: int, numbers: np.ndarray) -> np.ndarray:
    """The subsets of ``k`` out of ``n`` with the given colexicographic numbers.

    Args:
        n: Positions.
        k: Positions in a subset.
        numbers: int64 ``(B,)`` in ``[0, C(n, k))``.

    Returns:
        int64 ``(B, k)``, ascending.

    >>> colex_positions(4, 2, np.arange(6)).tolist()
    [[0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]
    """
    left = np.array(numbers, dtype=np.int64)
    positions = np.empty((len(left), k), dtype=np.int64)
    for i in range(k, 0, -1):
        # C(c, i) for c = 0 .. n-1; beyond the largest number that occurs only its size matters.
        table = np.array([min(math.comb(c, i), 1 << 62) for c in range(n)], dtype=np.int64)
        chosen = np.searchsorted(table, left, side="right") - 1
        positions[:, i - 1] = chosen
        left -= table[chosen]
    return positions


def pool_positions(scheme: Scheme, numbers: Sequence[int]) -> list[np.ndarray]:
    """The retained positions of each pool, int64 ``(B, k)``, of the numbered sub-samples."""
    left = np.fromiter(numbers, np.int64, len(numbers))
    found: list[np.ndarray] = []
    for pool in reversed(scheme.pools()):
        size = math.comb(pool.n, pool.k)
        found.append(colex_positions(pool.n, pool.k, left % size))
        left = left // size
    return found[::-1]


def numbered_subsets(
    scheme: Scheme, numbers: Sequence[int], device: torch.device | str = "cpu"
) -> dict[str, Subset]:
    """The numbered sub-samples, per modality, as :func:`mmcert.sampling.subsets.draw_subsets`.

    Numbers of ``S`` and beyond start again at 0 (they pad the last block).
    """
    total = sub_samples(scheme)
    chosen = pool_positions(scheme, [number % total for number in numbers])
    subsets: dict[str, Subset] = {}
    for pool, positions in zip(scheme.pools(), chosen, strict=True):
        subsets |= _subsets_of(scheme, pool, positions, torch.device(device))
    return {modality.name: subsets[modality.name] for modality in scheme.modalities}


def _subsets_of(
    scheme: Scheme, pool: Pool, positions: np.ndarray, device: torch.device
) -> dict[str, Subset]:
    array = np.zeros((len(positions), pool.n), dtype=bool)
    np.put_along_axis(array, positions, True, axis=1)
    mask = upload(array, device)
    if pool.shared or len(pool.names) == 1:
        return dict.fromkeys(pool.names, Subset(mask, upload(positions, device)))
    parts = mask.split([scheme.modality(name).n for name in pool.names], dim=1)
    return {name: Subset(part.contiguous()) for name, part in zip(pool.names, parts, strict=True)}


def enumeration_hash(schemes: Iterable[Scheme]) -> str:
    """SHA-256 of the ordered enumerations.

    For each different scheme, in the order of their ``n``: its ``n`` and ``k`` per pool, then all
    sub-samples in order, each as the ascending positions of pool after pool; every number as a
    little-endian 64-bit integer.
    """
    digest = hashlib.sha256()
    different = {tuple((p.n, p.k) for p in s.pools()): s for s in schemes}
    for sizes in sorted(different):
        scheme = different[sizes]
        digest.update(np.array(sizes, dtype="<i8").tobytes())
        total = sub_samples(scheme)
        for first in range(0, total, _HASHED_AT_ONCE):
            numbers = range(first, min(first + _HASHED_AT_ONCE, total))
            rows = np.concatenate(pool_positions(scheme, numbers), axis=1)
            digest.update(rows.astype("<i8").tobytes())
    return digest.hexdigest()
