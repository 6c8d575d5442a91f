"""The plane of the ground and heights above it, from a few depth pixels of a known scene."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mmcert
from mmcert.errors import ConfigError
from mmcert.sampling.encodings import build_encoding
from mmcert.sampling.ground import HORIZON, ground_plane, relative_height
from mmcert.theory.modality import InputSpec

FRAME = Path(mmcert.__file__).parents[3] / "shared" / "data" / "kitti_road_sample" / "training"
DEPTH = InputSpec((1, None, None), (1, 2), "pixel")
HEIGHT, WIDTH, FOCAL, CAMERA_HEIGHT = 120, 400, 240.0, 1.65
V0 = HORIZON * HEIGHT - 0.5


def street(kerb=0.12, left=-3.0, right=3.0, tilt=0.0, pitch=0.0, car=False):
    """Depth (1, 1, H, W) of a road with a pavement ``kerb`` metres higher; where it is which."""
    v, u = torch.meshgrid(
        torch.arange(HEIGHT, dtype=torch.float64),
        torch.arange(WIDTH, dtype=torch.float64),
        indexing="ij",
    )
    x, y = (u - (WIDTH - 1) / 2) / FOCAL, (v - V0) / FOCAL
    down = y - tilt * x + pitch  # of a ray of depth 1, across a tilted and pitched road
    road = CAMERA_HEIGHT / down.clamp(min=1e-9)
    pavement = (CAMERA_HEIGHT - kerb) / down.clamp(min=1e-9)
    is_road = (road * x > left) & (road * x < right)
    depth = torch.where(is_road, road, pavement)
    is_pavement = ~is_road
    if car:
        body = (x * 8).abs() < 1.2
        hit = body & (depth > 8) & (y * 8 > -0.2)
        depth, is_road, is_pavement = (
            torch.where(hit, 8.0, depth),
            is_road & ~hit,
            is_pavement & ~hit,
        )
    depth = torch.where((down > 0.01) & (depth < 80), depth, 0.0)
    measured = depth > 0
    return (
        depth.float()[None, None],
        (is_road & measured)[None, None],
        (is_pavement & measured)[None, None],
    )


def some(depth, ratio=0.02, seed=0):
    mask = torch.rand(depth.shape, generator=torch.Generator().manual_seed(seed)) < ratio
    known = mask & (depth > 0)
    return torch.where(known, 1 / depth, 0.0), known


@pytest.mark.parametrize(
    "scene",
    [
        {},
        {"tilt": 0.02},
        {"pitch": 0.01, "tilt": -0.01},
        {"car": True},
        {"left": -6.0, "right": 2.0, "car": True},
    ],
)
def test_a_kerb_stands_out_and_the_road_is_at_zero(scene):
    depth, is_road, is_pavement = street(**scene)
    inverse, known = some(depth)
    heights = relative_height(inverse, known, ground_plane(inverse, known)) * CAMERA_HEIGHT
    near = known & (depth < 25)  # an error of the plane grows with the distance
    road, pavement = heights[near & is_road], heights[near & is_pavement]
    assert road.abs().max() < 0.03
    assert (pavement - 0.12).abs().max() < 0.06


def test_the_height_of_a_known_plane_is_exact():
    depth, *_ = street(kerb=0.0)
    inverse, known = some(depth, ratio=0.01)
    plane = ground_plane(inverse, known)
    expected = torch.tensor([0.0, WIDTH / FOCAL / CAMERA_HEIGHT, 0.0], dtype=torch.float64)
    assert torch.allclose(plane[0], expected, atol=1e-4)
    assert relative_height(inverse, known, plane).abs().max() < 1e-4


@pytest.mark.parametrize("pixels", [0, 1, 2, 3])
def test_a_handful_of_pixels_gives_finite_heights(pixels):
    depth, *_ = street()
    known = torch.zeros_like(depth, dtype=torch.bool)
    known.view(-1)[
        torch.tensor([110 * WIDTH + 100, 90 * WIDTH + 300, 80 * WIDTH][:pixels]).long()
    ] = True
    inverse = torch.where(known, 1 / depth, 0.0)
    heights = relative_height(inverse, known, ground_plane(inverse, known))
    assert heights.isfinite().all()
    assert not heights[~known].any()
    assert heights.abs().max() < 0.2  # a plane goes through three points


def test_maps_of_a_batch_do_not_touch_each_other():
    scenes = [some(street(**scene)[0], seed=i) for i, scene in enumerate(({}, {"car": True}))]
    inverse, known = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    together = ground_plane(inverse, known)
    for index, (one, where) in enumerate(scenes):
        torch.testing.assert_close(ground_plane(one, where)[0], together[index])


def test_neither_the_unit_nor_the_focal_length_is_needed():
    depth, *_ = street(car=True)
    inverse, known = some(depth)
    metres = relative_height(inverse, known, ground_plane(inverse, known))
    feet = relative_height(inverse * 0.3048, known, ground_plane(inverse * 0.3048, known))
    assert torch.allclose(metres, feet, atol=1e-4)


def test_autocast_does_not_coarsen_the_plane():
    inverse, known = some(street()[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plane = ground_plane(inverse, known)
    assert torch.equal(plane, ground_plane(inverse, known))


def test_the_encoding_is_dense_and_shows_the_kerb_at_two_in_a_hundred_pixels():
    depth, is_road, is_pavement = street(left=-2.5, right=2.5)
    mask = torch.rand(1, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(3)) < 0.02
    height, distance = build_encoding({"name": "ground_height"}, DEPTH)(depth, mask)[0]
    below = slice(80, None)  # where rows of road and pavement are wide
    road = height[below][is_road[0, 0, below]]
    pavement = height[below][is_pavement[0, 0, below]]
    assert road.median().abs() < 0.05
    assert pavement.median() > 0.2
    assert (pavement > 0.1).float().mean() > 0.8
    assert (road < 0.1).float().mean() > 0.8
    assert distance.min() == 0
    assert distance.max() < 1


def test_unmeasured_and_endless_depths_tell_nothing():
    depth, *_ = street()
    encode = build_encoding({"name": "ground_height"}, DEPTH)
    mask = torch.rand(1, HEIGHT * WIDTH, generator=torch.Generator().manual_seed(3)) < 0.02
    odd = torch.where(depth == 0, torch.inf, depth)
    assert torch.equal(encode(odd, mask), encode(depth, mask))
    nothing = encode(torch.zeros_like(depth), mask)
    assert not nothing[:, 0].any()
    assert (nothing[:, 1] == 1).all()


def test_what_is_no_depth_map_is_refused():
    with pytest.raises(ConfigError, match="two-dimensional"):
        build_encoding({"name": "ground_height"}, InputSpec((50, 160), (0,), "chunk"))
    encode = build_encoding({"name": "ground_height"}, InputSpec((3, None, None), (1, 2), "pixel"))
    with pytest.raises(ConfigError, match="one channel"):
        encode(torch.rand(1, 3, 8, 8), torch.ones(1, 64, dtype=torch.bool))


@pytest.mark.skipif(not FRAME.is_dir(), reason="needs ../shared/data/kitti_road_sample")
def test_a_thousand_pixels_of_a_real_frame_tell_the_road_from_what_is_beside_it():
    units = np.asarray(Image.open(FRAME / "depth_u16" / "um_000000.png")).astype(np.float32)
    depth = torch.from_numpy(units / 1000)[None, None]
    label = np.asarray(Image.open(FRAME / "gt_image_2" / "um_road_000000.png"))
    is_road = torch.from_numpy(label[..., 2] > 0)[None, None]
    inverse, known = some(depth, ratio=0.00214)
    heights = relative_height(inverse, known, ground_plane(inverse, known)).abs()
    near = known & (depth < 25)
    road, beside = heights[near & is_road], heights[near & ~is_road]
    assert min(len(road), len(beside)) > 50
    assert road.median() * 1.65 < 0.05  # metres
    assert (beside[:, None] > road).float().mean() > 0.85  # the area under the ROC curve
