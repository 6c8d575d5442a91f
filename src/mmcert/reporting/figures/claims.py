"""Robust, stable, deployed, abstained: four readings of the same votes, one panel per run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mmcert.reporting.figures.curves import axis_label
from mmcert.reporting.figures.style import (
    BLUE,
    GREEN,
    PURPLE,
    fit_scale,
    look,
    new_figure,
    plain,
)
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Result, Run

#: claim -> (metrics to draw, the first that is there; label; look)
# Thick below thin, so that lines which coincide are all seen.
_LINES: dict[str, tuple[tuple[str, ...], str, dict[str, Any]]] = {
    "robust": (
        ("certified_accuracy", "certified_pixel_accuracy"),
        "robust: keeps the true label",
        {"color": BLUE, "marker": "o", "linestyle": "-", "linewidth": 3.6, "markersize": 6.5},
    ),
    "stable": (
        ("stable_rate",),
        "stable: keeps its label",
        {"color": GREEN, "marker": "^", "linestyle": "-", "linewidth": 2.1, "markersize": 5.0},
    ),
    "deployed": (
        ("certified_accuracy", "certified_pixel_accuracy"),
        "deployed: its label is kept, and true",
        {"color": PURPLE, "marker": "D", "linestyle": "--", "linewidth": 1.0, "markersize": 3.2},
    ),
}


def claim_results(run: Run, key: tuple[str, ...]) -> dict[str, Result]:
    """The results that differ from ``key`` in their claim alone, by claim."""
    return {
        result.claim: result
        for result in run.results
        if result.claim in _LINES
        and (result.key[0], *result.key[2:]) == (key[0], *key[2:])
        and _metric(result) is not None
    }


def _metric(result: Result) -> str | None:
    return next((name for name in _LINES[result.claim][0] if name in result.metrics), None)


def claims_figure(runs: Sequence[Run], key: tuple[str, ...], ray: Ray) -> Figure:
    """Share of the elements along the ray under each claim, and the share that abstains."""
    with matplotlib.rc_context(look()):
        columns = min(3, len(runs))
        rows = -(-len(runs) // columns)
        figure = new_figure(max(5.6, 3.5 * columns), 2.9 * rows + 0.6)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel().tolist()
        for axes, run in zip(grid, runs, strict=False):
            results = claim_results(run, key)
            for claim, (_, label, style) in _LINES.items():
                result = results.get(claim)
                metric = None if result is None else _metric(result)
                if result is None or metric is None:
                    continue
                values = [result.value(budget, metric) for budget in ray.budgets]
                axes.plot(
                    ray.steps,
                    [math.nan if value is None else value for value in values],
                    drawstyle="steps-pre",
                    label=label,
                    clip_on=False,
                    zorder=3,
                    **style,
                )
            _abstained(axes, list(results.values()), ray)
            axes.set_title(plain(run.label), loc="left")
            axes.set_ylim(0, 1)
            axes.set_xlim(left=0)
            fit_scale(axes, ray.steps)
        for axes in grid[len(runs) :]:
            axes.set_axis_off()
        grid[0].set_ylabel("share, rounded down")
        figure.supxlabel(axis_label(ray), fontsize=9)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _abstained(axes: matplotlib.axes.Axes, results: Sequence[Result], ray: Ray) -> None:
    """The share that is not certified even at budget 0: one number, whatever the budget."""
    for result in results:
        value = result.value(ray.budgets[0], "abstain_rate") if ray.budgets else None
        if value is not None:
            label = "abstains: not certified even without an attack"
            axes.axhline(value, color="#777777", linestyle=":", linewidth=1.4, label=label)
            return
