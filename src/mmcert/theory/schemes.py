"""The three sub-sampling schemes: what a draw retains, and what an attack leaves in common.

A scheme ties sampling and certificate together: the sampler takes its subset sizes from
:meth:`Scheme.pools`, the certificate its margin from the same pools.

Symbols: ``S`` sub-samples possible before the attack, ``S'`` after it, ``O`` common to both;
``m = 1 + S'/S - 2 O/S`` the margin, ``t = (1 + m)/2`` the threshold, ``delta = 1 - O/S``.
Sources: MMCert (Wang, Fu, Zou, Jia, CVPR 2024), Theorem 1; randomized ablation (Levine, Feizi,
AAAI 2020). The condition is tight for black-box base models.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

from mmcert.errors import ConfigError, UnsoundError
from mmcert.theory.attacks import Attack, ThreatKind
from mmcert.theory.modality import Modality, modalities_from


@lru_cache(maxsize=65536)
def binomial_ratio(n_from: int, n_to: int, k: int) -> Fraction:
    """``C(n_to, k) / C(n_from, k)`` exactly, without ever forming a binomial coefficient.

    0 where ``n_to < k``. Needs ``n_from >= k``.

    >>> binomial_ratio(10, 8, 3) == Fraction(math.comb(8, 3), math.comb(10, 3))
    True
    """
    if n_from < k:
        raise ValueError(f"C({n_from}, {k}) = 0 cannot be divided by")
    if n_to < k:
        return Fraction(0)
    if k == 0 or n_to == n_from:
        return Fraction(1)
    low, high = min(n_from, n_to), max(n_from, n_to)
    # C(low, k) / C(high, k) is a product of high - low factors or of k factors: take the shorter.
    if high - low <= k:
        ratio = Fraction(math.perm(high - k, high - low), math.perm(high, high - low))
    else:
        ratio = Fraction(math.perm(low, k), math.perm(high, k))
    return ratio if n_to < n_from else 1 / ratio


def sizes_after(n: int, r: int, kind: str) -> tuple[int, int]:
    """``(n', e)`` of a modality: elements after the worst attack, and those common with before.

    Full use of every budget is the worst case wherever ``m < 1`` (method, section 2). Edits cost
    what modification costs: a deletion turned into a modification keeps ``O`` and raises ``S'``;
    turning a modification into an addition raises ``m`` only where ``m >= 1`` already. Once every
    element is modified, the rest of an edits budget can only add: that matters in a pool, where
    other modalities still have common elements.

    >>> [sizes_after(10, 3, kind) for kind in ("modification", "addition", "deletion")]
    [(10, 7), (13, 10), (7, 7)]
    """
    if kind == ThreatKind.ADDITION:
        return n + r, n
    lost = min(r, n)
    if kind == ThreatKind.DELETION:
        return n - lost, n - lost
    added = r - lost if kind == ThreatKind.EDITS else 0
    return n + added, n - lost


def round_up(value: Fraction) -> float:
    """The smallest float that is not below ``value``."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def round_down(value: Fraction) -> float:
    """The largest float that is not above ``value``."""
    nearest = float(value)
    return nearest if Fraction(nearest) <= value else math.nextafter(nearest, -math.inf)


@dataclass(frozen=True)
class Pool:
    """``k`` positions drawn uniformly without replacement out of ``n``.

    Args:
        names: The modalities that it serves.
        n: Positions in the pool.
        k: Positions retained.
        shared: False: the pool is the concatenation of the modalities in the order of ``names``.
            True: each modality retains the same positions (equal grids).
    """

    names: tuple[str, ...]
    n: int
    k: int
    shared: bool = False


@dataclass(frozen=True)
class Scheme(ABC):
    """A way to draw sub-samples of one sample, and the certificate that belongs to it.

    Args:
        modalities: The modalities of the sample with their ``n`` and ``k``.
    """

    modalities: tuple[Modality, ...]

    #: Its name in configurations, files and JSON.
    name: ClassVar[str]

    def __post_init__(self) -> None:
        names = [modality.name for modality in self.modalities]
        if not names:
            raise ConfigError("a scheme needs at least one modality.")
        if len(set(names)) < len(names):
            raise ConfigError(f"a scheme names a modality twice: {names}.")

    @classmethod
    def from_counts(
        cls,
        n: Mapping[str, int],
        k: Mapping[str, int],
        elements: Mapping[str, str] | None = None,
    ) -> Scheme:
        """The scheme for ``n`` elements of which ``k`` are asked to be retained, per modality."""
        return cls(modalities_from(n, k=k, elements=elements))

    @abstractmethod
    def pools(self) -> tuple[Pool, ...]:
        """What the sampler draws: one independent uniform subset per pool."""

    def modality(self, name: str) -> Modality:
        """The modality of that name.

        Raises:
            ConfigError: Where there is none.
        """
        for modality in self.modalities:
            if modality.name == name:
                return modality
        known = ", ".join(modality.name for modality in self.modalities)
        raise ConfigError(f"unknown modality '{name}'; this scheme has {known}.")

    def check(self, attack: Attack) -> None:
        """Refuse an unknown modality, and a threat that its elements are not there for.

        Raises:
            ConfigError: With the known names.
            UnsoundError: For another kind than modification of a modality whose elements can only
                be modified, with the reason.
        """
        for name in attack.budget:
            reason, kind = self.modality(name).modification_only, attack.kind(name)
            if reason and kind is not ThreatKind.MODIFICATION:
                raise UnsoundError(
                    f"{kind} of modality '{name}' cannot be certified, only modification: {reason}."
                )
        if not isinstance(attack.kinds, str):
            for name in attack.kinds:
                self.modality(name)

    def ratios(self, attack: Attack) -> tuple[Fraction, Fraction] | None:
        """``(S'/S, O/S)`` exactly, at full use of the budget: the worst case wherever ``m < 1``.

        None where that leaves fewer elements than a draw retains: the attacked ensemble is then
        undefined.
        """
        self.check(attack)
        after, common = Fraction(1), Fraction(1)
        for pool in self.pools():
            if pool.k == 0:
                continue
            n_after = n_common = pool.n
            for name in pool.names:
                n = self.modality(name).n
                after_i, common_i = sizes_after(n, attack.r(name), attack.kind(name))
                n_after += after_i - n
                n_common = max(n_common - (n - common_i), 0)
            if n_after < pool.k:
                return None
            after *= binomial_ratio(pool.n, n_after, pool.k)
            common *= binomial_ratio(pool.n, n_common, pool.k)
        return after, common

    def margin(self, attack: Attack) -> Fraction:
        """``min(m, 1)``: ``y`` keeps winning iff ``p_y - p_l > m`` for every rival ``l``.

        1 means that no votes can certify. Exact.
        """
        ratios = self.ratios(attack)
        if ratios is None:
            return Fraction(1)
        after, common = ratios
        return min(1 + after - 2 * common, Fraction(1))

    def threshold(self, attack: Attack) -> Fraction:
        """``t = (1 + m)/2``: ``y`` keeps winning if ``p_y > t``, whatever the rivals. Exact."""
        return (1 + self.margin(attack)) / 2

    def delta(self, attack: Attack) -> Fraction:
        """``delta = 1 - O/S``, the share of sub-samples that the attack reaches. Exact."""
        ratios = self.ratios(attack)
        return Fraction(1) if ratios is None else 1 - ratios[1]


class IndependentSubsampling(Scheme):
    """MMCert: each modality keeps ``k_i`` of its ``n_i`` elements, independently of the others.

    >>> kitti = IndependentSubsampling.from_counts(
    ...     {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996})
    >>> [round(float(kitti.delta(Attack({"rgb": r, "depth": 2 * r}))), 4) for r in (1, 5, 10, 16)]
    [0.0235, 0.1121, 0.2115, 0.3163]
    """

    name: ClassVar[str] = "mmcert"

    def pools(self) -> tuple[Pool, ...]:
        """One pool per modality."""
        return tuple(Pool((m.name,), m.n, m.k) for m in self.modalities)


class PooledSubsampling(Scheme):
    """Randomized ablation: all elements form one pool, of which ``sum k_i`` are retained."""

    name: ClassVar[str] = "randomized_ablation"

    def pools(self) -> tuple[Pool, ...]:
        """The concatenation of all modalities."""
        names = tuple(m.name for m in self.modalities)
        return (Pool(names, sum(m.n for m in self.modalities), sum(m.k for m in self.modalities)),)


class AlignedSubsampling(Scheme):
    """Randomized ablation as the public KITTI code samples it: one mask shared by all modalities.

    Keeps ``floor(sum k_i / T)`` positions in each of the ``T`` modalities, which need equal grids.
    Modification only.
    """

    name: ClassVar[str] = "randomized_ablation_aligned"

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {m.name: m.n for m in self.modalities}
        if len(set(sizes.values())) > 1:
            raise ConfigError(
                f"randomized_ablation_aligned shares one mask and needs the same n in every "
                f"modality, not {sizes}; use randomized_ablation."
            )
        # The k of the modalities are the sampler's own, not those that were asked for.
        k = sum(m.k for m in self.modalities) // len(self.modalities)
        used = tuple(replace(modality, k=k) for modality in self.modalities)
        object.__setattr__(self, "modalities", used)

    def pools(self) -> tuple[Pool, ...]:
        """One pool of positions that every modality shares."""
        n, k = self.modalities[0].n, self.modalities[0].k
        return (Pool(tuple(m.name for m in self.modalities), n, k, shared=True),)

    def check(self, attack: Attack) -> None:
        """Refuse an unknown modality, and every kind but modification.

        Raises:
            ConfigError: For an unknown modality.
            UnsoundError: For another kind than modification.
        """
        super().check(attack)
        for name in attack.budget:
            if attack.kind(name) != ThreatKind.MODIFICATION:
                raise UnsoundError(
                    f"randomized_ablation_aligned certifies modification only: "
                    f"'{attack.kind(name)}' of '{name}' shifts positions in one modality and "
                    f"the shared mask no longer retains common elements."
                )


SCHEMES: dict[str, type[Scheme]] = {
    scheme.name: scheme
    for scheme in (IndependentSubsampling, PooledSubsampling, AlignedSubsampling)
}


def make_scheme(
    name: str,
    n: Mapping[str, int],
    *,
    k: Mapping[str, int] | None = None,
    ratio: Mapping[str, float] | None = None,
    elements: Mapping[str, str] | None = None,
    modification_only: Mapping[str, str] | None = None,
) -> Scheme:
    """The scheme of that name for a sample with ``n`` elements per modality.

    Raises:
        ConfigError: For an unknown name, or ``k``, ``ratio`` that do not fit ``n``.
    """
    if name not in SCHEMES:
        raise ConfigError(f"unknown scheme {name!r}; choose one of {', '.join(SCHEMES)}.")
    return SCHEMES[name](
        modalities_from(n, k=k, ratio=ratio, elements=elements, modification_only=modification_only)
    )
