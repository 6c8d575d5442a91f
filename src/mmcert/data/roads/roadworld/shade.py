"""Paint and shadow: colours before light, and where the sun is hidden."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mmcert.data.roads.roadworld.arrays import Array, single
from mmcert.data.roads.roadworld.ground import Surface
from mmcert.data.roads.roadworld.noise import noise
from mmcert.data.roads.roadworld.scene import Scene
from mmcert.data.roads.roadworld.solids import BOTTOM, TOP, Ellipsoid, Frustum, Hits

#: The plan on which shadows are drawn: metres to each side, metres ahead, metres per cell.
_SIDE, _AHEAD, _CELL = 40.0, 110.0, 0.25


def shadow_plan(scene: Scene) -> Array:
    """How much of the sun every cell of the ground plan sees, 0..1."""
    rows, columns = int(_AHEAD / _CELL), int(2 * _SIDE / _CELL)
    plan = np.ones((rows, columns), np.float32)
    sun = scene.light.sun
    reach = (-sun[0] / -sun[1], -sun[2] / -sun[1])  # shift of a shadow per metre of height
    for solid in scene.solids:
        if not solid.casts_shadow:
            continue
        if isinstance(solid, Ellipsoid):
            low = solid.middle - float(scene.ground.place(0.0, max(solid.z, 0.0))[1])
            _shade_ellipse(plan, solid, low, reach)
        else:
            _shade_frustum(plan, solid, reach)
    return gaussian_filter(plan, 0.7)


def _cells(plan: Array, x: float, z: float, radius: float) -> tuple[slice, slice] | None:
    rows = slice(
        max(int((z - radius) / _CELL), 0), min(int((z + radius) / _CELL) + 2, plan.shape[0])
    )
    columns = slice(
        max(int((x - radius + _SIDE) / _CELL), 0),
        min(int((x + radius + _SIDE) / _CELL) + 2, plan.shape[1]),
    )
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    return rows, columns


def _grid(window: tuple[slice, slice]) -> tuple[Array, Array]:
    rows, columns = window
    z = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * _CELL
    x = (np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) * _CELL - _SIDE
    return single(x[None]), single(z[:, None])


def _shade_ellipse(
    plan: Array, solid: Ellipsoid, middle: float, reach: tuple[float, float]
) -> None:
    x, z = solid.x + reach[0] * middle, solid.z + reach[1] * middle
    length = float(np.hypot(*reach))
    longest = max(solid.length, solid.width) + length * solid.height
    window = _cells(plan, x, z, longest)
    if window is None:
        return
    gx, gz = _grid(window)
    ux, uz = (reach[0] / length, reach[1] / length) if length > 1e-6 else (1.0, 0.0)
    along = ((gx - x) * ux + (gz - z) * uz) / np.hypot(solid.length, length * solid.height)
    across = (-(gx - x) * uz + (gz - z) * ux) / solid.width
    gaps = 0.25 * noise(gx, gz, 0.9, 5) if solid.ragged else 0.0
    plan[window][along**2 + across**2 + gaps < 1] *= 0.25 if solid.ragged else 0.1


def _shade_frustum(plan: Array, solid: Frustum, reach: tuple[float, float]) -> None:
    """A frustum as its foot swept towards the shadow of its top."""
    steps = max(2, min(12, int(np.hypot(*reach) * solid.height / 0.6) + 1))
    s, c = np.sin(solid.yaw), np.cos(solid.yaw)
    for step in range(steps):
        height = solid.height * step / (steps - 1)
        x, z = solid.x + reach[0] * height, solid.z + reach[1] * height
        window = _cells(plan, x, z, 0.5 * float(np.hypot(solid.length, solid.width)) + _CELL)
        if window is None:
            continue
        gx, gz = _grid(window)
        part = step / (steps - 1)
        length = solid.length * (1 + (solid.top[0] - 1) * part)
        width = solid.width * (1 + (solid.top[1] - 1) * part)
        along = np.abs((gx - x) * s + (gz - z) * c) < length / 2
        across = np.abs((gx - x) * c - (gz - z) * s) < max(width / 2, 0.6 * _CELL)
        target = plan[window]
        target[along & across] = np.minimum(target[along & across], 0.1)


def sunlit(plan: Array, x: Array, z: Array) -> Array:
    """How much of the sun ground points see; 1 outside the plan."""
    row = (z / _CELL).astype(np.int32)
    column = ((x + _SIDE) / _CELL).astype(np.int32)
    inside = (row >= 0) & (row < plan.shape[0]) & (column >= 0) & (column < plan.shape[1])
    seen = plan[np.where(inside, row, 0), np.where(inside, column, 0)]
    return np.where(inside, seen, single(1))


def ground_albedo(scene: Scene, x: Array, z: Array, d: Array, pixel: Array) -> Array:
    """Colour of the ground at points.

    Args:
        scene: The world.
        x: Across, metres, ``(P,)``.
        z: Ahead, metres.
        d: Lateral position, metres.
        pixel: Metres of ground that a sample covers; finer texture fades.

    Returns:
        ``(P, 3)`` float32.
    """
    surface = scene.ground.surface(d)
    albedo = single(scene.albedo)[surface]
    seed = scene.offset

    def grain(length: float, number: int) -> Array:
        return noise(x, z, length, seed + number) * (length / (length + pixel))

    fine, middle, coarse = grain(0.12, 0), grain(0.8, 1), grain(5.0, 2)
    rough = single([0.07, 0.06, 0.10, 0.16, 0.14, 0.22])[surface]
    patchy = single([0.035, 0.05, 0.05, 0.08, 0.12, 0.20])[surface]
    tone = 1 + rough * fine + patchy * (middle + coarse)
    road = surface == Surface.ROAD
    if scene.markings:
        lane = scene.markings[0].d
        tone -= 0.05 * road * np.cos((d - lane) * single(2 * np.pi / 1.7))
    for patch in scene.patches:
        inside = road & (d > patch.d[0]) & (d < patch.d[1]) & (z > patch.z[0]) & (z < patch.z[1])
        tone[inside] *= patch.tone
    paving = surface == Surface.PAVING
    joint = (np.mod(d, 0.5) < 0.06) | (np.mod(z, 0.5) < 0.06)
    tone[paving & joint & (pixel < 0.25)] *= 0.8
    albedo = albedo * np.maximum(tone, 0.2)[:, None]
    grass = surface == Surface.GRASS
    albedo[grass, 0] *= 1 + 0.25 * np.clip(coarse[grass] + middle[grass], -1, 2)
    for marking in scene.markings:
        line = np.abs(d - marking.d) < marking.width / 2
        if marking.dash is not None:
            line &= np.mod(z + marking.start, sum(marking.dash)) < marking.dash[0]
        line &= road & (fine + 0.5 * middle < 1.8)  # worn off here and there
        albedo[line] = single([0.62, 0.62, 0.6]) * (1 + 0.06 * fine[line, None])
    return albedo


def solid_albedo(scene: Scene, solid: Frustum | Ellipsoid, hits: Hits, texture: Array) -> Array:
    """Colour of a solid where rays meet it, ``(h, w, 3)``.

    Args:
        scene: The world.
        solid: The solid.
        hits: Where it is met.
        texture: Noise of the window ``(h, w)``.
    """
    colour = np.broadcast_to(single(solid.colour), (*hits.z.shape, 3)).copy()
    side_face = (hits.face != TOP) & (hits.face != BOTTOM)
    if solid.kind == "leaves":
        colour *= np.clip(1 + 0.45 * texture, 0.25, 2)[..., None]
    elif solid.kind == "house":
        run = np.where(hits.face <= 1, hits.side, hits.along)
        window = side_face & (np.mod(run, 2.8) > 1.6) & (np.mod(hits.up - 1.5, 3.1) > 1.4)
        colour[window & (hits.up > 1.5)] = single([0.05, 0.06, 0.08])
        colour *= (1 + 0.05 * texture)[..., None]
    elif solid.kind == "cabin":
        assert isinstance(solid, Frustum)
        glass = side_face & (hits.up < 0.88 * solid.height) & (hits.up > 0.05)
        colour[glass] = single([0.03, 0.035, 0.045])
    elif solid.kind == "body":
        assert isinstance(solid, Frustum)
        ends = (hits.face <= 1) & (hits.up > 0.5 * solid.height) & (hits.up < 0.8 * solid.height)
        lamps = ends & (np.abs(hits.side) > 0.33 * solid.width)
        colour[lamps & (hits.face == 0)] = single([0.8, 0.8, 0.7])
        colour[lamps & (hits.face == 1)] = single([0.5, 0.02, 0.02])
        plate = (hits.face <= 1) & (np.abs(hits.side) < 0.26) & (np.abs(hits.up - 0.3) < 0.06)
        colour[plate] = single([0.6, 0.6, 0.55])
        colour[side_face & (hits.up < 0.1)] *= 0.3
    elif solid.kind in ("wall", "bark", "roof"):
        colour *= np.clip(1 + 0.12 * texture, 0.4, 1.6)[..., None]
    return colour


def is_glass(solid: Frustum | Ellipsoid, hits: Hits) -> NDArray[np.bool_]:
    """Where a LiDAR beam gets no answer: the windows of a cabin."""
    if solid.kind != "cabin":
        return np.zeros(hits.z.shape, bool)
    return (hits.face != TOP) & (hits.up > 0.05)
