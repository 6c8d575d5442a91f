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
