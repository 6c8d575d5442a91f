import numpy as np
import pytest

from mmcert.data.roads.roadworld.camera import Camera, kitti_camera
from mmcert.data.roads.roadworld.ground import Ground, Surface
from mmcert.data.roads.roadworld.lidar import depth_map
from mmcert.data.roads.roadworld.render import render
from mmcert.data.roads.roadworld.scene import CATEGORIES, draw_scene
from mmcert.data.roads.roadworld.solids import Ellipsoid, Frustum, meet_ellipsoid, meet_frustum

CAMERA = kitti_camera((96, 320))
ROAD = int(Surface.ROAD)


def level(**more):
    values = {
        "camera_height": 1.65,
        "heading": 0.0,
        "curvature": 0.0,
        "curvature_change": 0.0,
        "slope": 0.0,
        "crest": 0.0,
        "tilt": 0.0,
        "breaks": (-70.0, -60.0, -50.0, -4.0, 0.0, 4.0, 50.0, 60.0, 70.0),
        "heights": (0.0,) * 9,
        "surfaces": (5, 5, 5, 5, ROAD, ROAD, 5, 5, 5, 5),
        "left": -4.0,
        "right": 4.0,
        "bumps": 0.0,
    }
    return Ground(**{**values, **more})


def scene_view(index, size=(96, 320)):
    rng = np.random.default_rng([5, index])
    scene = draw_scene(rng, CATEGORIES[index % 3])
    return scene, render(scene, kitti_camera(size), rng)


@pytest.mark.parametrize("slope", [-0.02, 0.0, 0.02])
def test_rays_meet_a_plane_where_geometry_says(slope):
    across, down = CAMERA.rays(1)
    z = level(slope=slope).cast(CAMERA, across, down)
    exact = 1.65 / (down + slope)
    near = (exact > 0) & (exact < 100)
    assert near.sum() > 40
    assert np.abs(z[near] / exact[near, None] - 1).max() < 1e-3
    assert np.isinf(z[exact < 0]).all()


def test_a_kerb_hides_what_is_behind_it_and_rises_by_its_height():
    breaks = (-70.0, -60.0, -50.0, -4.0, 0.0, 4.0, 4.02, 60.0, 70.0)
    heights = (0.0,) * 6 + (0.5,) * 3
    ground = level(breaks=breaks, heights=heights)
    across, down = CAMERA.rays(1)
    z = ground.cast(CAMERA, across, down)
    x = across[None] * z
    height = 1.65 - down[:, None] * z
    seen = np.isfinite(z) & (z < 40)
    # Pixels on the upper edge of the kerb may mix both levels.
    assert (np.abs(height[seen & (x < 3.5)]) > 0.02).mean() < 5e-3
    assert (np.abs(height[seen & (x > 4.6)] - 0.5) > 0.02).mean() < 5e-3


def test_a_box_is_met_at_its_near_face_and_a_ball_at_its_skin():
    across, down = np.float32([0.0]), np.float32([0.0])
    seen = np.full((1, 1), np.inf, np.float32)
    wide_across, wide_down = CAMERA.rays(1)
    wide_seen = np.full((96, 320), np.inf, np.float32)
    box = Frustum(0, 20, 0, 4, 2, 3, 0, "wall", (0.5, 0.5, 0.5))
    hits = meet_frustum(box, 1.65, wide_across, wide_down, wide_seen)
    met = np.isfinite(hits.z)
    assert met.any()
    assert np.allclose(hits.z[met], 18, atol=1e-3)
    assert np.allclose(hits.normal[met], [0, 0, -1], atol=1e-5)
    ball = Ellipsoid(0, 20, 1.65, 2, 2, 2, 0, "leaves", (0.1, 0.2, 0.1))
    hits = meet_ellipsoid(ball, 1.65, wide_across, wide_down, wide_seen, None)
    assert hits.z.min() == pytest.approx(18, abs=1e-2)
    assert meet_frustum(box, 1.65, across, down, np.zeros_like(seen)) is None


def test_the_depth_map_is_millimetres_below_the_horizon_and_empty_above():
    across, down = CAMERA.rays(1)
    z = level().cast(CAMERA, across, down)
    depth = depth_map(z, np.zeros(z.shape, bool), CAMERA, np.random.default_rng(0))
    horizon = int(np.ceil(CAMERA.v0))
    assert depth.dtype == np.uint16
    assert not depth[:horizon].any()
    near = np.isfinite(z) & (z < 40) & (depth > 0)
    error = depth[near] / 1000 - z[near]
    assert np.abs(np.median(error)) < 0.01
    assert np.quantile(np.abs(error) / z[near], 0.99) < 0.02


def test_glass_returns_nothing_of_its_own():
    z = np.full((96, 320), 10, np.float32)
    silent = np.zeros(z.shape, bool)
    silent[:, 100:] = True
    depth = depth_map(z, silent, CAMERA, np.random.default_rng(0))
    assert depth[60:, :100].any()
    assert not depth[:, 100:].any()


@pytest.mark.parametrize("index", range(6))
def test_every_scene_shows_a_road_that_lies_on_its_ground(index):
    scene, view = scene_view(index)
    assert view.image.shape == (96, 320, 3)
    assert 0.03 < view.road.mean() < 0.45
    assert 0.44 < (view.depth == 0).mean() < 0.62
    rows, columns = np.nonzero(view.road & (view.distance < 30) & (view.depth > 0))
    z = view.distance[rows, columns]
    x = (columns - CAMERA.u0) / CAMERA.f * z
    d = scene.ground.lateral(x.astype(np.float32), z)
    slack = 0.06 + z / CAMERA.f * 1.5
    outside = (d < scene.ground.left - slack) | (d > scene.ground.right + slack)
    assert outside.mean() < 2e-3  # pixels that show the road past the edge of something nearer
    y = (rows - CAMERA.v0) / CAMERA.f * z
    height = scene.ground.camera_height - y
    true = scene.ground.height(x[None].astype(np.float32), z[None])[0]
    assert np.quantile(np.abs(height - true), 0.95) < 0.05


def test_a_scene_looks_the_same_at_any_resolution():
    _, small = scene_view(1)
    _, large = scene_view(1, (192, 640))
    pooled = large.image.reshape(96, 2, 320, 2, 3).mean((1, 3))
    assert np.corrcoef(small.image.ravel(), pooled.ravel())[0, 1] > 0.93
    assert (small.road == large.road[::2, ::2]).mean() > 0.98


def test_another_sensor_keeps_the_view():
    camera = Camera(**vars(kitti_camera((375, 1242))))
    assert (camera.f, camera.u0, camera.v0) == (721.5377, 609.5593, 172.854)
    assert kitti_camera((96, 320)).f == pytest.approx(721.5377 * 320 / 1242)
