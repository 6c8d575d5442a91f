"""The pictures of a performance: a head, its features and the light on it, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from mmcert.data.speech.talkingworld.actors import Actor
from mmcert.data.speech.talkingworld.canvas import OVERSAMPLING, Head, curve, fill, shade
from mmcert.data.speech.talkingworld.emotions import Expression
from mmcert.data.speech.talkingworld.features import draw_brows, draw_eyes, draw_mouth, draw_nose
from mmcert.data.speech.talkingworld.head import draw_fringe, draw_head
from mmcert.data.speech.talkingworld.performance import Performance

#: Half the height of a face, as a share of the picture's height.
_FACE = 0.255
#: Standard deviation of the camera's noise, in steps of 255.
_NOISE = 1.6
_LIGHT_SIZE = 96


def pictures_of(performance: Performance, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames in order, RGB uint8 ``(H, W, 3)``.

    Args:
        performance: The clip.
        size: Rows and columns.
    """
    stage = Stage(performance, size)
    for frame in range(performance.frames):
        yield stage.picture(frame)


class Stage:
    """What stays the same in a clip: the place, the light, the person.

    Args:
        performance: The clip.
        size: Rows and columns of its pictures.
    """

    def __init__(self, performance: Performance, size: tuple[int, int]) -> None:
        self._performance = performance
        self._size = size
        rng = np.random.default_rng([*performance.seed, 4])
        rows, columns = size[0] * OVERSAMPLING, size[1] * OVERSAMPLING
        self._scale = rng.uniform(0.95, 1.06)
        self._offset = rng.normal(0, 0.02, 2)
        self._backdrop = _backdrop(performance.actor, rows, columns, rng)
        slim = 0.44 if performance.actor.female else 0.50
        neck = [(slim, 1.46), (0.7 * slim, 1.54), (-0.7 * slim, 1.54), (-slim, 1.46)]
        self._shoulders = np.array(neck) * _FACE * rows + (columns / 2, rows / 2)
        self._light = _light(performance.actor, rng)
        noise = rng.normal(0, _NOISE, (size[0] + 32, size[1] + 32))
        self._noise = cv2.merge([np.round(noise).astype(np.int16)] * 3)
        self._shift = rng.integers(0, 32, (performance.frames, 2))

    def head(self, frame: int) -> Head:
        """Where the head is on the canvas in a frame."""
        shown = self._shown(frame)
        rows, columns = (length * OVERSAMPLING for length in self._size)
        unit = _FACE * rows * self._scale * (1 + shown.lean)
        return Head(
            centre=(
                columns * 0.5 + rows * (self._offset[0] + 0.12 * shown.turn),
                rows * (0.50 + self._offset[1] + 0.10 * shown.nod),
            ),
            unit=unit,
            yaw=shown.turn,
            pitch=shown.nod,
            roll=float(self._performance.roll[frame]),
            width=self._performance.actor.width,
        )

    def picture(self, frame: int) -> np.ndarray:
        """One frame, RGB uint8 ``(H, W, 3)``."""
        actor, shown, head = self._performance.actor, self._shown(frame), self.head(frame)
        canvas = self._backdrop.copy()
        draw_head(canvas, head, actor, shown, self._shoulders)
        small = cv2.resize(canvas, self._size[::-1], interpolation=cv2.INTER_AREA)
        lit = cv2.multiply(small, self._light_in_place(head), dtype=cv2.CV_8U)
        rounding = float(self._performance.rounding[frame])
        # Features are drawn after the light: eyes and teeth catch it in hollows too.
        canvas = cv2.resize(lit, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        draw_nose(canvas, head, actor, shown)
        draw_mouth(canvas, head, actor, shown, rounding)
        draw_eyes(canvas, head, actor, shown, self._performance.gaze[frame])
        draw_brows(canvas, head, actor, shown)
        draw_fringe(canvas, head, actor)
        small = cv2.resize(canvas, self._size[::-1], interpolation=cv2.INTER_AREA)
        down, right = self._shift[frame]
        noise = self._noise[down : down + self._size[0], right : right + self._size[1]]
        return cv2.add(small, noise, dtype=cv2.CV_8U)

    def _shown(self, frame: int) -> Expression:
        return Expression(*self._performance.expressions[frame].tolist())

    def _light_in_place(self, head: Head) -> np.ndarray:
        """The light on the face, 1 elsewhere: float32 ``(H, W, 3)``."""
        corners = np.array([[-1.2, -1.2], [1.2, -1.2], [-1.2, 1.2]])
        # The field is flat, so it moves with the front of the face.
        target = head.place(corners, 0.6) / OVERSAMPLING
        last = _LIGHT_SIZE - 1
        source = np.array([[0, 0], [last, 0], [0, last]], np.float32)
        matrix = cv2.getAffineTransform(source, target.astype(np.float32))
        light = cv2.warpAffine(
            self._light, matrix, self._size[::-1], flags=cv2.INTER_LINEAR, borderValue=1.0
        )
        return cv2.merge([light] * 3)


def _backdrop(actor: Actor, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Wall and shoulders."""
    wall = rng.uniform(150, 225) + rng.normal(0, 8, 3)
    y, x = np.mgrid[:rows, :columns]
    fall = 1 - 0.25 * np.hypot(x / columns - rng.uniform(0.35, 0.65), y / rows - 0.4)
    picture = np.clip(wall * fall[..., None], 0, 255).astype(np.uint8)
    middle, u = columns / 2, _FACE * rows
    width = 1.75 if not actor.female else 1.5
    base = rows * 0.5
    shoulders = curve(
        (-width - 0.6, 3.2), (-width, 1.85), (-0.55, 1.35), (0.55, 1.35), (width, 1.85),
        (width + 0.6, 3.2), points=60,
    )  # fmt: skip
    fill(picture, shoulders * u + (middle, base), actor.clothes)
    collar = curve((-0.5, 1.3), (-0.2, 1.62), (0.2, 1.62), (0.5, 1.3), points=30)
    fill(picture, collar * u + (middle, base), shade(actor.skin, 0.82))
    return picture


def _light(actor: Actor, rng: np.random.Generator) -> np.ndarray:
    """Light and shadow of the relief of a face: float32 ``(L, L)`` over x, y in [-1.2, 1.2]."""
    y, x = np.mgrid[:_LIGHT_SIZE, :_LIGHT_SIZE] / (_LIGHT_SIZE - 1) * 2.4 - 1.2

    def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))

    eyes = actor.eye_distance
    light = np.ones_like(x)
    for side in (-1, 1):
        light -= 0.30 * spot(side * eyes, -0.14, 0.17, 0.10)  # sockets
        light += 0.12 * spot(side * 0.38, 0.22, 0.18, 0.14)  # cheeks
        light -= 0.12 * spot(side * 0.13, 0.12, 0.05, 0.16)  # beside the nose
    light += 0.16 * spot(0, 0.0, 0.06, 0.22)  # bridge of the nose
    light += 0.10 * spot(0, -0.58, 0.35, 0.16)  # forehead
    light -= 0.14 * spot(0, 0.80, 0.22, 0.06)  # below the lower lip
    light += 0.06 * spot(0, 0.92, 0.15, 0.07)  # chin
    light += rng.uniform(-0.12, 0.12) * np.tanh(x * 1.5)  # the lamp stands to one side
    light -= 0.08 * np.minimum(np.abs(x / actor.width), 1.0) ** 4
    # The field fades towards the outline of the face: what lies around it keeps its own light.
    rim = np.clip((1.0 - np.sqrt((x / actor.width) ** 2 + (y / 1.05) ** 2)) / 0.15, 0, 1)
    return (1 + (light - 1) * rim).astype(np.float32)
