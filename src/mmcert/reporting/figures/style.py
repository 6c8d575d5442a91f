"""Colours, sizes and saving, the same for every figure.

Okabe and Ito's palette: distinguishable with every common form of colour blindness. Each scheme
also has its own marker and line, so the figures survive a grey printer.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from mmcert.records.atomic import atomic_write
from mmcert.reporting.runs import Run

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY, BLACK = "#CC79A7", "#E69F00", "#56B4E9", "#222222"
_BY_SCHEME = {
    "mmcert": BLUE,
    "randomized_ablation": VERMILLION,
    "randomized_ablation_aligned": GREEN,
}
_SPARE = (PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
#: Below zero the baseline is better, above zero the reference: in the colours of the two schemes.
DIFFERENCE = LinearSegmentedColormap.from_list(
    "difference", [VERMILLION, "#F7C9AC", "#FAFAFA", "#A9CDE5", BLUE]
)
RC = {
    "font.size": 9.0,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text
    "svg.hashsalt": "mmcert",
}
DPI = 160


def look() -> matplotlib.RcParams:
    """The context in which a figure is built and saved: ``with matplotlib.rc_context(look())``."""
    return matplotlib.RcParams(RC)


def run_styles(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Colour, marker and line of each run: a scheme keeps its colour in every report.

    Where several schemes have several runs (a sweep), those of a scheme are shades of its colour.
    """
    names = [run.scheme.name for run in runs]
    if 1 < len(set(names)) < len(names):
        return _shades(names)
    styles: list[dict[str, Any]] = []
    taken: set[str] = set()
    spare = list(_SPARE)
    for index, run in enumerate(runs):
        colour = _BY_SCHEME.get(run.scheme.name, "")
        if not colour or colour in taken:
            colour = spare.pop(0) if spare else BLACK
        taken.add(colour)
        styles.append(
            {
                "color": colour,
                "marker": MARKERS[index % len(MARKERS)],
                "linestyle": LINES[index % len(LINES)],
            }
        )
    return styles


def scheme_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and line of each scheme."""
    spare = list(_SPARE)
    return {
        name: {
            "color": _BY_SCHEME.get(name) or (spare.pop(0) if spare else BLACK),
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": LINES[index % len(LINES)],
        }
        for index, name in enumerate(dict.fromkeys(names))
    }


def _shades(names: Sequence[str]) -> list[dict[str, Any]]:
    """Shades of the scheme's colour, from full to pale; marker by scheme, line by position."""
    schemes = scheme_styles(names)
    styles = []
    for index, name in enumerate(names):
        position, total = names[:index].count(name), names.count(name)
        pale = 0.65 * position / max(total - 1, 1)
        red, green, blue = (1 - (1 - part) * (1 - pale) for part in to_rgb(schemes[name]["color"]))
        line = LINES[position % len(LINES)]
        styles.append({**schemes[name], "color": (red, green, blue), "linestyle": line})
    return styles


def plain(text: str) -> str:
    """``text`` as it is: matplotlib would read what stands between dollar signs as TeX."""
    return text.replace("$", r"\$")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def fit_scale(axes: Axes, steps: Sequence[int]) -> None:
    """A logarithmic axis where budgets span more than two decades, a linear one otherwise."""
    positive = [step for step in steps if step > 0]
    if positive and max(positive) > 100 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive))
    elif positive and max(positive) < 12:
        axes.set_xticks(range(max(positive) + 1))


def save(figure: Figure, path: Path) -> bytes:
    """Write ``path`` (.png) and the same as .pdf for papers; returns the PNG."""
    # It tells every glyph of a font that a PDF takes, where a command logs at all.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": "mmcert"})
    figure.set_layout_engine("none")  # laid out by now: the PDF has the same layout, at no cost
    with atomic_write(path.with_suffix(".pdf")) as stream:
        figure.savefig(stream, format="pdf", metadata={"CreationDate": None})
    with atomic_write(path) as stream:
        stream.write(png.getvalue())
    return png.getvalue()
