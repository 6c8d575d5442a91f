"""Solids that stand in the world, and rays from the camera that meet them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmcert.data.roads.roadworld.arrays import Array, single

#: Faces of a frustum, in this order: front (away from the camera at yaw 0), back, right, left,
#: top, bottom; as indices of its vertices.
FACES = ((4, 5, 7, 6), (0, 2, 3, 1), (1, 3, 7, 5), (0, 4, 6, 2), (2, 6, 7, 3), (0, 1, 5, 4))
FRONT, BACK, RIGHT, LEFT, TOP, BOTTOM = range(6)
#: Nothing is seen nearer than this, metres.
NEAREST = 0.3


@dataclass(frozen=True)
class Frustum:
    """A box whose top may be smaller than its foot.

    Args:
        x: Centre of the foot, to the right of the camera.
        z: Centre of the foot, forward.
        low: Height of the foot above the camera's foot.
        length: Along its yaw direction.
        width: Across it.
        height: From foot to top.
        yaw: Direction, 0 = away from the camera, positive to the right.
        kind: What it is; chooses its paint.
        colour: Albedo of its paint.
        top: Length and width of the top, relative to the foot.
        shift: Shift of the top along the length, metres.
        casts_shadow: Whether it shades the ground.
    """

    x: float
    z: float
    low: float
    length: float
    width: float
    height: float
    yaw: float
    kind: str
    colour: tuple[float, float, float]
    top: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    casts_shadow: bool = True


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; see :class:`Frustum` for the common arguments.

    Args:
        x: Centre.
        z: Centre.
        middle: Height of its centre.
        length: Radius along its yaw direction.
        width: Radius across it.
        height: Vertical radius.
        yaw: Direction.
        kind: What it is.
        colour: Albedo.
        ragged: How far its outline is eaten by noise, 0 (smooth) .. 1.
        casts_shadow: Whether it shades the ground.
    """

    x: float
    z: float
    middle: float
    length: float
    width: float
    height: float
    yaw: float
    kind: str
    colour: tuple[float, float, float]
    ragged: float = 0.0
    casts_shadow: bool = True


@dataclass(frozen=True)
class Hits:
    """Where rays of a window of the image meet a solid.

    Args:
        rows: Rows of the window.
        columns: Columns of the window.
        z: Distance, inf where there is none, ``(h, w)``.
        normal: Outward normal ``(h, w, 3)``.
        face: Face index of a frustum, 0 for an ellipsoid, ``(h, w)``.
        along: Coordinate along the length, metres from the centre.
        side: Coordinate across it.
        up: Height above the foot or centre.
    """

    rows: slice
    columns: slice
    z: Array
    normal: Array
    face: NDArray[np.intp]
    along: Array
    side: Array
    up: Array


def _window(corners: Array, across: Array, down: Array, seen: Array) -> tuple[slice, slice] | None:
    """Rows and columns that the corners (x, y, z) span; None where out of view or hidden."""
    if corners[:, 2].max() < 0.5:
        return None
    z = np.maximum(corners[:, 2], NEAREST)
    u, v = corners[:, 0] / z, corners[:, 1] / z
    first, last = np.searchsorted(across, [u.min(), u.max()])
    upper, lower = np.searchsorted(down, [v.min(), v.max()])
    if first == last or upper == lower:
        return None
    rows, columns = slice(int(upper), int(lower)), slice(int(first), int(last))
    return (rows, columns) if seen[rows, columns].max() > corners[:, 2].min() else None


def _axes(yaw: float) -> tuple[Array, Array]:
    """Unit vectors along the length and across it (to the right), in camera axes."""
    s, c = np.sin(yaw), np.cos(yaw)
    return single([s, 0, c]), single([c, 0, -s])


def _across_both(p: Array, q: Array) -> Array:
    """Unit vector across two vectors; numpy's own cross product is slow on single ones."""
    x = p[1] * q[2] - p[2] * q[1]
    y = p[2] * q[0] - p[0] * q[2]
    z = p[0] * q[1] - p[1] * q[0]
    return single([x, y, z]) / (math.sqrt(x * x + y * y + z * z) + 1e-9)


def meet_frustum(
    solid: Frustum, camera_height: float, across: Array, down: Array, seen: Array
) -> Hits | None:
    """Rays ``(x/z, y/z, 1)`` of the image against a frustum.

    Args:
        solid: The frustum.
        camera_height: Height of the camera.
        across: ``x/z`` of the columns.
        down: ``y/z`` of the rows.
        seen: Distance of what is there already, ``(H, W)``.

    Returns:
        None where the solid is out of view or wholly hidden.
    """
    along, right = _axes(solid.yaw)
    foot = single([solid.x, camera_height - solid.low, solid.z])
    corners = []
    for end in (-0.5, 0.5):
        for level in (0, 1):
            for side in (-0.5, 0.5):
                length, width = solid.top if level else (1.0, 1.0)
                corners.append(
                    foot
                    + along * (end * solid.length * length + level * solid.shift)
                    + right * (side * solid.width * width)
                    - single([0, level * solid.height, 0])
                )
    vertices = np.stack(corners)  # end, level, side
    window = _window(vertices, across, down, seen)
    if window is None:
        return None
    rows, columns = window
    a, b = across[columns][None], down[rows][:, None]
    middle = vertices.mean(axis=0)
    normals = np.zeros((6, 3), np.float32)
    reach = np.zeros((6, 1, 1), np.float32)
    for index, (first, second, third, _) in enumerate(FACES):
        corner = vertices[first]
        normal = _across_both(vertices[second] - corner, vertices[third] - corner)
        normals[index] = normal if normal @ (corner - middle) > 0 else -normal
        reach[index] = normals[index] @ corner
    speed = normals[:, 0, None, None] * a + normals[:, 1, None, None] * b
    speed += normals[:, 2, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = reach / speed
    entry = np.where(speed < 0, t, single(-np.inf))
    face = entry.argmax(axis=0)
    nearest = np.take_along_axis(entry, face[None], axis=0)[0]
    farthest = np.where(speed > 0, t, single(np.inf)).min(axis=0)
    z = np.where((nearest < farthest) & (nearest > NEAREST), nearest, single(np.inf))
    depth = np.where(np.isfinite(z), z, 0)
    from_foot = np.stack([a * depth - foot[0], b * depth - foot[1], depth - foot[2]], axis=-1)
    return Hits(
        rows,
        columns,
        z,
        normals[face],
        face,
        from_foot @ along,
        from_foot @ right,
        -from_foot[..., 1],
    )


def meet_ellipsoid(
    solid: Ellipsoid,
    camera_height: float,
    across: Array,
    down: Array,
    seen: Array,
    ragged: Array | None,
) -> Hits | None:
    """Rays against an ellipsoid; see :func:`meet_frustum`.

    Args:
        solid: The ellipsoid.
        camera_height: Height of the camera.
        across: ``x/z`` of the columns.
        down: ``y/z`` of the rows.
        seen: Distance of what is there already, ``(H, W)``.
        ragged: Noise of the whole image ``(H, W)`` that eats the outline, or None.
    """
    along, right = _axes(solid.yaw)
    centre = single([solid.x, camera_height - solid.middle, solid.z])
    reach = max(solid.length, solid.width)
    offsets = single(
        [
            [i * reach, j * solid.height, k * reach]
            for i in (-1, 1)
            for j in (-1, 1)
            for k in (-1, 1)
        ]
    )
    window = _window(centre + offsets, across, down, seen)
    if window is None:
        return None
    rows, columns = window
    a, b = across[columns][None], down[rows][:, None]
    # In the solid's own axes, divided by its radii, it is the unit sphere.
    ray = (
        (along[0] * a + along[2]) / solid.length,
        (right[0] * a + right[2]) / solid.width,
        b / solid.height,
    )
    start = (
        -float(along @ centre) / solid.length,
        -float(right @ centre) / solid.width,
        -float(centre[1]) / solid.height,
    )
    square = ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2
    half = ray[0] * start[0] + ray[1] * start[1] + ray[2] * start[2]
    inside = 1 - (sum(value**2 for value in start) - half**2 / square)
    edge = (
        0.0 if ragged is None else solid.ragged * np.clip(ragged[rows, columns] + 0.6, 0, 2) * 0.5
    )
    root = np.sqrt(np.maximum(inside, 0) / square)
    t = -half / square - root
    z = np.where((inside > edge) & (t > NEAREST), t, single(np.inf))
    depth = np.where(np.isfinite(z), z, 0)
    p, q, r = (start[i] + ray[i] * depth for i in range(3))
    normal = (
        (p / solid.length)[..., None] * along
        + (q / solid.width)[..., None] * right
        + (r / solid.height)[..., None] * single([0, 1, 0])
    )
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    return Hits(
        rows,
        columns,
        z,
        normal.astype(np.float32),
        np.zeros(z.shape, np.intp),
        p * solid.length,
        q * solid.width,
        -r * solid.height,
    )
