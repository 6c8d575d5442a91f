import json
import shutil

import numpy as np
import pytest

from mmcert.data.speech import prepare_ravdess as module
from mmcert.data.speech.prepare_ravdess import prepare_ravdess
from mmcert.data.speech.raw_clips import find_raw_clips
from mmcert.errors import ConfigError, DataError
from mmcert.jobs.preparation import prepare

CONFIG = {
    "dataset": "ravdess",
    "source": None,
    "check": False,
    "workers": 1,
    "seed": 0,
    "modalities": None,
    "window": 1.0,
    "crop": 32,
    "detector": "cascade",
    "allow_code": [],
    "strict": False,
}


def run(config, tmp_path):
    print(prepare({**CONFIG, "out": str(tmp_path / "speech"), **config}))


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.npy")}


def test_the_command_prepares_checks_and_says_what_it_did(raw_clips, tmp_path, capsys):
    run({"source": str(raw_clips)}, tmp_path)
    said = capsys.readouterr().out
    assert "6 speech clips (video and audio)" in said
    assert "A face was found in 100 % of the frames" in said
    assert "experiment=ravdess_mmcert data.root=" in said
    out = tmp_path / "speech"
    assert np.load(out / "video" / "01-02-01-01-01-02.npy").shape == (30, 3, 32, 32)
    assert np.load(out / "audio" / "01-02-01-01-01-02.npy").shape == (30, 735)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["elements"] == {"video": 30, "audio": 30}
    assert len(manifest["files"]) == 13  # clips.json too
    actors = {part: {one[-2:] for one in manifest["split"][part]} for part in ("train", "val")}
    assert actors == {"train": {"01", "02"}, "val": {"03", "04"}}
    run({"check": True}, tmp_path)
    assert "6 clips of 6 actors" in capsys.readouterr().out


def test_a_check_lists_all_that_changed(prepared_clips, tmp_path):
    out = tmp_path / "speech"
    shutil.copytree(prepared_clips, out)
    np.save(out / "audio" / "01-02-01-01-01-02.npy", np.zeros((30, 735), np.float32))
    np.save(out / "video" / "01-03-01-01-01-03.npy", np.zeros((30, 3, 32, 32), np.uint8))
    (out / "audio" / "01-04-01-01-01-04.npy").write_bytes(b"x" * 100)
    with pytest.raises(DataError) as caught:
        run({"check": True}, tmp_path)
    said = str(caught.value)
    assert "float32 of shape (30, 735); expected int16" in said
    assert "nothing but one value in all elements of 01-03-01-01-01-03 (video)" in said
    assert "01-04-01-01-01-04.npy: cannot be read" in said
    assert said.count("changed since manifest.json") == 3
    (out / "video" / "01-05-01-01-01-05.npy").unlink()
    with pytest.raises(DataError, match=r"01-05-01-01-01-05\.npy: missing") as caught:
        run({"check": True}, tmp_path)
    assert "01-04-01-01-01-04.npy: cannot be read" in str(caught.value)  # not the first one alone


def test_clips_that_cannot_be_read_are_listed_and_left_out_unless_asked(
    raw_clips, tmp_path, capsys
):
    source = tmp_path / "raw"
    shutil.copytree(raw_clips, source)
    broken = source / "Actor_03" / "01-01-03-01-01-01-03.mp4"
    broken.write_bytes(broken.read_bytes()[:5000])
    (source / "holiday.mp4").write_bytes(b"")
    (source / "._01-01-05-01-01-01-05.mp4").write_bytes(b"left by macOS")
    (source / "01-02-05-01-01-01-05.mp4").write_bytes(b"a song")
    shutil.copytree(source / "Actor_01", source / "copy" / "Actor_01")
    run({"source": str(source)}, tmp_path)
    said = capsys.readouterr().out
    assert "5 speech clips" in said
    assert "2 left out:" in said
    assert "01-01-03-01-01-01-03.mp4: the picture cannot be decoded" in said
    assert "'holiday' is no RAVDESS name" in said
    assert "1 sung clips were left out" in said
    (source / "holiday.mp4").unlink()
    with pytest.raises(DataError, match=r"1 problem, so nothing(.|\n)*1\. .*cannot be decoded"):
        run({"source": str(source), "out": str(tmp_path / "strict"), "strict": True}, tmp_path)
    assert not (tmp_path / "strict").exists()


def test_interrupted_work_goes_on_with_what_is_missing_and_gives_the_same_bytes(
    raw_clips, prepared_clips, tmp_path, monkeypatch
):
    out, done = tmp_path / "speech", []

    def killed(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(arguments)
        return module_convert(*arguments)

    module_convert = module.convert
    monkeypatch.setattr(module, "convert", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare_ravdess(raw_clips, out, window=1.0, crop=32, workers=1)
    assert not out.exists()
    with pytest.raises(DataError, match=r"other settings.*crop: 32 there, 48"):
        prepare_ravdess(raw_clips, out, window=1.0, crop=48, workers=1)
    done.clear()
    prepare_ravdess(raw_clips, out, window=1.0, crop=32, workers=1)
    assert len(done) == 3
    assert files_of(out) == files_of(prepared_clips)
    assert sorted(p.name for p in out.iterdir()) == [
        "audio",
        "clips.json",
        "manifest.json",
        "video",
    ]
    monkeypatch.undo()
    assert len(prepare_ravdess(raw_clips, out, window=1.0, crop=32, workers=1)["clips"]) == 6


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(raw_clips, prepared_clips, tmp_path):
    prepare_ravdess(raw_clips, tmp_path / "two", window=1.0, crop=32, workers=2)
    assert files_of(tmp_path / "two") == files_of(prepared_clips)


def test_a_folder_of_sound_alone_needs_no_pictures(clipmaker, tmp_path):
    for actor in range(1, 4):
        name = f"Actor_{actor:02d}/03-01-04-02-01-01-{actor:02d}.wav"
        clipmaker.write_clip(tmp_path / "raw" / name, sound=clipmaker.tone(1.5), rate=24000)
    prepared = prepare_ravdess(tmp_path / "raw", tmp_path / "speech", workers=1)
    assert prepared["modalities"] == ["audio"]
    assert not (tmp_path / "speech" / "video").exists()
    with pytest.raises(DataError, match="none of the 3 clips has video"):
        find_raw_clips(tmp_path / "raw", ["video"])


def test_a_file_with_both_is_one_clock_and_sound_alone_comes_uncompressed(tmp_path):
    for name in ("01-01-01-01-01-01-01.mp4", "02-01-01-01-01-01-01.mp4", "03-01-01-01-01-01-01.wav",
                 "02-01-02-01-01-01-01.mp4", "03-01-02-01-01-01-01.wav"):  # fmt: skip
        (tmp_path / name).touch()

    def chosen(*modalities):
        clips = find_raw_clips(tmp_path, modalities).clips
        return [(c.video and c.video.name[:2], c.audio and c.audio.name[:2]) for c in clips]

    assert chosen("video", "audio") == [("01", "01"), ("02", "03")]
    assert chosen("audio") == [(None, "03"), (None, "03")]
    assert chosen("video") == [("01", None), ("02", None)]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"source": None}, r"needs source=.*zenodo"),
        ({"modalities": ["depth"]}, r"modalities=\['depth'\]"),
        ({"modalities": []}, "modalities="),
        ({"window": "all"}, "window=all"),
        ({"crop": 8}, "crop=8"),
        ({"crop": "big"}, "crop=big"),
        ({"strict": "yes"}, "strict=yes"),
        ({"detector": "retina"}, "detector=retina"),
    ],
)
def test_a_value_that_makes_no_sense_names_its_key(raw_clips, tmp_path, config, says):
    with pytest.raises(ConfigError, match=says):
        run({"source": str(raw_clips), **config}, tmp_path)
    assert not list(tmp_path.glob("speech*"))


def test_a_folder_without_clips_says_what_they_are_called(tmp_path):
    with pytest.raises(DataError, match=r"Actor_01/03-01-01-01-01-01-01\.wav"):
        prepare_ravdess(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"none: the folder does not exist"):
        prepare_ravdess(tmp_path / "none", tmp_path / "out")
