"""What stands on and beside a road: cars, trees, houses, hedges, poles."""

from __future__ import annotations

import numpy as np

from mmcert.data.roads.roadworld.ground import Ground, Surface
from mmcert.data.roads.roadworld.solids import Ellipsoid, Frustum

Solid = Frustum | Ellipsoid
_CARS = (
    (0.55, 0.56, 0.58),
    (0.06, 0.06, 0.07),
    (0.75, 0.75, 0.75),
    (0.22, 0.23, 0.25),
    (0.35, 0.04, 0.04),
    (0.05, 0.1, 0.3),
    (0.08, 0.16, 0.1),
    (0.5, 0.42, 0.25),
)
_WALLS = (
    (0.55, 0.48, 0.36),
    (0.6, 0.57, 0.5),
    (0.38, 0.2, 0.14),
    (0.42, 0.42, 0.42),
    (0.62, 0.5, 0.3),
)


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _outer_edge(ground: Ground, side: int) -> float:
    """How far the paved ground reaches beyond the road on that side (-1 left, 1 right), metres."""
    if side < 0:
        return ground.left - ground.breaks[2]
    return ground.breaks[-3] - ground.right


def _at(ground: Ground, side: int, beyond: float, z: float) -> tuple[float, float, float]:
    """x, height and yaw of a point ``beyond`` metres outside the edge of the road."""
    return ground.place(ground.right + beyond if side > 0 else ground.left - beyond, z)


def car(rng: np.random.Generator, x: float, z: float, low: float, yaw: float) -> list[Solid]:
    """A car, or sometimes a van: body, cabin and wheels."""
    colour = _CARS[int(rng.integers(0, len(_CARS)))]
    van = rng.random() < 0.18
    length = _uniform(rng, 4.6, 5.4) if van else _uniform(rng, 3.8, 4.7)
    width = _uniform(rng, 1.9, 2.05) if van else _uniform(rng, 1.7, 1.85)
    body = 1.0 if van else _uniform(rng, 0.55, 0.65)
    cabin = 0.85 if van else _uniform(rng, 0.5, 0.62)
    parts: list[Solid] = [
        Frustum(x, z, low + 0.22, length, width, body, yaw, "body", colour, (0.97, 0.95)),
        Frustum(
            x - (0.0 if van else 0.25) * float(np.sin(yaw)),
            z - (0.0 if van else 0.25) * float(np.cos(yaw)),
            low + 0.22 + body,
            length * (0.93 if van else 0.62),
            width * 0.94,
            cabin,
            yaw,
            "cabin",
            colour,
            (0.92 if van else 0.66, 0.8),
        ),
    ]
    along, across = (np.sin(yaw), np.cos(yaw)), (np.cos(yaw), -np.sin(yaw))
    for end in (-0.31, 0.31):
        for side in (-0.46, 0.46):
            parts.append(
                Ellipsoid(
                    x + float(end * length * along[0] + side * width * across[0]),
                    z + float(end * length * along[1] + side * width * across[1]),
                    low + 0.32,
                    0.32,
                    0.13,
                    0.32,
                    yaw,
                    "wheel",
                    (0.02, 0.02, 0.022),
                    casts_shadow=False,
                )
            )
    return parts


def tree(rng: np.random.Generator, x: float, z: float, low: float) -> list[Solid]:
    """A tree: a trunk, and a crown of ragged ellipsoids."""
    size = _uniform(rng, 0.7, 1.4)
    trunk = _uniform(rng, 1.8, 3.2) * size
    green = np.array([0.055, 0.105, 0.03]) * rng.uniform(0.6, 1.5) + np.array([0.05, 0.01, 0]) * (
        rng.random() ** 3
    )
    bark = (0.09, 0.07, 0.055)
    parts: list[Solid] = [
        Frustum(
            x, z, low - 0.2, 0.32 * size, 0.32 * size, trunk + 1.0, 0.4, "bark", bark, (0.7, 0.7)
        )
    ]
    for _ in range(int(rng.integers(2, 4))):
        radius = _uniform(rng, 1.2, 2.0) * size
        shade = float(rng.uniform(0.85, 1.15))
        parts.append(
            Ellipsoid(
                x + float(rng.normal(0, 0.7)) * size,
                z + float(rng.normal(0, 0.5)) * size,
                low + trunk + radius * _uniform(rng, 0.7, 1.4),
                radius,
                radius,
                radius * _uniform(rng, 0.8, 1.3),
                0.0,
                "leaves",
                (float(green[0]) * shade, float(green[1]) * shade, float(green[2]) * shade),
                ragged=0.5,
            )
        )
    return parts


def _hedge(rng: np.random.Generator, ground: Ground, side: int, beyond: float) -> list[Solid]:
    """A hedge, wall or fence along the road, in straight pieces."""
    kind = str(rng.choice(["leaves", "wall"]))
    colour = (0.06, 0.1, 0.035) if kind == "leaves" else _WALLS[int(rng.integers(0, len(_WALLS)))]
    height, thick = _uniform(rng, 0.6, 1.9), 0.7 if kind == "leaves" else 0.25
    pieces: list[Solid] = []
    z, end = _uniform(rng, 3, 15), _uniform(rng, 25, 70)
    while z < end:
        x, low, yaw = _at(ground, side, beyond, z)
        piece = Frustum(x, z, low - 0.2, 5.2, thick, height + 0.2, yaw, kind, colour)
        pieces.append(piece)
        z += 5.0
    return pieces


def _houses(rng: np.random.Generator, ground: Ground, side: int, beyond: float) -> list[Solid]:
    """A row of houses."""
    houses: list[Solid] = []
    z, end = _uniform(rng, 4, 20), _uniform(rng, 50, 110)
    while z < end:
        length, depth = _uniform(rng, 8, 18), _uniform(rng, 8, 12)
        height = _uniform(rng, 5, 14)
        x, low, yaw = _at(ground, side, beyond + depth / 2, z + length / 2)
        colour = _WALLS[int(rng.integers(0, len(_WALLS)))]
        shade = float(rng.uniform(0.7, 1.15))
        paint = (colour[0] * shade, colour[1] * shade, colour[2] * shade)
        house = Frustum(
            x, z + length / 2, low - 1.5, length, depth, height + 1.5, yaw, "house", paint
        )
        houses.append(house)
        if rng.random() < 0.6:
            houses.append(
                Frustum(
                    x,
                    z + length / 2,
                    low + height,
                    length,
                    depth + 0.6,
                    _uniform(rng, 2, 3.5),
                    yaw,
                    "roof",
                    (0.28, 0.11, 0.07) if rng.random() < 0.6 else (0.13, 0.13, 0.14),
                    (1.0, 0.05),
                    casts_shadow=False,
                )
            )
        z += length + (0.0 if rng.random() < 0.5 else _uniform(rng, 2, 12))
    return houses


def _poles(rng: np.random.Generator, ground: Ground, side: int) -> list[Solid]:
    """Lamp posts, and now and then a sign."""
    parts: list[Solid] = []
    beyond, z = _uniform(rng, 0.5, 1.0), _uniform(rng, 5, 25)
    step = _uniform(rng, 18, 30)
    while z < 90:
        x, low, yaw = _at(ground, side, beyond, z)
        grey = (0.2, 0.21, 0.21)
        parts.append(Frustum(x, z, low, 0.13, 0.13, 6.5, yaw, "metal", grey, (0.6, 0.6)))
        z += step
    if rng.random() < 0.5:
        z = _uniform(rng, 8, 25)
        x, low, yaw = _at(ground, side, beyond, z)
        paint = ((0.6, 0.05, 0.05), (0.05, 0.15, 0.5), (0.6, 0.6, 0.6))[int(rng.integers(0, 3))]
        parts.append(Frustum(x, z, low, 0.08, 0.08, 2.3, yaw, "metal", (0.3, 0.3, 0.3)))
        parts.append(Ellipsoid(x, z - 0.06, low + 2.5, 0.05, 0.36, 0.36, yaw, "sign", paint))
    return parts


def beside_the_road(rng: np.random.Generator, ground: Ground, category: str) -> list[Solid]:
    """Trees, houses, hedges, poles and parked cars on both sides."""
    solids: list[Solid] = []
    for side in (-1, 1):
        paved = _outer_edge(ground, side)
        is_paved = ground.surfaces[3 if side < 0 else -4] == Surface.PAVING
        town = rng.random() < (0.55 if is_paved else 0.12)
        if town:
            solids += _houses(rng, ground, side, paved + _uniform(rng, 0.3, 4))
        elif rng.random() < 0.4:
            solids += _hedge(rng, ground, side, paved + _uniform(rng, 0.4, 2))
        if rng.random() < 0.6:
            solids += _poles(rng, ground, side)
        if not town or rng.random() < 0.3:
            first = min(paved, 1.0) if town else paved
            row = first + _uniform(rng, 0.8, 4)
            spacing = _uniform(rng, 6, 13)
            z = _uniform(rng, 5, 5 + spacing)
            while z < 100:
                x, low, _ = _at(ground, side, row + float(rng.normal(0, 0.5)), z)
                solids += tree(rng, x, z, low)
                z += spacing * _uniform(rng, 0.6, 1.4)
            if not town:  # a second row makes a wood
                for _ in range(int(rng.integers(0, 9))):
                    z = _uniform(rng, 12, 110)
                    x, low, _ = _at(ground, side, row + _uniform(rng, 4, 18), z)
                    solids += tree(rng, x, z, low)
        if rng.random() < (0.45 if category == "uu" else 0.2):
            z, end = _uniform(rng, 5, 15), _uniform(rng, 25, 60)
            inside = -1.05 if category == "uu" else (0.9 if paved > 2.2 else -1.05)
            while z < end:
                x, low, yaw = _at(ground, side, inside, z)
                solids += car(rng, x, z, low, yaw if side > 0 else yaw + float(np.pi))
                z += _uniform(rng, 5.4, 9)
    return solids


def on_the_road(rng: np.random.Generator, ground: Ground, category: str) -> list[Solid]:
    """Cars that drive: ahead of the camera and towards it."""
    solids: list[Solid] = []
    if rng.random() < 0.45:
        z = _uniform(rng, 10, 55)
        x, low, yaw = ground.place(float(rng.normal(0, 0.2)), z)
        solids += car(rng, x, z, low, yaw)
    left_lane = ground.left + 1.9
    if left_lane < -1.9:
        z = _uniform(rng, 7, 25)
        while z < 80:
            if rng.random() < 0.35:
                x, low, yaw = ground.place(left_lane + float(rng.normal(0, 0.2)), z)
                solids += car(rng, x, z, low, yaw + float(np.pi))
            z += _uniform(rng, 9, 25)
    return solids
