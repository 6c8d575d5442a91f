"""The sub-samples of a scheme: which elements of each modality a draw retains.

A draw is a function of (seed, sample id, stream, pool, d) and of the pool's ``n`` and ``k``, which
come from the scheme that also gives the certificate its margin.

Symbols: ``B`` draws, ``n`` elements of a modality, ``k`` of them retained.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmcert.errors import ConfigError
from mmcert.sampling.distinct import uniform_masks, uniform_masks_torch, upload
from mmcert.sampling.streams import Words, draw_keys, stream_key
from mmcert.theory.schemes import Pool, Scheme

_MAX_POSITIONS = 1 << 31
_MAX_DRAW = 1 << 63


@dataclass(frozen=True)
class Subset:
    """What ``B`` draws retain of one modality; read only, as modalities may share it.

    Attributes:
        mask: True where the element is retained, bool (B, n).
        indices: The retained elements in ascending order, int64 (B, k); None where the draws
            retain different numbers (a pool over several modalities).
        complete: On a GPU, bool (): False where a draw ran out of candidates (less likely than
            ``2**-80``), and labels of it must not be counted. None: nothing to look at.
    """

    mask: torch.Tensor
    indices: torch.Tensor | None = None
    complete: torch.Tensor | None = None


def draw_subsets(
    scheme: Scheme,
    *,
    seed: int,
    sample_id: str,
    stream: str,
    draws: Sequence[int],
    device: torch.device | str = "cpu",
) -> dict[str, Subset]:
    """The sub-samples ``draws`` of one sample.

    Exactly uniform over all subsets of each pool, independent over pools, draws, samples, streams.
    Whichever draws are asked for together, draw ``d`` is the same.

    Args:
        scheme: The modalities of the sample with ``n`` and ``k``.
        seed: Seed of the run, ``0 <= seed < 2**64``.
        sample_id: Id of the sample.
        stream: ``test``, ``select`` or ``train``.
        draws: Draw numbers, ``0 <= d < 2**63``; usually a range.
        device: Where the tensors are wanted; the subsets are the same on every device.

    Returns:
        A :class:`Subset` per modality, in the order of the scheme.

    Raises:
        ConfigError: Where an argument is out of its range.

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> scheme = IndependentSubsampling.from_counts({"rgb": 10, "depth": 6}, {"rgb": 3, "depth": 1})
    >>> subsets = draw_subsets(scheme, seed=0, sample_id="a", stream="test", draws=range(2))
    >>> subsets["rgb"].indices.tolist(), subsets["depth"].indices.tolist()
    ([[1, 3, 7], [2, 3, 6]], [[2], [1]])
    """
    numbers = _draw_numbers(draws)
    subsets: dict[str, Subset] = {}
    for pool in scheme.pools():
        key = np.array([stream_key(seed, sample_id, stream, pool.names)], np.uint64)
        keys = draw_keys(key, numbers)
        subsets |= subsets_of_pool(scheme, pool, keys, np.full(len(keys), pool.k), device)
    return {modality.name: subsets[modality.name] for modality in scheme.modalities}


def subsets_of_pool(
    scheme: Scheme,
    pool: Pool,
    keys: Words,
    k: NDArray[np.int64],
    device: torch.device | str = "cpu",
) -> dict[str, Subset]:
    """One subset of the pool per draw key, handed out to the modalities that it serves.

    Args:
        scheme: The scheme that the pool belongs to.
        pool: The pool; its ``k`` is not used.
        keys: Draw keys, uint64 (B,).
        k: Positions that each draw retains, int64 (B,).
        device: Where the tensors are wanted.

    Raises:
        ConfigError: Where the pool has ``2**31`` positions or more.
    """
    if pool.n >= _MAX_POSITIONS:
        raise ConfigError(
            f"modalities {', '.join(pool.names)}: {pool.n} elements are more than the sampler's "
            f"{_MAX_POSITIONS - 1}; use larger elements."
        )
    device = torch.device(device)
    if device.type == "cpu":
        array, positions = uniform_masks(keys, pool.n, k)
        mask = torch.from_numpy(array)
        indices = None if positions is None else torch.from_numpy(positions)
        complete = None
    else:
        device_keys = upload(keys.view(np.int64), device)
        mask, indices, complete = uniform_masks_torch(device_keys, pool.n, k)
    if pool.shared or len(pool.names) == 1:
        return dict.fromkeys(pool.names, Subset(mask, indices, complete))
    sizes = [scheme.modality(name).n for name in pool.names]
    parts = mask.split(sizes, dim=1)
    return {
        name: Subset(part.contiguous(), complete=complete)
        for name, part in zip(pool.names, parts, strict=True)
    }


def _draw_numbers(draws: Sequence[int]) -> NDArray[np.int64]:
    """The draw numbers as int64 (B,), checked."""
    try:
        # A range is monotone: its ends bound it, and a long one need not be walked in Python.
        numbers = [operator.index(d) for d in draws] if not isinstance(draws, range) else draws
    except TypeError:
        raise ConfigError(f"draw numbers must be integers, not {draws!r}.") from None
    ends = (numbers[:1], numbers[-1:]) if isinstance(numbers, range) else (numbers,)
    for number in (d for part in ends for d in part):
        if not 0 <= number < _MAX_DRAW:
            raise ConfigError(f"draw numbers must lie in [0, 2**63), not {number}.")
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64)
    return np.array(numbers, dtype=np.int64)
