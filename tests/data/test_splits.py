import pytest

from mmcert.data.splits import is_partition_of, seeded_hash, seeded_order, split_80_20


def test_the_split_depends_on_names_and_seed_and_not_on_their_order():
    names = [f"um_{number:06d}" for number in range(95)]
    assert split_80_20(names, 7) == split_80_20(reversed(names), 7)
    assert split_80_20(names, 7) != split_80_20(names, 8)


def test_the_289_frames_of_kitti_road_split_231_to_58_and_231_keeps_23_for_validation():
    split = split_80_20(map(str, range(289)), 0)
    assert {name: len(ids) for name, ids in split.items()} == {"train": 208, "val": 23, "test": 58}
    assert len({one for ids in split.values() for one in ids}) == 289


@pytest.mark.parametrize("frames", [3, 4, 5, 6])
def test_of_three_frames_or_more_each_split_gets_one(frames):
    split = split_80_20(map(str, range(frames)), 0)
    assert all(split[name] for name in ("train", "val", "test"))
    assert sum(map(len, split.values())) == frames


def test_a_name_that_is_added_moves_no_other():
    few = seeded_order(map(str, range(20)), 1, "x")
    more = seeded_order(map(str, range(21)), 1, "x")
    assert [name for name in more if name != "20"] == few


def test_the_hash_is_pinned_so_that_splits_of_checkpoints_stay_what_they_are():
    assert seeded_hash(0, "split", "um_000000") == 11243341688422439836
    assert split_80_20("abcdefghij", 0)["test"] == ("g", "b")


def test_a_stored_split_fits_where_its_ids_are_there_once():
    names = ["a", "b", "c"]
    assert is_partition_of({"train": ["a"], "val": ["b"], "test": ["c"]}, names)
    assert not is_partition_of({"train": ["a"], "val": ["a"], "test": ["c"]}, names)
    assert not is_partition_of({"train": ["a"], "val": ["b"], "test": ["x"]}, names)
