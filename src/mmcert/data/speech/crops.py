"""The face of every frame: boxes over time, and square pictures of what is in them.

A box depends on the frames around it, so the *crop* is what a certificate is about: the attacker
of a visual frame edits the crop.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.faces import RGB, Box
from mmcert.data.speech.media import media_library

#: The box of the detector times this is cropped: from the hair to the chin, ear to ear.
MARGIN = 1.15
#: Detections of which the median is taken: one or two that are somewhere else hardly matter.
MEDIAN = 5
#: Standard deviation of the smoothing over time, in frames.
SMOOTHING = 3.0


def boxes_over_time(found: Mapping[int, Box], frames: range) -> list[Box]:
    """A box for every frame: the median of neighbours, smoothed, interpolated in between.

    Before the first detection and after the last one the box stands still. All of it comes from
    one clip.

    Args:
        found: Frame -> box, of the frames where one was found; at least one.
        frames: The frames that need a box.
    """
    seen = sorted(found)
    track = np.array([(found[i].x, found[i].y, found[i].size) for i in seen], np.float64).T
    steady = np.median(_neighbours(track, MEDIAN // 2), axis=-1)  # (3, detections)
    times = np.arange(seen[0], seen[-1] + 1)
    dense = np.stack([np.interp(times, seen, row) for row in steady])  # (3, frames)
    reach = round(2 * SMOOTHING)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SMOOTHING) ** 2)
    smooth = _neighbours(dense, reach) @ (weights / weights.sum())
    x, y, size = (np.interp(np.asarray(frames), times, row) for row in smooth)
    return [Box(float(a), float(b), float(c)) for a, b, c in zip(x, y, size, strict=True)]


def _neighbours(rows: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The values around every one, ``(rows, columns, 2 reach + 1)``; the ends are repeated."""
    padded = np.pad(rows, ((0, 0), (reach, reach)), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1)


def crop_face(picture: RGB, box: Box, size: int) -> NDArray[np.uint8]:
    """The face as a square picture; black where the box reaches beyond the picture.

    Args:
        picture: uint8 RGB ``(H, W, 3)``.
        box: The detector's box, in pixels of the picture; ``MARGIN`` is added.
        size: Rows and columns of the result.

    Returns:
        uint8 RGB ``(3, size, size)``.
    """
    cv2 = media_library("cv2")
    side = max(1, round(box.size * MARGIN))
    left, top = round(box.x - side / 2), round(box.y - side / 2)
    height, width = picture.shape[:2]
    square = np.zeros((side, side, 3), np.uint8)
    rows = slice(max(0, top), max(0, min(height, top + side)))
    columns = slice(max(0, left), max(0, min(width, left + side)))
    part = picture[rows, columns]
    if part.size:
        y, x = rows.start - top, columns.start - left
        square[y : y + part.shape[0], x : x + part.shape[1]] = part
    method = cv2.INTER_AREA if size < side else cv2.INTER_LINEAR
    resized = cv2.resize(square, (size, size), interpolation=method)
    return np.ascontiguousarray(resized.transpose(2, 0, 1))
