"""The camera of a frame: what a base model may know beside the sub-sample.

Intrinsics come from a calibration that was made before the frame: they are no element, are not
ablated and not attacked, and every certificate takes them as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: Key of the cameras among the inputs of a base model, float32 (B, 4).
CAMERA = "camera"
#: What the four numbers are, in pixels: focal lengths and principal point.
INTRINSICS = ("fx", "fy", "u0", "v0")


def cameras_of(metas: Sequence[Mapping[str, Any]] | None) -> Tensor | None:
    """The cameras of some frames.

    Args:
        metas: The ``meta`` of each data set item; ``meta["camera"]`` holds ``fx, fy, u0, v0``.

    Returns:
        float32 (B, 4), or None where a frame has none.

    >>> cameras_of([{"camera": {"fx": 7.0, "fy": 8.0, "u0": 3.0, "v0": 2.0}}]).tolist()
    [[7.0, 8.0, 3.0, 2.0]]
    """
    if not metas or any(CAMERA not in meta for meta in metas):
        return None
    return torch.tensor([[float(meta[CAMERA][key]) for key in INTRINSICS] for meta in metas])


def camera_matrices(cameras: Tensor) -> Tensor:
    """Camera matrices (B, 3, 3) of ``fx, fy, u0, v0`` (B, 4)."""
    matrices = torch.eye(3, dtype=cameras.dtype, device=cameras.device).repeat(len(cameras), 1, 1)
    for column, (row, place) in enumerate(((0, 0), (1, 1), (0, 2), (1, 2))):
        matrices[:, row, place] = cameras[:, column]
    return matrices


def mirrored(cameras: Tensor, width: int) -> Tensor:
    """The cameras of pictures mirrored left to right: ``u0`` becomes ``width - 1 - u0``.

    >>> mirrored(torch.tensor([[7.0, 8.0, 3.0, 2.0]]), 10).tolist()
    [[7.0, 8.0, 6.0, 2.0]]
    """
    turned = cameras.clone()
    turned[:, 2] = width - 1 - turned[:, 2]
    return turned


def zoomed(cameras: Tensor, factor: Tensor, shift: Tensor, size: tuple[int, int]) -> Tensor:
    """The cameras of windows of the pictures, enlarged to the size of the whole.

    Args:
        cameras: (B, 4).
        factor: How much larger things appear, (B,), at least 1.
        shift: Centre of each window, (B, 2), x and y in half widths and half heights from the
            centre of the picture.
        size: Rows and columns.

    >>> cameras = torch.tensor([[7.0, 8.0, 3.0, 2.0]])
    >>> zoomed(cameras, torch.tensor([2.0]), torch.tensor([[0.5, 0.5]]), (8, 8)).tolist()
    [[14.0, 16.0, -1.5, -3.5]]
    """
    height, width = size
    changed = cameras.clone()
    changed[:, :2] *= factor[:, None]
    for column, axis, length in ((2, 0, width), (3, 1, height)):
        # Edges, not centres, of the pixels at the border of a picture are at -1 and 1.
        centre = (shift[:, axis] + 1) * length / 2
        changed[:, column] = (cameras[:, column] + 0.5 - centre) * factor + length / 2 - 0.5
    return changed
