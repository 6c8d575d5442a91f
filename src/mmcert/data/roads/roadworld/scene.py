"""Drawing a world: road, what lies beside it, what stands on it, light and weather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcert.data.roads.roadworld.ground import Ground, Surface
from mmcert.data.roads.roadworld.solids import Ellipsoid, Frustum
from mmcert.data.roads.roadworld.street import beside_the_road, on_the_road

Colour = tuple[float, float, float]
#: KITTI's categories: urban marked (two lanes), urban multiple marked lanes, urban unmarked.
CATEGORIES = ("um", "umm", "uu")


@dataclass(frozen=True)
class Marking:
    """A painted line along the road.

    Args:
        d: Lateral position of its middle, metres.
        width: Metres.
        dash: Length of a dash and of the gap after it in metres; None for a solid line.
        start: Shift of the dashes along the road.
    """

    d: float
    width: float
    dash: tuple[float, float] | None
    start: float


@dataclass(frozen=True)
class Patch:
    """A mended rectangle of the road: ``d`` and ``z`` ranges in metres and its relative tone."""

    d: tuple[float, float]
    z: tuple[float, float]
    tone: float


@dataclass(frozen=True)
class Light:
    """Light and weather; colours are linear.

    Args:
        sun: Direction towards the sun, unit vector in camera axes.
        sun_colour: Irradiance of a surface that faces the sun; 0 under clouds.
        sky_colour: Irradiance of open sky from above.
        zenith: Colour of the sky above.
        horizon: Colour of the sky at the horizon, and of haze.
        sky_brightness: Factor of the sky as it is seen.
        clouds: Cover 0..1.
        haze: Distance in metres at which haze hides all but 37 %.
        exposure: Factor of the camera.
        noise: Standard deviation of the sensor noise in display units (of 1).
    """

    sun: Colour
    sun_colour: Colour
    sky_colour: Colour
    zenith: Colour
    horizon: Colour
    sky_brightness: float
    clouds: float
    haze: float
    exposure: float
    noise: float


@dataclass(frozen=True)
class Scene:
    """One world, ready to be rendered.

    Args:
        ground: The height field.
        solids: What stands on it.
        markings: Painted lines.
        patches: Mended rectangles.
        albedo: Colour of each :class:`~mmcert.data.roads.roadworld.ground.Surface`.
        light: Light and weather.
        treeline: Mean height of the far trees in metres at the farthest distance.
        offset: Offset of all textures.
    """

    ground: Ground
    solids: tuple[Frustum | Ellipsoid, ...]
    markings: tuple[Marking, ...]
    patches: tuple[Patch, ...]
    albedo: tuple[Colour, ...]
    light: Light
    treeline: float
    offset: int


def draw_scene(rng: np.random.Generator, category: str) -> Scene:
    """A world of the category ``um``, ``umm`` or ``uu``."""
    ground, markings = _draw_road(rng, category)
    light = _draw_light(rng)
    solids = [
        *beside_the_road(rng, ground, category),
        *on_the_road(rng, ground, category),
    ]
    return Scene(
        ground=ground,
        solids=tuple(solids),
        markings=tuple(markings),
        patches=tuple(_draw_patches(rng, ground)),
        albedo=_draw_albedo(rng),
        light=light,
        treeline=float(rng.uniform(4, 16)),
        offset=int(rng.integers(0, 1000)),
    )


def _draw_road(rng: np.random.Generator, category: str) -> tuple[Ground, list[Marking]]:
    lane = float(rng.uniform(2.9, 3.6))
    sway = float(rng.normal(0, 0.2))
    if category == "uu":
        width = float(rng.uniform(4.2, 7.5))
        right = float(rng.uniform(0.35, 0.55)) * width
        left = right - width
        lines: list[float] = []
    else:
        lanes = 2 if category == "um" else int(rng.integers(3, 5))
        own = int(rng.integers(0, 1 if category == "um" else 2))  # lanes to the right of the camera
        right = (own + 0.5) * lane + sway + 0.25
        left = (own + 0.5 - lanes) * lane + sway - 0.25
        lines = [(own + 0.5 - number) * lane + sway for number in range(1, lanes)]
    dash = ((3.0, 6.0), (3.0, 4.5), (6.0, 6.0))[int(rng.integers(0, 3))]
    start = float(rng.uniform(0, 12))
    middle = len(lines) // 2
    solid = category == "umm" and rng.random() < 0.5
    markings = [
        Marking(d, 0.14, None if solid and number == middle else dash, start)
        for number, d in enumerate(lines)
    ]
    if lines and rng.random() < 0.7:
        markings += [
            Marking(left + 0.25, 0.13, None, start),
            Marking(right - 0.25, 0.13, None, start),
        ]
    sides = [_draw_side(rng, category) for _ in range(2)]
    breaks, heights, surfaces = _cross_section(left, right, sides[0], sides[1])
    return (
        Ground(
            camera_height=float(rng.normal(1.65, 0.03)),
            heading=float(rng.normal(0, 0.03)),
            curvature=float(np.clip(rng.normal(0, 0.004), -0.011, 0.011)),
            curvature_change=float(rng.normal(0, 5e-5)),
            slope=float(np.clip(rng.normal(0, 0.009), -0.02, 0.02)),
            crest=float(np.clip(rng.normal(0, 1.2e-4), -2.5e-4, 2.5e-4)),
            tilt=float(rng.normal(0, 0.012)),
            breaks=breaks,
            heights=heights,
            surfaces=surfaces,
            left=left,
            right=right,
            bumps=float(rng.uniform(0.02, 0.12)),
        ),
        markings,
    )


def _draw_side(rng: np.random.Generator, category: str) -> list[tuple[float, float, Surface]]:
    """Strips from the road's edge outwards: width, rise over it, surface."""
    kind = rng.choice(
        ["pavement", "kerb and grass", "shoulder", "square"],
        p=[0.45, 0.15, 0.2, 0.2] if category != "uu" else [0.5, 0.1, 0.2, 0.2],
    )
    kerb = float(rng.uniform(0.08, 0.16))
    open_slope = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.02, 0.35))
    strips: list[tuple[float, float, Surface]] = []
    if kind == "pavement":
        strips += [(0.03, kerb, Surface.KERB), (0.13, 0.0, Surface.KERB)]
        wide = float(rng.uniform(1.5, 3.5))
        strips += [(wide, 0.02 * wide, Surface.PAVING)]
        open_slope *= 0.6
    elif kind == "kerb and grass":
        strips += [(0.03, kerb, Surface.KERB), (0.13, 0.0, Surface.KERB)]
    elif kind == "shoulder":
        wide = float(rng.uniform(0.5, 2.0))
        strips += [(wide, -0.05 * wide, rng.choice([Surface.GRAVEL, Surface.DIRT]))]
    else:
        # A paved or gravelled square as grey as the road: only its kerb and its slope tell.
        strips += [(0.03, kerb, Surface.KERB), (0.12, 0.0, Surface.KERB)]
        wide = float(rng.uniform(4.0, 12.0))
        rise = float(rng.uniform(-0.02, 0.1))
        strips += [(wide, rise * wide, rng.choice([Surface.PAVING, Surface.GRAVEL]))]
    # Steep at first, then level: an embankment or a ditch.
    steep, beyond = (4.0, 4.0 * open_slope), (60.0, 2.0 * open_slope)
    return [*strips, (*steep, Surface.GRASS), (*beyond, Surface.GRASS)]


def _cross_section(
    left: float,
    right: float,
    left_side: list[tuple[float, float, Surface]],
    right_side: list[tuple[float, float, Surface]],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Corners, heights and surfaces from left to right; the road is crowned by 2 %."""
    crown = 0.02 * (right - left) / 2

    def outwards(
        strips: list[tuple[float, float, Surface]],
    ) -> tuple[list[float], list[float], list[int]]:
        offsets = np.cumsum([width for width, _, _ in strips]).tolist()
        rises = (np.cumsum([rise for _, rise, _ in strips]) - crown).tolist()
        return offsets, rises, [int(surface) for _, _, surface in strips]

    far_left, up_left, kinds_left = outwards(left_side)
    far_right, up_right, kinds_right = outwards(right_side)
    middle = (left + right) / 2
    breaks = [left - o for o in reversed(far_left)] + [left, middle, right]
    breaks += [right + o for o in far_right]
    heights = [*reversed(up_left), -crown, 0.0, -crown, *up_right]
    road = int(Surface.ROAD)
    surfaces = [kinds_left[-1], *reversed(kinds_left), road, road, *kinds_right, kinds_right[-1]]
    foot = float(np.interp(0.0, breaks, heights))  # the camera stands on the road
    return tuple(breaks), tuple(h - foot for h in heights), tuple(surfaces)


def _draw_patches(rng: np.random.Generator, ground: Ground) -> list[Patch]:
    patches = []
    for _ in range(int(rng.integers(0, 4))):
        d = float(rng.uniform(ground.left, ground.right))
        z = float(rng.uniform(4, 40))
        width, length = float(rng.uniform(0.6, 3)), float(rng.uniform(1, 12))
        patches.append(Patch((d, d + width), (z, z + length), float(rng.uniform(0.78, 1.15))))
    return patches


def _tint(rng: np.random.Generator, grey: float, warm: float) -> Colour:
    shade = rng.normal(0, 0.012, 3)
    return (
        float(grey * (1 + warm + shade[0])),
        float(grey * (1 + shade[1])),
        float(grey * (1 - warm + shade[2])),
    )


def _draw_albedo(rng: np.random.Generator) -> tuple[Colour, ...]:
    """One colour per surface; grey surfaces beside the road are close to its own."""
    grey = float(rng.uniform(0.13, 0.27))
    dry = float(rng.uniform(0, 1)) ** 1.5
    grass = np.array([0.09, 0.15, 0.04]) * (1 - dry) + np.array([0.25, 0.22, 0.10]) * dry
    grass = grass * rng.uniform(0.8, 1.3)
    colours = {
        Surface.ROAD: _tint(rng, grey, float(rng.normal(0, 0.02))),
        Surface.KERB: _tint(rng, grey * float(rng.uniform(1.2, 1.7)), 0.02),
        Surface.PAVING: _tint(
            rng, grey * float(rng.uniform(0.9, 1.35)), float(rng.normal(0.03, 0.04))
        ),
        Surface.GRAVEL: _tint(
            rng, grey * float(rng.uniform(0.85, 1.3)), float(rng.normal(0.03, 0.03))
        ),
        Surface.DIRT: _tint(
            rng, grey * float(rng.uniform(0.8, 1.2)), float(rng.uniform(0.08, 0.22))
        ),
        Surface.GRASS: (float(grass[0]), float(grass[1]), float(grass[2])),
    }
    return tuple(colours[surface] for surface in Surface)


def _draw_light(rng: np.random.Generator) -> Light:
    elevation = float(rng.uniform(0.35, 1.1))
    azimuth = float(rng.uniform(0, 2 * np.pi))
    sun = (
        float(np.cos(elevation) * np.sin(azimuth)),
        float(-np.sin(elevation)),
        float(np.cos(elevation) * np.cos(azimuth)),
    )
    weather = rng.random()
    if weather < 0.55:  # sunshine
        warm = float(rng.uniform(0.0, 0.12))
        return Light(
            sun,
            (2.6, 2.6 * (1 - warm / 2), 2.6 * (1 - warm)),
            (0.62, 0.72, 0.9),
            (0.18, 0.38, 0.75),
            (0.85, 0.9, 0.97),
            1.3,
            float(rng.uniform(0, 0.6)),
            float(rng.uniform(200, 700)),
            float(rng.uniform(0.8, 1.25)),
            float(rng.uniform(0.012, 0.025)),
        )
    if weather < 0.85:  # clouds
        return Light(
            sun,
            (0.25, 0.25, 0.25),
            (1.7, 1.75, 1.85),
            (0.62, 0.66, 0.72),
            (0.86, 0.88, 0.9),
            1.3,
            1.0,
            float(rng.uniform(90, 350)),
            float(rng.uniform(0.8, 1.2)),
            float(rng.uniform(0.015, 0.03)),
        )
    return Light(  # dusk
        sun,
        (0.12, 0.1, 0.08),
        (0.75, 0.78, 0.95),
        (0.25, 0.3, 0.45),
        (0.75, 0.66, 0.6),
        0.8,
        0.5,
        float(rng.uniform(120, 400)),
        float(rng.uniform(0.9, 1.3)),
        float(rng.uniform(0.03, 0.05)),
    )
