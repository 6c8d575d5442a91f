import itertools
import time

import numpy as np
import pytest
import torch

from mmcert.data.datamodule import DataModule
from mmcert.data.registry import build_dataset
from mmcert.data.speech.actors import actor_parts, split_by_actor
from mmcert.data.speech.prepare_ravdess import prepare_ravdess
from mmcert.errors import ConfigError, DataError, UnsoundError
from mmcert.theory.attacks import Attack
from mmcert.voting.settings import SchemeSpec


def opened(root, split="all", **options):
    return build_dataset("ravdess", split, root=root, **options)


def test_an_item_is_faces_and_chunks_of_sound_with_the_emotion(prepared_clips):
    data = opened(prepared_clips)
    item = data[2]
    assert item["id"] == "01-03-01-01-01-03"
    assert data.classes[int(item["target"])] == "happy"
    assert item["meta"] == {"actor": 3, "intensity": 1}
    video, audio = item["inputs"]["video"], item["inputs"]["audio"]
    assert (video.shape, video.dtype) == ((30, 3, 32, 32), torch.float32)
    assert (audio.shape, audio.dtype) == ((30, 735), torch.float32)
    assert 0 <= float(video.min()) < float(video.max()) <= 1
    assert 0.2 < float(audio.abs().max()) < 0.4
    assert {name: spec.count(item["inputs"][name].shape) for name, spec in data.inputs.items()} == {
        "video": 30,
        "audio": 30,
    }
    assert "crop" in data.inputs["video"].element
    assert "resampled" in data.inputs["audio"].element


def test_any_subset_of_the_modalities_can_be_asked_for(prepared_clips):
    assert sorted(opened(prepared_clips, modalities="audio").inputs) == ["audio"]
    for modalities in (["audio"], ["video"], ["audio", "video"]):
        data = opened(prepared_clips, modalities=modalities)
        assert sorted(data[0]["inputs"]) == sorted(data.inputs) == sorted(modalities)
    with pytest.raises(ConfigError, match=r"\['depth'\].*prepared with video, audio"):
        opened(prepared_clips, modalities=["depth"])


def test_published_elements_are_15_frames_and_coefficients(prepared_clips):
    data = opened(prepared_clips, audio="mfcc", frames=15)
    item = data[0]
    assert item["inputs"]["video"].shape == (15, 3, 32, 32)
    assert item["inputs"]["audio"].shape == (1 + 30 * 735 // 512, 10)
    everything = opened(prepared_clips)[0]["inputs"]["video"]
    assert torch.equal(item["inputs"]["video"], everything[1::2])
    assert data[0]["inputs"]["audio"] is not None
    assert "maximum" in data.inputs["audio"].element
    with pytest.raises(ConfigError, match="frames=31"):
        opened(prepared_clips, frames=31)
    with pytest.raises(ConfigError, match="audio=mel"):
        opened(prepared_clips, audio="mel")


def test_sixteen_actors_learn_four_validate_and_four_test_half_of_them_women():
    parts = actor_parts(range(1, 25))
    groups = {p: [a for a in parts if parts[a] == p] for p in ("train", "val", "test")}
    assert {p: len(a) for p, a in groups.items()} == {"train": 16, "val": 4, "test": 4}
    for actors in groups.values():
        assert sum(a % 2 for a in actors) == len(actors) / 2


@pytest.mark.parametrize("actors", [range(1, 3), range(1, 4), range(1, 9), [1, 3, 5, 7, 9], [2]])
def test_fewer_actors_are_split_too_and_none_is_in_two_parts(actors):
    parts = actor_parts(actors)
    assert set(parts) == set(actors)
    assert "train" in parts.values()
    if len(parts) > 2:
        assert set(parts.values()) == {"train", "val", "test"}


def test_folds_leave_every_actor_out_once_and_validation_never_hears_them():
    ids = [f"01-0{e}-01-01-01-{a:02d}" for a in range(1, 9) for e in (1, 2, 3, 4, 5)]
    tested = []
    for fold in ([1, 2], [3, 4], [5, 6], [7, 8]):
        split = split_by_actor(ids, test=fold)
        heard = {part: {int(one[-2:]) for one in split[part]} for part in split}
        assert heard["test"] == set(fold)
        assert not heard["test"] & (heard["train"] | heard["val"])
        assert not heard["train"] & heard["val"]
        assert len(heard["val"]) == 2
        tested += split["test"]
    assert sorted(tested) == sorted(ids)
    shared = split_by_actor(ids, test=[1, 2], validation=[], validation_share=0.2)
    assert {int(one[-2:]) for one in shared["train"]} == {3, 4, 5, 6, 7, 8}
    assert len(shared["val"]) == 6
    assert not set(shared["val"]) & set(shared["train"])
    assert not any(int(one[-2:]) in (1, 2) for one in shared["val"])


def test_actors_that_are_not_there_or_in_two_parts_are_refused(prepared_clips):
    with pytest.raises(ConfigError, match=r"test_actors: no actor 9; there are 1, 2"):
        opened(prepared_clips, test_actors=[9])
    with pytest.raises(ConfigError, match="actor 3 is among"):
        opened(prepared_clips, test_actors=[3], validation_actors=[3])
    with pytest.raises(ConfigError, match="test_actors=three"):
        opened(prepared_clips, test_actors="three")
    for share in (1, -0.1, "half"):
        with pytest.raises(ConfigError, match=f"validation_share={share}"):
            opened(prepared_clips, validation_share=share)


def test_the_split_of_a_checkpoint_wins_and_other_test_actors_are_refused(prepared_clips):
    section = {"name": "ravdess", "root": str(prepared_clips), "options": {"test_actors": [1, 2]}}
    stored = DataModule(section, seed=0).split()
    assert {one[-2:] for one in stored["test"]} == {"01", "02"}
    again = opened(prepared_clips, "test", stored_split=stored)
    assert again.split_is_stored
    assert {one[-2:] for one in again.ids} == {"01", "02"}
    with pytest.raises(ConfigError, match=r"\[5, 6\].*tests the actors \[1, 2\]"):
        opened(prepared_clips, "test", stored_split=stored, test_actors=[5, 6])


def test_the_synthetic_set_is_read_in_the_same_way(prepared_clips, tmp_path):
    data = build_dataset("synthetic_speech", "train", root=prepared_clips)
    assert len(data) == 2
    with pytest.raises(DataError, match=r"dataset=synthetic_speech out=.*_raw"):
        build_dataset("synthetic_speech", "train", root=tmp_path / "none")
    with pytest.raises(DataError, match=r"(?s)not a prepared folder.*ravdess source=downloads"):
        opened(tmp_path)


OTHER_KINDS = ("addition", "deletion", "edits")


def test_windows_by_duration_are_refused_against_all_but_modification(
    raw_clips, prepared_clips, tmp_path
):
    spec = SchemeSpec("mmcert", k={"video": 2, "audio": 2})
    data = opened(prepared_clips)
    scheme = spec.for_sample(data[0], data.inputs)
    assert scheme.margin(Attack({"video": 1, "audio": 1})) > 0
    for name, kind in itertools.product(data.inputs, OTHER_KINDS):
        with pytest.raises(UnsoundError, match=rf"{kind} of modality '{name}'.*window=whole"):
            scheme.margin(Attack({name: 1}, {name: kind}))
    out = tmp_path / "whole"
    prepare_ravdess(raw_clips, out, window="whole", crop=32, workers=1)
    whole = opened(out)
    assert whole.inputs["video"].shape == (None, 3, 32, 32)
    item = whole[0]
    assert item["inputs"]["video"].shape[0] == 36  # every native frame, no more
    assert item["inputs"]["audio"].shape[0] in (36, 37)
    picked = opened(out, frames=15)
    for kind in OTHER_KINDS:
        attack = Attack({"video": 1}, kind)
        assert spec.for_sample(item, whole.inputs).margin(attack) > 0
        with pytest.raises(UnsoundError, match=r"picked evenly.*frames=null"):
            spec.for_sample(picked[0], picked.inputs).margin(attack)


def test_training_and_certification_refuse_the_same_pair(prepared_clips, compose_train):
    from mmcert.jobs.training.plan import check_plan

    config = compose_train(
        "data=ravdess", f"data.root={prepared_clips}", "task=classification",
        "scheme.k={video: 2, audio: 2}", "encoding=zero", "threat=modification",
    )  # fmt: skip
    data = opened(prepared_clips)
    check_plan(config, data)
    config["encoding"] = {"name": "compact"}
    config["threat"]["kind"] = {"video": "modification", "audio": "deletion"}
    with pytest.raises(UnsoundError, match=r"deletion of modality 'audio'.*window"):
        check_plan(config, data)


def test_reading_a_clip_takes_about_a_millisecond(tmp_path):
    rng = np.random.default_rng(0)
    from mmcert.data.speech.elements import Prepared, read_elements

    (tmp_path / "video").mkdir()
    ids = [f"01-01-01-01-01-{a:02d}" for a in range(1, 9)]
    for one in ids:
        crops = rng.integers(0, 255, (108, 3, 64, 64), dtype=np.uint8)
        np.save(tmp_path / "video" / f"{one}.npy", crops)
    prepared = Prepared(tuple(ids), ("video",), False, 64, {"video": 108})
    times = []
    for one in ids * 3:
        began = time.perf_counter()
        crops = read_elements(tmp_path, prepared, one, "video")
        np.multiply(crops, np.float32(1 / 255), dtype=np.float32)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.01  # 1 ms on a quiet machine
