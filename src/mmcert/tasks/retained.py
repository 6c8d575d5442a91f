"""How many elements training retains, where one checkpoint is to serve many counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmcert.errors import ConfigError


@dataclass(frozen=True)
class RetainedRange:
    """Retained counts that vary for each modality on its own: totals and splits.

    Args:
        low: Smallest multiple of a modality's count of certification.
        high: Largest; between them the logarithm is uniform.
        empty: Chance of each modality to retain nothing; never all of them.
    """

    low: float
    high: float
    empty: float

    @classmethod
    def from_config(cls, section: Mapping[str, Any] | None) -> RetainedRange | None:
        """The range of ``task.retained``; None where it is null.

        Raises:
            ConfigError: For an unknown key, or values out of range.
        """
        if section is None:
            return None
        unknown = sorted(set(section) - {"range", "empty"})
        if unknown:
            raise ConfigError(f"task.retained.{unknown[0]} is no key; it has range, empty.")
        low, high = (float(value) for value in section.get("range") or (0.125, 2.0))
        if not 0 < low <= 1 <= high or not math.isfinite(high):
            raise ConfigError(
                f"task.retained.range={[low, high]} must be [lo, hi] with 0 < lo <= 1 <= hi: "
                f"training has to cover the counts of certification."
            )
        empty = float(section.get("empty") or 0.0)
        if not 0 <= empty < 1:
            raise ConfigError(f"task.retained.empty={empty} must lie in [0, 1).")
        return cls(low, high, empty)

    def factors(self, names: Sequence[str]) -> dict[str, float]:
        """A multiple of the count of each modality, by the global generator of torch."""
        bounds = math.log(self.low), math.log(self.high)
        values = torch.empty(len(names)).uniform_(*bounds).exp()
        absent = torch.rand(len(names)) < self.empty
        while absent.all():
            absent = torch.rand(len(names)) < self.empty
        return dict(zip(names, torch.where(absent, 0.0, values).tolist(), strict=True))
