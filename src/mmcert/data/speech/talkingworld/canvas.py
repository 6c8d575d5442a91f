"""Smooth shapes on a picture, in the coordinates of a head that moves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from mmcert.data.speech.talkingworld.actors import Colour

#: The canvas is drawn this much larger than the picture and shrunk.
OVERSAMPLING = 2
#: Fractional bits of OpenCV's coordinates.
_SHIFT = 4


@dataclass(frozen=True)
class Head:
    """Where the head is: from its own coordinates to the canvas.

    The head's origin is the middle of the face, x to the viewer's right, y down, and 1 is half
    the height of the face; z points to the camera.

    Args:
        centre: Its place on the canvas, pixels.
        unit: Pixels of the canvas per unit.
        yaw: Turn to the viewer's right, radians.
        pitch: Nod downwards, radians.
        roll: Inclination clockwise, radians.
        width: Half the face's width, by which the face is curved.
    """

    centre: tuple[float, float]
    unit: float
    yaw: float
    pitch: float
    roll: float
    width: float

    def place(self, points: np.ndarray, depth: float | None = None) -> np.ndarray:
        """Canvas coordinates ``(P, 2)`` of points ``(P, 2)`` on the face.

        Args:
            points: Head coordinates.
            depth: Their z; None: on the curved front of the face.
        """
        x, y = points[:, 0], points[:, 1]
        if depth is None:
            inside = 1 - (x / (1.1 * self.width)) ** 2 - (y / 1.35) ** 2
            z = 0.75 * np.sqrt(np.maximum(inside, 0.0))
        else:
            z = np.full_like(x, depth)
        across = x * np.cos(self.yaw) + z * np.sin(self.yaw)
        down = y * np.cos(self.pitch) + z * np.sin(self.pitch)
        cosine, sine = np.cos(self.roll), np.sin(self.roll)
        return np.stack(
            [
                self.centre[0] + self.unit * (across * cosine - down * sine),
                self.centre[1] + self.unit * (across * sine + down * cosine),
            ],
            axis=1,
        )


def fill(canvas: np.ndarray, points: np.ndarray, colour: Colour) -> None:
    """Fill a polygon of canvas coordinates ``(P, 2)``; ``canvas`` is uint8 ``(H, W, 3)``."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], colour, cv2.LINE_AA, _SHIFT)


def stroke(canvas: np.ndarray, points: np.ndarray, colour: Colour, width: float) -> None:
    """Draw a line of ``width`` canvas pixels through canvas coordinates ``(P, 2)``."""
    fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, colour, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def curve(*knots: tuple[float, float], points: int = 16) -> np.ndarray:
    """A smooth line through knots (Catmull-Rom), ``(P, 2)``."""
    given = np.array(knots, np.float64)
    padded = np.vstack([2 * given[0] - given[1], given, 2 * given[-1] - given[-2]])
    sections = np.lib.stride_tricks.sliding_window_view(padded, 4, axis=0)  # (S, 2, 4)
    weights = _weights(max(2, points // len(sections)))
    line = (weights @ sections.transpose(0, 2, 1)).reshape(-1, 2)
    return np.vstack([line, given[-1:]])


@lru_cache(maxsize=32)
def _weights(count: int) -> np.ndarray:
    """Weights of four knots at ``count`` places between the middle ones: ``(count, 4)``."""
    t = np.linspace(0, 1, count, endpoint=False)[:, None]
    powers = np.hstack([np.ones_like(t), t, t**2, t**3])
    cubic = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], np.float64)
    return 0.5 * powers @ cubic


def ellipse(x: float, y: float, a: float, b: float, points: int = 32) -> np.ndarray:
    """An ellipse around ``(x, y)`` with half axes ``a`` and ``b``, ``(P, 2)``."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], axis=1)


def shade(colour: Colour, factor: float) -> Colour:
    """A colour in more or less light."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return (red, green, blue)


def blend(one: Colour, other: Colour, share: float) -> Colour:
    """``one`` with ``share`` of ``other``."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def darkest(one: Colour, other: Colour, factor: float) -> Colour:
    """``one``, but no channel lighter than ``factor`` times that of ``other``."""
    red, green, blue = (min(a, factor * b) for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def lowered(points: np.ndarray, by: np.ndarray | float) -> np.ndarray:
    """Head coordinates ``(P, 2)`` moved down by ``by``, one value or ``(P, 1)``."""
    return np.hstack([points[:, :1], points[:, 1:] + by])
