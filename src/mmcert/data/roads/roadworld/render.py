"""From a world to what a camera and a LiDAR on a car record of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from mmcert.data.roads.roadworld.arrays import Array, single
from mmcert.data.roads.roadworld.camera import Camera
from mmcert.data.roads.roadworld.ground import FARTHEST, Surface
from mmcert.data.roads.roadworld.lidar import depth_map
from mmcert.data.roads.roadworld.noise import noise
from mmcert.data.roads.roadworld.scene import Light, Scene
from mmcert.data.roads.roadworld.shade import (
    ground_albedo,
    is_glass,
    shadow_plan,
    solid_albedo,
    sunlit,
)
from mmcert.data.roads.roadworld.solids import Frustum, meet_ellipsoid, meet_frustum


@dataclass(frozen=True)
class View:
    """What is recorded of a scene.

    Args:
        image: ``(H, W, 3)`` uint8.
        depth: ``(H, W)`` uint16 millimetres, 0 = none.
        road: Whether a pixel shows the road, ``(H, W)`` bool.
        distance: True distance z in metres, inf for the sky, ``(H, W)`` float32.
    """

    image: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    road: NDArray[np.bool_]
    distance: Array


def render(scene: Scene, camera: Camera, rng: np.random.Generator) -> View:
    """Picture, depth map and road mask of a scene.

    Args:
        scene: The world.
        camera: The camera. Small images are rendered finer and averaged.
        rng: Of sensor noise and lost LiDAR returns.
    """
    finer = 2 if camera.rows * camera.columns < 200_000 else 1
    across, down = camera.rays(finer)
    z = scene.ground.cast(camera, across, down)
    colour = np.zeros((*z.shape, 3), np.float32)
    sky = slice(0, int(np.flatnonzero(np.isinf(z).any(axis=1)).max(initial=-1)) + 1)
    colour[sky] = _sky(scene, across, down[sky])
    road = np.zeros(z.shape, bool)
    silent = np.zeros(z.shape, bool)
    plan = shadow_plan(scene)
    _paint_ground(scene, camera, across, down, z, plan, colour, road)
    _paint_solids(scene, across, down, z, colour, road, silent)
    haze = np.exp(-z / single(scene.light.haze))[..., None]
    haze[~np.isfinite(z)] = 1  # the sky has its haze in it
    colour = colour * haze + single(scene.light.horizon) * 0.8 * (1 - haze)
    colour *= single(scene.light.exposure)
    true = _fewer_distances(z, finer)
    shows_road = _means(road.astype(np.float32), finer) >= 0.5
    no_answer = _means(silent.astype(np.float32), finer) >= 0.5
    image = _expose(_means(colour, finer), camera, scene.light, rng)
    return View(image, depth_map(true, no_answer, camera, rng), shows_road, true)


def _means(values: Array, finer: int) -> Array:
    """Means over blocks of ``finer`` x ``finer`` samples."""
    if finer == 1:
        return values
    rows, columns = values.shape[0] // finer, values.shape[1] // finer
    blocks = values.reshape(rows, finer, columns, finer, *values.shape[2:])
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def _fewer_distances(z: Array, finer: int) -> Array:
    """Distance at pixel centres: 1/z is linear on a plane; at an edge the nearest sample counts."""
    if finer == 1:
        return z
    blocks = z.reshape(z.shape[0] // finer, finer, z.shape[1] // finer, finer)
    nearest = blocks.min(axis=(1, 3))
    mean = 1 / np.maximum((1 / blocks).mean(axis=(1, 3), dtype=np.float32), 1e-9)
    one_surface = blocks.max(axis=(1, 3)) < 1.15 * nearest
    return np.where(one_surface, mean, nearest)


def _sky(scene: Scene, across: Array, down: Array) -> Array:
    """Sky and far trees behind everything, ``(H, W, 3)``."""
    light = scene.light
    up = np.clip(-down[:, None], 0, 1)
    fade = np.exp(-up * 5)[..., None]
    colour = single(light.zenith) * (1 - fade) + single(light.horizon) * fade
    if light.clouds > 0:
        high = 1 / (up + 0.08)
        x, y = single(across[None] * high), single(high)
        cover = noise(x, y, 3.0, scene.offset) + 0.5 * noise(x, y, 1.1, scene.offset + 1)
        part = np.clip(cover * 0.6 + 1.6 * light.clouds - 0.8, 0, 1)[..., None]
        white = single([0.95, 0.95, 0.96]) * (0.9 if light.clouds < 1 else 0.85)
        colour = colour * (1 - part) + white * part
        colour *= 1 + 0.04 * cover[..., None] * light.clouds
    colour = colour * single(light.sky_brightness)
    crown = 1 + 0.35 * noise(across, 0 * across, 0.09, scene.offset + 7)
    crown += 0.15 * noise(across, 0 * across, 0.02, scene.offset + 8)
    end = scene.ground.slope + scene.ground.crest * FARTHEST
    skyline = -(end + np.maximum(crown, 0.1) * scene.treeline / FARTHEST)
    trees = down[:, None] > skyline[None]
    sunshine = single(light.sky_colour) + 0.3 * single(light.sun_colour)
    leaf = single([0.05, 0.085, 0.035]) * sunshine * 1.2
    shade = 1 + 0.3 * noise(across[None], down[:, None], 0.02, scene.offset + 9)
    part = np.exp(-FARTHEST / light.haze)
    far = leaf * part + single(light.horizon) * 0.8 * (1 - part)
    colour[trees] = (far * shade[..., None])[trees]
    return colour.astype(np.float32)


def _paint_ground(
    scene: Scene,
    camera: Camera,
    across: Array,
    down: Array,
    z: Array,
    plan: Array,
    colour: Array,
    road: NDArray[np.bool_],
) -> None:
    met = np.isfinite(z)
    _, column = np.nonzero(met)
    ahead = z[met]
    x = across[column] * ahead
    d = scene.ground.lateral(x, ahead)
    finer = len(across) / camera.columns
    pixel = ahead**2 / single(camera.f * finer * scene.ground.camera_height) * 0.3
    albedo = ground_albedo(scene, x, ahead, d, pixel)
    light = scene.light
    direct = single(light.sun_colour) * single(-light.sun[1])
    seen = sunlit(plan, x, ahead)[:, None]
    covered = 0.55 + 0.45 * seen  # what hides the sun hides some of the sky too
    colour[met] = albedo * (single(light.sky_colour) * covered + direct * seen)
    road[met] = scene.ground.surface(d) == Surface.ROAD


def _paint_solids(
    scene: Scene,
    across: Array,
    down: Array,
    z: Array,
    colour: Array,
    road: NDArray[np.bool_],
    silent: NDArray[np.bool_],
) -> None:
    height = scene.ground.camera_height
    light = scene.light
    angle = single(0.012)
    leafy = noise(
        across[None],
        down[:, None],
        float(angle),
        scene.offset,
    )
    for solid in sorted(scene.solids, key=lambda one: one.z):  # what is near hides what is far
        hits = (
            meet_frustum(solid, height, across, down, z)
            if isinstance(solid, Frustum)
            else meet_ellipsoid(solid, height, across, down, z, leafy if solid.ragged else None)
        )
        if hits is None:
            continue
        window = (hits.rows, hits.columns)
        visible = hits.z < z[window]
        if not visible.any():
            continue
        albedo = solid_albedo(scene, solid, hits, leafy[window])
        facing = np.clip(hits.normal @ single(light.sun), 0, 1)
        if solid.kind == "leaves":
            facing = 0.35 * facing + 0.15
        open_sky = 0.55 - 0.45 * hits.normal[..., 1]  # the normal's y points down
        lit = single(light.sky_colour) * open_sky[..., None] * 0.8
        lit = lit + single(light.sun_colour) * facing[..., None]
        shaded = albedo * lit
        if solid.kind in ("body", "cabin"):  # paint and glass mirror some sky
            mirror = 0.10 * np.clip(-hits.normal[..., 1] + 0.3, 0, 1)
            shaded = shaded + single(light.horizon) * mirror[..., None]
        z[window][visible] = hits.z[visible]
        colour[window][visible] = shaded[visible]
        road[window][visible] = False
        silent[window][visible] = is_glass(solid, hits)[visible]


def _expose(
    colour: Array, camera: Camera, light: Light, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Linear colours to display values: lens, tone curve, noise of the sensor."""
    rows, columns = colour.shape[:2]
    blur = 0.35 * columns / 1242 + 0.15
    colour = gaussian_filter(colour, (blur, blur, 0))
    x = (np.arange(columns, dtype=np.float32) - camera.u0) / columns
    y = (np.arange(rows, dtype=np.float32) - camera.v0) / columns
    colour = colour * (1 - 0.5 * (x[None] ** 2 + y[:, None] ** 2))[..., None]
    display = np.clip(colour, 0, None) ** single(1 / 2.2)
    display = display + 0.18 * display * (1 - display) * (2 * display - 1)
    grain = rng.standard_normal(display.shape, dtype=np.float32)
    display = display + single(light.noise) * grain
    return (np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)
