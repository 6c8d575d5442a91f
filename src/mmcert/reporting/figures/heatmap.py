"""Certified metric over two budgets, one map per run, and the maps of the differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from mmcert.reporting.comparison import Comparison
from mmcert.reporting.figures.curves import ray_label
from mmcert.reporting.figures.style import DIFFERENCE, look, new_figure, plain
from mmcert.reporting.rays import Ray
from mmcert.reporting.rounding import rounded_down
from mmcert.reporting.runs import Budget, Run
from mmcert.reporting.wording import metric_name, result_title, short_guarantee

FloatArray = npt.NDArray[np.float64]
#: Cells of a map up to which each shows its number.
NUMBERS_UP_TO = 110


@dataclass(frozen=True)
class Plane:
    """Two modalities of a grid; the others stay at 0.

    Args:
        x: Index of the modality on the horizontal axis.
        y: Index of the modality on the vertical axis.
        x_values: Its budgets, ascending.
        y_values: Its budgets, ascending.
        modalities: Number of modalities.
    """

    x: int
    y: int
    x_values: tuple[int, ...]
    y_values: tuple[int, ...]
    modalities: int

    def budget(self, column: int, row: int) -> Budget:
        """The budget of a cell."""
        budget = [0] * self.modalities
        budget[self.x], budget[self.y] = self.x_values[column], self.y_values[row]
        return tuple(budget)


def find_plane(grid: Sequence[Budget]) -> Plane | None:
    """The two modalities that a map can show: at least 2 budgets each, half the cells evaluated.

    None where the grid is a list of budgets along a line, or has one modality.
    """
    modalities = len(next(iter(grid), ()))
    for x in range(modalities):
        for y in range(x + 1, modalities):
            cells = [b for b in grid if all(r == 0 for i, r in enumerate(b) if i not in (x, y))]
            xs, ys = sorted({b[x] for b in cells}), sorted({b[y] for b in cells})
            if min(len(xs), len(ys)) > 1 and 2 * len(cells) >= len(xs) * len(ys):
                return Plane(x, y, tuple(xs), tuple(ys), modalities)
    return None


def heatmap_figure(
    runs: Sequence[Run],
    key: tuple[str, ...],
    metric: str,
    plane: Plane,
    ray: Ray,
    comparisons: Sequence[Comparison],
) -> Figure:
    """One map per run on one colour scale, then one difference map per comparison."""
    with matplotlib.rc_context({**look(), "axes.grid": False}):
        panels = len(runs) + len(comparisons)
        columns = panels if panels <= 3 else (len(runs) if len(runs) <= 3 else 3)
        rows = -(-panels // columns)
        ratio = min(max(len(plane.y_values) / len(plane.x_values), 0.8), 1.4)
        figure = new_figure(3.5 * columns + 0.4, (3.0 * ratio + 0.55) * rows + 0.75)
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        values = [_matrix_of(run, key, metric, plane) for run in runs]
        for panel, run, matrix in zip(axes, runs, values, strict=False):
            image = panel.imshow(
                np.ma.masked_invalid(matrix),
                origin="lower",
                aspect="auto",
                cmap="cividis",
                vmin=0,
                vmax=1,
            )
            panel.set_title(plain(run.label), loc="left")
            _numbers(panel, matrix, dark_below=0.55)
            _furnish(panel, plane, ray, matrix)
        figure.colorbar(image, ax=list(axes[: len(runs)]), label=metric_name(metric), pad=0.015)
        _difference_panels(figure, axes[len(runs) :], comparisons, plane, ray)
        for panel in axes[panels:]:
            panel.set_axis_off()
        result = runs[0].result(key)
        assert result is not None
        figure.suptitle(f"{result_title(result)}   [{short_guarantee(result)}]", fontsize=9.5)
        _legend(figure, ray, comparisons)
    return figure


def _matrix_of(run: Run, key: tuple[str, ...], metric: str, plane: Plane) -> FloatArray:
    """``(y, x)`` values; NaN where undefined or not evaluated."""
    result = run.result(key)
    return np.array(
        [
            [
                np.nan
                if result is None or (value := result.value(plane.budget(x, y), metric)) is None
                else value
                for x in range(len(plane.x_values))
            ]
            for y in range(len(plane.y_values))
        ]
    )


def _difference_panels(
    figure: Figure,
    panels: Sequence[Axes],
    comparisons: Sequence[Comparison],
    plane: Plane,
    ray: Ray,
) -> None:
    shape = (len(plane.y_values), len(plane.x_values))
    for panel, comparison in zip(panels, comparisons, strict=False):
        difference, certificate = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
        nothing = np.zeros(shape, dtype=bool)
        cells = {cell.budget: cell for cell in comparison.cells}
        for y in range(shape[0]):
            for x in range(shape[1]):
                cell = cells.get(plane.budget(x, y))
                if cell is None or cell.difference is None:
                    continue
                difference[y, x] = cell.difference
                nothing[y, x] = cell.ours == 0 == cell.theirs
                gap = cell.their_threshold - cell.our_threshold
                within = min(cell.our_threshold, cell.their_threshold) < 1
                certificate[y, x] = (1 if gap > 0 else -1) if within else 0
        limit = max(0.05, float(np.nanmax(np.abs(difference), initial=0.0)))
        image = panel.imshow(
            np.ma.masked_invalid(difference),
            origin="lower",
            aspect="auto",
            cmap=DIFFERENCE,
            vmin=-limit,
            vmax=limit,
        )
        for y, x in np.argwhere(nothing):
            _hatch(panel, x, y, "....", "#9A9A9A")
        _boundary(panel, certificate)
        panel.set_title(
            plain(f"{comparison.reference.label} − {comparison.other.label}"), loc="left"
        )
        _furnish(panel, plane, ray, difference)
        bar = figure.colorbar(image, ax=panel, pad=0.02)
        sides = f"← {comparison.other.label} better   |   {comparison.reference.label} better →"
        bar.set_label(plain(sides), fontsize=7.5)


def _hatch(panel: Axes, x: int, y: int, hatch: str, colour: str) -> None:
    panel.add_patch(
        Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch=hatch, edgecolor=colour, linewidth=0)
    )


def _boundary(panel: Axes, certificate: npt.NDArray[np.int64]) -> None:
    """A line where the other scheme becomes the one that asks for fewer votes.

    Args:
        panel: The map.
        certificate: ``(y, x)``: 1 where the reference asks for fewer, -1 where it does not, 0 where
            no votes suffice in either scheme: there is nothing to compare.
    """
    rows, columns = certificate.shape
    for y in range(rows):
        for x in range(columns):
            if x + 1 < columns and certificate[y, x] * certificate[y, x + 1] < 0:
                panel.plot([x + 0.5] * 2, [y - 0.5, y + 0.5], color="#222222", linewidth=1.3)
            if y + 1 < rows and certificate[y, x] * certificate[y + 1, x] < 0:
                panel.plot([x - 0.5, x + 0.5], [y + 0.5] * 2, color="#222222", linewidth=1.3)


def _numbers(panel: Axes, matrix: FloatArray, dark_below: float) -> None:
    if matrix.size > NUMBERS_UP_TO:
        return
    for (y, x), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            panel.text(
                x,
                y,
                rounded_down(float(value), 2).lstrip("0") or "0",
                ha="center",
                va="center",
                fontsize=6.5 if matrix.shape[1] > 8 else 7.5,
                color="white" if value < dark_below else "#222222",
            )


def _furnish(panel: Axes, plane: Plane, ray: Ray, matrix: FloatArray) -> None:
    """Ticks at the budgets, dots on the ray, hatching where nothing was evaluated."""
    for axis, values, name in (
        (panel.xaxis, plane.x_values, ray.names[plane.x]),
        (panel.yaxis, plane.y_values, ray.names[plane.y]),
    ):
        every = -(-len(values) // 13)
        places = list(range(0, len(values), every))
        axis.set_ticks(places, [str(values[place]) for place in places])
        axis.set_label_text(f"attacked elements of {plain(name)}")
    panel.tick_params(length=2)
    for y, x in np.argwhere(np.isnan(matrix)):
        _hatch(panel, x, y, "xxx", "#C4C4C4")
    on_ray = set(ray.budgets)
    spots = [
        (x, y)
        for x in range(len(plane.x_values))
        for y in range(len(plane.y_values))
        if plane.budget(x, y) in on_ray
    ]
    numbered = matrix.size <= NUMBERS_UP_TO
    for x, y in spots:
        panel.plot(
            x + (0.36 if numbered else 0),
            y + (0.32 if numbered else 0),
            "o",
            markersize=3.2,
            color="white",
            markeredgecolor="#222222",
            markeredgewidth=0.7,
        )


def _legend(figure: Figure, ray: Ray, comparisons: Sequence[Comparison]) -> None:
    dot = matplotlib.lines.Line2D(
        [], [], marker="o", linestyle="", color="white", markeredgecolor="#222222", markersize=4
    )
    handles: list[Artist] = [dot]
    labels = [f"on the ray {ray_label(ray)}" if ray.text else "on the ray"]
    if comparisons:
        line = matplotlib.lines.Line2D([], [], color="#222222", linewidth=1.3)
        handles += [line, Patch(fill=False, hatch="....", edgecolor="#9A9A9A", linewidth=0)]
        labels += ["where the smaller delta changes sides (exact)", "neither certifies anything"]
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
