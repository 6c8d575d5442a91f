import gzip
import shutil

import numpy as np
import pytest
import torch

from mmcert.data.digits.avmnist import AVMNIST, recording_pools
from mmcert.data.digits.avmnist_files import find_recordings, read_idx, read_images, read_wav
from mmcert.data.splits import SPLITS
from mmcert.errors import ConfigError, DataError


def copy_of(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


def test_an_item_is_784_pixels_and_50_chunks_of_the_same_digit(avmnist_root):
    item = AVMNIST("test", root=avmnist_root)[3]
    assert item["inputs"]["image"].shape == (1, 28, 28)
    assert item["inputs"]["audio"].shape == (50, 160)
    assert item["inputs"]["audio"].dtype == torch.float32
    assert item["target"].dtype == torch.int64
    assert item["meta"]["recording"].startswith(f"{int(item['target'])}_")
    assert AVMNIST.inputs["image"].count((1, 28, 28)) == 784
    assert AVMNIST.inputs["audio"].count((50, 160)) == 50


def test_test_images_are_the_last_1000_and_the_test_speaker_is_the_last(avmnist_root):
    data = AVMNIST("test", root=avmnist_root)
    assert data.ids == tuple(f"image_{index:05d}" for index in range(700, 1700))
    assert {data[i]["meta"]["recording"].split("_")[1] for i in range(100)} == {"zoe"}


def test_no_recording_and_no_image_is_in_two_splits(avmnist_root):
    heard = {}
    for split, images in (("train", 200), ("val", 500), ("test", 1000)):
        data = AVMNIST(split, root=avmnist_root)
        assert len(data) == images
        heard[split] = {data[i]["meta"]["recording"] for i in range(len(data))}
    assert not heard["train"] & heard["val"]
    assert not heard["test"] & (heard["train"] | heard["val"])
    assert all(name.split("_")[1] != "zoe" for name in heard["train"] | heard["val"])


def speakers_of(root, split, **options):
    data = AVMNIST(split, root=root, **options)
    return {data[i]["meta"]["recording"].split("_")[1] for i in range(min(len(data), 200))}


def test_any_speaker_can_be_the_one_whom_only_testing_hears(avmnist_root):
    for speaker, others in (("anna", {"bert", "zoe"}), ("bert", {"anna", "zoe"})):
        assert speakers_of(avmnist_root, "test", test_speaker=speaker) == {speaker}
        for split in ("train", "val"):
            assert speakers_of(avmnist_root, split, test_speaker=speaker) == others


def test_validation_can_have_a_voice_of_its_own(avmnist_root):
    options = {"test_speaker": "anna", "validation_speaker": "zoe"}
    heard = {split: speakers_of(avmnist_root, split, **options) for split in SPLITS}
    assert heard == {"train": {"bert"}, "val": {"zoe"}, "test": {"anna"}}
    val = AVMNIST("val", root=avmnist_root, **options)
    assert len({val[i]["meta"]["recording"] for i in range(len(val))}) == 30  # all that zoe says


def test_the_images_of_a_split_do_not_depend_on_who_speaks(avmnist_root):
    default = AVMNIST("train", root=avmnist_root).splits
    other = AVMNIST("train", root=avmnist_root, test_speaker="anna", validation_speaker="bert")
    assert other.splits == default


def test_speakers_who_are_not_there_or_have_two_parts_are_refused(avmnist_root):
    with pytest.raises(ConfigError, match=r"test_speaker=carl is nobody .* anna, bert, zoe"):
        AVMNIST("test", root=avmnist_root, test_speaker="carl")
    with pytest.raises(ConfigError, match="chosen on the test voice"):
        AVMNIST("test", root=avmnist_root, validation_speaker="zoe")
    two = [one for one in find_recordings(avmnist_root) if one.speaker != "bert"]
    with pytest.raises(DataError, match=r"only the speakers anna and zoe.*three are needed"):
        recording_pools(two, 0, "zoe", "anna")


def test_a_pair_depends_on_seed_and_image_only(avmnist_root):
    whole = AVMNIST("test", root=avmnist_root, seed=1)
    part = AVMNIST("test", root=avmnist_root, seed=1, max_samples=5)
    everything = AVMNIST("all", root=avmnist_root, seed=1)
    for name in part.ids:
        recording = part.load(name)["meta"]["recording"]
        assert recording == whole.load(name)["meta"]["recording"]
        assert recording == everything.load(name)["meta"]["recording"]
    other = AVMNIST("test", root=avmnist_root, seed=2)
    assert any(
        other.load(name)["meta"]["recording"] != whole.load(name)["meta"]["recording"]
        for name in whole.ids[:50]
    )


def test_a_clip_is_cut_to_a_second_or_padded_and_keeps_its_scale(wav_writer, tmp_path):
    samples = np.arange(1, 9001) % 3000
    wav_writer(tmp_path / "long.wav", samples)
    wav_writer(tmp_path / "short.wav", samples[:100])
    assert (read_wav(tmp_path / "long.wav") == samples[:8000]).all()
    short = read_wav(tmp_path / "short.wav")
    assert (short[:100] == samples[:100]).all()
    assert not short[100:].any()


def test_files_with_the_names_of_mnist_are_joined_train_first(idx_writer, tmp_path):
    for stem, count, digit in (("train", 3, 1), ("t10k", 2, 2)):
        images = np.full((count, 28, 28), digit, np.uint8)
        idx_writer(tmp_path / f"{stem}-images-idx3-ubyte.gz", images)
        idx_writer(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.full(count, digit, np.uint8))
    images, labels = read_images(tmp_path)
    assert labels.tolist() == [1, 1, 1, 2, 2]
    assert images[:, 0, 0].tolist() == [1, 1, 1, 2, 2]


def test_the_real_files_read(shared_data):
    data = AVMNIST("test", root=shared_data / "avmnist", max_samples=20)
    assert {name: len(ids) for name, ids in data.splits.items()} == {
        "train": 6500,
        "val": 500,
        "test": 1000,
    }
    assert data[0]["inputs"]["audio"].abs().max() > 0.01


def test_a_truncated_image_file_is_named(avmnist_root, tmp_path):
    root = copy_of(avmnist_root, tmp_path)
    path = root / "images-idx3-ubyte.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz: cannot be read"):
        AVMNIST("test", root=root)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-5]))
    with pytest.raises(DataError, match="its header promises"):
        AVMNIST("test", root=root)
    path.write_bytes(b"hello world")
    with pytest.raises(DataError, match="magic number"):
        read_idx(path)


def test_labels_must_fit_the_images(avmnist_root, idx_writer, tmp_path):
    root = copy_of(avmnist_root, tmp_path)
    idx_writer(root / "labels-idx1-ubyte.gz", np.zeros(9, np.uint8))
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz.*1700 images"):
        AVMNIST("test", root=root)
    (root / "labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz: missing"):
        AVMNIST("test", root=root)


def test_recordings_of_another_kind_are_named(avmnist_root, wav_writer, tmp_path):
    root = copy_of(avmnist_root, tmp_path)
    wav_writer(root / "recordings" / "0_zoe_0.wav", np.ones(50), rate=16000)
    with pytest.raises(DataError, match=r"0_zoe_0\.wav: 16000 Hz"):
        AVMNIST("test", root=root)
    (root / "recordings" / "0_zoe_0.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"0_zoe_0\.wav: cannot be read"):
        AVMNIST("test", root=root)
    (root / "recordings" / "zero.wav").write_bytes(b"")
    with pytest.raises(DataError, match=r"zero\.wav: a recording must be named"):
        find_recordings(root)


def test_one_speaker_cannot_be_split(avmnist_root):
    zoe = [one for one in find_recordings(avmnist_root) if one.speaker == "zoe"]
    with pytest.raises(DataError, match="only the speaker zoe"):
        recording_pools(zoe, 0)


def test_a_digit_that_nobody_held_out_says_is_an_error(avmnist_root):
    some = [one for one in find_recordings(avmnist_root) if (one.speaker, one.digit) != ("zoe", 4)]
    with pytest.raises(DataError, match="digit 4 for the split 'test'"):
        recording_pools(some, 0)


def test_missing_files_say_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="Free Spoken Digit Dataset"):
        AVMNIST("test", root=tmp_path / "none")
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz"):
        AVMNIST("test", root=tmp_path)


def test_what_macos_leaves_beside_a_recording_is_no_recording(avmnist_root, tmp_path):
    shutil.copytree(avmnist_root, tmp_path / "copy")
    (tmp_path / "copy" / "recordings" / "._0_anna_0.wav").write_bytes(b"\0\5\x16\7")
    assert len(find_recordings(tmp_path / "copy")) == len(find_recordings(avmnist_root))
    assert len(AVMNIST("test", root=tmp_path / "copy")) == 1000


def test_images_under_both_kinds_of_names_are_refused(avmnist_root, tmp_path):
    """They would be read twice, and images of the test would be trained on."""
    shutil.copytree(avmnist_root, tmp_path / "copy")
    for what in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
        shutil.copy(avmnist_root / what, tmp_path / "copy" / f"train-{what}")
    with pytest.raises(DataError, match=r"under two names .* Keep one"):
        AVMNIST("train", root=tmp_path / "copy")
