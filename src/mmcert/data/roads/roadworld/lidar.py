"""The depth map: what a rotating LiDAR on the roof leaves after dense interpolation.

The public depth maps of KITTI Road were made from 64 beams by linear interpolation in the image;
nothing is above the horizon. Here the beams are image rows, which they nearly are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmcert.data.roads.roadworld.camera import Camera

#: Elevation of the beams of an HDL-64E in degrees: 1/3 apart above, 1/2 apart below.
BEAMS = np.concatenate([2 - np.arange(32) / 3, -8.83 - np.arange(32) / 2])
RANGE = 80.0
#: One unit of the 16-bit file in metres; 65.535 m is the largest value, and stands for more.
UNIT = 0.001


def depth_map(
    z: NDArray[np.float32],
    silent: NDArray[np.bool_],
    camera: Camera,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """Sample distances by beams, lose some, and interpolate between the beams of a column.

    Args:
        z: True distance ``(H, W)`` in metres, inf for sky.
        silent: Pixels that return nothing (glass), ``(H, W)``.
        camera: The camera.
        rng: Of noise and lost returns.

    Returns:
        ``(H, W)`` uint16 millimetres, 0 = none; empty above the horizon and where no beam above
        has returned.
    """
    rows, columns = z.shape
    beams = camera.v0 + camera.f * np.tan(np.deg2rad(-BEAMS))
    beams = np.unique(np.clip(np.round(beams), 0, rows - 1)[beams < rows + 8].astype(int))
    sampled = z[beams] + rng.normal(0, 0.02, (len(beams), columns)).astype(np.float32)
    lost = rng.random((len(beams), columns)) < 0.01
    returned = np.isfinite(sampled) & (sampled < RANGE) & (sampled > 0.5) & ~silent[beams] & ~lost
    # For every beam and column: the nearest returned beam at or above, and at or below.
    number = np.arange(len(beams))[:, None]
    above = np.maximum.accumulate(np.where(returned, number, -1), axis=0)
    below = np.minimum.accumulate(np.where(returned, number, len(beams))[::-1], axis=0)[::-1]
    row = np.arange(rows)
    upper = np.searchsorted(beams, row, side="right") - 1
    lower = np.searchsorted(beams, row, side="left")
    first = np.where((upper >= 0)[:, None], above[np.maximum(upper, 0)], -1)
    last = np.where((lower < len(beams))[:, None], below[np.minimum(lower, len(beams) - 1)], -1)
    last = np.where(last >= len(beams), -1, last)
    known = (first >= 0) & (last >= 0)
    first, last = np.maximum(first, 0), np.maximum(last, 0)
    column = np.arange(columns)[None]
    start, end = beams[first], beams[last]
    part = (row[:, None] - start) / np.maximum(end - start, 1)
    depth = sampled[first, column] * (1 - part) + sampled[last, column] * part
    known &= row[:, None] > camera.v0
    units = np.clip(np.round(np.where(known, depth, 0) / UNIT), 0, 65535)
    return units.astype(np.uint16)
