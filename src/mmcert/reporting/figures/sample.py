"""One sample: input, ground truth, and for each run what is certified and what is abstained."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mmcert.records.maps import ABSTAINED, UNLABELLED
from mmcert.reporting.figures.style import look, new_figure, plain
from mmcert.reporting.rounding import rounded_up
from mmcert.reporting.sample_images import ByteArray, CertifiedMap, SamplePictures

#: Two classes: quiet background, strong foreground. More: Okabe and Ito, then repeated.
_TWO = ("#DCE3E8", "#0072B2")
_MANY = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#D55E00", "#999999")
_ABSTAINED = "#F6D9C3"
_HATCH = "#B34A00"
_UNLABELLED = "#5A5A5A"
#: Pixels that a hatched map is wide, at least.
_HATCHED_WIDTH = 900


def class_colours(classes: int) -> tuple[str, ...]:
    """A colour per class id."""
    return _TWO if classes <= 2 else tuple(_MANY[i % len(_MANY)] for i in range(classes))


def sample_figure(pictures: SamplePictures) -> Figure:
    """Input, depth, truth (each where it is known) and one certified map per run."""
    with matplotlib.rc_context({**look(), "axes.grid": False}):
        shown = _class_ids(pictures)
        colours = class_colours(max([2, *[c + 1 for c in shown]]))
        panels: list[str | CertifiedMap] = [
            *(["rgb"] if pictures.rgb is not None else []),
            *(["depth"] if pictures.depth is not None else []),
            *(["truth"] if pictures.truth is not None else []),
        ]
        height, width = pictures.maps[0].classes.shape
        total = len(panels) + len(pictures.maps)
        columns = min(2 if width > 1.6 * height else 4, total)
        if columns == 2 and len(panels) % 2 and len(pictures.maps) > 1:
            panels.append("legend")  # the maps begin a row, so that they lie side by side
        panels += pictures.maps
        rows = -(-len(panels) // columns)
        panel_width = 4.6 if columns <= 2 else 2.6
        panel_height = panel_width * height / width + 0.35
        figure = new_figure(panel_width * columns, panel_height * rows + 0.45)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, what in zip(axes, panels, strict=False):
            _draw(panel, what, pictures, colours)
        for panel in axes:
            panel.set_axis_off()
        place = axes[panels.index("legend")] if "legend" in panels else None
        _legend(figure, place, pictures, shown, colours)
    return figure


def _class_ids(pictures: SamplePictures) -> list[int]:
    images = [m.classes for m in pictures.maps]
    images += [pictures.truth] if pictures.truth is not None else []
    found = {int(value) for image in images for value in np.unique(image)}
    return sorted(found - {ABSTAINED, UNLABELLED})


def _draw(
    panel: Axes,
    what: str | CertifiedMap,
    pictures: SamplePictures,
    colours: Sequence[str],
) -> None:
    if what == "rgb" and pictures.rgb is not None:
        panel.imshow(pictures.rgb, interpolation="nearest")
        panel.set_title(f"input {pictures.id}", loc="left")
    elif what == "depth" and pictures.depth is not None:
        cmap = matplotlib.colormaps["cividis_r"].with_extremes(bad="#FFFFFF")
        far = (
            float(np.nanpercentile(pictures.depth, 98)) if np.isfinite(pictures.depth).any() else 1
        )
        panel.imshow(pictures.depth, cmap=cmap, vmax=far, interpolation="nearest")
        panel.set_title(f"depth (dark: {far:.0f} m and beyond; white: none)", loc="left")
    elif what == "truth" and pictures.truth is not None:
        panel.imshow(_coloured(pictures.truth, colours), interpolation="nearest")
        panel.set_title("ground truth", loc="left")
    elif isinstance(what, CertifiedMap):
        _draw_map(panel, what, colours, pictures.budget)


def _draw_map(panel: Axes, certified: CertifiedMap, colours: Sequence[str], budget: str) -> None:
    width = certified.classes.shape[1]
    # Hatched pixel by pixel: contours round off single pixels, and are slow on a noisy map.
    scale = max(1, -(-_HATCHED_WIDTH // width))
    fine = np.repeat(np.repeat(certified.classes, scale, 0), scale, 1)
    pixels = _coloured(fine, colours)
    rows, columns = np.ogrid[: fine.shape[0], : fine.shape[1]]
    stripes = (rows + columns) * _HATCHED_WIDTH // (scale * width) % 12 < 3
    pixels[(fine == ABSTAINED) & stripes] = np.round(np.array(to_rgb(_HATCH)) * 255)
    panel.imshow(pixels, interpolation="antialiased")
    panel.set_title(
        f"{plain(certified.label)}: certified at {plain(budget)}\n"
        f"abstained: {rounded_up(100 * certified.abstained, 1)} %",
        loc="left",
    )


def _coloured(classes: ByteArray, colours: Sequence[str]) -> ByteArray:
    """``(H, W)`` ids to ``(H, W, 3)`` colours."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for value, colour in [
        *enumerate(colours),
        (ABSTAINED, _ABSTAINED),
        (UNLABELLED, _UNLABELLED),
    ]:
        table[value] = np.round(np.array(to_rgb(colour)) * 255)
    coloured: ByteArray = table[classes]
    return coloured


def _legend(
    figure: Figure,
    place: Axes | None,
    pictures: SamplePictures,
    shown: Sequence[int],
    colours: Sequence[str],
) -> None:
    """Below the figure, or in the ``place`` that the layout leaves free."""
    names = dict(enumerate(pictures.class_names))
    handles = [
        Patch(
            facecolor=colours[c],
            edgecolor="#777777",
            linewidth=0.5,
            label=plain(names.get(c, f"class {c}")),
        )
        for c in shown[:12]
    ]
    handles.append(
        Patch(
            facecolor=_ABSTAINED,
            edgecolor=_HATCH,
            hatch="//////",
            linewidth=0.5,
            label="abstained (not certified)",
        )
    )
    images = [m.classes for m in pictures.maps]
    if any((image == UNLABELLED).any() for image in images):
        handles.append(Patch(facecolor=_UNLABELLED, label="no label (not counted)"))
    if place is not None:
        place.legend(handles=handles, loc="center", ncols=1 if len(handles) < 6 else 2)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
