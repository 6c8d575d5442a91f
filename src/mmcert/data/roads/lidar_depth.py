"""Dense depth maps from LiDAR scans: project, keep what the camera sees, interpolate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import minimum_filter
from scipy.spatial import QhullError

from mmcert.data.roads.calibration import Calibration
from mmcert.errors import DataError

Array = NDArray[np.float64]
#: Points nearer than this to the camera's plane are of the car itself, metres.
NEAREST = 0.5
#: Points up to so many pixels outside the image let the map reach its border.
MARGIN = 12
#: How far from a point in pixels those that hide it are looked for, and how far to the side: beams
#: are up to 7 pixels apart, azimuths up to 2. The first is odd, so that a window has a middle.
_WINDOW = (9, 2)


def read_scan(path: Path) -> NDArray[np.float32]:
    """The points of a Velodyne file, ``(P, 3)`` metres in LiDAR axes (x ahead, y left, z up).

    Raises:
        DataError: Where the file is missing, empty, cut off, or holds no finite points.
    """
    if not path.is_file():
        raise DataError(f"{path}: the LiDAR scan is missing.")
    size = path.stat().st_size
    if size == 0 or size % 16:
        raise DataError(
            f"{path}: {size} bytes are no LiDAR scan (four float32 per point, so a multiple of "
            f"16); the file is cut off. Unpack data_road_velodyne.zip anew."
        )
    points = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3]
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise DataError(f"{path}: the LiDAR scan holds no finite point.")
    return points[finite]


def project(points: NDArray[np.float32], calibration: Calibration) -> tuple[Array, Array, Array]:
    """Pixel coordinates and depth of LiDAR points in camera 2.

    ``P2 * R0_rect * Tr_velo_to_cam * point`` (Geiger et al., "Vision meets Robotics", 2013).

    Args:
        points: ``(P, 3)`` metres, LiDAR axes.
        calibration: With ``P2``, ``R0_rect`` and ``Tr_velo_to_cam``.

    Returns:
        Column, row and depth in metres of the points that are before the camera.
    """
    to_camera = calibration["R0_rect"] @ calibration["Tr_velo_to_cam"]
    p2 = calibration["P2"]
    rectified = points @ to_camera[:, :3].T + to_camera[:, 3]
    image = rectified @ p2[:, :3].T + p2[:, 3]
    image = image[image[:, 2] > NEAREST]
    return image[:, 0] / image[:, 2], image[:, 1] / image[:, 2], image[:, 2]


def visible(column: Array, row: Array, depth: Array, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which projected points the camera sees: nearest of their pixel, and not looked through.

    The LiDAR stands above and behind the camera, so it sees ground that a car hides from the
    camera; such points fall between the points of the car. A point goes where there are points at
    least 10 % and 0.5 m nearer close above and close below it, or close to both sides.

    Args:
        column: Column of every point.
        row: Row of every point.
        depth: Depth in metres.
        size: Rows and columns of the image, extended by :data:`MARGIN` on all sides.

    Returns:
        ``(P,)`` bool.
    """
    rows, columns = size[0] + 2 * MARGIN, size[1] + 2 * MARGIN
    r = np.round(row).astype(np.int64) + MARGIN
    c = np.round(column).astype(np.int64) + MARGIN
    inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
    r, c = np.where(inside, r, 0), np.where(inside, c, 0)
    nearest = np.full((rows, columns), np.inf)
    np.minimum.at(nearest, (r[inside], c[inside]), depth[inside])
    keep = inside & (depth <= nearest[r, c])
    limit = np.minimum(0.9 * depth, depth - 0.5)
    far, wide = _WINDOW
    pad = far + 1
    padded = np.pad(nearest, pad, constant_values=np.inf)
    # The windows end just before the point: their middle is (far + 1) / 2 pixels away from it.
    shift = (far + 1) // 2
    upright = minimum_filter(padded, size=(far, 2 * wide + 1), mode="constant", cval=np.inf)
    level = minimum_filter(padded, size=(2 * wide + 1, far), mode="constant", cval=np.inf)
    above, below = upright[r + pad - shift, c + pad], upright[r + pad + shift, c + pad]
    left, right = level[r + pad, c + pad - shift], level[r + pad, c + pad + shift]
    hidden = (np.maximum(above, below) < limit) | (np.maximum(left, right) < limit)
    return keep & ~hidden


def dense_depth(
    points: NDArray[np.float32], calibration: Calibration, size: tuple[int, int]
) -> NDArray[np.uint16]:
    """The depth map of a frame from its LiDAR scan.

    Linear interpolation over the Delaunay triangles of the visible points in the image, of inverse
    depth, which is exactly linear on every plane. Like the public maps it is dense below the
    horizon and empty above it and outside the hull of the points.

    Args:
        points: ``(P, 3)`` metres in LiDAR axes.
        calibration: With ``P2``, ``R0_rect`` and ``Tr_velo_to_cam``.
        size: Rows and columns of the image.

    Returns:
        ``(H, W)`` uint16 millimetres; 0 = none, 65535 stands for more.

    Raises:
        DataError: Where too few points fall into the image.
    """
    column, row, depth = project(points, calibration)
    seen = visible(column, row, depth, size)
    if int(seen.sum()) < 3:
        raise DataError(
            f"{calibration.path}: {int(seen.sum())} LiDAR points fall into the image of "
            f"{size[0]}x{size[1]}; scan and calibration do not belong together."
        )
    top = max(0, int(np.floor(calibration.camera()["v0"])))
    places = np.stack([column[seen], row[seen]], axis=1)
    try:
        inverse = LinearNDInterpolator(places, 1 / depth[seen], fill_value=0.0)
    except QhullError as error:
        raise DataError(
            f"{calibration.path}: the LiDAR points in the image lie on a line; scan and "
            f"calibration do not belong together."
        ) from error
    grid_columns, grid_rows = np.meshgrid(np.arange(size[1]), np.arange(top, size[0]))
    found = inverse(grid_columns, grid_rows)
    metres = np.divide(1.0, found, out=np.zeros_like(found), where=found > 0)
    map_ = np.zeros(size, np.uint16)
    map_[top:] = np.clip(np.round(metres * 1000), 0, 65535).astype(np.uint16)
    return map_
