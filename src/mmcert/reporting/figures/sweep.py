"""Certified metrics against the setting that a sweep varied."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from mmcert.reporting.comparison import budget_text
from mmcert.reporting.figures.style import look, new_figure, plain, scheme_styles
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Budget, Run
from mmcert.reporting.sweep import Sweep
from mmcert.reporting.wording import metric_name, result_title, scheme_name, short_guarantee


def shown_budgets(ray: Ray) -> list[Budget]:
    """No attack, a quarter and half of the largest attack on the ray: fixed before the votes."""
    last = len(ray.budgets) - 1
    return [ray.budgets[i] for i in sorted({0, round(last / 4), round(last / 2)})]


def sweep_figure(
    runs: Sequence[Run], key: tuple[str, ...], metrics: Sequence[str], ray: Ray, sweep: Sweep
) -> Figure:
    """One column per metric, one row per budget, one line per scheme."""
    budgets = shown_budgets(ray)
    schemes = scheme_styles([run.scheme.name for run in runs])
    with matplotlib.rc_context(look()):
        figure = new_figure(max(4.6, 2.5 * len(metrics)), 2.1 * len(budgets) + 0.8)
        grid = figure.subplots(len(budgets), len(metrics), squeeze=False, sharex=True, sharey=True)
        for row, budget in zip(grid, budgets, strict=True):
            for axes, metric in zip(row, metrics, strict=True):
                for name, style in schemes.items():
                    points = sorted(
                        (value, _value(run, key, budget, metric))
                        for run, value in zip(runs, sweep.values, strict=True)
                        if run.scheme.name == name
                    )
                    axes.plot(
                        [x for x, _ in points],
                        [y for _, y in points],
                        label=plain(scheme_name(name)),
                        linewidth=1.5,
                        markersize=4.5,
                        clip_on=False,
                        zorder=3,
                        **style,
                    )
                axes.set_ylim(0, 1)
            row[0].set_ylabel(plain(budget_text(ray.names, budget).replace(", ", "\n")))
        for axes, metric in zip(grid[0], metrics, strict=True):
            axes.set_title(metric_name(metric), loc="left")
        corner = grid[0][0]
        if sweep.logarithmic:
            corner.set_xscale("log")
        corner.set_xticks(sweep.settings, [f"{value:g}" for value in sweep.settings])
        corner.xaxis.set_minor_locator(NullLocator())
        corner.xaxis.set_minor_formatter(NullFormatter())
        figure.supxlabel(sweep.name, fontsize=9)
        result = runs[0].result(key)
        assert result is not None
        handles, labels = corner.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside upper center",
            ncols=len(schemes),
            title=f"{result_title(result)}   [{short_guarantee(result)}]",
            title_fontsize=9.5,
        )
    return figure


def _value(run: Run, key: tuple[str, ...], budget: Budget, metric: str) -> float:
    result = run.result(key)
    value = None if result is None else result.value(budget, metric)
    return math.nan if value is None else value
