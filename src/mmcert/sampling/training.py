"""Random ablation for training: the scheme's own sub-samples at varying retained counts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mmcert.errors import ConfigError
from mmcert.sampling.streams import draw_keys, stream_key
from mmcert.sampling.subsets import subsets_of_pool
from mmcert.theory.schemes import IndependentSubsampling, Scheme


def scaled(scheme: Scheme, factor: float) -> Scheme:
    """The same scheme with ``round(factor * k_i)`` retained elements, at most ``n_i``.

    Raises:
        ConfigError: For a factor that is negative or not finite.

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> scheme = IndependentSubsampling.from_counts({"rgb": 100}, {"rgb": 7})
    >>> [scaled(scheme, factor).modality("rgb").k for factor in (0.0, 0.5, 1.0, 20.0)]
    [0, 4, 7, 100]
    """
    if not math.isfinite(factor) or factor < 0:
        raise ConfigError(f"a retained factor must be finite and at least 0, not {factor}.")
    return type(scheme)(
        tuple(dataclasses.replace(m, k=min(m.n, round(factor * m.k))) for m in scheme.modalities)
    )


def with_ratios(scheme: Scheme, ratios: Sequence[float]) -> Scheme:
    """The same scheme with ``floor(ratio * n_i)`` retained elements, one ratio for each pool.

    Raises:
        ConfigError: For a ratio outside [0, 1].

    >>> from mmcert.theory.schemes import IndependentSubsampling
    >>> scheme = IndependentSubsampling.from_counts({"a": 100, "b": 60}, {"a": 1, "b": 1})
    >>> [with_ratios(scheme, (0.05, 0.1)).modality(name).k for name in ("a", "b")]
    [5, 6]
    """
    if any(not 0 <= ratio <= 1 for ratio in ratios):
        raise ConfigError(f"retained ratios must lie in [0, 1], not {list(ratios)}.")
    of = {
        name: ratio
        for pool, ratio in zip(scheme.pools(), ratios, strict=True)
        for name in pool.names
    }
    return type(scheme)(
        tuple(dataclasses.replace(m, k=int(of[m.name] * m.n)) for m in scheme.modalities)
    )


def split_counts(scheme: Scheme) -> dict[str, float]:
    """Retained elements of each modality in a draw, the mean where they share a pool.

    >>> from mmcert.theory.schemes import PooledSubsampling
    >>> split_counts(PooledSubsampling.from_counts({"a": 30, "b": 10}, {"a": 2, "b": 2}))
    {'a': 3.0, 'b': 1.0}
    """
    counts = {}
    for pool in scheme.pools():
        for name in pool.names:
            share = 1.0 if pool.shared else scheme.modality(name).n / pool.n
            counts[name] = pool.k * share
    return counts


def varied(scheme: Scheme, factors: Mapping[str, float]) -> Scheme:
    """A scheme that retains ``factors[i]`` times the counts of each modality, at least one element.

    Totals and splits vary freely, so modalities with a pool in common are drawn independently: with
    its split given, a draw from a pool is that. Modalities that share their *positions* keep doing
    so, and take the largest of their factors.

    Args:
        scheme: The scheme of certification.
        factors: Per modality; 0 retains nothing.

    Raises:
        ConfigError: For a factor that is negative or not finite.

    >>> from mmcert.theory.schemes import PooledSubsampling
    >>> scheme = PooledSubsampling.from_counts({"a": 30, "b": 10}, {"a": 2, "b": 2})
    >>> other = varied(scheme, {"a": 2.0, "b": 0.125})
    >>> [other.modality(name).k for name in ("a", "b")]
    [6, 1]
    """
    if any(not math.isfinite(factor) or factor < 0 for factor in factors.values()):
        raise ConfigError(f"retained factors must be finite and at least 0, not {dict(factors)}.")
    counts = split_counts(scheme)
    of = dict(factors)
    for pool in scheme.pools():
        if pool.shared:
            of |= dict.fromkeys(pool.names, max(factors[name] for name in pool.names))

    def k(name: str, n: int) -> int:
        asked = of[name] * counts[name]
        return min(n, max(1, round(asked))) if asked > 0 else 0

    shared = any(pool.shared for pool in scheme.pools())
    kind = type(scheme) if shared else IndependentSubsampling
    return kind(tuple(dataclasses.replace(m, k=k(m.name, m.n)) for m in scheme.modalities))


def masks_of_schemes(
    schemes: Sequence[Scheme],
    *,
    seed: int,
    sample_ids: Sequence[str],
    step: int,
    rank: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, torch.Tensor]:
    """Fresh masks for a batch of samples of one size.

    Sample ``b`` retains what ``schemes[b]`` retains: exactly its counts for independent
    sub-sampling, their hypergeometric split for a common pool.

    Args:
        schemes: The scheme of each sample; they differ in nothing but ``k``.
        seed: Seed of the run, ``0 <= seed < 2**64``.
        sample_ids: Ids of the ``B`` samples.
        step: Training step, ``0 <= step < 2**63``; each step draws anew.
        rank: Process number in distributed training; processes draw differently.
        device: Where the masks are wanted.

    Returns:
        bool (B, n) per modality.

    Raises:
        ConfigError: Where an argument is out of its range or the lengths differ.
    """
    if len(sample_ids) != len(schemes) or not schemes:
        raise ConfigError(
            f"{len(sample_ids)} sample ids and {len(schemes)} schemes; give one per sample."
        )
    if not 0 <= step < 1 << 63 or rank < 0:
        raise ConfigError(f"step {step} and rank {rank} must be at least 0.")
    first = schemes[0]
    steps = np.full(len(sample_ids), step, np.int64)
    masks: dict[str, torch.Tensor] = {}
    for position, pool in enumerate(first.pools()):
        keys = np.array(
            [stream_key(seed, name, "train", pool.names, [rank]) for name in sample_ids], np.uint64
        )
        k = np.array([scheme.pools()[position].k for scheme in schemes], np.int64)
        subsets = subsets_of_pool(first, pool, draw_keys(keys, steps), k, device)
        masks |= {name: subset.mask for name, subset in subsets.items()}
    return {modality.name: masks[modality.name] for modality in first.modalities}


def training_masks(
    scheme: Scheme,
    *,
    seed: int,
    sample_ids: Sequence[str],
    step: int,
    factors: Sequence[float],
    rank: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, torch.Tensor]:
    """Fresh masks for a batch of samples of one size.

    Sample ``b`` retains what the scheme with ``round(factors[b] * k_i)`` elements retains: exactly
    these counts for independent sub-sampling, their hypergeometric split for a common pool.

    Args:
        scheme: Modalities with ``n`` of these samples and the ``k`` of certification.
        seed: Seed of the run, ``0 <= seed < 2**64``.
        sample_ids: Ids of the ``B`` samples.
        step: Training step, ``0 <= step < 2**63``; each step draws anew.
        factors: Multiples of ``k`` to retain, one per sample.
        rank: Process number in distributed training; processes draw differently.
        device: Where the masks are wanted.

    Returns:
        bool (B, n) per modality.

    Raises:
        ConfigError: Where an argument is out of its range or the lengths differ.
    """
    if len(sample_ids) != len(factors):
        raise ConfigError(
            f"{len(sample_ids)} sample ids and {len(factors)} factors; give one factor per sample."
        )
    distinct = {factor: scaled(scheme, factor) for factor in set(factors)}
    return masks_of_schemes(
        [distinct[factor] for factor in factors],
        seed=seed,
        sample_ids=sample_ids,
        step=step,
        rank=rank,
        device=device,
    )
