"""The files of the synthetic talking faces: those of RAVDESS, readable by anybody."""

import builtins
import hashlib
import json
import shutil
import wave
from fractions import Fraction

import numpy as np
import pytest

from mmcert.data.speech import synthetic_speech_writer as writer
from mmcert.data.speech.names import file_name
from mmcert.data.speech.synthetic_speech_writer import (
    check_synthetic_speech,
    write_clip,
    write_synthetic_speech,
)
from mmcert.data.speech.talkingworld.clips import Clip, clips_of
from mmcert.data.speech.talkingworld.performance import perform
from mmcert.data.speech.talkingworld.voice import sound_of
from mmcert.errors import ConfigError, DataError

av = pytest.importorskip("av", reason="PyAV, of the extra 'video', is not installed")
pytest.importorskip("cv2", reason="OpenCV, of the extra 'video', is not installed")

SMALL = {"clips": 2, "size": (120, 160), "seed": 5}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    out = tmp_path_factory.mktemp("speech") / "raw"
    assert write_synthetic_speech(out, **SMALL, workers=1) == 2
    return out


def checksums(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def decoded(path):
    """Times of the frames, frames as grey, times of the samples, samples in [-1, 1]."""
    with av.open(str(path)) as file:
        frames = [(frame.time, frame.to_ndarray(format="gray")) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        blocks = [(block.time, block.to_ndarray()[0]) for block in file.decode(audio=0)]
    return frames, blocks


def read_wav(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_the_files_have_the_names_of_ravdess(raw):
    assert sorted(path.name for path in raw.iterdir()) == [
        "Actor_01",
        "Actor_02",
        "manifest.json",
    ]
    for folder in raw.glob("Actor_*"):
        movie, sound = sorted(folder.iterdir())
        (holds, seen), (holds_too, heard) = file_name(movie.stem), file_name(sound.stem)
        assert (movie.suffix, holds) == (".mp4", ("video", "audio"))
        assert (sound.suffix, holds_too) == (".wav", ("audio",))
        assert seen == heard
        assert seen.channel == 1
        assert folder.name == f"Actor_{seen.actor:02d}"
    manifest = json.loads((raw / "manifest.json").read_text())
    assert manifest["settings"] == {
        "dataset": "synthetic_speech",
        "clips": 2,
        "size": [120, 160],
        "seed": 5,
        "world": writer.WORLD,
    }
    assert len(manifest["files"]) == 4
    assert set(manifest["made_by"]) == {"av", "libavcodec", "opencv"}


def test_a_movie_has_h264_at_ntsc_rate_and_aac(raw):
    for path in raw.rglob("*.mp4"):
        with av.open(str(path)) as file:
            video, audio = file.streams.video[0], file.streams.audio[0]
            assert video.codec_context.name == "h264"
            assert video.average_rate == Fraction(30000, 1001)
            assert (video.width, video.height) == (160, 120)
            assert (audio.codec_context.name, audio.rate) == ("aac", 48000)
            assert audio.layout.name == "mono"


def test_frames_follow_each_other_evenly_from_zero_and_last_as_long_as_the_sound(raw):
    for path in raw.rglob("*.mp4"):
        frames, _ = decoded(path)
        times = np.array([time for time, _ in frames])
        assert times == pytest.approx(np.arange(len(times)) * 1001 / 30000, abs=1e-9)
        samples = read_wav(path.with_name("03-" + path.stem[3:] + ".wav"))
        assert len(samples) / 48000 == pytest.approx(len(times) * 1001 / 30000, abs=1e-5)


def test_the_sound_of_a_movie_is_that_of_its_wav_file_at_the_same_time(raw):
    for path in raw.rglob("*.mp4"):
        _, blocks = decoded(path)
        compressed = np.concatenate([block for _, block in blocks])
        original = read_wav(path.with_name("03-" + path.stem[3:] + ".wav")) / 32768
        first = round(blocks[0][0] * 48000)
        length = min(len(compressed), len(original) - first)
        one = np.fft.rfft(compressed[:length], 2 * length)
        other = np.fft.rfft(original[first : first + length], 2 * length)
        lag = int(np.argmax(np.fft.irfft(one * other.conj())))
        assert min(lag, 2 * length - lag) <= 5  # samples: a tenth of a millisecond


def test_the_wav_file_holds_the_sound_that_was_made(raw):
    (clip,) = clips_of(1, SMALL["seed"])
    assert np.array_equal(read_wav(raw / clip.sound), sound_of(perform(clip, SMALL["seed"])))


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(raw, tmp_path):
    write_synthetic_speech(tmp_path / "same", **SMALL, workers=1)
    assert checksums(tmp_path / "same") == checksums(raw)
    write_synthetic_speech(tmp_path / "other", **{**SMALL, "seed": 6, "clips": 1}, workers=1)
    assert not set(checksums(tmp_path / "other").values()) & set(checksums(raw).values())


@pytest.mark.slow
def test_one_process_and_two_write_the_same_bytes(raw, tmp_path):
    write_synthetic_speech(tmp_path / "two", **SMALL, workers=2)
    assert checksums(tmp_path / "two") == checksums(raw)


def test_a_clip_depends_on_its_name_and_not_on_how_many_there_are(raw, tmp_path):
    clip = clips_of(2, SMALL["seed"])[1]
    write_clip(tmp_path, clip, SMALL["size"], SMALL["seed"])
    assert (tmp_path / clip.movie).read_bytes() == (raw / clip.movie).read_bytes()
    assert (tmp_path / clip.sound).read_bytes() == (raw / clip.sound).read_bytes()


def test_what_was_interrupted_is_finished_to_the_same_bytes(raw, tmp_path, monkeypatch):
    """The sound of the second clip is there and its movie is not, as when a power cut comes."""
    real, calls = writer.write_movie, []

    def dies(path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a movie")
            raise KeyboardInterrupt
        real(path, *arguments, **options)

    monkeypatch.setattr(writer, "write_movie", dies)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic_speech(tmp_path / "a", **SMALL, workers=1)
    assert not (tmp_path / "a").exists()
    assert len(list((tmp_path / "a.partial").rglob("*.mp4"))) == 1
    monkeypatch.setattr(writer, "write_movie", real)
    with pytest.raises(DataError, match=r"a\.partial: unfinished.*seed: 5 there, 9 asked for"):
        write_synthetic_speech(tmp_path / "a", **{**SMALL, "seed": 9}, workers=1)
    write_synthetic_speech(tmp_path / "a", **SMALL, workers=1)
    assert checksums(tmp_path / "a") == checksums(raw)
    assert not (tmp_path / "a.partial").exists()


def test_what_is_there_is_left_as_it_is(raw):
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    write_synthetic_speech(raw, **SMALL, workers=1)
    assert before == {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    with pytest.raises(DataError, match=r"other settings \(clips: 2 there, 4 asked for\)"):
        write_synthetic_speech(raw, **{**SMALL, "clips": 4}, workers=1)


def test_a_check_names_files_that_changed_and_folders_that_are_something_else(raw, tmp_path):
    assert check_synthetic_speech(raw) == ([], "2 movies and 2 sound files of synthetic actors")
    copy = tmp_path / "copy"
    shutil.copytree(raw, copy)
    first, second = sorted(copy.rglob("*.mp4"))
    first.write_bytes(b"another movie")
    second.unlink()
    problems, _ = check_synthetic_speech(copy)
    assert [str(first) in problems[0], "changed" in problems[0]] == [True, True]
    assert [str(second) in problems[1], "missing" in problems[1]] == [True, True]
    for folder, message in ((tmp_path / "none", "does not exist"), (copy / "Actor_01", "not what")):
        assert message in check_synthetic_speech(folder)[0][0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clips": 0}, "clips=0 must be an integer from 1 to 1440"),
        ({"clips": 1441}, "clips=1441"),
        ({"clips": True}, "clips=True"),
        ({"seed": -1}, "seed=-1"),
        ({"size": [240]}, r"size=\[240\] must be \[rows,columns\]"),
        ({"size": [241, 320]}, "even numbers"),
        ({"size": [320, 240]}, "no fewer columns than rows"),
        ({"size": [60, 80]}, "from 120"),
    ],
)
def test_values_out_of_range_name_their_key(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        write_synthetic_speech(tmp_path / "a", **{**SMALL, **wrong})
    assert not any(tmp_path.iterdir())


def test_a_missing_library_names_the_extra_that_brings_it(tmp_path, monkeypatch):
    real = builtins.__import__

    def blocked(name, *arguments, **options):
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", blocked)
    monkeypatch.setattr("importlib.import_module", blocked)
    with pytest.raises(ConfigError, match=r"pip install 'mmcert\[video\]'"):
        write_synthetic_speech(tmp_path / "a", **SMALL)
    assert not any(tmp_path.iterdir())


def test_a_smaller_set_is_a_part_of_a_larger_one():
    assert clips_of(100, 3) == clips_of(300, 3)[:100]


def test_the_whole_set_is_that_of_ravdess():
    clips = clips_of(5000, 0)
    assert len({clip.movie for clip in clips}) == len(clips) == 1440
    for actor in range(1, 25):
        own = [clip for clip in clips if clip.actor == actor]
        assert [sum(clip.emotion == emotion for clip in own) for emotion in range(1, 9)] == [
            4,
            *[8] * 7,
        ]
        assert all(clip.intensity == 1 for clip in own if clip.emotion == 1)


def test_the_first_192_clips_have_every_emotion_of_every_actor_once():
    first = clips_of(192, 0)
    assert len({(clip.actor, clip.emotion) for clip in first}) == 192
    assert [clip.actor for clip in first[:24]] == list(range(1, 25))


def test_the_names_are_those_of_the_fields():
    clip = Clip(emotion=6, intensity=1, statement=2, repetition=1, actor=12)
    assert clip.movie == "Actor_12/01-01-06-01-02-01-12.mp4"
    assert clip.sound == "Actor_12/03-01-06-01-02-01-12.wav"
