from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmcert
from mmcert.models.normals import SurfaceNormals, surface_normals
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.modality import retained_count
from mmcert.theory.schemes import IndependentSubsampling

FRAME = Path(mmcert.__file__).parents[3] / "shared" / "data" / "kitti_road_sample" / "training"
CAMERA = torch.tensor([[72.0, 0.0, 30.5], [0.0, 74.0, 12.25], [0.0, 0.0, 1.0]])


def literal(depth, camera):
    """The definition in float64, angles and all; sums over windows as a convolution does them.

    As in a convolution, zero weights meet infinite inverse depth (0 * inf = NaN), so a window with
    a missing pixel gives NaN everywhere; outside the image everything is 0.
    """
    z = np.array(depth.tolist(), np.float64)
    camera = np.asarray(camera, np.float64)
    height, width = z.shape
    fx, fy, u0, v0 = camera[0, 0], camera[1, 1], camera[0, 2], camera[1, 2]
    v, u = np.mgrid[:height, :width].astype(np.float64)
    x, y = z * (u - u0) / fx, z * (v - v0) / fx
    z[y <= 0] = 0
    y[y <= 0] = 0

    def convolve(a, kernel):
        padded = np.pad(a, 1)
        windows = [
            kernel[i][j] * padded[i : i + height, j : j + width] for i in range(3) for j in range(3)
        ]
        return sum(windows)

    with np.errstate(all="ignore"):
        inverse = 1 / z
        nx = fx * convolve(inverse, [[0, 0, 0], [-1, 0, 1], [0, 0, 0]])
        ny = fy * convolve(inverse, [[0, -1, 0], [0, 0, 0], [0, 1, 0]])
        phi = np.arctan(ny / nx) + np.pi
        sums = np.zeros((3, height, width))
        for i, j in np.ndindex(3, 3):
            if (i, j) == (1, 1):
                continue
            kernel = np.zeros((3, 3))
            kernel[1, 1], kernel[i, j] = 1, -1
            nz = (nx * convolve(x, kernel) + ny * convolve(y, kernel)) / convolve(z, kernel)
            unit = np.stack([nx, ny, nz]) / np.sqrt(nx**2 + ny**2 + nz**2)
            sums += np.where(np.isnan(unit), 0, unit)
        theta = -np.arctan((sums[0] * np.cos(phi) + sums[1] * np.sin(phi)) / sums[2])
        normals = np.stack(
            [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
        )
    valid = ~np.isnan(normals[2])
    normals[:, ~valid] = np.array([[0.0], [0.0], [-1.0]])
    return np.where(normals[1] > 0, -normals, normals), valid


def real_frame():
    if not FRAME.is_dir():
        pytest.skip("needs the real KITTI frame in ../shared/data/kitti_road_sample")
    depth = np.array(Image.open(FRAME / "depth_u16" / "um_000000.png")).astype(np.float32) / 1000
    lines = (FRAME / "calib" / "um_000000.txt").read_text().splitlines()
    numbers = next(line for line in lines if line.startswith("P2:")).split()[1:]
    return torch.from_numpy(depth), torch.tensor([float(x) for x in numbers]).view(3, 4)


def bumpy_road(height=40, width=61, holes=0.02):
    """A road plane with bumps and unmeasured pixels, seen by CAMERA."""
    generator = torch.Generator().manual_seed(0)
    v = torch.arange(height)[:, None] - float(CAMERA[1, 2])
    z = 1.6 * float(CAMERA[1, 1]) / v.clamp(min=0.75).expand(height, width)
    z = z * (1 + 0.02 * torch.rand(height, width, generator=generator))
    return torch.where(torch.rand(height, width, generator=generator) < holes, 0.0, z)


def assert_as_defined(depth, camera):
    normals, valid = surface_normals(depth, camera)
    expected, expected_valid = literal(depth, camera)
    assert np.array_equal(valid.numpy(), expected_valid)
    error = np.abs(normals.numpy() - expected).max(0)
    assert (error[~expected_valid] == 0).all()
    if expected_valid.any():
        assert (error[expected_valid] < 1e-3).mean() >= 0.999
        assert error[expected_valid].mean() < 1e-5
    return normals, valid


def test_normals_of_a_real_frame_are_those_of_the_float64_definition():
    depth, camera = real_frame()
    normals, valid = assert_as_defined(depth, camera)
    assert 0.4 < valid.float().mean() < 0.6
    assert torch.allclose(normals.norm(dim=0), torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("holes", [0.0, 0.02, 0.3])
def test_normals_of_a_bumpy_road_are_those_of_the_definition(holes):
    _, valid = assert_as_defined(bumpy_road(holes=holes), CAMERA)
    assert valid.any()


def test_a_principal_point_above_the_image_keeps_the_first_row():
    camera = CAMERA.clone()
    camera[1, 2] = -3.0
    _, valid = assert_as_defined(bumpy_road(holes=0.0), camera)
    assert valid[0].any()


def test_a_principal_point_below_the_image_leaves_no_normals():
    camera = CAMERA.clone()
    camera[1, 2] = 1000.0
    normals, valid = surface_normals(bumpy_road(), camera)
    assert not valid.any()
    assert (normals[2] == -1).all()


def test_an_upright_wall_has_no_slope_along_rows_and_keeps_the_defined_sign():
    # ny = 0 everywhere inside: depth depends on the column only.
    wall = (5 + 0.1 * torch.arange(61.0)).expand(40, 61).contiguous()
    normals, valid = assert_as_defined(wall, CAMERA)
    inside = valid[20:-1, 1:-1]
    assert inside.all()
    assert (normals[1, 20:-1, 1:-1].abs() < 1e-6).all()
    assert_as_defined(wall.flip(1).contiguous(), CAMERA)


def test_a_level_road_has_no_slope_along_columns_and_points_up():
    # nx = 0 everywhere inside: depth depends on the row only.
    v = torch.arange(40)[:, None] - float(CAMERA[1, 2])
    road = (1.6 * float(CAMERA[0, 0]) / v.clamp(min=0.75)).expand(40, 61).contiguous()
    normals, valid = assert_as_defined(road, CAMERA)
    inside = (slice(18, -1), slice(1, -1))
    assert valid[inside].all()
    assert (normals[0][inside] == 0).all()
    assert (normals[1][inside] < -0.99).all()


def test_a_wall_at_constant_depth_has_no_normal_inside():
    _, valid = assert_as_defined(torch.full((40, 61), 7.0), CAMERA)
    assert not valid[1:-1, 1:-1].any()


def test_missing_depth_may_be_zero_negative_or_not_a_number():
    depth = bumpy_road(holes=0.05)
    expected = surface_normals(depth, CAMERA)
    for missing in (float("nan"), -1.0, float("inf")):
        found = surface_normals(torch.where(depth == 0, missing, depth), CAMERA)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_a_batch_is_its_maps():
    depth = torch.stack([bumpy_road(holes=h) for h in (0.0, 0.1)])[:, None]
    camera = torch.stack([CAMERA, CAMERA * torch.tensor([1.1, 0.9, 1.0])[:, None]])
    batch = SurfaceNormals()(depth, camera)
    assert batch.shape == (2, 3, 40, 61)
    for b in range(2):
        assert torch.equal(batch[b], surface_normals(depth[b, 0], camera[b])[0])


@pytest.mark.parametrize("ratio", ["0.2", "0.05", "0.0193", "0.00214"])
@pytest.mark.parametrize("source", ["real", "dense"])
def test_normals_of_ablated_depth_carry_nothing(ratio, source):
    if source == "real":
        depth, camera = real_frame()
    else:
        depth, camera = torch.linspace(1, 80, 375 * 1242).view(375, 1242), 10 * CAMERA
    assert surface_normals(depth, camera)[1].float().mean() > 0.4
    n = depth.numel()
    scheme = IndependentSubsampling.from_counts({"depth": n}, {"depth": retained_count(ratio, n)})
    subsets = draw_subsets(scheme, seed=0, sample_id="um_000000", stream="test", draws=range(2))
    # At 20 % a whole window of 465750 survives by luck: 0.12 are expected inside a real frame, 0.2
    # more at the borders of a frame that is measured to its edge. At 5 %, 5e-7 are.
    allowed = 3 if ratio == "0.2" else 0
    for mask in subsets["depth"].mask.view(2, *depth.shape):
        normals, valid = surface_normals(torch.where(mask, depth, 0.0), camera)
        assert int(valid.sum()) <= allowed
        blind = torch.tensor([0.0, 0.0, -1.0])[:, None]
        assert (normals[:, ~valid] == blind).all()
