"""Height above the ground from a few retained depth pixels.

What tells a road from the pavement beside it is a kerb of ten centimetres. In a map of depth, or of
inverse depth, that is lost in the slope of the ground itself. So the plane of the ground is fitted
to the retained pixels, and each of them is given its height above that plane.

Over a plane seen by a pinhole camera inverse depth is linear in the pixel coordinates:
``1/Z = theta . (x, y, 1)``. A pixel of inverse depth ``q`` then lies ``1 - theta . (x, y, 1) / q``
*camera heights* above the plane, whatever the camera's focal length and height are: neither is
needed. The fit is iteratively reweighted least squares on these relative heights with the weights
of Geman and McClure, whose scale shrinks (graduated non-convexity), so that walls and cars drop
out. Ground is seen below what stands on it, so the scale is half as large above the plane.

Sources: Labayrade, Aubert, Tarel, "Real time obstacle detection in stereovision on non flat road
geometry through v-disparity representation" (IV 2002), for the plane in inverse depth; Blake,
Zisserman, "Visual Reconstruction" (MIT Press 1987), for graduated non-convexity.

A function of (position, value) of the retained pixels only: sound as an encoding for modification
(method, section 1). Shapes: ``B`` maps, ``(H, W)`` pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmcert.sampling.densification import cell_moments

#: Side of the cells, in pixels, whose mean inverse depth the plane is fitted to.
CELL = 8
#: Share of the rows above the horizon, about which the camera of a car is level.
HORIZON = 0.45
#: Half width of the ground that the fit starts from, in camera heights to either side.
CORRIDOR = 1.8
#: Weight of what lies outside it.
ELSEWHERE = 1e-3
#: Relative height at which a weight has fallen to a quarter, at first and at last.
SCALES = (0.5, 0.05)
#: Factor of the scale above the plane.
DOUBT_ABOVE = 0.5
ITERATIONS = 12
#: Iterations after the scale has reached its last value.
SETTLED = 4
#: Keeps the normal equations regular where fewer than three cells are known; relative.
RIDGE = 1e-6


def ground_plane(inverse: Tensor, known: Tensor) -> Tensor:
    """The plane of the ground ahead, as inverse depth over the image.

    Args:
        inverse: Inverse depth, float (B, 1, H, W), positive and finite where known, 0 elsewhere.
        known: bool (B, 1, H, W).

    Returns:
        float64 (B, 3): inverse depth is ``a x + b y + c`` with ``x``, ``y`` in image widths, right
        of the middle column and below the horizon row ``HORIZON * H``. Zero where nothing is known.

    >>> y = (torch.arange(48.0) + 0.5) / 64 - HORIZON * 48 / 64
    >>> inverse = (8 * y).clamp(min=0).reshape(1, 1, 48, 1).expand(1, 1, 48, 64)
    >>> [round(float(p), 2) + 0.0 for p in ground_plane(inverse, inverse > 0)[0]]
    [0.0, 8.0, 0.0]
    """
    height, width = inverse.shape[-2:]
    total, count, right, below = cell_moments(inverse, known, CELL)
    x, y = _coordinates(count.shape[-2:], CELL, height, width, inverse.device)
    cells = count.clamp(min=1)
    occupied = (count > 0).flatten(1)
    x = (x + (right / cells).double() / width).flatten(1)
    y = (y + (below / cells).double() / width).flatten(1)
    mean = torch.where(count > 0, total / cells, 1.0).double().flatten(1)
    rows = torch.stack((x / mean, y / mean, 1 / mean), dim=1)  # (B, 3, cells); relative to q
    start = torch.where(occupied, _expected(x, y, height / width), 0.0)
    weight = start
    plane = rows.new_zeros(len(rows), 3)
    for iteration in range(ITERATIONS):
        weighted = rows * weight[:, None]
        # Sums of products, not matrix products: those would run in half precision under autocast.
        normal = (weighted[:, :, None] * rows[:, None]).sum(-1)
        ridge = (RIDGE * normal.diagonal(dim1=-2, dim2=-1)).clamp(min=1e-12)
        # Not `solve`, which asks a GPU whether it could: the ridge keeps the matrix regular.
        plane, _ = torch.linalg.solve_ex(normal + torch.diag_embed(ridge), weighted.sum(-1))
        h = 1 - (rows * plane[:, :, None]).sum(1)
        progress = min(1.0, iteration / (ITERATIONS - 1 - SETTLED))
        scale = SCALES[0] * (SCALES[1] / SCALES[0]) ** progress
        weight = start / (1 + (h / torch.where(h > 0, scale * DOUBT_ABOVE, scale)) ** 2) ** 2
    return plane


def relative_height(inverse: Tensor, known: Tensor, plane: Tensor) -> Tensor:
    """Heights of the known pixels above a plane, in camera heights.

    Args:
        inverse: Inverse depth, (B, 1, H, W) or (1, 1, H, W).
        known: bool (B, 1, H, W).
        plane: Of :func:`ground_plane`, (B, 3).

    Returns:
        float32 (B, 1, H, W): 1 is as high as the camera, negative is below the plane; 0 where
        nothing is known.
    """
    height, width = inverse.shape[-2:]
    x, y = _coordinates((height, width), 1, height, width, inverse.device)
    a, b, c = plane[:, :, None, None].unbind(1)
    expected = ((a * x).float() + (b * y + c).float())[:, None]
    return torch.where(known, 1 - expected / torch.where(known, inverse.float(), 1.0), 0.0)


def _coordinates(
    grid: tuple[int, int] | torch.Size, side: int, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Centres of cells in image widths from the middle column and the horizon: (1, w), (h, 1)."""
    v = (torch.arange(grid[0], dtype=torch.float64, device=device) + 0.5) * side
    u = (torch.arange(grid[1], dtype=torch.float64, device=device) + 0.5) * side
    return ((u - width / 2) / width)[None], ((v - HORIZON * height) / width)[:, None]


def _expected(x: Tensor, y: Tensor, aspect: float) -> Tensor:
    """How much a place in the image is expected to show the ground ahead of the camera."""
    bottom = (1 - HORIZON) * aspect
    down = y.clamp(0, bottom)
    across = x / (CORRIDOR * down + 0.03)
    return down / bottom * torch.exp(-(across**2)) + ELSEWHERE
