import json

import numpy as np
import pytest
import torch
from PIL import Image

from mmcert.data.roads.kitti_layouts import find_layout
from mmcert.data.roads.kitti_road import KittiRoad, label_colours
from mmcert.errors import ConfigError, DataError


def depth_file(folder, stem="um_000000"):
    return folder.root / "depth_u16" / f"{stem}.png"


def test_an_item_has_rgb_depth_in_metres_and_a_road_mask(road_folder):
    road_folder.add("um_000000")
    item = KittiRoad("all", root=road_folder.root)[0]
    assert item["id"] == "um_000000"
    rgb, depth = item["inputs"]["rgb"], item["inputs"]["depth"]
    assert rgb.shape == (3, 12, 20)
    assert rgb.dtype == torch.float32
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert depth.shape == (1, 12, 20)
    raw = np.asarray(Image.open(depth_file(road_folder)))
    assert np.allclose(depth[0].numpy(), raw / 1000)
    assert depth[0, 0, 0] == 0
    assert item["target"].dtype == torch.int64
    assert item["target"].sum() == 6 * 8
    assert item["meta"]["camera"] == {"fx": 721.5, "fy": 721.5, "u0": 609.5, "v0": 172.8}


def test_black_label_pixels_are_background_or_unlabelled(road_folder):
    road_folder.add("um_000000")
    background = KittiRoad("all", root=road_folder.root)[0]["target"]
    unlabelled = KittiRoad("all", root=road_folder.root, outside="unlabelled")[0]["target"]
    assert (background[0] == 0).all()
    assert (unlabelled[0] == 255).all()
    assert (background[1:] == unlabelled[1:]).all()


def test_the_flat_layout_is_split_by_name_and_seed(road_folder):
    for number in range(20):
        road_folder.add(f"uu_{number:06d}")
    splits = KittiRoad("train", root=road_folder.root, seed=1).splits
    assert [len(splits[name]) for name in ("train", "val", "test")] == [14, 2, 4]
    assert splits != KittiRoad("train", root=road_folder.root, seed=2).splits


def test_the_split_layout_takes_its_folders(road_folder):
    for folder, stem in (
        ("training", "um_000000"),
        ("validation", "um_000001"),
        ("testing", "uu_1"),
    ):
        road_folder.add(stem, folder=folder)
    for split, stem in (("train", "um_000000"), ("val", "um_000001"), ("test", "uu_1")):
        assert KittiRoad(split, root=road_folder.root).ids == (stem,)


def test_the_official_layout_has_unlabelled_frames_only_in_all(road_folder):
    for number in range(10):
        road_folder.add(f"um_{number:06d}", folder="data_road/training")
    road_folder.add("um_000000", folder="data_road/testing", label=False)
    layout = find_layout(road_folder.root)
    assert layout.kind == "official"
    everything = KittiRoad("all", root=road_folder.root)
    assert len(everything) == 11
    assert sum(len(ids) for ids in everything.splits.values()) == 10
    unlabelled = everything.load("testing_um_000000")
    assert unlabelled["target"] is None
    assert unlabelled["inputs"]["rgb"].shape == (3, 12, 20)


def test_labelled_frames_of_a_testing_folder_are_never_trained_on(road_folder):
    for number in range(20):
        road_folder.add(f"um_{number:06d}", folder="training")
    for number in (3, 50, 51):
        road_folder.add(f"um_{number:06d}", folder="testing")
    splits = KittiRoad("train", root=road_folder.root, seed=1).splits
    assert splits["test"] == ("testing_um_000003", "um_000050", "um_000051")
    assert [len(splits[name]) for name in ("train", "val")] == [18, 2]
    assert "um_000003" in splits["train"] + splits["val"]


def test_two_images_that_would_get_one_id_are_named(road_folder):
    road_folder.add("um_000000", folder="training").add("testing_um_000000", folder="training")
    road_folder.add("um_000000", folder="testing")
    with pytest.raises(
        DataError, match=r"testing/image_2/um_000000\.png: its id would be testing_"
    ):
        KittiRoad("all", root=road_folder.root)


def test_the_hidden_files_of_macos_are_no_images(road_folder):
    road_folder.add("um_000000")
    (road_folder.root / "image_2" / "._um_000000.png").write_bytes(b"Mac OS X")
    assert KittiRoad("all", root=road_folder.root).ids == ("um_000000",)


def test_lane_labels_are_not_road_labels(road_folder):
    road_folder.add("um_000000")
    label = np.asarray(Image.open(road_folder.label("um_000000")))
    Image.fromarray(0 * label).save(road_folder.root / "gt_image_2" / "um_lane_000000.png")
    assert KittiRoad("all", root=road_folder.root)[0]["target"].sum() > 0


def test_a_stored_split_is_honoured_where_its_ids_agree(road_folder):
    for number in range(4):
        road_folder.add(f"um_{number:06d}")
    stored = {"seed": 9, "train": ["um_000003"], "val": ["um_000000"], "test": ["um_000001"]}
    dataset = KittiRoad("test", root=road_folder.root, stored_split=stored)
    assert dataset.split_is_stored
    assert dataset.ids == ("um_000001",)
    assert dataset.seed == 9
    other = {"seed": 9, "train": ["um_000077"], "val": [], "test": ["um_000001"]}
    dataset = KittiRoad("train", root=road_folder.root, stored_split=other, seed=5)
    assert not dataset.split_is_stored
    assert dataset.seed == 5


def test_the_split_of_a_manifest_is_honoured(road_folder):
    for number in range(3):
        road_folder.add(f"um_{number:06d}")
    split = {"train": ["um_000002"], "val": ["um_000001"], "test": ["um_000000"]}
    manifest = road_folder.root / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "split": split}))
    assert KittiRoad("test", root=road_folder.root, seed=4).ids == ("um_000000",)
    split["train"] = ["um_000099"]
    manifest.write_text(json.dumps({"schema": 1, "split": split}))
    with pytest.raises(DataError, match=r"manifest.json.*um_000099"):
        KittiRoad("test", root=road_folder.root)


def test_max_samples_keeps_the_same_samples_when_it_grows(road_folder):
    for number in range(12):
        road_folder.add(f"um_{number:06d}")
    few = KittiRoad("all", root=road_folder.root, max_samples=4).ids
    more = KittiRoad("all", root=road_folder.root, max_samples=7).ids
    assert len(few) == 4
    assert set(few) < set(more)


def test_classes_of_ones_own_have_their_own_colours(road_folder):
    road_folder.add("um_000000")
    label = np.zeros((12, 20, 3), np.uint8)
    label[:, 5:] = (128, 64, 128)
    label[:, 10:] = (244, 35, 232)
    Image.fromarray(label).save(road_folder.label("um_000000"))
    classes = {"other": (0, 0, 0), "road": (128, 64, 128), "pavement": [244, 35, 232]}
    dataset = KittiRoad("all", root=road_folder.root, classes=classes, depth_scale=256)
    assert dataset.classes == ("other", "road", "pavement")
    assert dataset[0]["target"].flatten().bincount().tolist() == [60, 60, 120]
    assert dataset[0]["inputs"]["depth"].max() > 65.5


def test_the_real_frame_reads(shared_data):
    dataset = KittiRoad("all", root=shared_data / "kitti_road_sample")
    item = dataset[0]
    assert item["id"] == "um_000000"
    assert item["inputs"]["rgb"].shape == (3, 375, 1242)
    assert (item["inputs"]["depth"] == 0).float().mean().item() == pytest.approx(0.4625, abs=1e-3)
    assert dataset.inputs["rgb"].count((3, 375, 1242)) == 465750
    assert item["meta"]["camera"]["fx"] == pytest.approx(721.5377)


def break_missing_depth(folder):
    depth_file(folder).unlink()


def break_corrupt_image(folder):
    path = folder.root / "image_2" / "um_000000.png"
    path.write_bytes(path.read_bytes()[:90])


def break_not_an_image(folder):
    (folder.root / "image_2" / "um_000000.png").write_text("hello")


def break_depth_size(folder):
    Image.fromarray(np.ones((12, 19), np.uint16)).save(depth_file(folder))


def break_depth_bits(folder):
    Image.fromarray(np.ones((12, 20), np.uint8)).save(depth_file(folder))


def break_depth_zero(folder):
    Image.fromarray(np.zeros((12, 20), np.uint16)).save(depth_file(folder))


def break_label_size(folder):
    Image.fromarray(np.zeros((12, 21, 3), np.uint8)).save(folder.label("um_000000"))


def break_label_colour(folder):
    label = np.zeros((12, 20, 3), np.uint8)
    label[3, 7] = (10, 20, 30)
    Image.fromarray(label).save(folder.label("um_000000"))


def break_missing_label(folder):
    folder.label("um_000000").unlink()


def break_missing_calibration(folder):
    (folder.root / "calib" / "um_000000.txt").unlink()


def break_calibration_without_p2(folder):
    (folder.root / "calib" / "um_000000.txt").write_text("P0: 1 0 0 0 0 1 0 0 0 0 1 0\n")


def break_calibration_numbers(folder):
    (folder.root / "calib" / "um_000000.txt").write_text("\nP2: 1 2 x\n")


def break_focal_length(folder):
    (folder.root / "calib" / "um_000000.txt").write_text("P2: 0 0 9 0 0 0 9 0 0 0 1 0\n")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (break_missing_depth, r"depth_u16/um_000000\.png.*missing"),
        (break_corrupt_image, r"image_2/um_000000\.png.*corrupt"),
        (break_not_an_image, r"image_2/um_000000\.png.*corrupt or no image"),
        (break_depth_size, r"depth_u16/um_000000\.png.*12x19.*12x20"),
        (break_depth_bits, r"depth_u16/um_000000\.png.*8 bits.*16-bit"),
        (break_depth_zero, r"depth_u16/um_000000\.png.*everywhere"),
        (break_label_size, r"um_road_000000\.png.*12x21.*12x20"),
        (break_label_colour, r"um_road_000000\.png.*\(10, 20, 30\).*row 3, column 7"),
        (break_missing_label, r"um_road_000000\.png.*missing"),
        (break_missing_calibration, r"calib/um_000000\.txt.*missing"),
        (break_calibration_without_p2, r"calib/um_000000\.txt.*no P2"),
        (break_calibration_numbers, r"calib/um_000000\.txt, line 2.*'x'"),
        (break_focal_length, r"calib/um_000000\.txt, line 1: the focal lengths of P2.*above 0"),
    ],
)
def test_bad_files_get_one_error_that_names_them(road_folder, harm, says):
    road_folder.add("um_000000").add("um_000001")
    harm(road_folder)
    with pytest.raises(DataError, match=says):
        KittiRoad("all", root=road_folder.root).load("um_000000")


def test_a_missing_root_says_how_to_make_it(tmp_path):
    with pytest.raises(DataError, match=r"mmcert-prepare dataset=kitti_road source=.* out=.*none"):
        KittiRoad("test", root=tmp_path / "none")


def test_a_folder_of_something_else_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match="image_2"):
        KittiRoad("test", root=tmp_path)


def test_a_name_that_cannot_be_an_id_is_refused(road_folder):
    road_folder.add("um_000000")
    (road_folder.root / "image_2" / "um_000000.png").rename(
        road_folder.root / "image_2" / "a=b,c_1.png"
    )
    with pytest.raises(DataError, match=r"a=b,c_1\.png: the name becomes the sample's id"):
        KittiRoad("all", root=road_folder.root)


def test_an_empty_split_says_which_and_what_to_set(road_folder):
    road_folder.add("um_000000")
    with pytest.raises(DataError, match=r"'test'.*is empty.*data\.split=all"):
        KittiRoad("test", root=road_folder.root)


def test_a_training_on_too_few_frames_is_told_how_many_there_must_be(road_folder):
    road_folder.add("um_000000")
    with pytest.raises(DataError, match=r"'val'.*of three or more, each split gets one"):
        KittiRoad("val", root=road_folder.root)
    for number in (1, 2):
        road_folder.add(f"um_00000{number}")
    assert [len(KittiRoad(one, root=road_folder.root)) for one in ("train", "val", "test")] == [
        1,
        1,
        1,
    ]


def test_a_byte_order_mark_changes_nothing(road_folder):
    """Windows' editors begin a text file with one."""
    for number in range(3):
        road_folder.add(f"um_00000{number}")
    (road_folder.root / "manifest.json").write_text(
        json.dumps(
            {
                "schema": 1,
                "split": {"train": ["um_000002"], "val": ["um_000001"], "test": ["um_000000"]},
            }
        ),
        encoding="utf-8-sig",
    )
    for path in (road_folder.root / "calib").iterdir():
        path.write_text(path.read_text(), encoding="utf-8-sig")
    dataset = KittiRoad("test", root=road_folder.root)
    assert dataset.ids == ("um_000000",)
    assert dataset[0]["meta"]["camera"]["fx"] == 721.5


def test_bad_options_name_their_key():
    with pytest.raises(ConfigError, match=r"data\.options\.outside=maybe"):
        label_colours({"a": (1, 2, 3), "b": (4, 5, 6)}, "maybe")
    with pytest.raises(ConfigError, match="same colour"):
        label_colours({"a": (1, 2, 3), "b": (1, 2, 3)}, "background")
    with pytest.raises(ConfigError, match=r"classes\.b"):
        label_colours({"a": (1, 2, 3), "b": (1, 2, 300)}, "background")
