"""Modalities: how many basic elements there are, and how many of them a draw retains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from mmcert.errors import ConfigError


@dataclass(frozen=True)
class Modality:
    """One modality of one sample.

    Args:
        name: Its name in configurations, files and budgets, e.g. ``rgb``.
        n: Basic elements in the sample, at least 1.
        k: Elements that a draw retains, ``0 <= k <= n``. 0 means that the modality is unused.
        element: What one basic element is, e.g. ``pixel (all channels)``; certificates repeat it.
        modification_only: Why no element can be added or deleted, see :class:`InputSpec`; empty
            where it can.

    Raises:
        ConfigError: Where ``n`` or ``k`` is out of range.
    """

    name: str
    n: int
    k: int
    element: str = "element"
    modification_only: str = ""

    def __post_init__(self) -> None:
        for field in ("n", "k"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int):
                raise ConfigError(
                    f"modality '{self.name}': {field} must be an integer, not {value!r}."
                )
        if self.n < 1:
            raise ConfigError(f"modality '{self.name}': n must be at least 1, not {self.n}.")
        if self.k < 0:
            raise ConfigError(f"modality '{self.name}': k must be at least 0, not {self.k}.")
        if self.k > self.n:
            raise ConfigError(
                f"modality '{self.name}': k = {self.k} elements cannot be retained of "
                f"n = {self.n}; "
                f"set scheme.k.{self.name} to at most {self.n}."
            )


def retained_count(ratio: float | str, n: int) -> int:
    """``k = floor(ratio * n)``, exact in the decimal digits of ``ratio``.

    A ratio is the same ``k`` before and after the attack for modification only (method section 1).

    Raises:
        ConfigError: For a ratio that is not a number in [0, 1].

    >>> retained_count(0.0193, 465750), retained_count(0.00214, 465750)
    (8988, 996)
    """
    try:
        exact = Fraction(str(ratio))
    except ValueError:
        raise ConfigError(f"a retained ratio must be a number in [0, 1], not {ratio!r}.") from None
    if not 0 <= exact <= 1:
        raise ConfigError(f"a retained ratio must lie in [0, 1], not {ratio}.")
    return (exact.numerator * n) // exact.denominator


def modalities_from(
    n: Mapping[str, int],
    *,
    k: Mapping[str, int] | None = None,
    ratio: Mapping[str, float] | None = None,
    elements: Mapping[str, str] | None = None,
    modification_only: Mapping[str, str] | None = None,
) -> tuple[Modality, ...]:
    """The modalities of a sample with ``n`` elements each, from counts or from ratios.

    Args:
        n: Elements per modality; its order is the order of the modalities.
        k: Retained elements per modality. Exactly one of ``k`` and ``ratio`` is given.
        ratio: Retained ratio per modality (modification only).
        elements: What an element is, per modality.
        modification_only: Why no element can be added or deleted, per modality where it is so.

    Raises:
        ConfigError: Where the names differ, or not exactly one of ``k`` and ``ratio`` is given.
    """
    if (k is None) == (ratio is None):
        raise ConfigError("set exactly one of scheme.k (counts) and scheme.ratio (ratios of n).")
    given = k if k is not None else ratio
    assert given is not None
    unknown = [name for name in given if name not in n]
    missing = [name for name in n if name not in given]
    if unknown or missing:
        key = "scheme.k" if k is not None else "scheme.ratio"
        raise ConfigError(
            f"{key} names {sorted(given)}, the data has the modalities {list(n)}; "
            f"name each of them once (0 retains nothing)."
        )
    counts = (
        {name: k[name] for name in n}
        if k is not None
        else {name: retained_count(given[name], n[name]) for name in n}
    )
    described, fixed = elements or {}, modification_only or {}
    return tuple(
        Modality(name, n[name], counts[name], described.get(name, "element"), fixed.get(name, ""))
        for name in n
    )


#: Why pixels can only be modified.
ON_A_GRID = "pixels have their places on a grid, and none can be added or deleted"


@dataclass(frozen=True)
class InputSpec:
    """How the tensor of one modality is made of basic elements.

    Args:
        shape: Shape of one sample's tensor without a batch axis; None where it varies.
        element_axes: The axes that count elements; the others belong to each element.
        element: What one element is, e.g. ``pixel (all channels)``.
        modification_only: Why no element can be added or deleted: elements are not a sequence, or
            which of them there are was decided by others (a window placed by the duration, a
            uniform choice, padding). Empty where it can; the schemes refuse every other threat.

    >>> InputSpec((3, None, None), (1, 2), "pixel (all channels)").count((3, 375, 1242))
    465750
    """

    shape: tuple[int | None, ...]
    element_axes: tuple[int, ...]
    element: str
    modification_only: str = ""

    def count(self, shape: tuple[int, ...]) -> int:
        """``n`` of a tensor of that shape (element axes in C order make the element index)."""
        return math.prod(shape[axis] for axis in self.element_axes)
