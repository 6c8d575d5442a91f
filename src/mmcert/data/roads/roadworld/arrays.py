"""The arrays of the renderer: single precision, which is fast enough and far finer than a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]


def single(values: ArrayLike) -> Array:
    """An array of float32."""
    return np.asarray(values, np.float32)
