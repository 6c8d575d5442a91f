"""The grid of attack budgets, and the threshold of each for a sample's scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack, ThreatKind, threat_kind
from mmcert.theory.schemes import Scheme, round_up

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Thresholds:
    """What votes must exceed at each of ``G`` budgets, for one scheme; rounded up, at most 1.

    Args:
        t: Thresholds for ``p_y``, float64 ``(G,)``.
        m: Margins for ``p_y - p_l``, float64 ``(G,)``.
        exact: Margins as exact rationals.
    """

    t: FloatArray
    m: FloatArray
    exact: tuple[Fraction, ...]


@dataclass(frozen=True)
class Grid:
    """Attack budgets that are evaluated together.

    Args:
        budgets: Modality -> ``r``; every budget names every modality.
        kinds: Modality -> threat kind.
    """

    budgets: tuple[Mapping[str, int], ...]
    kinds: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.budgets)

    @cached_property
    def zero(self) -> int | None:
        """The position of the budget without attack, or None."""
        for index, budget in enumerate(self.budgets):
            if not any(budget.values()):
                return index
        return None

    @cached_property
    def _known(self) -> dict[Scheme, Thresholds]:
        return {}

    def thresholds(self, scheme: Scheme) -> Thresholds:
        """The thresholds of every budget under ``scheme``, exact, then rounded up once."""
        if scheme not in self._known:
            self._known[scheme] = self._thresholds(scheme)
        return self._known[scheme]

    def _thresholds(self, scheme: Scheme) -> Thresholds:
        margins = tuple(scheme.margin(Attack(budget, self.kinds)) for budget in self.budgets)
        unique = {margin: (round_up((1 + margin) / 2), round_up(margin)) for margin in set(margins)}
        pairs = np.array([unique[margin] for margin in margins]).reshape(-1, 2)
        t, m = pairs.T.copy()
        t.setflags(write=False)
        m.setflags(write=False)
        return Thresholds(t, m, margins)

    def with_zero(self) -> Grid:
        """The same grid with the budget without attack, at the end where it was not in it."""
        if self.zero is not None:
            return self
        none = dict.fromkeys(self.kinds, 0)
        return Grid((*self.budgets, none), self.kinds)


def make_grid(
    budgets: Sequence[Mapping[str, int]],
    kinds: Mapping[str, str] | str,
    modalities: Sequence[str],
) -> Grid:
    """A grid over known modalities.

    Args:
        budgets: Budgets; a modality that one does not name is not attacked there.
        kinds: Threat kind per modality, or one for all.
        modalities: The modalities of the votes.

    Raises:
        ConfigError: For an empty grid, an unknown modality or kind, or a budget that is no count.
    """
    if not budgets:
        raise ConfigError("the threat has no budget; set threat.grid or threat.budgets.")
    full: list[Mapping[str, int]] = []
    for budget in budgets:
        if not isinstance(budget, Mapping):
            raise ConfigError(
                f"a budget maps each modality to a count, e.g. rgb: 5, not {budget!r}."
            )
        unknown_modality(budget, modalities, "the budget")
        Attack(dict(budget))  # refuses what is no count
        full.append({name: budget.get(name, 0) for name in modalities})
    unique = list({tuple(budget.values()): budget for budget in full}.values())
    return Grid(tuple(unique), kinds_of(kinds, modalities))


def kinds_of(kinds: Mapping[str, str] | str, modalities: Sequence[str]) -> dict[str, str]:
    """The threat kind of every modality (modification where none is stated).

    Raises:
        ConfigError: For an unknown modality or kind.
    """
    if isinstance(kinds, str):
        return {name: threat_kind(kinds).value for name in modalities}
    unknown_modality(kinds, modalities, "threat.kind")
    return {
        name: threat_kind(kinds.get(name, ThreatKind.MODIFICATION)).value for name in modalities
    }


def unknown_modality(named: Mapping[str, object], modalities: Sequence[str], where: str) -> None:
    """Refuse names that are no modality.

    Raises:
        ConfigError: Naming them and the known ones.
    """
    unknown = sorted(str(name) for name in named if name not in modalities)
    if unknown:
        raise ConfigError(
            f"{where} names {', '.join(unknown)}, but the modalities are {', '.join(modalities)}; "
            f"use these names."
        )
