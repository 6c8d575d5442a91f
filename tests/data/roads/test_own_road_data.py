"""The example of docs/road_data.md: another camera, other names, three classes."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from mmcert.cli.prepare import job as prepare
from mmcert.data.datamodule import DataModule
from mmcert.data.workspace import sha256
from mmcert.errors import DataError

CLASSES = {"other": [0, 0, 0], "road": [128, 64, 128], "pavement": [244, 35, 232]}
SIZE = (40, 64)


@pytest.fixture
def own_root(tmp_path):
    root = tmp_path / "own"
    for name in ("image_2", "depth_u16", "calib", "gt_image_2"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(10):
        stem = f"frame{number}"
        image = rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "image_2" / f"{stem}.png")
        Image.fromarray(np.full(SIZE, 2560, np.uint16)).save(root / "depth_u16" / f"{stem}.png")
        label = np.zeros((*SIZE, 3), np.uint8)
        label[20:, 10:40] = CLASSES["road"]
        label[20:, 40:50] = CLASSES["pavement"]
        Image.fromarray(label).save(root / "gt_image_2" / f"{stem}.png")
        (root / "calib" / f"{stem}.txt").write_text("P2: 50 0 31.5 0 0 51 19.5 0 0 0 1 0\n")
    return root


def section(root, **more):
    options = {"classes": CLASSES, "depth_scale": 256}
    return {"name": "kitti_road", "root": str(root), "split": "test", "options": options, **more}


def test_three_classes_of_another_camera_become_batches(own_root):
    data = DataModule(section(own_root), 0)
    batch = next(iter(data.loader("train", batch_size=4)))
    assert data.dataset().classes == ("other", "road", "pavement")
    assert batch["target"][0].flatten().bincount().tolist() == [1760, 600, 200]
    assert batch["inputs"]["depth"].unique().tolist() == [10.0]
    assert batch["meta"][0]["camera"] == {"fx": 50, "fy": 51, "u0": 31.5, "v0": 19.5}
    sizes = {name: len(ids) for name, ids in data.dataset().splits.items()}
    assert sizes == {"train": 7, "val": 1, "test": 2}


def test_a_folder_of_a_few_frames_without_labels_has_no_problems(road_folder, capsys):
    road_folder.add("um_000000", label=False)
    calibration = road_folder.root / "calib" / "um_000000.txt"
    calibration.write_text("P2: 20 0 9.5 0 0 20 -3 0 0 0 1 0\n")  # the sky was cut away
    check(road_folder.root, classes=None, depth_scale=1000)
    assert "1 frames in the flat layout, 0 with labels" in capsys.readouterr().out


def check(root, **more):
    config = {"dataset": "kitti_road", "out": str(root), "check": True, "workers": 1, "seed": 0}
    config |= {"classes": CLASSES, "depth_scale": 256, **more}
    prepare(config, root.parent / "nothing")


def test_the_check_knows_the_classes_of_ones_own(own_root, capsys):
    check(own_root)
    assert "10 frames in the flat layout, 10 with labels" in capsys.readouterr().out
    with pytest.raises(
        DataError, match=r"10 problems.*(.|\n)*unknown label colour \(128, 64, 128\)"
    ):
        check(own_root, classes=None)


def test_the_check_tells_what_a_wrong_scale_or_colour_would_give_away(own_root, capsys):
    check(own_root)
    told = capsys.readouterr().out
    assert "; depth 10.00 to 10.00 m; " in told
    assert "label pixels: other 68.8%, road 23.4%, pavement 7.8%." in told


def test_one_bad_name_hides_no_other_problem(own_root):
    for number in (0, 1):
        path = own_root / "image_2" / f"frame{number}.png"
        path.rename(path.with_stem(f"frame={number}"))
    (own_root / "depth_u16" / "frame3.png").unlink()
    (own_root / "image_2" / "frame6.png").write_bytes(b"")
    (own_root / "depth_u16" / "frame6.png").unlink()
    (own_root / "calib" / "stray.txt").write_text("P2: 1\n")
    (own_root / "image_2" / "frame4.jpg").write_bytes(b"")
    (own_root / "calib" / "frame5.txt").write_text("P2: 721 0 609 0 0 721 172 0 0 0 1 0\n")
    with pytest.raises(DataError, match="14 problems in 8 frames") as caught:
        check(own_root)
    for part in (
        "frame=0.png: the name becomes",
        "frame=1.png: the name becomes",
        "frame3.png: the depth map is missing",
        "stray.txt: belongs to no image",
        "image_2/frame6.png: the image cannot be read",
        "depth_u16/frame6.png: missing",
        "frame4.jpg: is not read; files of image_2 end in .png",
        "frame5.txt: the principal point of P2, row 172 and column 609, is beyond",
        "depth_u16/frame0.png: belongs to no image",
    ):
        assert part in str(caught.value)


def test_the_check_holds_the_folder_against_its_manifest(own_root, capsys):
    split = {"train": ["frame0"], "val": ["frame1"], "test": ["frame2"]}
    manifest = own_root / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "split": split}))
    check(own_root)
    assert "(train 1, val 1, test 1, in no split 7)" in capsys.readouterr().out
    manifest.write_text(json.dumps({"schema": 1, "split": split, "files": ["image_2/frame0.png"]}))
    with pytest.raises(DataError, match=r"manifest\.json: 'files' must be"):
        check(own_root)
    names = [f"image_2/frame{number}.png" for number in range(9)]
    files = {name: sha256(own_root / name) for name in names}
    manifest.write_text(json.dumps({"schema": 1, "split": split, "files": files}))
    with pytest.raises(
        DataError, match=r" 1 problem (.|\n)*frame9\.png: is not listed in manifest"
    ):
        check(own_root)


def test_a_class_of_ones_own_package_is_built_when_allowed(tmp_path, monkeypatch):
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("")
    (tmp_path / "my_package" / "roads.py").write_text(
        "import torch\n"
        "from mmcert.data.base import MultiModalDataset\n"
        "from mmcert.theory.modality import InputSpec\n"
        "class Roads(MultiModalDataset):\n"
        "    name, task, classes = 'mine', 'classification', ('no', 'yes')\n"
        "    inputs = {'radar': InputSpec((5,), (0,), 'echo')}\n"
        "    def find_splits(self, seed):\n"
        "        return {'train': ('a',), 'val': ('b',), 'test': ('c', 'd')}\n"
        "    def load(self, sample_id):\n"
        "        return {'id': sample_id, 'inputs': {'radar': torch.ones(5)},\n"
        "                'target': torch.tensor(1), 'meta': {}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = {"name": "my_package.roads:Roads", "root": str(tmp_path), "split": "test"}
    data = DataModule(config, 0, allow_code=["my_package"])
    batch = next(iter(data.loader("test", batch_size=2)))
    assert batch["id"] == ["c", "d"]
    assert batch["target"].tolist() == [1, 1]
    sys.modules.pop("my_package", None)
    sys.modules.pop("my_package.roads", None)
