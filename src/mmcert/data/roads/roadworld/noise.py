"""Smooth noise by table: cheap, the same for every scene, moved by an offset."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

from mmcert.data.roads.roadworld.arrays import Array, single

_SIZE = 256
#: Cells of the table per correlation length.
_CELLS = 5.0


@lru_cache(maxsize=1)
def _table() -> Array:
    """A periodic field of mean 0 and standard deviation 1, ``(256, 256)``."""
    white = np.random.default_rng(20240319).standard_normal((_SIZE, _SIZE))
    field = gaussian_filter(white, 2.0, mode="wrap")
    return ((field - field.mean()) / field.std()).astype(np.float32)


def noise(x: Array, y: Array, length: float, offset: int = 0) -> Array:
    """Noise of mean 0 and standard deviation 1 at ``(x, y)``.

    Args:
        x: First coordinate, any shape.
        y: Second coordinate, a shape that broadcasts with it.
        length: Correlation length in the unit of the coordinates.
        offset: Another offset is another field.
    """
    scale = single(_CELLS / length)
    column = (x * scale + single(offset * 37)).astype(np.int32) & (_SIZE - 1)
    row = (y * scale + single(offset * 101)).astype(np.int32) & (_SIZE - 1)
    return _table()[row, column]
