import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from mmcert.data.roads.calibration import read_calibration
from mmcert.data.roads.check import check_roads
from mmcert.data.roads.kitti_road import ROAD_CLASSES, label_colours
from mmcert.data.roads.synthetic_roads import SyntheticRoads
from mmcert.data.roads.synthetic_roads_writer import write_scene, write_synthetic_roads
from mmcert.errors import ConfigError, DataError

SMALL = {"size": (32, 96), "seed": 1, "validation": 0.25, "test": 0.25}


def checksums(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_the_files_are_those_of_kitti_road(synthetic_root):
    folders = {path.name for path in synthetic_root.iterdir()}
    assert folders == {"training", "validation", "testing", "manifest.json"}
    for folder in ("training", "validation", "testing"):
        for image in (synthetic_root / folder / "image_2").iterdir():
            category, number = image.stem.split("_")
            assert category in ("um", "umm", "uu")
            base = image.parents[1]
            label = Image.open(base / "gt_image_2" / f"{category}_road_{number}.png")
            colours = {tuple(colour) for colour in np.asarray(label).reshape(-1, 3)}
            assert colours <= {(255, 0, 0), (255, 0, 255)}
            assert Image.open(base / "depth_u16" / image.name).mode == "I;16"
            calibration = read_calibration(
                base / "calib" / f"{image.stem}.txt", needs=("P2", "R0_rect", "Tr_velo_to_cam")
            )
            assert calibration.camera()["fx"] == pytest.approx(721.5377 * 160 / 1242)


def test_the_splits_are_the_folders_and_hold_every_scene_once(synthetic_root):
    data = SyntheticRoads("train", root=synthetic_root)
    assert {name: len(ids) for name, ids in data.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 3,
    }
    assert data.name == "synthetic_roads"
    everything = SyntheticRoads("all", root=synthetic_root)
    assert len(everything) == 9
    assert all(item["target"].sum() > 0 for item in everything)


def test_the_road_plane_of_the_calibration_is_the_ground_under_the_camera(synthetic_root):
    """Road pixels, back-projected and moved by Tr_cam_to_road, lie near y = 0."""
    data = SyntheticRoads("all", root=synthetic_root)
    heights = []
    for item in data:
        frame = data.frames[item["id"]]
        calibration = read_calibration(frame.calibration)
        camera = calibration.camera()
        z = item["inputs"]["depth"][0].numpy()
        rows, columns = np.nonzero((item["target"].numpy() == 1) & (z > 0) & (z < 12))
        depth = z[rows, columns]
        points = np.stack(
            [
                (columns - camera["u0"]) / camera["fx"] * depth,
                (rows - camera["v0"]) / camera["fy"] * depth,
                depth,
                np.ones_like(depth),
            ]
        )
        heights.append((calibration["Tr_cam_to_road"] @ points)[1])
    assert np.abs(np.median(np.concatenate(heights))) < 0.15


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic_roads(tmp_path / name, scenes=4, **{**SMALL, "seed": seed}, workers=1)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    assert checksums(tmp_path / "a") != checksums(tmp_path / "c")


@pytest.mark.slow
def test_one_process_and_two_write_the_same_bytes(tmp_path):
    write_synthetic_roads(tmp_path / "one", scenes=6, **SMALL, workers=1)
    write_synthetic_roads(tmp_path / "two", scenes=6, **SMALL, workers=2)
    assert checksums(tmp_path / "one") == checksums(tmp_path / "two")


def test_a_scene_depends_on_its_number_and_not_on_how_many_there_are(tmp_path):
    write_scene(tmp_path / "x", 4, (32, 96), 1)
    write_synthetic_roads(tmp_path / "y", scenes=6, **SMALL, workers=1)
    name = "umm_000001.png"
    (other,) = (tmp_path / "y").rglob(f"image_2/{name}")
    assert (tmp_path / "x" / "image_2" / name).read_bytes() == other.read_bytes()


def test_what_was_interrupted_is_finished_to_the_same_bytes(tmp_path, monkeypatch):
    from mmcert.data.roads import synthetic_roads_writer as writer

    real, calls = writer.write_scene, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(writer, "write_scene", dies)
    with pytest.raises(KeyboardInterrupt):
        writer.write_synthetic_roads(tmp_path / "a", scenes=4, **SMALL, workers=1)
    assert not (tmp_path / "a").exists()
    assert (tmp_path / "a.partial").is_dir()
    monkeypatch.setattr(writer, "write_scene", real)
    with pytest.raises(DataError, match=r"a\.partial: unfinished.*seed: 1 there, 9 asked for"):
        write_synthetic_roads(tmp_path / "a", scenes=4, **{**SMALL, "seed": 9}, workers=1)
    write_synthetic_roads(tmp_path / "a", scenes=4, **SMALL, workers=1)
    write_synthetic_roads(tmp_path / "b", scenes=4, **SMALL, workers=1)
    assert checksums(tmp_path / "a") == checksums(tmp_path / "b")
    assert not (tmp_path / "a.partial").exists()


def test_what_is_there_is_left_as_it_is(tmp_path):
    write_synthetic_roads(tmp_path / "a", scenes=4, **SMALL, workers=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.png")}
    write_synthetic_roads(tmp_path / "a", scenes=4, **SMALL, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.png")}
    with pytest.raises(
        DataError, match=r"already prepared with other settings \(scenes: 4 there, 5"
    ):
        write_synthetic_roads(tmp_path / "a", scenes=5, **SMALL, workers=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("do not touch")
    with pytest.raises(DataError, match="something else"):
        write_synthetic_roads(tmp_path / "mine", scenes=4, **SMALL, workers=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_values_out_of_range_name_their_key(tmp_path):
    with pytest.raises(ConfigError, match="scenes=2 gives"):
        write_synthetic_roads(tmp_path / "a", scenes=2, **SMALL)
    with pytest.raises(ConfigError, match=r"size=\[96\]"):
        write_synthetic_roads(tmp_path / "a", scenes=4, **{**SMALL, "size": [96]})
    with pytest.raises(ConfigError, match=r"test=1\.5"):
        write_synthetic_roads(tmp_path / "a", scenes=4, **{**SMALL, "test": 1.5})
    assert not any(tmp_path.iterdir())


def test_a_check_lists_every_problem_at_once(tmp_path):
    root = tmp_path / "a"
    write_synthetic_roads(root, scenes=4, **SMALL, workers=1)
    check = {
        "classes": tuple(ROAD_CLASSES),
        "colours": label_colours(ROAD_CLASSES, "background"),
        "depth_scale": 1000.0,
    }
    problems, summary = check_roads(root, **check, workers=1)
    assert problems == []
    assert summary.startswith(
        "4 frames in the split layout, 4 with labels (train 2, val 1, test 1); depth "
    )
    images = root / "training" / "image_2"
    (images / "um_000000.png").write_bytes(b"no image")
    depth = root / "training" / "depth_u16" / "umm_000000.png"
    Image.fromarray(np.zeros((32, 96), np.uint8)).save(depth)
    (root / "validation" / "calib" / "uu_000000.txt").unlink()
    (root / "testing" / "depth_u16" / "stray_000000.png").write_bytes(depth.read_bytes())
    problems, _ = check_roads(root, **check, workers=1)
    text = "\n".join(problems)
    for name in (
        r"um_000000.png: the image cannot be read",
        r"umm_000000.png: the depth map has the mode L",
        r"uu_000000.txt: the calibration file is missing",
        r"stray_000000.png: belongs to no image",
        r"um_000000.png: changed since manifest.json",
        r"uu_000000.txt: missing, but manifest.json lists it",
    ):
        assert name in text
    manifest = json.loads((root / "manifest.json").read_text())
    assert manifest["split"]["seed"] == 1
