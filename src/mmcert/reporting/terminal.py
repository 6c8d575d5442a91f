"""The comparison in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmcert.reporting.rays import Ray
from mmcert.reporting.rounding import rounded_down, rounded_up
from mmcert.reporting.runs import Budget, Run
from mmcert.reporting.wording import metric_name, result_title, short_guarantee
from mmcert.saying import say

#: Metrics where less is better: shown rounded up, so that neither direction flatters.
LESS_IS_BETTER = frozenset({"abstain_rate"})


def shown(value: float | None, metric: str, digits: int = 3) -> str:
    """A metric for people, rounded against us."""
    return (rounded_up if metric in LESS_IS_BETTER else rounded_down)(value, digits)


def best_of(values: Sequence[float | None], metric: str) -> set[int]:
    """Positions of the best value as shown; none where all agree or fewer than two are defined."""
    seen = [None if value is None else float(shown(value, metric)) for value in values]
    defined = [value for value in seen if value is not None]
    if len(defined) < 2 or min(defined) == max(defined):
        return set()
    best = min(defined) if metric in LESS_IS_BETTER else max(defined)
    return {index for index, value in enumerate(seen) if value == best}


def comparison_table(
    runs: Sequence[Run], key: tuple[str, ...], metrics: Sequence[str], ray: Ray
) -> Table:
    """One row per budget along the ray, one column per metric and run; ``*`` marks the best."""
    result = runs[0].result(key)
    assert result is not None
    table = Table(
        title=Text(f"{result_title(result)}\n{short_guarantee(result)}"),
        caption=Text(
            "certified numbers, rounded down" + ("; * the highest" if len(runs) > 1 else "")
        ),
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
    )
    for name in ray.names:
        table.add_column(Text(f"r_{name}"), justify="right", no_wrap=True)
    for metric in metrics:
        for run in runs:
            table.add_column(Text(f"{metric_name(metric)}\n{run.label}"), justify="right")
    for budget in ray.budgets:
        table.add_row(*[f"{r}" for r in budget], *_cells(runs, key, metrics, budget))
    return table


def _cells(
    runs: Sequence[Run], key: tuple[str, ...], metrics: Sequence[str], budget: Budget
) -> list[Text]:
    cells = []
    for metric in metrics:
        values = [
            None if (result := run.result(key)) is None else result.value(budget, metric)
            for run in runs
        ]
        best = best_of(values, metric)
        for index, value in enumerate(values):
            mark = "*" if index in best else " "
            cells.append(Text(shown(value, metric) + mark, style="bold" if mark == "*" else ""))
    return cells


def print_report(
    console: Console, tables: Sequence[Table], warnings: Sequence[str], closing: str
) -> None:
    """Warnings first, then the tables, then one paragraph."""
    for warning in warnings:
        say(console, f"Warning: {warning}", "yellow")
    for table in tables:
        console.print(table)
        console.print()
    say(console, closing)
