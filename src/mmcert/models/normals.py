"""Surface normals from a depth map (SNE), without trigonometry.

Source: Fan, Wang, Cai, Liu, "SNE-RoadSeg" (ECCV 2020), section 3.1, as their public code computes
it: inverse-depth gradients give ``(nx, ny)``; each of the 8 neighbours proposes an ``nz``; the unit
proposals are summed to ``(Sx, Sy, Sz)``; ``phi = atan(ny/nx) + pi``, ``theta = -atan((Sx cos phi +
Sy sin phi)/Sz)``, ``n = (sin theta cos phi, sin theta sin phi, cos theta)``, flipped where its y
component is positive.

With ``W`` the sum of the reciprocal lengths of the proposals, ``Sx = nx W`` and ``Sy = ny W``, and
the angles cancel: ``n = -s (nx W, ny W, -Sz) / |(nx W, ny W, Sz)|`` with ``s = sign(ny)``. Where
``ny = 0`` the definition is decided by the sign of ``sin(pi)`` in the arithmetic at hand; in
float64 it is positive, which gives ``s = -sign(nx)``, and so it is here. (In float32 it is
negative: public float32 code gives such pixels, 0.2 % of a real frame, the opposite sign.)

A pixel has a normal only where its whole 3x3 window was measured. On randomly ablated depth such
windows are gone (method section 6): normals of ablated depth are blind.

Symbols: ``H``, ``W`` rows and columns; depth ``Z`` in metres, 0 or not finite = no measurement.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcert.errors import ConfigError, DataError
from mmcert.sampling.camera import CAMERA, camera_matrices

#: What a pixel without a normal gets.
NO_NORMAL = (0.0, 0.0, -1.0)

_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
_TINY = 1e-30  # keeps 0 * rsqrt(0) at 0, far below any squared length that occurs


def surface_normals(depth: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Normals of one depth map.

    Args:
        depth: Depth in metres, float (H, W).
        camera: Camera matrix with focal lengths ``[0, 0]``, ``[1, 1]`` and principal point
            ``[0, 2]``, ``[1, 2]`` in pixels, (3, 3) or (3, 4). Rows at or above the principal
            point have no normals. Best on the host, which reads it.

    Returns:
        Unit normals (3, H, W), ``(0, 0, -1)`` where there is none, and which pixels have one,
        bool (H, W).
    """
    height, width = depth.shape
    fx, fy = float(camera[0, 0]), float(camera[1, 1])
    u0, v0 = float(camera[0, 2]), float(camera[1, 2])
    normals = depth.new_empty((3, height, width))
    for channel, value in zip(normals, NO_NORMAL, strict=True):
        channel.fill_(value)
    valid = torch.zeros((height, width), dtype=torch.bool, device=depth.device)
    horizon = min(max(int(v0 // 1) + 1, 0), height)  # first row with Y > 0
    if horizon == height:
        return normals, valid
    z = torch.where((depth > 0) & depth.isfinite(), depth, 0.0)[horizon:]
    u = torch.arange(width, device=z.device, dtype=z.dtype) - u0
    v = torch.arange(horizon, height, device=z.device, dtype=z.dtype)[:, None] - v0
    whole = _whole_windows(z > 0, above_is_outside=horizon == 0)

    padded = F.pad(z, (1, 1, 1, 1))
    nx, ny = _gradients(padded, fx, fy)
    weight, sz = _sum_proposals(padded, nx, ny, (nx * u + ny * v) / fx, fx)
    nx *= weight
    ny *= weight
    length = (nx * nx).addcmul_(ny, ny).addcmul_(sz, sz)
    whole &= length > 0
    flip = torch.where(ny == 0, nx.sign(), -ny.sign())
    scale = length.rsqrt_().mul_(flip)
    normals[0, horizon:] = torch.where(whole, nx.mul_(scale), NO_NORMAL[0])
    normals[1, horizon:] = torch.where(whole, ny.mul_(scale), NO_NORMAL[1])
    normals[2, horizon:] = torch.where(whole, sz.mul_(scale).neg_(), NO_NORMAL[2])
    valid[horizon:] = whole
    return normals, valid


def _whole_windows(measured: Tensor, above_is_outside: bool) -> Tensor:
    """Where all pixels of the 3x3 window that lie in the image are measured, bool (H, W).

    The border of the image is padded with zero inverse depth and does not spoil a window; rows
    dropped above the first one do.
    """
    whole = measured.clone()
    whole[:, 1:] &= measured[:, :-1]
    whole[:, :-1] &= measured[:, 1:]
    across = whole.clone()
    whole[1:] &= across[:-1]
    whole[:-1] &= across[1:]
    if not above_is_outside:
        whole[0] = False
    return whole


def _gradients(padded: Tensor, fx: float, fy: float) -> tuple[Tensor, Tensor]:
    """``(fx d(1/Z)/du, fy d(1/Z)/dv)`` by central differences, 1/Z = 0 outside the image.

    ``1/b - 1/a = (a - b)/(a b)`` loses nothing where neighbours are nearly equal and is zero
    exactly where they are equal.
    """
    left, right = padded[1:-1, :-2], padded[1:-1, 2:]
    above, below = padded[:-2, 1:-1], padded[2:, 1:-1]
    nx = (left - right).div_(left * right).mul_(fx)
    ny = (above - below).div_(above * below).mul_(fy)
    nx[:, 0], nx[:, -1] = fx / right[:, 0], -fx / left[:, -1]
    ny[0], ny[-1] = fy / below[0], -fy / above[-1]
    return nx, ny


def _sum_proposals(
    padded: Tensor, nx: Tensor, ny: Tensor, base: Tensor, focal: float
) -> tuple[Tensor, Tensor]:
    """``W = sum 1/|p_i|`` and ``Sz = sum nz_i/|p_i|`` over the neighbours' proposals ``p_i``.

    With ``dZ = Z - Z_i`` and the neighbour's offset ``(du, dv)``,
    ``nz_i dZ = base dZ - (nx du + ny dv)/f Z_i``; both sides are kept multiplied by ``dZ``, so that
    a neighbour at the same depth proposes nothing, as the definition has it, without a division.
    """
    z = padded[1:-1, 1:-1]
    squared = (nx * nx).addcmul_(ny, ny)
    weight, sz = torch.zeros_like(z), torch.zeros_like(z)
    along_u, along_v = nx / focal, ny / focal
    height, width = z.shape
    for dv, du in _NEIGHBOURS:
        neighbour = padded[1 + dv : 1 + dv + height, 1 + du : 1 + du + width]
        dz = z - neighbour
        tilt = along_u * du if dv == 0 else along_v * dv if du == 0 else along_u * du + along_v * dv
        nz = (base * dz).addcmul_(tilt, neighbour, value=-1)
        inverse = (dz * dz).mul_(squared).addcmul_(nz, nz).add_(_TINY).rsqrt_()
        weight.addcmul_(dz.abs(), inverse)
        sz.addcmul_(nz, inverse.mul_(dz.sign()))
    return weight, sz


class SurfaceNormals(nn.Module):
    """:func:`surface_normals` on batches, map by map: one map and its temporaries fit the cache."""

    def forward(self, depth: Tensor, camera: Tensor) -> Tensor:
        """Normals of each map.

        Args:
            depth: Depth in metres, float (B, 1, H, W).
            camera: Camera matrices, (B, 3, 3) or (B, 3, 4).

        Returns:
            (B, 3, H, W).
        """
        maps = zip(depth[:, 0], camera, strict=True)
        return torch.stack([surface_normals(one, matrix)[0] for one, matrix in maps])


def check_normals(second: str, reads: str) -> None:
    """Refuse normals of an encoding whose first channel is no depth.

    Args:
        second: ``model.options.second``.
        reads: What the encoding of depth gives, see ``mmcert.sampling.encodings.Encoding``.

    Raises:
        ConfigError: For normals of heights.
    """
    if second == "normals" and reads == "height":
        raise ConfigError(
            "model.options.second=normals needs depth, and this encoding gives heights above the "
            "ground; set model.options.second=depth, or encoding.depth.name=interpolation."
        )


def normals_of_inputs(depth: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    """Normals of ablated depth maps, each by the camera of its frame.

    Args:
        depth: Depth in metres, float (R, 1, H, W).
        inputs: Inputs of a base model; ``camera`` holds ``fx, fy, u0, v0``, (B, 4), and R is a
            multiple of B.

    Returns:
        (R, 3, H, W).

    Raises:
        DataError: Where the camera is unknown.
    """
    if CAMERA not in inputs:
        raise DataError(
            "model.options.second=normals needs the camera of every frame (meta['camera'] with fx, "
            "fy, u0, v0 in pixels), and the data set gives none; use model.options.second=depth."
        )
    matrices = camera_matrices(inputs[CAMERA])
    return SurfaceNormals()(depth, matrices.repeat_interleave(len(depth) // len(matrices), dim=0))
