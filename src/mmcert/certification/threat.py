"""The ``threat`` section: which budgets are asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmcert.certification.grid import kinds_of, make_grid, unknown_modality
from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.planning import largest_step, unanimous_margin
from mmcert.theory.schemes import AlignedSubsampling, Scheme

#: An automatic grid has at most so many levels per modality, and so many budgets.
MOST_LEVELS = 11
MOST_BUDGETS = 1331

KEYS = ("kind", "grid", "budgets")


def budgets_from(
    threat: Mapping[str, Any] | None,
    modalities: Sequence[str],
    *,
    scheme: Scheme | None = None,
    draws: int | None = None,
    alpha: float | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[list[dict[str, int]], dict[str, str]]:
    """Budgets and threat kinds of a ``threat`` section.

    A list of budgets wins over a grid; where there is neither, the grid is :func:`automatic_grid`.

    Args:
        threat: ``kind`` (one, or per modality), ``grid`` (modality -> list of budgets; all
            combinations) and ``budgets`` (list of modality -> budget). None: all automatic.
        modalities: The modalities of the data.
        scheme: Scheme of a typical sample (for the automatic grid).
        draws: Draws per element; None for exhaustive votes (for the automatic grid).
        alpha: Failure probability (for the automatic grid).
        say: Gets a line for the user, e.g. where both were given.

    Returns:
        Budgets (each names every modality) and the kind of every modality.

    Raises:
        ConfigError: For an unknown key, modality or kind, or a budget that is no count.
    """
    section = dict(threat or {})
    unknown = sorted(set(section) - set(KEYS))
    if unknown:
        raise ConfigError(f"threat has no setting {unknown[0]!r}; it knows {', '.join(KEYS)}.")
    kinds = kinds_of(section.get("kind") or "modification", modalities)
    grid, budgets = section.get("grid"), section.get("budgets")
    if budgets is not None:
        if grid is not None and say is not None:
            say("threat.budgets and threat.grid are both set; the list of budgets wins.")
        if not isinstance(budgets, Sequence) or isinstance(budgets, str):
            raise ConfigError(
                f"threat.budgets must be a list, e.g. [{{{modalities[0]}: 5}}], not {budgets!r}."
            )
        chosen = list(budgets)
    elif grid is not None:
        chosen = _product(grid, modalities)
    elif scheme is None or alpha is None:
        raise ConfigError("the threat has no budget; set threat.grid or threat.budgets.")
    else:
        chosen = automatic_grid(scheme, kinds, draws, alpha)
    checked = make_grid(chosen, kinds, modalities)
    return [dict(budget) for budget in checked.budgets], dict(checked.kinds)


def _product(grid: object, modalities: Sequence[str]) -> list[dict[str, int]]:
    if not isinstance(grid, Mapping) or not grid:
        raise ConfigError(
            f"threat.grid must map modalities to lists of budgets, "
            f"e.g. {{{modalities[0]}: [0, 5, 10]}}, not {grid!r}."
        )
    unknown_modality(grid, modalities, "threat.grid")
    levels = {}
    for name, values in grid.items():
        values = [values] if isinstance(values, int) else values
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ConfigError(f"threat.grid.{name} must be a list of budgets, not {values!r}.")
        levels[name] = list(values)
    return [dict(zip(levels, point, strict=True)) for point in itertools.product(*levels.values())]


def automatic_grid(
    scheme: Scheme, kinds: Mapping[str, str], draws: int | None, alpha: float
) -> list[dict[str, int]]:
    """From no attack to the largest budget of each modality that unanimous votes can certify.

    At most 11 levels per modality, evenly spread; a modality that a draw does not retain costs
    nothing and stays at 0.

    Args:
        scheme: Scheme of a typical sample.
        kinds: Threat kind per modality.
        draws: Draws per element; None for exhaustive votes, which certify any margin below 1.
        alpha: Failure probability of one element.
    """
    names = [modality.name for modality in scheme.modalities]
    most = MOST_LEVELS
    while most > 2 and most ** len(names) > MOST_BUDGETS:
        most -= 1
    levels = []
    for modality in scheme.modalities:
        top = 0
        used = isinstance(scheme, AlignedSubsampling) or any(
            modality.name in pool.names and pool.k > 0 for pool in scheme.pools()
        )
        if used:
            top = _reach(scheme, modality.name, kinds, draws, alpha)
        steps = min(most - 1, top)
        levels.append(sorted({round(top * i / steps) for i in range(steps + 1)} if steps else {0}))
    return [dict(zip(names, point, strict=True)) for point in itertools.product(*levels)]


def _reach(
    scheme: Scheme, name: str, kinds: Mapping[str, str], draws: int | None, alpha: float
) -> int:
    reach = None if draws is None else unanimous_margin(draws, alpha, 1, "binomial")

    def within(r: int) -> bool:
        margin = scheme.margin(Attack({name: r}, {name: kinds[name]}))
        return margin < 1 if reach is None else margin <= reach

    elements = sum(modality.n for modality in scheme.modalities)
    return largest_step(within, elements) if within(0) else 0
