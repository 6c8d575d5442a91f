"""Dense maps from a few retained pixels, by an interpolation that is fixed in advance.

A function of (position, value) of the retained pixels only, so it is sound as an encoding for
modification (method section 1), and it keeps a depth stream useful at 0.2 % of the pixels, where
every 3x3 window is empty and surface normals see nothing (method section 6).

Push-pull: sums of the known values are pushed down a pyramid of 2x2 cells; means are pulled up
again, a cell without known pixels taking the bilinear interpolation of the coarser level. Here a
mean is moved from the centroid of its pixels to the centre of its cell along the slope of the
coarser level, so that inclined planes (a road in inverse depth) come out inclined and not as steps:
half the error on the road of a real frame.
Source: Gortler, Grzeszczuk, Szeliski, Cohen, "The lumigraph" (SIGGRAPH 1996), section 3.4, without
the slopes.

Shapes: ``B`` maps, ``c`` channels, ``(H, W)`` pixels. No operation adds in an order that may change
(no scatter-add), so a GPU repeats its results.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Side of the cells, in pixels, in which distances are measured (two levels down the pyramid).
DISTANCE_CELL = 4
#: Distance, in pixels, at which the distance channel is one half.
HALF_DISTANCE = 16.0


def push_pull(values: Tensor, known: Tensor) -> Tensor:
    """Fill a map from its known pixels.

    A known pixel keeps its value. A map without any known pixel is zero.

    Args:
        values: (B, c, H, W), floating point; zero wherever ``known`` is False.
        known: bool (B, 1, H, W).

    Returns:
        (B, c, H, W).

    >>> values = torch.zeros(1, 1, 2, 2)
    >>> values[0, 0, 0, 0] = 3.0
    >>> push_pull(values, values != 0).tolist()
    [[[[3.0, 3.0], [3.0, 3.0]]]]
    """
    dtype, values = values.dtype, values.float()
    moments = _first_moments(values, known)
    side = 2  # of a cell, in pixels
    levels = [(moments, side)]
    while max(moments.shape[-2:]) > 1:
        moments = _coarser(moments, side)
        side *= 2
        levels.append((moments, side))
    surface = values.new_zeros((*values.shape[:2], 1, 1))
    for moments, side in reversed(levels):
        total, count, x, y = moments.split((values.shape[1], 1, 1, 1), dim=1)
        surface = _double(surface, count.shape[-2:])
        if side < levels[-1][1]:
            total = total - (_slope(surface, -1) * x + _slope(surface, -2) * y) / side
        surface = torch.where(count > 0, total / count.clamp(min=1), surface)
    return torch.where(known, values, _double(surface, values.shape[-2:])).to(dtype)


def cell_moments(values: Tensor, known: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums over square cells of the known pixels.

    Args:
        values: (B, c, H, W), float32; zero wherever ``known`` is False.
        known: bool (B, 1, H, W).
        side: Of a cell in pixels, a power of two.

    Returns:
        Sum of the values (B, c, h, w), number of known pixels, and the sums of their x and y in
        pixels from the centre of the cell, each (B, 1, h, w); cells at the border may be partial.

    >>> known = torch.tensor([[[[True, False], [True, True]]]])
    >>> [float(sums) for sums in cell_moments(known * 2.0, known, 2)]
    [6.0, 3.0, -0.5, 0.5]
    """
    moments, reached = _first_moments(values, known), 2
    while reached < side:
        moments, reached = _coarser(moments, reached), 2 * reached
    total, count, x, y = moments.split((values.shape[1], 1, 1, 1), dim=1)
    return total, count, x, y


def _first_moments(values: Tensor, known: Tensor) -> Tensor:
    """Sums over 2x2 cells of value, one, x and y of the known pixels; (B, c + 3, H/2, W/2).

    x and y in pixels from the centre of the cell.
    """
    flags = known.view(torch.int8)
    count, right, below = _sum_cells(flags), _difference(flags, -1), _difference(flags, -2)
    return torch.cat((_sum_cells(values), count, 0.5 * right, 0.5 * below), dim=1)


def _coarser(moments: Tensor, side: int) -> Tensor:
    """The moments of cells of twice the side, about their own centres."""
    coarse = _sum_cells(moments)
    count = moments[:, -3:-2]
    coarse[:, -2:-1] += 0.5 * side * _difference(count, -1)
    coarse[:, -1:] += 0.5 * side * _difference(count, -2)
    return coarse


def distance_channel(known: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """How far the nearest known pixel is, squashed to [0, 1).

    ``d / (d + 16)`` with ``d`` the city-block distance in pixels to the nearest 4x4 cell that holds
    a known pixel, interpolated bilinearly between cells; 1 where nothing is known.

    Args:
        known: bool (B, 1, H, W).
        dtype: Floating point type of the result.

    Returns:
        (B, 1, H, W).
    """
    height, width = known.shape[-2:]
    occupied = F.max_pool2d(known.to(dtype), DISTANCE_CELL, ceil_mode=True) > 0
    d = torch.where(occupied, 0.0, torch.inf).to(torch.float32)
    for axis in (-1, -2):
        d = torch.minimum(_nearest_before(d, axis), _nearest_before(d.flip(axis), axis).flip(axis))
    # Written so that an infinite distance gives 1.
    squashed = 1 - 1 / (1 + d * (DISTANCE_CELL / HALF_DISTANCE))
    fine = F.interpolate(squashed, scale_factor=DISTANCE_CELL, mode="bilinear")
    return fine[..., :height, :width].to(dtype)


def _nearest_before(d: Tensor, axis: int) -> Tensor:
    """Min over j <= i of ``d[j] + (i - j)`` along ``axis``: one sweep of the distance transform."""
    steps = torch.arange(d.shape[axis], dtype=d.dtype, device=d.device)
    if axis == -2:
        steps = steps[:, None]
    return (d - steps).cummin(dim=axis).values + steps


def _sum_cells(x: Tensor) -> Tensor:
    """Sums over 2x2 cells: (B, c, H, W) -> (B, c, ceil(H/2), ceil(W/2))."""
    return _pair(_pair(x, -2), -1)


def _difference(x: Tensor, axis: int) -> Tensor:
    """Sums of the second minus sums of the first half of each 2x2 cell along ``axis``."""
    return _pair(_pair(x, -1 if axis == -2 else -2), axis, difference=True)


def _pair(x: Tensor, axis: int, difference: bool = False) -> Tensor:
    """Sums (or second minus first) of neighbours along ``axis``; an odd last one is alone.

    Strided slices are several times faster on a CPU than average pooling or a strided convolution.
    """
    if axis == -1:
        first, second = x[..., 0::2], x[..., 1::2]
    else:
        first, second = x[..., 0::2, :], x[..., 1::2, :]
    paired = -first if difference else first.clone()
    paired.narrow(axis, 0, second.shape[axis]).add_(second)
    return paired


def _slope(x: Tensor, axis: int) -> Tensor:
    """Central differences per cell, one-sided at the border; zero along an axis of one cell."""
    size = x.shape[axis]
    if size == 1:
        return torch.zeros_like(x)
    steps = x.narrow(axis, 1, size - 1) - x.narrow(axis, 0, size - 1)
    first, last = steps.narrow(axis, 0, 1), steps.narrow(axis, size - 2, 1)
    return 0.5 * (torch.cat((first, steps), dim=axis) + torch.cat((steps, last), dim=axis))


def _double(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear interpolation to twice the size, cropped to ``size``."""
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear")
    return doubled[..., : size[0], : size[1]]
