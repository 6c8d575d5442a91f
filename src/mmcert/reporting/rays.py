"""Rays through a grid of budgets: ``r = s * direction``, the budgets that one curve shows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mmcert.errors import ConfigError
from mmcert.reporting.runs import Budget


@dataclass(frozen=True)
class Ray:
    """The budgets of a grid that are multiples of one direction, nearest first.

    Args:
        names: Modalities, in the order of the budgets.
        direction: Coprime non-negative integers, e.g. ``(1, 2)``.
        budgets: The budgets on it, the zero budget included where the grid has it.
    """

    names: tuple[str, ...]
    direction: Budget
    budgets: tuple[Budget, ...]

    @property
    def axis(self) -> int:
        """The modality that the horizontal axis counts: the first that is attacked."""
        return next(index for index, step in enumerate(self.direction) if step)

    @property
    def steps(self) -> list[int]:
        """``r`` of the axis modality at each budget."""
        return [budget[self.axis] for budget in self.budgets]

    @property
    def text(self) -> str:
        """The ray as an equation, e.g. ``r_depth = 2 r_rgb``."""
        unit = self.direction[self.axis]
        others = []
        for index, (name, step) in enumerate(zip(self.names, self.direction, strict=True)):
            if index == self.axis:
                continue
            base = f"r_{self.names[self.axis]}"
            if step == 0:
                others.append(f"r_{name} = 0")
            elif step % unit == 0:
                factor = "" if step == unit else f"{step // unit} "
                others.append(f"r_{name} = {factor}{base}")
            else:
                others.append(f"r_{name} = {step}/{unit} {base}")
        return ", ".join(others)


def primitive(vector: Sequence[int]) -> Budget:
    """The coprime direction of a non-zero vector.

    >>> primitive((5, 10))
    (1, 2)
    """
    divisor = math.gcd(*vector)
    return tuple(value // divisor for value in vector)


def _along(grid: Collection[Budget], direction: Budget) -> tuple[Budget, ...]:
    found = [b for b in grid if not any(b) or primitive(b) == direction]
    return tuple(sorted(found, key=sum))


def find_ray(
    grid: Collection[Budget], names: Sequence[str], wanted: Mapping[str, int] | None = None
) -> Ray:
    """The ray along ``wanted``, else the one that the grid was laid out for.

    Without ``wanted``: the direction that most budgets share; among equals the one that ends in
    the far corner of the grid, then one that attacks every modality.

    Raises:
        ConfigError: Where no budget but zero lies on ``wanted``, or it is no direction.
    """
    if wanted is not None:
        direction = _wanted_direction(wanted, names)
        budgets = _along(grid, direction)
        if not any(any(budget) for budget in budgets):
            raise ConfigError(
                f"ray={dict(wanted)}: no evaluated budget lies on it; choose another ray, or "
                f"evaluate with budgets along it (threat.grid=... or threat.budgets=...)."
            )
        return Ray(tuple(names), direction, budgets)
    counts: dict[Budget, int] = {}
    for budget in grid:
        if any(budget):
            direction = primitive(budget)
            counts[direction] = counts.get(direction, 0) + 1
    if not counts:  # no attack was evaluated: a point, not a curve
        return Ray(tuple(names), (1,) * len(names), tuple(grid))
    corner_vector = [max(budget[i] for budget in grid) for i in range(len(names))]
    corner = primitive(corner_vector)
    best = max(
        counts,
        key=lambda d: (all(d), counts[d], d == corner, [-step for step in d]),
    )
    return Ray(tuple(names), best, _along(grid, best))


def _wanted_direction(wanted: Mapping[str, int], names: Sequence[str]) -> Budget:
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise ConfigError(f"ray: unknown modality '{unknown[0]}'; these runs have {list(names)}.")
    values = [wanted.get(name, 0) for name in names]
    if any(isinstance(v, bool) or not isinstance(v, int) or v < 0 for v in values):
        raise ConfigError(f"ray={dict(wanted)}: steps must be integers of at least 0.")
    if not any(values):
        raise ConfigError(f"ray={dict(wanted)}: at least one modality must be attacked.")
    return primitive(values)
