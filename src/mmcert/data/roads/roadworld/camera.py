"""The pinhole camera: x to the right, y down, z forward, the ground 1.65 m below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Camera 2 of KITTI: size, focal length and principal point in pixels.
KITTI_SIZE = (375, 1242)
KITTI_F, KITTI_U0, KITTI_V0 = 721.5377, 609.5593, 172.854


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels; the centre of the upper left pixel is (0, 0).

    Args:
        rows: Rows of the image.
        columns: Columns of the image.
        f: Focal length, of both axes.
        u0: Column of the principal point.
        v0: Row of the principal point, which is the horizon of a level ground.
    """

    rows: int
    columns: int
    f: float
    u0: float
    v0: float

    def rays(self, finer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``x/z`` of the columns and ``y/z`` of the rows of ``finer`` samples a pixel per axis."""
        step = 1.0 / finer
        columns = (np.arange(self.columns * finer) + 0.5) * step - 0.5
        rows = (np.arange(self.rows * finer) + 0.5) * step - 0.5
        return (
            ((columns - self.u0) / self.f).astype(np.float32),
            ((rows - self.v0) / self.f).astype(np.float32),
        )


def kitti_camera(size: tuple[int, int]) -> Camera:
    """KITTI's camera 2 on a sensor of another number of pixels: same view, square pixels.

    >>> kitti_camera((375, 1242)).v0
    172.854
    """
    rows, columns = size
    scale = columns / KITTI_SIZE[1]
    return Camera(
        rows=rows,
        columns=columns,
        f=KITTI_F * scale,
        u0=(KITTI_U0 + 0.5) * scale - 0.5,
        v0=(KITTI_V0 + 0.5) * rows / KITTI_SIZE[0] - 0.5,
    )
