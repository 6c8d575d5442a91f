"""Writing synthetic roads: the exact files of KITTI Road, in folders for the three splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.images import write_png
from mmcert.data.roads.calibration import format_calibration
from mmcert.data.roads.kitti_layouts import FOLDERS
from mmcert.data.roads.roadworld.camera import Camera, kitti_camera
from mmcert.data.roads.roadworld.ground import Ground
from mmcert.data.roads.roadworld.render import render
from mmcert.data.roads.roadworld.scene import CATEGORIES, draw_scene
from mmcert.data.workspace import Workspace, run_tasks, whole_file
from mmcert.errors import ConfigError

#: Raised whenever the same seed gives another world.
WORLD = 1


def scene_id(index: int) -> str:
    """The name of a scene: categories take turns, each with numbers of its own.

    >>> [scene_id(index) for index in range(4)]
    ['um_000000', 'umm_000000', 'uu_000000', 'um_000001']
    """
    return f"{CATEGORIES[index % 3]}_{index // 3:06d}"


def write_synthetic_roads(
    out: Path,
    *,
    scenes: int,
    size: Sequence[int],
    seed: int,
    validation: float,
    test: float,
    workers: int | None = None,
) -> dict[str, int]:
    """Write a data set; the same arguments give the same bytes, for any number of workers.

    Args:
        out: Folder to make: ``{training,validation,testing}/{image_2,depth_u16,calib,gt_image_2}``
            and ``manifest.json``.
        scenes: Scenes in all; every one is a world of its own.
        size: Rows and columns of the images, at least 32 each.
        seed: Scene ``i`` depends on the seed and ``i`` only.
        validation: Share of the scenes for validation.
        test: Share of the scenes for testing, the last ones.
        workers: Processes; None: one per core.

    Returns:
        Scenes of each split.

    Raises:
        ConfigError: For values out of range.
        DataError: Where ``out`` holds something else.
    """
    splits = _split(scenes, validation, test)
    rows, columns = _checked_size(size)
    settings = {
        "dataset": "synthetic_roads",
        "scenes": scenes,
        "size": [rows, columns],
        "seed": seed,
        "validation": validation,
        "test": test,
        "world": WORLD,
    }
    sizes = {name: len(indices) for name, indices in splits.items()}
    workspace = Workspace(out, settings)
    if workspace.done:
        return sizes
    folder_of = {split: folder for folder, split in FOLDERS.items()}
    tasks = [
        (workspace.folder / folder_of[split], index, (rows, columns), seed)
        for split, indices in splits.items()
        for index in indices
    ]
    run_tasks(write_scene, tasks, workers=workers, unit="scenes")
    ids = {name: sorted(scene_id(index) for index in indices) for name, indices in splits.items()}
    workspace.finish({"seed": seed, **ids})
    return sizes


def _split(scenes: int, validation: float, test: float) -> dict[str, range]:
    if not isinstance(scenes, int):
        raise ConfigError(f"scenes={scenes} must be an integer.")
    for name, share in (("validation", validation), ("test", test)):
        if not isinstance(share, (int, float)) or not 0 <= share < 1:
            raise ConfigError(f"{name}={share} must be a share of the scenes, in [0, 1).")
    last, middle = round(scenes * test), round(scenes * validation)
    first = scenes - last - middle
    if min(first, middle, last) < 1:
        raise ConfigError(
            f"scenes={scenes} gives {first} for training, {middle} for validation and {last} for "
            f"testing (validation={validation}, test={test}); each needs at least one."
        )
    return {
        "train": range(first),
        "val": range(first, first + middle),
        "test": range(first + middle, scenes),
    }


def _checked_size(size: Sequence[int]) -> tuple[int, int]:
    numbers: list[Any] = list(size) if isinstance(size, (list, tuple)) else [size]
    if len(numbers) != 2 or not all(isinstance(n, int) and 32 <= n <= 4096 for n in numbers):
        raise ConfigError(
            f"size={numbers} must be [rows,columns], integers from 32 to 4096, e.g. size=[96,320]."
        )
    return numbers[0], numbers[1]


def write_scene(folder: Path, index: int, size: tuple[int, int], seed: int) -> None:
    """Make one scene and write its four files, unless they are there."""
    name = scene_id(index)
    category, number = name.split("_")
    files = (
        folder / "image_2" / f"{name}.png",
        folder / "depth_u16" / f"{name}.png",
        folder / "gt_image_2" / f"{category}_road_{number}.png",
        folder / "calib" / f"{name}.txt",
    )
    if all(path.is_file() for path in files):
        return
    rng = np.random.default_rng([seed, index])
    scene = draw_scene(rng, category)
    camera = kitti_camera(size)
    view = render(scene, camera, rng)
    label = np.zeros((*size, 3), np.uint8)
    label[..., 0] = 255
    label[..., 2] = np.where(view.road, 255, 0)
    arrays: tuple[NDArray[np.uint8] | NDArray[np.uint16], ...] = (view.image, view.depth, label)
    for path, array in zip(files[:3], arrays, strict=True):
        with whole_file(path) as temporary:
            write_png(temporary, array)
    with whole_file(files[3]) as temporary:
        text = format_calibration(calibration_of(camera, scene.ground))
        temporary.write_text(text, encoding="utf-8")


def calibration_of(camera: Camera, ground: Ground) -> dict[str, NDArray[np.float64]]:
    """The matrices of a KITTI calibration file for a rectified camera at the origin.

    The LiDAR has the camera's place and KITTI's axes (x ahead, y to the left, z up).
    ``Tr_cam_to_road`` maps camera coordinates to those of the road plane below (y down).
    """
    projection = np.array(
        [[camera.f, 0, camera.u0, 0], [0, camera.f, camera.v0, 0], [0, 0, 1, 0]], np.float64
    )
    velodyne = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0]], np.float64)
    down = np.array([ground.tilt, 1.0, ground.slope])
    down /= np.linalg.norm(down)
    right = np.array([1.0, 0, 0]) - down[0] * down
    right /= np.linalg.norm(right)
    rotation = np.stack([right, down, np.cross(right, down)])
    to_road = np.hstack([rotation, [[0], [-ground.camera_height * down[1]], [0]]])
    return {
        "P0": projection,
        "P1": projection,
        "P2": projection,
        "P3": projection,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": velodyne,
        "Tr_imu_to_velo": np.eye(3, 4),
        "Tr_cam_to_road": to_road,
    }
