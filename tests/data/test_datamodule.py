import pytest
import torch

from mmcert.data.base import collate
from mmcert.data.datamodule import DataModule
from mmcert.data.registry import build_dataset, dataset_class
from mmcert.errors import ConfigError, DataError


def module(root, seed=0, **more):
    config = {"name": "synthetic_roads", "root": str(root), "split": "test", "batch_size": 2}
    return DataModule({**config, **more}, seed)


def order(data, **arguments):
    return [name for batch in data.loader("train", **arguments) for name in batch["id"]]


def test_the_order_of_batches_is_a_function_of_the_seed(synthetic_root):
    assert order(module(synthetic_root)) == order(module(synthetic_root))
    assert sorted(order(module(synthetic_root))) == sorted(order(module(synthetic_root, seed=1)))
    assert order(module(synthetic_root, 0)) != order(module(synthetic_root, 1)) or (
        order(module(synthetic_root, 0)) != order(module(synthetic_root, 2))
    )


def test_only_training_is_shuffled(synthetic_root):
    data = module(synthetic_root)
    ids = [name for batch in data.loader("test") for name in batch["id"]]
    assert ids == list(data.dataset("test").ids)
    assert data.dataset() is data.dataset("test")


def test_the_split_travels_as_plain_lists(synthetic_root):
    data = module(synthetic_root, max_samples=1)
    split = data.split()
    assert {name: len(split[name]) for name in ("train", "val", "test")} == {
        "train": 4,
        "val": 2,
        "test": 3,
    }
    again = module(synthetic_root)
    again.stored_split = split
    assert again.dataset("test").split_is_stored


@pytest.mark.slow
def test_loader_processes_change_nothing(synthetic_root):
    assert order(module(synthetic_root, workers=2)) == order(module(synthetic_root))


def test_a_batch_is_tensors_where_sizes_agree_and_lists_where_not(road_folder):
    road_folder.add("um_000000").add("um_000001").add("um_000002", size=(12, 22))
    data = build_dataset("kitti_road", "all", root=road_folder.root)
    same, mixed = collate([data[0], data[1]]), collate([data[0], data[2]])
    assert same["inputs"]["rgb"].shape == (2, 3, 12, 20)
    assert same["target"].shape == (2, 12, 20)
    assert [tensor.shape[-1] for tensor in mixed["inputs"]["depth"]] == [20, 22]
    assert isinstance(mixed["target"], list)
    assert collate([{**data[0], "target": None}])["target"] is None
    assert collate([data[0], {**data[1], "target": None}])["target"][1] is None
    assert same["id"] == ["um_000000", "um_000001"]


def test_synthetic_scenes_are_float32_and_share_a_size(synthetic_root):
    batch = next(iter(module(synthetic_root).loader("train")))
    assert batch["inputs"]["rgb"].shape == (2, 3, 48, 160)
    assert batch["inputs"]["rgb"].dtype == torch.float32
    assert set(batch["target"].unique().tolist()) == {0, 1}


def test_unknown_names_and_options_are_refused_with_what_there_is():
    with pytest.raises(
        ConfigError, match=r"nuscenes.*avmnist, kitti_road, ravdess, synthetic_roads"
    ):
        dataset_class("nuscenes")
    with pytest.raises(ConfigError, match=r"data\.options\.colour.*outside, classes, depth_scale"):
        build_dataset("kitti_road", "test", root=".", colour=1)
    with pytest.raises(ConfigError, match=r"data\.path"):
        DataModule({"name": "avmnist", "root": ".", "path": 1}, 0)
    with pytest.raises(ConfigError, match=r"data\.root is not set"):
        DataModule({"name": "avmnist", "root": None}, 0)
    with pytest.raises(ConfigError, match=r"data\.split=train2"):
        build_dataset("kitti_road", "train2", root=".")
    with pytest.raises(ConfigError, match="max_samples"):
        build_dataset("kitti_road", "train", root=".", max_samples=0)


def test_code_of_others_needs_permission():
    with pytest.raises(ConfigError, match=r"allow_code=\[mmcert\]"):
        dataset_class("mmcert.data.roads.kitti_road:KittiRoad")
    assert dataset_class("mmcert.data.roads.kitti_road:KittiRoad", ["mmcert"]).name == "kitti_road"
    with pytest.raises(ConfigError, match="cannot be imported"):
        dataset_class("mmcert.data.nowhere:Nothing", ["mmcert"])
    with pytest.raises(ConfigError, match="no subclass"):
        dataset_class("mmcert.data.workspace:Workspace", ["mmcert"])


def test_a_missing_synthetic_set_says_the_line_that_makes_it(tmp_path):
    root = tmp_path / "my roads"
    with pytest.raises(DataError, match=r"dataset=synthetic_roads \"out='.*my roads'\"$"):
        build_dataset("synthetic_roads", "test", root=root)
