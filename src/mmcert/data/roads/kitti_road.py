"""KITTI Road: RGB and depth of a road, and which pixels are road.

Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection
Algorithms", ITSC 2013. Licence CC BY-NC-SA 3.0. 289 labelled frames (``um``, ``umm``, ``uu``) and
290 without labels, of sizes from 370x1224 to 376x1242.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcert.data.base import UNLABELLED, Item, MultiModalDataset
from mmcert.data.images import Colour, read_depth, read_label, read_rgb
from mmcert.data.roads.calibration import read_calibration
from mmcert.data.roads.kitti_layouts import Frame, find_layout, splits_of
from mmcert.errors import ConfigError
from mmcert.quoting import command_line
from mmcert.theory.modality import ON_A_GRID, InputSpec

#: Class -> colour in ``gt_image_2``.
ROAD_CLASSES: dict[str, Colour] = {"background": (255, 0, 0), "road": (255, 0, 255)}
OUTSIDE: Colour = (0, 0, 0)


class KittiRoad(MultiModalDataset):
    """KITTI Road and everything in its format, in any of the three public layouts.

    ``rgb`` is ``(3, H, W)`` float32 in [0, 1]; ``depth`` is ``(1, H, W)`` float32 in metres, 0 =
    none; the target is ``(H, W)`` int64, or None for a frame without label. ``meta`` holds
    ``camera`` (``fx``, ``fy``, ``u0``, ``v0`` in pixels). Frames differ in size. An element is a
    pixel. Where depth was interpolated from LiDAR points, its pixels are the certified object, not
    the points.

    Args:
        split: ``train``, ``val``, ``test`` or ``all`` (which includes frames without label).
        root: Folder of one of the layouts of :mod:`mmcert.data.roads.kitti_layouts`.
        seed: Seed of the 80/20 split, where neither folders nor ``manifest.json`` state one.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.
        outside: What black label pixels (outside the valid area) count as: ``background``, the
            reading of the public code of the field, or ``unlabelled``.
        classes: Class names and their label colours, for data of your own.
        depth_scale: Units of the depth files per metre.

    Raises:
        DataError: See :class:`~mmcert.data.base.MultiModalDataset`.
        ConfigError: For another value of ``outside`` or a bad colour.
    """

    name = "kitti_road"
    task = "segmentation"
    classes: tuple[str, ...] = tuple(ROAD_CLASSES)
    inputs = {  # noqa: RUF012 - the base class declares it for instances; nobody writes to it
        "rgb": InputSpec((3, None, None), (1, 2), "pixel (all channels)", ON_A_GRID),
        "depth": InputSpec((1, None, None), (1, 2), "pixel of the depth map", ON_A_GRID),
    }

    def __init__(
        self,
        split: str,
        *,
        root: str | Path,
        seed: int = 0,
        max_samples: int | None = None,
        stored_split: Mapping[str, Any] | None = None,
        outside: str = "background",
        classes: Mapping[str, Sequence[int]] | None = None,
        depth_scale: float = 1000.0,
    ) -> None:
        named = ROAD_CLASSES if classes is None else classes
        self.classes = tuple(named)
        self.colours = label_colours(named, outside)
        if not depth_scale > 0:
            raise ConfigError(f"data.options.depth_scale={depth_scale} must be above 0.")
        self.depth_scale = float(depth_scale)
        self.frames: dict[str, Frame] = {}
        super().__init__(
            split, root=root, seed=seed, max_samples=max_samples, stored_split=stored_split
        )

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        return (
            "From the official download, whose folders data_road and data_road_velodyne are in "
            "source:\n  "
            + command_line("prepare", "dataset=kitti_road", source="downloads", out=root)
        )

    def find_splits(self, seed: int) -> dict[str, tuple[str, ...]]:
        """See the base class."""
        layout = find_layout(self.root)
        self.frames = layout.frames
        return splits_of(layout, self.root, seed)

    def load(self, sample_id: str) -> Item:
        """See the base class."""
        frame = self.frames[sample_id]
        image = read_rgb(frame.image)
        size = (image.shape[0], image.shape[1])
        depth = read_depth(frame.depth, scale=self.depth_scale, size=size)
        camera = read_calibration(frame.calibration).camera()
        target = None
        if frame.label is not None:
            label = read_label(frame.label, colours=self.colours, size=size)
            target = torch.from_numpy(label)
        rgb = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / np.float32(255)
        return {
            "id": sample_id,
            "inputs": {
                "rgb": torch.from_numpy(rgb),
                "depth": torch.from_numpy(depth[None]),
            },
            "target": target,
            "meta": {"camera": camera},
        }


def label_colours(classes: Mapping[str, Sequence[int]], outside: str) -> dict[Colour, int]:
    """The class id of every colour that a label may have.

    >>> label_colours(ROAD_CLASSES, "unlabelled")
    {(0, 0, 0): 255, (255, 0, 0): 0, (255, 0, 255): 1}

    Raises:
        ConfigError: For another value of ``outside``, or colours that are none or occur twice.
    """
    if outside not in ("background", "unlabelled"):
        raise ConfigError(
            f"data.options.outside={outside} must be background (black label pixels count as the "
            f"first class) or unlabelled (they count for nothing)."
        )
    if not isinstance(classes, Mapping):
        raise ConfigError(
            f"data.options.classes={classes} must be {{name: [red,green,blue], ...}}."
        )
    if not 2 <= len(classes) < UNLABELLED - 1:
        raise ConfigError("data.options.classes must name at least 2 and at most 253 classes.")
    colours: dict[Colour, int] = {OUTSIDE: 0 if outside == "background" else UNLABELLED}
    seen: dict[Colour, str] = {}
    for index, (name, values) in enumerate(classes.items()):
        numbers: list[Any] = list(values) if isinstance(values, (list, tuple)) else [values]
        if len(numbers) != 3 or not all(
            isinstance(number, int) and 0 <= number <= 255 for number in numbers
        ):
            raise ConfigError(
                f"data.options.classes.{name}={numbers} must be a colour: three integers 0..255."
            )
        colour = (numbers[0], numbers[1], numbers[2])
        if colour in seen:
            raise ConfigError(
                f"data.options.classes: {seen[colour]} and {name} have the same colour {colour}."
            )
        seen[colour] = name
        colours[colour] = index
    return colours
