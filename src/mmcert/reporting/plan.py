"""A plan: what a setting can certify at best, as a document (plan.json) and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from rich.table import Table
from rich.text import Text

from mmcert.errors import ConfigError, UnsoundError
from mmcert.theory.attacks import Attack
from mmcert.theory.planning import (
    certifiable,
    draws_needed,
    largest_budget,
    largest_step,
    last_step,
)
from mmcert.theory.schemes import SCHEMES, IndependentSubsampling, Scheme, make_scheme, round_up
from mmcert.theory.splits import best_split, split_note

#: Numbers of draws that a plan shows besides the one that is set.
LADDER = (100, 200, 500, 1000, 10000)
#: Wanted budgets that are listed one by one in the terminal; plan.json has all.
MOST_LISTED = 12

Options = Mapping[str, Mapping[str, Any] | None]


def make_plan(
    scheme: str,
    n: Mapping[str, int],
    k: Mapping[str, int] | None,
    *,
    ratio: Mapping[str, int],
    total: int | None,
    floors: Mapping[str, int],
    draws: int,
    alpha: float,
    P: int,
    statistics: Options,
    kinds: Mapping[str, str] | str = "modification",
    budgets: Sequence[Mapping[str, int]] = (),
) -> dict[str, Any]:
    """Everything that unanimous votes can do with these settings; plain data.

    Args:
        scheme: Name of the scheme.
        n: Elements of one sample, per modality.
        k: Retained elements per modality; None: the best split of ``total``.
        ratio: Ratio of the budgets in whole numbers, e.g. ``{"rgb": 1, "depth": 2}``.
        total: Retained elements to split; None: the sum of ``k``.
        floors: The fewest retained elements per modality that the base model needs.
        draws: N.
        alpha: Failure probability of a family.
        P: Elements in a family.
        statistics: Option -> settings.
        kinds: Threat kind per modality, or one for all.
        budgets: Wanted budgets.

    Raises:
        ConfigError: Where the settings do not fit each other.
    """
    if total is None:
        if k is None:
            raise ConfigError(
                "set scheme.k (or scheme.ratio) to plan for these counts, or total= (and floors=) "
                "to have a total split over the modalities."
            )
        total = sum(k.values())
    names = list(statistics)
    split = best_split(
        n,
        total,
        ratio,
        floors,
        N=draws,
        alpha=alpha,
        P=P,
        statistics=names[0],
        kinds=kinds,
        options=_options(statistics, names[0]),
    )
    used = dict(split if k is None else k)
    made = make_scheme(scheme, n, k=used)
    document: dict[str, Any] = {
        "schema": 1,
        "settings": {
            "scheme": scheme,
            "n": dict(n),
            "k": used,
            "ratio": dict(ratio),
            "floors": dict(floors),
            "draws": draws,
            "alpha": alpha,
            "family": P,
            "kinds": kinds if isinstance(kinds, str) else dict(kinds),
            "statistics": names,
        },
        "reach": _reach(made, ratio, draws, alpha, P, statistics, kinds),
        "schemes": _schemes(n, used, ratio, draws, alpha, P, statistics, kinds),
        "split": {
            "total": total,
            "for": names[0],
            "k": split,
            "largest": _largest(
                IndependentSubsampling.from_counts(n, split),
                ratio,
                draws,
                alpha,
                P,
                names[0],
                kinds,
                _options(statistics, names[0]),
            ),
            "note": split_note(split, floors),
        },
        "budgets": _wanted(made, budgets, draws, alpha, P, statistics, kinds),
    }
    return document


def _options(statistics: Options, name: str) -> dict[str, Any]:
    return {key: value for key, value in (statistics[name] or {}).items() if value is not None}


def _largest(
    scheme: Scheme,
    ratio: Mapping[str, int],
    draws: int,
    alpha: float,
    P: int,
    name: str,
    kinds: Mapping[str, str] | str,
    options: Mapping[str, Any],
) -> dict[str, int] | None:
    """The largest certifiable budget along the ratio; None where not even no attack is."""
    step = largest_budget(scheme, ratio, draws, alpha, P, name, kinds, options)
    return None if step is None else _budget(ratio, step)


def _budget(ratio: Mapping[str, int], step: int) -> dict[str, int]:
    return {name: step * share for name, share in ratio.items()}


def _reach(
    scheme: Scheme,
    ratio: Mapping[str, int],
    draws: int,
    alpha: float,
    P: int,
    statistics: Options,
    kinds: Mapping[str, str] | str,
) -> dict[str, Any]:
    rows = [
        {
            "draws": N,
            "largest": {
                name: _largest(scheme, ratio, N, alpha, P, name, kinds, _options(statistics, name))
                for name in statistics
            },
        }
        for N in sorted({*LADDER, draws})
    ]

    def open_to_votes(step: int) -> bool:
        return scheme.margin(Attack(_budget(ratio, step), kinds)) < 1

    wall = largest_step(open_to_votes, last_step(sum(m.n for m in scheme.modalities), ratio))
    return {"rows": rows, "wall": _budget(ratio, wall)}


def _schemes(
    n: Mapping[str, int],
    k: Mapping[str, int],
    ratio: Mapping[str, int],
    draws: int,
    alpha: float,
    P: int,
    statistics: Options,
    kinds: Mapping[str, str] | str,
) -> list[dict[str, Any]]:
    """Every scheme at the same retained counts; those that do not apply are left out."""
    rows = []
    for name in SCHEMES:
        try:
            scheme = make_scheme(name, n, k=k)
            largest = {
                option: _largest(
                    scheme, ratio, draws, alpha, P, option, kinds, _options(statistics, option)
                )
                for option in statistics
            }
        except (ConfigError, UnsoundError):
            continue
        rows.append({"scheme": name, "largest": largest})
    return rows


def _wanted(
    scheme: Scheme,
    budgets: Sequence[Mapping[str, int]],
    draws: int,
    alpha: float,
    P: int,
    statistics: Options,
    kinds: Mapping[str, str] | str,
) -> list[dict[str, Any]]:
    if not budgets:
        return []
    within = {
        name: certifiable(
            scheme,
            budgets,
            kinds,
            N=draws,
            alpha=alpha,
            P=P,
            statistics=name,
            options=_options(statistics, name),
        )
        for name in statistics
    }
    needed: dict[tuple[str, Fraction], int | None] = {}
    rows = []
    for index, budget in enumerate(budgets):
        attack = Attack(dict(budget), kinds)
        margin = scheme.margin(attack)
        for name in statistics:
            if (name, margin) not in needed:
                needed[name, margin] = draws_needed(
                    scheme, attack, alpha, P, name, _options(statistics, name)
                )
        rows.append(
            {
                "budget": dict(budget),
                "threshold": round_up((1 + margin) / 2),
                "certifiable": {name: within[name][index] for name in statistics},
                "draws_needed": {name: needed[name, margin] for name in statistics},
            }
        )
    return rows


def plan_tables(plan: Mapping[str, Any]) -> list[Table]:
    """The plan for the terminal."""
    settings = plan["settings"]
    names = settings["statistics"]
    reach = _table(
        f"Largest budget along {_ratio_text(settings['ratio'])} that unanimous votes certify "
        f"({settings['scheme']}, k = {_counts(settings['k'])})",
        ["draws N", *names],
    )
    for row in plan["reach"]["rows"]:
        mark = "  (set)" if row["draws"] == settings["draws"] else ""
        cells = [_shown(row["largest"][name]) for name in names]
        _add_row(reach, f"{row['draws']:,}{mark}", *cells)
    reach.add_section()
    _add_row(reach, "any number", *[_shown(plan["reach"]["wall"])] * len(names))
    schemes = _table(
        f"The schemes at the same retained counts, N = {settings['draws']:,}", ["scheme", *names]
    )
    for row in plan["schemes"]:
        _add_row(schemes, row["scheme"], *[_shown(row["largest"][name]) for name in names])
    tables = [reach, schemes]
    if plan["budgets"]:
        tables.append(_wanted_table(plan))
    return tables


def _wanted_table(plan: Mapping[str, Any]) -> Table:
    names = plan["settings"]["statistics"]
    rows = plan["budgets"]
    counts = "; ".join(
        f"{name}: {sum(row['certifiable'][name] for row in rows)} of {len(rows)} certifiable"
        for name in names
    )
    table = _table(
        f"Wanted budgets, N = {plan['settings']['draws']:,} ({counts})",
        ["budget", "votes needed", *(f"draws needed, {name}" for name in names)],
    )
    # Evenly spread over the thresholds, so that a grid of hundreds fits on a screen.
    ordered = sorted(rows, key=lambda row: float(row["threshold"]))
    shown = min(MOST_LISTED, len(ordered))
    picks = {round(i * (len(ordered) - 1) / max(1, shown - 1)) for i in range(shown)}
    for row in (ordered[i] for i in sorted(picks)):
        needed = [row["draws_needed"][name] for name in names]
        _add_row(
            table,
            _shown(row["budget"]),
            "none suffice" if row["threshold"] >= 1 else f"more than {row['threshold']:.4f}",
            *["no number" if one is None else f"{one:,}" for one in needed],
        )
    return table


def plan_text(plan: Mapping[str, Any]) -> str:
    """What the plan says, in one paragraph."""
    settings, split = plan["settings"], plan["split"]
    goal = f"along {_ratio_text(settings['ratio'])} under {split['for']}"
    P = settings["family"]
    sentences = [
        f"Families of {P:,} {'element' if P == 1 else 'elements'} at alpha = "
        f"{settings['alpha']:g}.",
        f"Of {split['total']:,} retained elements, the split {_counts(split['k'])} reaches "
        f"furthest {goal} ({_shown(split['largest'])}): {split['note']}.",
    ]
    if split["k"] != settings["k"] and sum(settings["k"].values()) == split["total"]:
        here = next(
            row["largest"] for row in plan["reach"]["rows"] if row["draws"] == settings["draws"]
        )
        mine = here[split["for"]]
        reached = "as far" if mine == split["largest"] else _shown(mine)
        sentences.append(f"The k that is set ({_counts(settings['k'])}) reaches {reached}.")
    sentences.append(
        "These are limits of the certificate: what a base model reaches depends on how many of its "
        "votes agree."
    )
    return " ".join(sentences)


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table


def _add_row(table: Table, *cells: str) -> None:
    table.add_row(*[Text(cell) for cell in cells])  # to the letter: brackets are no markup


def _shown(budget: Mapping[str, int] | None) -> str:
    return "not even 0" if budget is None else _counts(budget)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in counts.items())


def _ratio_text(ratio: Mapping[str, int]) -> str:
    return " : ".join(f"{value} {name}" for name, value in ratio.items())
