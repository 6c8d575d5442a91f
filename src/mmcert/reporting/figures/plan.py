"""What a plan predicts: the certified metric against the budget, every k and their envelope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmcert.reporting.figures.style import (
    fit_scale,
    look,
    new_figure,
    plain,
    save,
    scheme_styles,
)
from mmcert.reporting.planned import counts_text
from mmcert.reporting.wording import metric_name, scheme_name


def write_plan_figure(plan: Mapping[str, Any], path: Path) -> bytes:
    """Draw and save the figure of a plan; returns the PNG."""
    with matplotlib.rc_context(look()):
        return save(plan_figure(plan), path)


def plan_figure(plan: Mapping[str, Any]) -> Figure:
    """Left: every k of the scheme that is planned for. Right: each scheme's envelope and best k."""
    schemes = list(plan["best"])
    with matplotlib.rc_context(look()):
        figure = new_figure(8.6, 3.7)
        left, right = figure.subplots(1, 2, sharey=True)
        styles = scheme_styles(schemes)
        axis = _axis(plan)
        _every_k(left, plan, styles[plan["chosen"]["scheme"]]["color"], axis)
        for scheme in schemes:
            _one_scheme(right, plan, scheme, styles[scheme], axis)
        right.set_title("Each scheme with its own best k", loc="left")
        for axes in (left, right):
            _finish(axes, plan, axis)
        left.set_ylabel(metric_name(plan["target"]["metric"]) + ", predicted")
        target = plan["target"]["budget"]
        others = ", ".join(
            f"{plain(name)} {r / target[axis]:g} times as many"
            for name, r in target.items()
            if name != axis
        )
        figure.supxlabel(
            f"attacked elements of {plain(axis)}" + (f" ({others})" if others else ""), fontsize=9
        )
    return figure


def _axis(plan: Mapping[str, Any]) -> str:
    """The modality that the horizontal axis counts: the one that is attacked least."""
    attacked = {name: r for name, r in plan["target"]["budget"].items() if r > 0}
    return str(min(attacked, key=lambda name: attacked[name]))


def _points(
    curve: Sequence[Mapping[str, Any]], axis: str, key: str
) -> tuple[list[int], list[float]]:
    return (
        [point["budget"][axis] for point in curve],
        [math.nan if point[key] is None else point[key] for point in curve],
    )


def _every_k(axes: Axes, plan: Mapping[str, Any], colour: str, axis: str) -> None:
    scheme, chosen = plan["chosen"]["scheme"], plan["chosen"]["k"]
    entries = [entry for entry in plan["candidates"] if entry["scheme"] == scheme]
    shown: set[str] = set()
    for entry in entries:
        is_reference, is_chosen = entry["k"] == plan["reference"], entry["k"] == chosen
        label: str | None = None
        style: dict[str, Any] = {"color": "#BBBBBB", "linewidth": 0.9, "zorder": 2}
        if is_chosen:
            label = f"chosen: {plain(counts_text(entry['k']))}"
            style = {"color": colour, "linewidth": 1.8, "zorder": 4, "marker": "o"}
        elif is_reference:
            label = f"checkpoint: {plain(counts_text(entry['k']))}"
            style = {"color": "#222222", "linewidth": 1.4, "zorder": 3, "linestyle": "--"}
        elif "other" not in shown:
            label = "others that were tried"
            shown.add("other")
        axes.plot(*_points(entry["curve"], axis, "value"), label=label, markersize=3.5, **style)
    axes.set_title(f"{scheme_name(scheme)}: every k that was tried", loc="left")


def _one_scheme(
    axes: Axes, plan: Mapping[str, Any], scheme: str, style: Mapping[str, Any], axis: str
) -> None:
    entries = [entry for entry in plan["candidates"] if entry["scheme"] == scheme]
    columns = zip(*(_points(entry["curve"], axis, "value")[1] for entry in entries), strict=True)
    envelope = [max((v for v in column if not math.isnan(v)), default=0.0) for column in columns]
    best = plan["best"][scheme]
    steps, _ = _points(best["curve"], axis, "value")
    axes.plot(steps, envelope, color=style["color"], linewidth=0.9, linestyle=":", zorder=2)
    axes.plot(
        *_points(best["curve"], axis, "value"),
        color=style["color"],
        linestyle=style["linestyle"],
        marker=style["marker"],
        markersize=4,
        linewidth=1.5,
        label=f"{scheme_name(scheme)}: {plain(counts_text(best['k']))}; N = {best['draws']:,}",
        zorder=3,
    )
    low, high = (_points(best["curve"], axis, key)[1] for key in ("low", "high"))
    axes.fill_between(steps, low, high, color=style["color"], alpha=0.12, linewidth=0)


def _finish(axes: Axes, plan: Mapping[str, Any], axis: str) -> None:
    axes.axvline(plan["target"]["budget"][axis], color="#999999", linewidth=0.8, zorder=1)
    axes.set_ylim(0, 1)
    axes.set_xlim(left=0)
    fit_scale(axes, [budget[axis] for budget in plan["certify"]["budgets"]])
    axes.legend(loc="best", fontsize=7.5)
