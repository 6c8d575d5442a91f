"""A certified metric against the budget, along a ray."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmcert.reporting.figures.style import fit_scale, look, new_figure, plain, run_styles
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Result, Run
from mmcert.reporting.wording import metric_name, result_title, short_guarantee


def axis_label(ray: Ray) -> str:
    """What the horizontal axis counts.

    Example: ``attacked elements of rgb, r_rgb   (r_depth = 2 r_rgb)``.
    """
    name = ray.names[ray.axis]
    equation = f"   ({ray_label(ray)})" if ray.text else ""
    return f"attacked elements of {plain(name)}, {_math(f'r_{name}')}{equation}"


def ray_label(ray: Ray) -> str:
    """The equation of the ray, set as mathematics."""
    return ", ".join(_math_equation(part) for part in ray.text.split(", "))


def _math(symbol: str) -> str:
    """``r_rgb`` as an r with a subscript; a name that TeX would trip over stays as it is."""
    name = symbol.removeprefix("r_")
    if not name.replace("_", "").isalnum():
        return plain(symbol)
    escaped = name.replace("_", r"\_")
    return rf"$r_{{\mathrm{{{escaped}}}}}$"


def _math_equation(equation: str) -> str:
    return " ".join(_math(part) if part.startswith("r_") else part for part in equation.split(" "))


def draw_curves(
    axes: Axes, runs: Sequence[Run], key: tuple[str, ...], metric: str, ray: Ray
) -> None:
    """One line per run. Steps hold to the left: what is certified at r is certified below r."""
    for run, style in zip(runs, run_styles(runs), strict=True):
        result = run.result(key)
        if result is None:
            continue
        points = [
            (step, math.nan if value is None else value)
            for step, value in (
                (budget[ray.axis], result.value(budget, metric)) for budget in ray.budgets
            )
        ]
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            drawstyle="steps-pre",
            label=plain(run.label),
            linewidth=1.5,
            markersize=4.5,
            markeredgecolor="white",
            markeredgewidth=0.5,
            clip_on=False,
            zorder=3,
            **style,
        )
    axes.set_ylim(0, 1)
    axes.set_xlim(left=0)
    axes.set_ylabel(metric_name(metric))
    fit_scale(axes, ray.steps)


def headline_figure(
    runs: Sequence[Run], keys: Sequence[tuple[str, ...]], metric: str, ray: Ray
) -> Figure:
    """The main metric along the ray: one panel per statistics option, one line per run."""
    with matplotlib.rc_context(look()):
        columns = 2 if len(keys) == 4 else min(3, len(keys))
        rows = -(-len(keys) // columns)
        figure = new_figure(max(4.6, 3.5 * columns), 3.1 * rows + 0.35)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for position, axes in enumerate(grid.flat):
            if position >= len(keys):
                axes.set_axis_off()
                continue
            result = _first(runs, keys[position])
            draw_curves(axes, runs, keys[position], metric, ray)
            _titles(axes, result)
            if position % columns:
                axes.set_ylabel("")
        figure.supxlabel(axis_label(ray), fontsize=9)
        _legend(figure, grid.flat[0], len(runs))
    return figure


def metrics_figure(
    runs: Sequence[Run], key: tuple[str, ...], metrics: Sequence[str], ray: Ray
) -> Figure:
    """Every metric of one statistics option along the ray."""
    with matplotlib.rc_context(look()):
        columns = min(3 if len(metrics) != 4 else 4, len(metrics))
        rows = -(-len(metrics) // columns)
        figure = new_figure(max(4.6, 3.0 * columns), 2.6 * rows + 0.6)
        grid = figure.subplots(rows, columns, squeeze=False)
        for position, axes in enumerate(grid.flat):
            if position < len(metrics):
                draw_curves(axes, runs, key, metrics[position], ray)
            else:
                axes.set_axis_off()
        result = _first(runs, key)
        figure.supxlabel(axis_label(ray), fontsize=9)
        # The title belongs to the legend: the layout lets a figure's title and a legend collide.
        _legend(
            figure, grid.flat[0], len(runs), f"{result_title(result)}   [{short_guarantee(result)}]"
        )
    return figure


def _first(runs: Sequence[Run], key: tuple[str, ...]) -> Result:
    result = runs[0].result(key)
    assert result is not None
    return result


def _titles(axes: Axes, result: Result) -> None:
    axes.set_title(f"{result_title(result)}\n", loc="left")
    axes.text(
        0, 1.015, short_guarantee(result), transform=axes.transAxes, fontsize=7.5, color="#555555"
    )


def _legend(figure: Figure, axes: Axes, runs: int, title: str | None = None) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(3, runs),
        title=title,
        title_fontsize=9.5,
    )
