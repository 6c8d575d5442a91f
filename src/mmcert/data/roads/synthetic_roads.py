"""Synthetic roads: a road world seen by a pinhole camera, in the exact format of KITTI Road."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.data.roads.kitti_road import KittiRoad
from mmcert.quoting import command_line


class SyntheticRoads(KittiRoad):
    """Scenes of :mod:`mmcert.data.roads.roadworld`, read like KITTI Road.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        root: Folder that ``mmcert-prepare dataset=synthetic_roads`` has written.
        seed: Only of ``max_samples``: the folders state the split.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.
        outside: See :class:`~mmcert.data.roads.kitti_road.KittiRoad`; no scene has such pixels.
    """

    name = "synthetic_roads"

    def __init__(
        self,
        split: str,
        *,
        root: str | Path,
        seed: int = 0,
        max_samples: int | None = None,
        stored_split: Mapping[str, Any] | None = None,
        outside: str = "background",
    ) -> None:
        super().__init__(
            split,
            root=root,
            seed=seed,
            max_samples=max_samples,
            stored_split=stored_split,
            outside=outside,
        )

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """See the base class."""
        return "Make it:\n  " + command_line("prepare", "dataset=synthetic_roads", out=root)
