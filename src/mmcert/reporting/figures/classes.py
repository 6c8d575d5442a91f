"""Class by class: certified accuracy along the ray, and confusion matrices that abstain."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmcert.certification.confusion import Confusion
from mmcert.reporting.classes import ClassCurve, class_name
from mmcert.reporting.comparison import budget_text
from mmcert.reporting.figures.curves import axis_label
from mmcert.reporting.figures.style import fit_scale, look, new_figure, plain, run_styles
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Budget, Result, Run
from mmcert.reporting.wording import result_title, short_guarantee

#: Classes up to which each has its panel; a table has all of them.
MOST_PANELS = 24
#: Classes up to which the cells of a matrix show their numbers.
NUMBERS_UP_TO = 12
#: Classes up to which a matrix is drawn.
MOST_ROWS = 60


def per_class_figure(
    runs: Sequence[Run],
    curves: Sequence[Sequence[ClassCurve]],
    labels: Sequence[int],
    result: Result,
    ray: Ray,
) -> Figure:
    """Certified accuracy along the ray: one panel per class, one line per run."""
    shown = labels[:MOST_PANELS]
    columns = next((c for c in (4, 5) if len(shown) in (c, 2 * c)), min(4, len(shown)))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(look()):
        figure = new_figure(max(4.6, 2.2 * columns), 1.9 * rows + 0.9)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, label in zip(grid.flat, shown, strict=False):
            samples: list[int] = []
            for run, found, style in zip(runs, curves, run_styles(runs), strict=True):
                for curve in found:
                    if curve.label == label:
                        samples.append(curve.samples)
                        _steps(axes, ray, curve, plain(run.label), style)
            counts = "/".join(str(count) for count in dict.fromkeys(samples))
            axes.set_title(plain(f"{class_name(runs[0], label)}  ({counts})"), loc="left")
            axes.set_ylim(0, 1)
            axes.set_xlim(left=0)
            fit_scale(axes, ray.steps)
        for axes in list(grid.flat)[len(shown) :]:
            axes.set_axis_off()
        figure.supylabel("certified share of the class", fontsize=9)
        figure.supxlabel(axis_label(ray), fontsize=9)
        handles, names = grid.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            names,
            loc="outside upper center",
            ncols=min(3, len(runs)),
            title=f"{result_title(result)}   [{short_guarantee(result)}]",
            title_fontsize=9.5,
        )
    return figure


def _steps(axes: Axes, ray: Ray, curve: ClassCurve, label: str, style: dict[str, object]) -> None:
    axes.plot(
        ray.steps,
        curve.accuracy,
        drawstyle="steps-pre",
        label=label,
        linewidth=1.5,
        markersize=4.0,
        markeredgecolor="white",
        markeredgewidth=0.5,
        clip_on=False,
        zorder=3,
        **style,  # type: ignore[arg-type]  # matplotlib's keywords are typed one by one
    )


def confusion_figure(
    runs: Sequence[Run],
    matrices: Sequence[Sequence[Confusion]],
    result: Result,
    budgets: Sequence[Budget],
) -> Figure:
    """One column of matrices per run, one row per budget; shares of each true class."""
    classes = len(matrices[0][0].labels)
    side = min(max(0.36 * classes + 1.0, 2.6), 7.0)
    with matplotlib.rc_context({**look(), "axes.grid": False}):
        figure = new_figure(
            max(4.6, (side + 0.7) * len(runs) + 0.8), (side + 0.55) * len(budgets) + 0.7
        )
        grid = figure.subplots(len(budgets), len(runs), squeeze=False)
        for column, (run, found) in enumerate(zip(runs, matrices, strict=True)):
            for row, (budget, matrix) in enumerate(zip(budgets, found, strict=True)):
                axes = grid[row][column]
                image = _matrix(axes, run, matrix)
                place = budget_text(run.names, budget) if any(budget) else "no attack"
                axes.set_title(plain(f"{run.label}: {place}"), loc="left", fontsize=8.5)
                if column == 0:
                    axes.set_ylabel("true class (samples)")
                if row == len(budgets) - 1:
                    axes.set_xlabel("label that is certified")
        figure.colorbar(
            image, ax=list(grid.flat), label="share of the true class", pad=0.015, aspect=35
        )
        figure.suptitle(
            f"{result_title(result)}   [each label, true or not; alpha {result.alpha:g}]"
            if result.draws != "exhaustive"
            else f"{result_title(result)}   [each label, true or not; probability 1]",
            fontsize=9.5,
        )
    return figure


def _matrix(axes: Axes, run: Run, matrix: Confusion) -> matplotlib.image.AxesImage:
    classes = len(matrix.labels)
    counts: npt.NDArray[np.float64] = np.array(
        [[*row, left] for row, left in zip(matrix.labels, matrix.abstained, strict=True)],
        dtype=np.float64,
    )
    samples = np.array(matrix.samples, dtype=np.float64)[:, None]
    shares = np.divide(counts, samples, out=np.full_like(counts, np.nan), where=samples > 0)
    image = axes.imshow(np.ma.masked_invalid(shares), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.axvline(classes - 0.5, color="white", linewidth=2.5)
    names = [class_name(run, label) for label in range(classes)]
    every = -(-classes // 30)
    places = list(range(0, classes, every))
    axes.set_yticks(
        places, [plain(f"{names[i]} ({matrix.samples[i]})") for i in places], fontsize=7.5
    )
    axes.set_xticks(
        [*places, classes],
        [*(plain(names[i]) for i in places), "abstained"],
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        fontsize=7.5,
    )
    axes.tick_params(length=2)
    if classes <= NUMBERS_UP_TO:
        for (y, x), share in np.ndenumerate(shares):
            if share > 0:
                axes.text(
                    x,
                    y,
                    percent(int(counts[y, x]), matrix.samples[y], right=x == y),
                    ha="center",
                    va="center",
                    fontsize=6.5,
                    color="white" if share < 0.55 else "#222222",
                )
    return image


def percent(count: int, samples: int, *, right: bool) -> str:
    """A share in whole percent, against us: what is right rounded down, all else up.

    >>> percent(2, 3, right=True), percent(1, 3, right=False)
    ('66', '34')
    """
    return str(100 * count // samples if right else -(-100 * count // samples))
