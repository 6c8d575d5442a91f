from pathlib import Path

import numpy as np
import pytest

from mmcert.data.speech.clips import clip_elements
from mmcert.data.speech.sound import read_sound
from mmcert.data.speech.windows import Window, window_from
from mmcert.errors import ConfigError, DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"
WINDOW = Window(3.6)
needs_ravdess = pytest.mark.skipif(
    not (SHARED / "ravdess_audio_sample").is_dir(), reason="real RAVDESS clips are not here"
)
needs_grid = pytest.mark.skipif(
    not (SHARED / "grid_video_sample").is_dir(), reason="real clips of the GRID corpus are not here"
)


def clap(clipmaker, path, fps, frame, frames=120, rate=48000):
    """One frame of another colour, and a click of a millisecond at the time it appears."""
    face = clipmaker.draw_face()
    pictures = [face] * frames
    pictures[frame] = 255 - face
    sound = np.zeros(round(frames / float(fps) * rate))
    first = round(frame / float(fps) * rate)
    sound[first : first + rate // 1000] = 0.9
    return clipmaker.write_clip(path, pictures, fps, sound, rate)


def seen_and_heard(elements, fps):
    """Seconds into the window at which the clap is seen, and at which it is heard."""
    level = elements.video.reshape(len(elements.video), -1).mean(axis=1)
    loud = np.abs(elements.audio.astype(np.int64).ravel())
    seen = int(np.abs(level - np.median(level)).argmax()) / float(fps)
    return seen, int((loud > loud.max() / 2).argmax()) / 22050


@pytest.mark.parametrize("ntsc", [False, True])
@pytest.mark.parametrize("frame", [40, 90])
def test_a_clap_is_heard_when_it_is_seen(clipmaker, tmp_path, ntsc, frame):
    fps = clipmaker.ntsc if ntsc else 30
    path = clap(clipmaker, tmp_path / "clap.mp4", fps, frame)
    elements = clip_elements(path, path, window=WINDOW, crop=32)
    assert elements.video.shape == (108, 3, 32, 32)
    assert elements.audio.shape == (108, 735)
    seen, heard = seen_and_heard(elements, fps)
    assert abs(seen - heard) < 0.005
    # and chunk i is what was heard while frame i was shown, to 5 ms over the whole window
    assert abs(108 / float(fps) - 108 * 735 / 22050) < 0.005


def test_sound_that_starts_late_in_the_file_stays_where_it_is(clipmaker, tmp_path):
    av = pytest.importorskip("av")
    path = clap(clipmaker, tmp_path / "clap.mp4", 30, 60)
    late = tmp_path / "late.mkv"
    with av.open(str(path)) as given, av.open(str(late), "w") as made:
        streams = {s.index: made.add_stream_from_template(s) for s in given.streams}
        for packet in given.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                delay = round(0.25 / packet.time_base)
                packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
            packet.stream = streams[packet.stream.index]
            made.mux(packet)
    seen, heard = seen_and_heard(clip_elements(late, late, window=WINDOW, crop=32), 30)
    assert heard - seen == pytest.approx(0.25, abs=0.005)


def test_what_a_short_clip_lacks_is_black_and_silent_and_no_frame_is_there_twice(
    clipmaker, tmp_path
):
    rng = np.random.default_rng(0)
    face = clipmaker.draw_face().astype(np.int64)
    pictures = [
        np.clip(face + rng.integers(-25, 25, face.shape), 0, 255).astype(np.uint8)
        for _ in range(60)
    ]
    path = tmp_path / "short.mp4"
    clipmaker.write_clip(path, pictures, 30, clipmaker.tone(2))
    elements = clip_elements(path, path, window=WINDOW, crop=32)
    assert elements.facts["frames"] == 60
    assert not elements.video[60:].any()
    assert len({frame.tobytes() for frame in elements.video[:60]}) == 60
    assert np.abs(elements.audio[:60]).max() > 9000
    assert not elements.audio[62:].any()  # AAC comes in packets of 1024 samples
    whole = clip_elements(path, path, window=Window(None), crop=32)
    assert whole.video.shape[0] == 60
    assert whole.audio.shape[0] in (60, 61)
    np.testing.assert_array_equal(whole.video, elements.video[:60])


def test_the_window_of_a_long_clip_starts_after_half_a_second(clipmaker, tmp_path):
    sound = np.concatenate((np.zeros(24000), clipmaker.tone(4.5)))
    path = clipmaker.write_clip(tmp_path / "long.wav", sound=sound)
    elements = clip_elements(None, path, window=WINDOW, crop=32)
    assert elements.facts["start"] == 0.5
    assert np.abs(elements.audio).max(axis=1).min() > 9000
    path = clipmaker.write_clip(tmp_path / "longer.wav", sound=sound[: round(3.8 * 48000)])
    assert clip_elements(None, path, window=WINDOW, crop=32).facts["start"] == pytest.approx(0.2)


def test_stereo_is_mixed_down_and_resampling_leaves_no_alias(clipmaker, tmp_path):
    high = clipmaker.tone(3.6, hertz=12000.0)  # beyond the 11,025 Hz that the result can hold
    path = clipmaker.write_clip(tmp_path / "high.wav", sound=high)
    leaked = clip_elements(None, path, window=WINDOW, crop=32).audio[5:-5]
    assert np.abs(leaked).max() <= 1  # below the last bit: -90 dB
    low = clipmaker.tone(3.6, hertz=440.0)
    path = clipmaker.write_clip(tmp_path / "stereo.wav", sound=np.stack([low, 0 * low]))
    mixed = clip_elements(None, path, window=WINDOW, crop=32).audio
    assert np.abs(mixed).max() == pytest.approx(0.15 * 32768, rel=0.01)


def test_what_is_cut_off_or_corrupt_says_so(clipmaker, tmp_path):
    face = clipmaker.draw_face()
    good = clipmaker.write_clip(tmp_path / "good.mp4", [face] * 60, 30, clipmaker.tone(2))
    content = bytearray(good.read_bytes())
    for name, broken in (
        ("half", content[: len(content) // 2]),
        ("empty", b""),
        ("hollow", content[: len(content) // 3] + bytes(len(content) - len(content) // 3)),
    ):
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(bytes(broken))
        with pytest.raises(DataError, match=rf"{name}\.mp4: .*(decoded|cut off|corrupt)"):
            clip_elements(path, path, window=WINDOW, crop=32)
    wav = clipmaker.write_clip(tmp_path / "good.wav", sound=clipmaker.tone(2))
    (tmp_path / "half.wav").write_bytes(wav.read_bytes()[:50000])
    with pytest.raises(DataError, match=r"half\.wav: 50000 bytes of 192078; the file is cut off"):
        clip_elements(None, tmp_path / "half.wav", window=WINDOW, crop=32)
    with pytest.raises(DataError, match="holds no picture"):
        clip_elements(wav, wav, window=WINDOW, crop=32)
    mute = clipmaker.write_clip(tmp_path / "mute.mp4", [face] * 30)
    with pytest.raises(DataError, match="holds no sound"):
        clip_elements(mute, mute, window=WINDOW, crop=32)
    with pytest.raises(DataError, match="cannot be"):
        clip_elements(None, tmp_path / "none.wav", window=WINDOW, crop=32)


def test_packets_that_are_missing_in_the_middle_are_found_by_their_number(clipmaker, tmp_path):
    av = pytest.importorskip("av")
    path = clipmaker.write_clip(tmp_path / "a.mp4", [clipmaker.draw_face()] * 60)
    fast = tmp_path / "fast.mp4"
    with (
        av.open(str(path)) as given,
        av.open(str(fast), "w", options={"movflags": "faststart"}) as made,
    ):
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    content = fast.read_bytes()
    fast.write_bytes(content[: len(content) * 2 // 3])  # the index is before the data
    with pytest.raises(DataError, match=r"cut off|cannot be decoded"):
        clip_elements(fast, None, window=WINDOW, crop=32)


@pytest.mark.parametrize("value", ["all", 0, -1, True, None, 1e9, [3.6]])
def test_a_window_is_seconds_or_whole(value):
    with pytest.raises(ConfigError, match="must be seconds"):
        window_from(value)


@needs_ravdess
def test_real_clips_hold_their_speech_within_the_window():
    for path in sorted((SHARED / "ravdess_audio_sample").rglob("*.wav"))[::5]:
        elements = clip_elements(None, path, window=WINDOW, crop=32)
        whole = clip_elements(None, path, window=Window(None), crop=32)
        assert elements.audio.shape == (108, 735)
        energy, all_energy = (
            float((x.astype(np.float64) ** 2).sum()) for x in (elements.audio, whole.audio)
        )
        assert energy > 0.99 * all_energy
        assert np.array_equal(elements.audio[0], whole.audio[0]) or elements.facts["start"] > 0


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "ravdess_audio_24k").is_dir(), reason="real RAVDESS clips are not here"
)
def test_the_window_holds_the_speech_of_more_real_clips_than_one_from_the_start():
    held, from_zero, shorter, silent = [], [], [], []
    for path in sorted((SHARED / "ravdess_audio_24k").rglob("*.wav")):
        sound = read_sound(path)
        step = sound.rate // 50  # 20 ms
        parts = sound.samples[: len(sound.samples) // step * step].reshape(-1, step)
        power = (parts.astype(np.float64) ** 2).mean(axis=1)
        spoken = np.flatnonzero(power > power.max() * 10**-3.5)
        first, last = spoken[0] / 50, (spoken[-1] + 1) / 50
        start = WINDOW.start(sound.duration)
        held.append(start <= first and last <= start + 3.6)
        from_zero.append(last <= 3.6)
        shorter.append(sound.duration < 3.6)
        silent.append(1 - (last - first) / sound.duration)
    assert round(100 * np.mean(held)) == 94
    assert round(100 * np.mean(from_zero)) == 91
    assert round(100 * np.mean(shorter)) == 34
    assert round(100 * np.mean(silent)) == 45


@needs_grid
def test_a_real_face_is_found_in_every_frame_and_mpeg_is_aligned():
    for path in sorted((SHARED / "grid_video_sample").glob("*.mpg")):
        elements = clip_elements(path, path, window=WINDOW, crop=64)
        assert elements.facts["examined"] == 38
        assert elements.facts["without_face"] == 0
        assert elements.facts["frames"] == 75  # at 25 a second: 90 in 3.6 s
        assert elements.video.shape == (90, 3, 64, 64)
        assert elements.audio.shape == (108, 735)
        # skin in the middle of every crop: more red than blue
        middle = elements.video[:75, :, 24:40, 24:40].mean(axis=(2, 3))
        assert (middle[:, 0] > middle[:, 2] + 20).all()
