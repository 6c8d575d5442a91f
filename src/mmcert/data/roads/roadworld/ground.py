"""The ground: a curved road with what lies beside it, as a height field, and rays that meet it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mmcert.data.roads.roadworld.arrays import Array, single
from mmcert.data.roads.roadworld.camera import Camera
from mmcert.data.roads.roadworld.noise import noise

FARTHEST = 160.0


class Surface(IntEnum):
    """What the ground is made of."""

    ROAD = 0
    KERB = 1
    PAVING = 2
    GRAVEL = 3
    DIRT = 4
    GRASS = 5


@dataclass(frozen=True)
class Ground:
    """Heights in metres above the camera's foot; lengths in metres.

    The lateral coordinate ``d`` of a point is its distance to the right of a centre curve, across
    the road. The cross-section is a polyline over ``d``.

    Args:
        camera_height: Height of the camera above the road below it.
        heading: Slope dx/dz of the curve at the camera.
        curvature: Its curvature there, 1/m.
        curvature_change: Its growth with distance, 1/m^2.
        slope: Rise of the ground with distance (a camera pitched the other way).
        crest: Second-order rise, 1/m.
        tilt: Rise to the right (a camera rolled).
        breaks: ``d`` of the corners of the cross-section, increasing.
        heights: Height at each corner.
        surfaces: Surface left of the first corner, between corners, right of the last one.
        left: ``d`` of the left edge of the road.
        right: ``d`` of its right edge.
        bumps: Standard deviation of the roughness of open land.
    """

    camera_height: float
    heading: float
    curvature: float
    curvature_change: float
    slope: float
    crest: float
    tilt: float
    breaks: tuple[float, ...]
    heights: tuple[float, ...]
    surfaces: tuple[int, ...]
    left: float
    right: float
    bumps: float

    def centre(self, z: Array | float) -> Array:
        """X of the centre curve at distance z."""
        z = np.asarray(z, np.float32)
        bend = 0.5 * self.curvature + self.curvature_change / 6 * z
        return single(z * (self.heading + z * bend))

    def direction(self, z: Array | float) -> Array:
        """Slope dx/dz of the curve at distance z."""
        z = np.asarray(z, np.float32)
        return single(self.heading + z * (self.curvature + 0.5 * self.curvature_change * z))

    def lateral(self, x: Array | float, z: Array | float) -> Array:
        """``d`` of points of the ground plan."""
        across = 1 / np.sqrt(1 + self.direction(z) ** 2)
        return ((x - self.centre(z)) * across).astype(np.float32)

    def place(self, d: float, z: float) -> tuple[float, float, float]:
        """X of the point at lateral distance ``d``, its height, and the road's yaw there."""
        slope = float(self.direction(z))
        x = float(self.centre(z)) + d * float(np.sqrt(1 + slope**2))
        at_x, at_z = single([[x]]), single([[z]])
        return x, float(self.height(at_x, at_z)[0, 0]), float(np.arctan(slope))

    def height(self, x: Array, z: Array) -> Array:
        """Height of the ground at points of the plan, shape of ``x``."""
        d = self.lateral(x, z)
        h = np.interp(d, self.breaks, self.heights).astype(np.float32)
        h += z * (self.slope + z * self.crest) + single(self.tilt) * x
        open_land = np.clip((np.maximum(d - self.breaks[-3], self.breaks[2] - d)) / 3, 0, 1)
        h += single(self.bumps) * open_land * noise(x, z, 2.5, 3)
        return h

    def surface(self, d: Array) -> NDArray[np.uint8]:
        """:class:`Surface` at lateral distance ``d``."""
        table = np.array(self.surfaces, np.uint8)
        return table[np.searchsorted(single(self.breaks), d)]

    def cast(self, camera: Camera, across: Array, down: Array) -> Array:
        """Distance z at which rays meet the ground, inf where they meet none.

        The rays of an image column lie in a vertical plane: its terrain is sampled from near to
        far, and the visible part of it is where the view angle reaches a new maximum.

        Args:
            camera: The camera.
            across: ``x/z`` of the columns, ``(W,)``.
            down: ``y/z`` of the rows, ``(H,)``, increasing.

        Returns:
            ``(H, W)`` float32.
        """
        lowest = float(down[-1])
        samples = 2 * int((down > 0).sum())
        inverse = np.linspace(
            lowest / (0.2 * self.camera_height), 1 / FARTHEST, samples, dtype=np.float32
        )
        z = single(1 / inverse)[:, None]
        view = (self.camera_height - self.height(across[None] * z, z)) * inverse[:, None]
        view = np.minimum.accumulate(view, axis=0)  # (samples, W): lowest first
        found = np.full((len(down), len(across)), np.inf, np.float32)
        for column in range(len(across)):
            profile = -view[:, column]
            index = np.searchsorted(profile, -down)
            met = np.flatnonzero(index < samples)
            at = np.maximum(index[met], 1)
            before, after = profile[at - 1], profile[at]
            part = np.clip((-down[met] - before) / np.maximum(after - before, 1e-9), 0, 1)
            found[met, column] = 1 / (inverse[at - 1] + part * (inverse[at] - inverse[at - 1]))
        return found
