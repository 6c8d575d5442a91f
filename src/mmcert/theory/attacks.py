"""Attacks: what an attacker may do to each modality, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mmcert.errors import ConfigError


class ThreatKind(StrEnum):
    """What happens to an attacked element; ``edits`` is any mix of the other three."""

    MODIFICATION = "modification"
    ADDITION = "addition"
    DELETION = "deletion"
    EDITS = "edits"


def threat_kind(value: str) -> ThreatKind:
    """The kind of that name.

    Raises:
        ConfigError: For any other name.
    """
    try:
        return ThreatKind(value)
    except ValueError:
        names = ", ".join(kind.value for kind in ThreatKind)
        raise ConfigError(f"unknown threat kind {value!r}; choose one of {names}.") from None


@dataclass(frozen=True)
class Attack:
    """At most ``budget[i]`` elements of modality ``i`` are changed, in the way ``kinds[i]`` says.

    Args:
        budget: ``r_i`` per modality name; a modality that is not named is not attacked.
        kinds: Threat kind per modality, or one for all. Default: modification.

    Raises:
        ConfigError: For a negative or fractional budget, or an unknown kind. Names of modalities
            are checked by the scheme, which knows them.

    >>> Attack({"rgb": 5, "depth": 10}).kind("rgb").value
    'modification'
    """

    budget: Mapping[str, int]
    kinds: Mapping[str, str] | str = field(default=ThreatKind.MODIFICATION)

    def __post_init__(self) -> None:
        for name, r in self.budget.items():
            if isinstance(r, bool) or not isinstance(r, int) or r < 0:
                raise ConfigError(
                    f"the budget of modality '{name}' must be an integer of at least 0, not {r!r}."
                )
        if isinstance(self.kinds, str):
            threat_kind(self.kinds)
        else:
            for kind in self.kinds.values():
                threat_kind(kind)

    def kind(self, name: str) -> ThreatKind:
        """The threat kind of modality ``name`` (modification where none is stated)."""
        if isinstance(self.kinds, str):
            return threat_kind(self.kinds)
        return threat_kind(self.kinds.get(name, ThreatKind.MODIFICATION))

    def r(self, name: str) -> int:
        """The budget of modality ``name``; 0 where it is not attacked."""
        return self.budget.get(name, 0)
