"""A synthetic LiDAR scan of a known ground and known boxes, converted like a download."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcert.data.roads.calibration import format_calibration, read_calibration
from mmcert.data.roads.kitti_road import KittiRoad
from mmcert.data.roads.lidar_depth import dense_depth, project, read_scan, visible
from mmcert.data.roads.prepare_kitti import count_note, prepare_kitti
from mmcert.errors import DataError

SIZE = (375, 1242)
GROUND = -1.73
#: Boxes in LiDAR axes: lower and upper corner, metres.
BOXES = (
    ((9.0, 1.5, GROUND), (13.0, 3.5, -0.2)),
    ((16.0, -6.0, GROUND), (20.0, -4.0, 0.4)),
    ((30.0, -2.0, GROUND), (31.0, 6.0, 1.0)),
)


def rotation(x, y, z):
    cx, sx, cy, sy, cz, sz = (f(a) for a in (x, y, z) for f in (np.cos, np.sin))
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return rz @ ry @ rx


def calibration_text(**leave_out):
    axes = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    matrices = {
        "P2": np.array([[721.5, 0, 609.6, 44.9], [0, 721.5, 172.9, 0.22], [0, 0, 1, 0.0027]]),
        "R0_rect": rotation(0.004, -0.007, 0.0098),
        "Tr_velo_to_cam": np.hstack(
            [rotation(0.007, 0.0005, -0.012) @ axes, [[-0.004], [-0.076], [-0.272]]]
        ),
    }
    return format_calibration({k: v for k, v in matrices.items() if k not in leave_out})


def cast(origin, directions):
    """Length of rays (P, 3) from ``origin`` to the ground or a box, inf for none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        length = (GROUND - origin[2]) / directions[:, 2]
        length = np.where(length > 0, length, np.inf)
        for low, high in BOXES:
            a = (np.array(low) - origin) / directions
            b = (np.array(high) - origin) / directions
            enter, leave = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
            length = np.where((enter < leave) & (enter > 0), np.minimum(length, enter), length)
    return length


@pytest.fixture(scope="module")
def scan():
    """What an HDL-64E at the origin sees of the world."""
    elevation = np.deg2rad(np.concatenate([2 - np.arange(32) / 3, -8.83 - np.arange(32) / 2]))
    azimuth = np.deg2rad(np.arange(-45, 45, 0.09))
    e, a = (grid.ravel() for grid in np.meshgrid(elevation, azimuth))
    rays = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1)
    length = cast(np.zeros(3), rays)
    seen = length < 100
    return (rays[seen] * length[seen, None]).astype(np.float32)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    path = tmp_path_factory.mktemp("calib") / "um_000000.txt"
    path.write_text(calibration_text())
    return read_calibration(path)


@pytest.fixture(scope="module")
def truth(calibration):
    """Depth of every pixel by rays of camera 2, 0 for the sky; and what it shows (0 = ground)."""
    p2, rect, lidar = (calibration[key] for key in ("P2", "R0_rect", "Tr_velo_to_cam"))
    full = p2 @ np.vstack([np.hstack([rect, np.zeros((3, 1))]), [0, 0, 0, 1]])
    full = full @ np.vstack([lidar, [0, 0, 0, 1]])
    centre = -np.linalg.solve(full[:, :3], full[:, 3])
    columns, rows = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    pixels = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
    rays = np.linalg.solve(full[:, :3], pixels).T  # third image coordinate grows by 1 per length
    depth = cast(centre, rays).reshape(SIZE)
    points = centre + rays * np.where(np.isfinite(depth.ravel()), depth.ravel(), 0)[:, None]
    shows = np.zeros(depth.size, int)
    for number, (low, high) in enumerate(BOXES, start=1):
        inside = (points > np.array(low) - 1e-6) & (points < np.array(high) + 1e-6)
        shows[inside.all(axis=1) & (points[:, 2] > GROUND + 1e-6)] = number
    return np.where(np.isfinite(depth), depth, 0), shows.reshape(SIZE)


def inner(mask, by=8):
    """Pixels of a mask that are more than ``by`` pixels from its border."""
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask, iterations=by)


def test_points_project_where_the_matrices_say(calibration):
    column, row, depth = project(np.float32([[10, 0, GROUND], [-5, 0, 0]]), calibration)
    assert len(depth) == 1  # the second point is behind the camera
    assert depth[0] == pytest.approx(9.75, abs=0.1)
    assert column[0] == pytest.approx(600, abs=40)
    assert row[0] == pytest.approx(172.9 + 721.5 * 1.65 / 9.75, abs=15)


def test_the_ground_is_right_to_a_millimetre_and_boxes_to_a_centimetre(scan, calibration, truth):
    depth, shows = truth
    made = dense_depth(scan, calibration, SIZE) / 1000
    top = int(calibration.camera()["v0"])
    assert not made[:top].any()
    near = (depth > 0) & (depth < 40)
    near[: top + 1] = False
    ground = inner((shows == 0) & near)
    error = np.abs(made - depth)
    assert ground.sum() > 100_000
    assert error[ground].max() < 0.001  # inverse depth is linear: only the rounding is left
    for number in range(1, len(BOXES) + 1):
        box = inner((shows == number) & near)
        assert box.sum() > 500
        assert np.quantile(error[box], 0.99) < 0.001
        assert error[box].max() < 0.03  # near an edge between two of its faces


def test_the_map_is_dense_below_the_horizon(scan, calibration, truth):
    depth, _ = truth
    made = dense_depth(scan, calibration, SIZE)
    assert made.dtype == np.uint16
    close = (depth > 0) & (depth < 60)
    close[: int(calibration.camera()["v0"])] = False
    assert (made[close] > 0).mean() > 0.995


def test_what_the_lidar_sees_past_a_box_is_not_painted_onto_it(calibration):
    """A point behind a wall of points, between them in the image, goes; one beside it stays."""
    y, z = (grid.ravel() for grid in np.meshgrid(np.arange(-1, 1, 0.02), np.arange(-1, 0.5, 0.08)))
    wall = np.stack([np.full(y.size, 10.0), y, z], axis=1)
    behind = np.array([[30.0, 0.0, -0.9], [30.0, 8.0, -0.9]])
    column, row, depth = project(np.float32(np.vstack([wall, behind])), calibration)
    seen = visible(column, row, depth, SIZE)
    assert not seen[-2]
    assert seen[-1]
    assert seen[:-2].mean() > 0.99


def test_the_nearest_point_of_a_pixel_counts():
    column, row, depth = np.array([5.0, 5.2]), np.array([7.0, 6.9]), np.array([20.0, 6.0])
    assert visible(column, row, depth, (20, 20)).tolist() == [False, True]


def test_a_scan_of_another_place_is_an_error(calibration):
    with pytest.raises(DataError, match=r"um_000000\.txt: 0 LiDAR points.*do not belong together"):
        dense_depth(np.float32([[-10, 0, 0]]), calibration, SIZE)
    line = np.stack([np.linspace(5, 20, 10), np.zeros(10), np.zeros(10)], axis=1)
    line[:, 1] = 0.3 * line[:, 0]
    with pytest.raises(DataError, match="do not belong together"):
        dense_depth(line.astype(np.float32)[:3], calibration, SIZE)


class Download:
    """The official folders, of small images."""

    def __init__(self, root, scan):
        self.root, self.points = root, scan

    def add(self, stem, folder="training", size=(60, 200)):
        road, velodyne = self.root / "data_road" / folder, self.root / "data_road_velodyne" / folder
        for path in (road / "image_2", road / "calib", road / "gt_image_2", velodyne / "velodyne"):
            path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), 99, np.uint8)).save(road / "image_2" / f"{stem}.png")
        text = calibration_text().replace("7.215000000000e+02", "1.160000000000e+02")
        text = text.replace("6.096000000000e+02", "9.800000000000e+01")
        text = text.replace("1.729000000000e+02", "2.760000000000e+01")
        (road / "calib" / f"{stem}.txt").write_text(text)
        points = np.hstack([self.points[::7], np.ones((len(self.points[::7]), 1), np.float32)])
        points.astype(np.float32).tofile(velodyne / "velodyne" / f"{stem}.bin")
        if folder == "training":
            label = np.full((*size, 3), (255, 0, 255), np.uint8)
            category, number = stem.rsplit("_", 1)
            for kind in ("road", "lane"):
                name = f"{category}_{kind}_{number}.png"
                Image.fromarray(label).save(road / "gt_image_2" / name)
        return self


@pytest.fixture
def download(tmp_path, scan):
    made = Download(tmp_path / "raw", scan)
    for number in range(10):
        made.add(f"um_{number:06d}")
    return made.add("um_000000", "testing")


def test_a_download_becomes_a_data_set_with_its_split(download, tmp_path):
    out = tmp_path / "out"
    assert prepare_kitti(download.root, out, seed=3, workers=1) == {"train": 7, "val": 1, "test": 2}
    data = KittiRoad("test", root=out, seed=77)
    manifest = json.loads((out / "manifest.json").read_text())
    assert list(data.ids) == manifest["split"]["test"]
    assert manifest["counts"] == {"testing": 1, "um": 10}
    assert manifest["settings"]["seed"] == 3
    item = data[0]
    assert item["inputs"]["depth"].max() > 20
    assert item["target"].min() == 1
    assert len(KittiRoad("all", root=out)) == 11
    assert KittiRoad("all", root=out).load("testing_um_000000")["target"] is None
    assert not list(out.rglob("*_lane_*"))


def test_an_interrupted_conversion_goes_on_where_it_stopped(download, tmp_path, monkeypatch):
    from mmcert.data.roads import prepare_kitti as module

    real, done = module.dense_depth, []

    def dies(*arguments):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(module, "dense_depth", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    assert not (tmp_path / "out").exists()
    done.clear()
    monkeypatch.setattr(
        module, "dense_depth", lambda *arguments: done.append(arguments) or real(*arguments)
    )
    prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    assert len(done) == 7
    prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    assert len(done) == 7


def test_all_problems_of_a_download_come_at_once_and_before_any_work(download, tmp_path):
    training = download.root / "data_road" / "training"
    (download.root / "data_road_velodyne/training/velodyne/um_000001.bin").unlink()
    (download.root / "data_road_velodyne/training/velodyne/um_000002.bin").write_bytes(b"123")
    (training / "calib" / "um_000003.txt").write_text(calibration_text(Tr_velo_to_cam=True))
    (training / "gt_image_2" / "um_road_000004.png").unlink()
    Image.fromarray(np.zeros((60, 201, 3), np.uint8)).save(
        training / "gt_image_2" / "um_road_000005.png"
    )
    (training / "image_2" / "um_000006.png").unlink()
    path = training / "image_2" / "um_000007.png"
    path.write_bytes(path.read_bytes()[:120])
    label = np.full((60, 200, 3), (255, 0, 255), np.uint8)
    label[3, 4] = 1, 2, 3
    Image.fromarray(label).save(training / "gt_image_2" / "um_road_000008.png")
    path = training / "gt_image_2" / "um_road_000009.png"
    path.write_bytes(path.read_bytes()[:120])
    for path in list(download.root.rglob("um_000000.*")):
        if "testing" in path.parts:
            path.rename(path.with_stem("a=b,c_0"))
    with pytest.raises(DataError) as caught:
        prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    text = str(caught.value)
    assert "11 problems, nothing was converted" in text
    for part in (
        "calib/um_000006.txt: belongs to no image",
        "gt_image_2/um_road_000006.png: belongs to no image",
        "image_2/um_000007.png: the image cannot be read",
        "um_road_000008.png: unknown label colour (1, 2, 3) at row 3, column 4",
        "um_road_000009.png: the label cannot be read",
        "a=b,c_0.png: the name becomes the sample's id",
        "um_000001.bin: the LiDAR scan is missing",
        "um_000002.bin: 3 bytes are no LiDAR scan",
        "um_000003.txt: the calibration has no Tr_velo_to_cam",
        "um_road_000004.png: missing",
        "um_road_000005.png: the label is 60x201, its image is 60x200",
    ):
        assert part in text
    assert not (tmp_path / "out.partial").exists()


def test_a_scan_cut_off_between_two_points_is_an_error_and_no_empty_map(download, tmp_path):
    """Its size is a multiple of 16; only its map tells."""
    velodyne = download.root / "data_road_velodyne/training/velodyne"
    few, none = velodyne / "um_000003.bin", velodyne / "um_000007.bin"
    points = np.fromfile(few, np.float32).reshape(-1, 4)
    points[points[:, 1] > 0].tofile(few)  # the left half is lost
    points[:5].tofile(none)
    with pytest.raises(DataError, match=r"2 of 11 frames.*delete .*out\.partial") as caught:
        prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    assert "um_000003.bin: the scan covers only" in str(caught.value)
    assert "um_000007.bin: " in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert len(list((tmp_path / "out.partial").rglob("depth_u16/*.png"))) == 9


def test_the_folder_data_road_itself_is_a_source_too(download, tmp_path, monkeypatch):
    monkeypatch.chdir(download.root / "data_road")
    assert prepare_kitti(Path(), tmp_path / "out", seed=0, workers=1)["train"] == 7


def test_another_calibration_of_the_same_length_is_not_mistaken(download, tmp_path):
    prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    path = download.root / "data_road/training/calib/um_000004.txt"
    path.write_text(path.read_text().replace("4.490000000000e+01", "4.480000000000e+01"))
    with pytest.raises(DataError, match=r"already prepared with other settings.*source_files: 43"):
        prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)
    path.unlink()
    with pytest.raises(DataError, match=r"um_000004\.txt: missing"):
        prepare_kitti(download.root, tmp_path / "out", seed=0, workers=1)


@pytest.mark.slow
def test_one_process_and_two_write_the_same_bytes(download, tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        prepare_kitti(download.root, tmp_path / name, seed=0, workers=workers)
    one, two = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert len(one) == 44
    assert one == two


def test_a_missing_archive_is_named(download, tmp_path):
    with pytest.raises(DataError, match=r"no folder data_road there.*data_road\.zip"):
        prepare_kitti(tmp_path / "nowhere", tmp_path / "out", seed=0)
    (download.root / "data_road_velodyne").rename(download.root / "elsewhere")
    with pytest.raises(DataError, match=r"no folder data_road_velodyne.*data_road_velodyne\.zip"):
        prepare_kitti(download.root, tmp_path / "out", seed=0)


def test_a_cut_off_scan_is_named(tmp_path):
    path = tmp_path / "um_000000.bin"
    path.write_bytes(b"x" * 33)
    with pytest.raises(DataError, match=r"um_000000\.bin: 33 bytes"):
        read_scan(path)
    np.full((3, 4), np.nan, np.float32).tofile(path)
    with pytest.raises(DataError, match="no finite point"):
        read_scan(path)


def test_another_number_of_frames_than_the_official_one_is_said():
    assert "um 10" in count_note({"um": 10, "testing": 1})
    assert not count_note({"um": 95, "umm": 96, "uu": 98, "testing": 290})
