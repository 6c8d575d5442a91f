"""The votes format: what is written comes back, what is wrong is refused by name."""

import dataclasses
import json
import os
import time

import numpy as np
import pytest

from mmcert.errors import RecordError
from mmcert.records.folders import VotesFolders, find_votes
from mmcert.records.votes import (
    counts_dtype,
    read_meta,
    read_sample,
    sample_ids,
    votes_sha256,
    write_meta,
    write_sample,
)


@pytest.mark.parametrize(
    ("draws", "dtype"), [(1, "uint8"), (255, "uint8"), (256, "uint16"), (65536, "uint32")]
)
def test_counts_take_the_smallest_unsigned_type_that_holds_n(draws, dtype):
    assert counts_dtype(draws) == dtype


def test_meta_comes_back(tmp_path, meta):
    meta = dataclasses.replace(meta, class_names=("other", "road"), voting="sequential")
    write_meta(tmp_path, meta)
    assert read_meta(tmp_path) == meta


def test_why_elements_can_only_be_modified_comes_back_with_every_sample(tmp_path, meta):
    first, *others = meta.modalities
    fixed = dataclasses.replace(first, modification_only="a window by the duration")
    meta = dataclasses.replace(meta, modalities=(fixed, *others))
    write_meta(tmp_path, meta)
    assert read_meta(tmp_path) == meta
    text = (tmp_path / "meta.json").read_text()
    assert text.count("modification_only") == 1


def test_meta_needs_only_the_required_keys(tmp_path):
    document = {
        "task": "classification",
        "scheme": "mmcert",
        "modalities": {"image": {"n": 784, "k": 60}},
        "draws": 100,
        "classes": ["zero", "one", "two"],
    }
    (tmp_path / "meta.json").write_text(json.dumps(document))
    meta = read_meta(tmp_path)
    assert (meta.classes, meta.voting, meta.ignore_index) == (3, "fixed", 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "reads schema 1"),
        ({"task": "detection"}, "task"),
        ({"scheme": "mine"}, "scheme"),
        ({"draws": 0}, "draws"),
        ({"draws": 10.0}, "draws"),
        ({"draws": None}, "draws missing"),
        ({"classes": 1}, "classes"),
        ({"voting": "guess"}, "voting"),
        ({"modalities": {}}, "modalities"),
        ({"modalities": {"rgb": {"n": 5}}}, "k missing"),
        ({"modalities": {"rgb": {"n": 5, "k": 6}}}, "k = 6"),
        ({"modalities": {"rgb": {"n": 0, "k": 0}}}, "n must be"),
        ({"modalities": [1]}, "modalities"),
        ({"ignore_index": 1}, "ignore_index"),
        ({"class_names": ["only one"]}, "class_names"),
    ],
)
def test_an_impossible_meta_is_refused_with_its_path(tmp_path, meta, change, message):
    (tmp_path / "meta.json").write_text(json.dumps({**meta.to_json(), **change}))
    with pytest.raises(RecordError, match=message) as error:
        read_meta(tmp_path)
    assert "meta.json" in str(error.value)


def test_a_sample_comes_back(tmp_path, meta, make_sample):
    selection = make_sample(seed=1, draws=7)
    sample = make_sample(
        selection_counts=selection.counts, selection_draws=7, draw_range=((0, 4), (6, 12))
    )
    path = write_sample(tmp_path, sample, meta)
    with np.load(path) as arrays:
        assert arrays["counts"].dtype == np.uint8
        assert "n" not in arrays  # as in meta
    back = read_sample(tmp_path, "a", meta)
    assert np.array_equal(back.counts, sample.counts)
    assert np.array_equal(back.target, sample.target)
    assert np.array_equal(back.selection_counts, selection.counts)
    assert (back.draws, back.scheme, back.selection_draws) == (10, sample.scheme, 7)
    assert back.draw_range == ((0, 4), (6, 12))


def test_a_sample_keeps_its_own_n_k_and_draws(tmp_path, meta, make_sample):
    sample = make_sample(draws=300, n=150, k=(11, 2))
    write_sample(tmp_path, sample, meta)
    back = read_sample(tmp_path, "a", meta)
    assert (back.draws, back.scheme) == (300, sample.scheme)
    assert back.counts.dtype == np.uint16


def test_the_same_votes_give_the_same_bytes(tmp_path, meta, make_sample):
    write_sample(tmp_path / "one", make_sample(), meta)
    time.sleep(0.01)
    write_sample(tmp_path / "two", make_sample(), meta)
    assert votes_sha256(tmp_path / "one", "a") == votes_sha256(tmp_path / "two", "a")


def test_unlabelled_samples_have_no_target(tmp_path, meta, make_sample):
    write_sample(tmp_path, make_sample(target=None), meta)
    assert read_sample(tmp_path, "a", meta).target is None


def raw(folder, meta, **arrays):
    write_meta(folder, meta)
    good = {"counts": np.array([[[10, 4]], [[0, 6]]], np.uint8), "target": np.array([[0, 255]])}
    arrays = {**good, **arrays}
    np.savez(folder / "a.npz", **{key: value for key, value in arrays.items() if value is not None})


def test_votes_written_by_plain_numpy_are_read(tmp_path, meta):
    raw(tmp_path, meta)
    assert read_sample(tmp_path, "a", meta).counts[1, 0, 1] == 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"counts": None}, "'counts' missing"),
        ({"counts": np.array([[[9, 4]], [[0, 6]]])}, "sum to draws"),
        ({"counts": np.array([[[11, 4]], [[-1, 6]]])}, "negative"),
        ({"counts": np.array([[[11, 4]], [[0, 6]]])}, "11 votes of 10"),
        ({"counts": np.array([[[1.0, 0.4]], [[0.0, 0.6]]])}, "counted in integers"),
        ({"counts": np.array([10, 0])}, "shape"),
        ({"counts": np.zeros((2, 0, 3), int)}, "shape"),
        ({"counts": np.zeros((3, 1, 2), int)}, "shape"),
        ({"counts": np.array([{"a": 1}])}, "corrupt"),
        ({"target": np.array([[0, 2]])}, "no class index"),
        ({"target": np.array([[-1, 0]])}, "no class index"),
        ({"target": np.array([[0.0, 1.0]])}, "integers"),
        ({"target": np.array([0, 1])}, "'target' has shape"),
        ({"draws": np.array(0)}, "draws = 0"),
        ({"draws": np.array([10, 10])}, "one integer"),
        ({"draws": np.array(11)}, "sum to draws"),
        ({"n": np.array([200])}, "'n' must hold"),
        ({"k": np.array([300, 3])}, "k = 300"),
        ({"selection_counts": np.array([[[1, 1]], [[0, 0]]])}, "come together"),
        ({"selection_draws": np.array(1)}, "come together"),
        (
            {"selection_counts": np.array([[[1]], [[0]]]), "selection_draws": np.array(1)},
            "selection_counts has shape",
        ),
        (
            {"selection_counts": np.array([[[1, 2]], [[0, 0]]]), "selection_draws": np.array(1)},
            "2 votes of 1",
        ),
        ({"draw_range": np.array([[0, 5]])}, "covers 5"),
        ({"draw_range": np.array([[0, 6], [5, 9]])}, "disjoint"),
        ({"draw_range": np.array([3])}, "draw_range"),
    ],
)
def test_votes_that_say_the_impossible_are_refused_by_file(tmp_path, meta, arrays, message):
    raw(tmp_path, meta, **arrays)
    with pytest.raises(RecordError, match=message) as error:
        read_sample(tmp_path, "a", meta)
    assert "a.npz" in str(error.value)


def test_a_truncated_or_flipped_file_is_refused(tmp_path, meta, make_sample):
    path = write_sample(tmp_path, make_sample(shape=(40, 50)), meta)
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"", b"not a zip", content[:200] + b"\0" * 400):
        path.write_bytes(broken)
        with pytest.raises(RecordError, match=r"a\.npz"):
            read_sample(tmp_path, "a", meta)


def test_a_bare_array_and_a_missing_file_are_refused(tmp_path, meta):
    with open(tmp_path / "a.npz", "wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(RecordError, match="not an npz"):
        read_sample(tmp_path, "a", meta)
    with pytest.raises(RecordError, match="no votes of this sample"):
        read_sample(tmp_path, "b", meta)


def test_an_invalid_sample_is_not_written(tmp_path, meta, make_sample):
    sample = dataclasses.replace(make_sample(), draws=11)
    with pytest.raises(RecordError, match="sum to draws"):
        write_sample(tmp_path, sample, meta)
    assert not list(tmp_path.iterdir())


def test_readers_do_not_see_partial_or_hidden_files(tmp_path, meta, make_sample):
    write_sample(tmp_path, make_sample("b"), meta)
    write_sample(tmp_path, make_sample("a"), meta)
    (tmp_path / ".partial").mkdir()
    write_sample(tmp_path / ".partial", make_sample("c"), meta)
    os.link(tmp_path / "a.npz", tmp_path / ".a.npz")
    assert sample_ids(tmp_path) == ("a", "b")


def test_exhaustive_votes_count_every_sub_sample(tmp_path, meta, make_sample):
    exhaustive = dataclasses.replace(meta, voting="exhaustive", draws=6)
    counts = make_sample(draws=6, n=3, k=(1, 1))
    with pytest.raises(RecordError, match="all 9 sub-samples"):
        write_sample(tmp_path, counts, exhaustive)
    write_sample(tmp_path, make_sample(draws=9, n=3, k=(1, 1)), exhaustive)


class TestSeveralFolders:
    def write(self, folder, meta, *samples):
        write_meta(folder, meta)
        for sample in samples:
            write_sample(folder, sample, meta)
        return folder

    def test_shards_by_sample_are_read_as_one(self, tmp_path, meta, make_sample):
        one = self.write(tmp_path / "one", meta, make_sample("b"))
        two = self.write(tmp_path / "two", meta, make_sample("a"), make_sample("c"))
        votes = VotesFolders([one, two])
        assert votes.ids == ("a", "b", "c")
        assert [sample.id for sample in votes] == ["a", "b", "c"]
        assert len(votes) == 3

    def test_a_sample_in_two_folders_is_an_error(self, tmp_path, meta, make_sample):
        folders = [self.write(tmp_path / name, meta, make_sample("a")) for name in ("x", "y")]
        with pytest.raises(RecordError, match="the same sample twice"):
            VotesFolders(folders).read("a")

    def test_disjoint_blocks_of_a_sample_add_up(self, tmp_path, meta, make_sample):
        parts = [
            make_sample("a", seed=seed, target=np.zeros((4, 5), int), draw_range=bounds)
            for seed, bounds in enumerate([((0, 10),), ((10, 20),)])
        ]
        folders = [self.write(tmp_path / f"{i}", meta, part) for i, part in enumerate(parts)]
        whole = VotesFolders(folders).read("a")
        assert whole.draws == 20
        assert np.array_equal(whole.counts, parts[0].counts + parts[1].counts)

    def test_overlapping_blocks_are_an_error(self, tmp_path, meta, make_sample):
        parts = [make_sample("a", draw_range=bounds) for bounds in (((0, 10),), ((9, 19),))]
        folders = [self.write(tmp_path / f"{i}", meta, part) for i, part in enumerate(parts)]
        with pytest.raises(RecordError, match="overlap"):
            VotesFolders(folders).read("a")

    def test_sequential_votes_are_a_prefix_of_the_draws(self, tmp_path, meta, make_sample):
        meta = dataclasses.replace(meta, voting="sequential")
        for name, second in (("gap", (11, 21)), ("whole", (10, 20))):
            parts = [make_sample("a", draw_range=(bounds,)) for bounds in ((0, 10), second)]
            folders = [
                self.write(tmp_path / f"{name}{i}", meta, part) for i, part in enumerate(parts)
            ]
            if name == "gap":
                with pytest.raises(RecordError, match="without a gap"):
                    VotesFolders(folders).read("a")
            else:
                assert VotesFolders(folders).read("a").draws == 20

    def test_blocks_of_different_k_are_an_error(self, tmp_path, meta, make_sample):
        parts = [
            make_sample("a", k=(12, 3), draw_range=((0, 10),)),
            make_sample("a", k=(11, 3), draw_range=((10, 20),)),
        ]
        folders = [self.write(tmp_path / f"{i}", meta, part) for i, part in enumerate(parts)]
        with pytest.raises(RecordError, match="differ in n, k"):
            VotesFolders(folders).read("a")

    def test_folders_of_different_runs_are_an_error(self, tmp_path, meta, make_sample):
        one = self.write(tmp_path / "one", meta, make_sample("a"))
        other = dataclasses.replace(meta, fingerprint="f00")
        two = self.write(tmp_path / "two", other, make_sample("b"))
        with pytest.raises(RecordError, match="different runs"):
            VotesFolders([one, two])

    def test_votes_are_found_in_a_run_a_folder_a_glob_and_a_list(self, tmp_path, meta, make_sample):
        one = self.write(tmp_path / "run1" / "votes", meta, make_sample("a"))
        two = self.write(tmp_path / "run2" / "votes", meta, make_sample("b"))
        assert find_votes(tmp_path / "run1") == (one,)
        assert find_votes(str(one)) == (one,)
        assert find_votes(str(tmp_path / "run*")) == (one, two)
        assert find_votes([str(tmp_path / "run2"), str(one)]) == (two, one)
        with pytest.raises(RecordError, match="no votes here"):
            find_votes(tmp_path)
        with pytest.raises(RecordError, match="no votes here"):
            find_votes(str(tmp_path / "none*"))

    def test_a_folder_without_samples_is_an_error(self, tmp_path, meta):
        write_meta(tmp_path, meta)
        with pytest.raises(RecordError, match="no finished sample"):
            VotesFolders([tmp_path])
