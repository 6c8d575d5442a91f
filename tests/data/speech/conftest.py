"""Small clips of a drawn face, in the files of RAVDESS, made by the tests themselves."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

RATE = 48000
#: Presentation rate of RAVDESS' video.
NTSC = Fraction(30000, 1001)


def draw_face(mouth=0.3, size=(120, 160), centre=(80, 62), radius=38):
    """A face that the cascade finds, uint8 RGB (H, W, 3)."""
    import cv2

    x, y = centre
    skin, dark = (205, 160, 130), (70, 50, 40)
    picture = np.full((*size, 3), (90, 110, 140), np.uint8)

    def ellipse(at, axes, colour, first=0, last=360):
        axes = tuple(max(1, round(radius * axis)) for axis in axes)
        cv2.ellipse(picture, at, axes, 0, first, last, colour, -1, cv2.LINE_AA)

    ellipse((x, y), (0.8, 1), skin)
    ellipse((x, y - round(radius * 0.55)), (0.85, 0.55), (60, 40, 30), 180, 360)
    for side in (-1, 1):
        eye = (x + side * round(radius * 0.35), y - round(radius * 0.15))
        ellipse(eye, (0.2, 0.13), (150, 120, 95))
        ellipse(eye, (0.15, 0.08), (240, 240, 240))
        ellipse(eye, (0.07, 0.07), (30, 20, 20))
        brow = round(radius * 0.2)
        ends = (eye[0] - brow, eye[1] - brow), (eye[0] + brow, eye[1] - brow)
        cv2.line(picture, *ends, dark, max(2, radius // 16), cv2.LINE_AA)
    nose = (x, y + round(radius * 0.25))
    cv2.line(picture, (x, y), nose, (165, 128, 105), max(2, radius // 12), cv2.LINE_AA)
    ellipse((x, y + round(radius * 0.55)), (0.3, 0.05 + 0.15 * mouth), (120, 50, 50))
    return cv2.GaussianBlur(picture, (0, 0), 1.0)


def write_clip(path, pictures=None, fps=30, sound=None, rate=RATE):
    """An MP4 with H.264 and AAC, or a WAV of 16 bits.

    Args:
        path: Where.
        pictures: uint8 RGB (H, W, 3), one per frame, or None.
        fps: Frames per second.
        sound: float in [-1, 1], (samples,) or (channels, samples), or None.
        rate: Hz.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        if pictures is not None:
            video = file.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
            video.height, video.width = pictures[0].shape[:2]
            video.pix_fmt = "yuv420p"
        if sound is not None:
            sound = np.atleast_2d(sound)
            layout = "mono" if len(sound) == 1 else "stereo"
            codec = "pcm_s16le" if path.suffix == ".wav" else "aac"
            audio = file.add_stream(codec, rate=rate, layout=layout)
        for picture in () if pictures is None else pictures:
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        if pictures is not None:
            file.mux(video.encode())
        if sound is not None:
            samples = np.rint(sound.T * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate = rate
            frame.pts = 0
            file.mux(audio.encode(frame))
            file.mux(audio.encode())
    return path


def tone(seconds, rate=RATE, hertz=440.0, level=0.3):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="session")
def clipmaker():
    """``draw_face``, ``write_clip``, ``tone`` and the rates, for tests."""
    pytest.importorskip("av", reason="raw clips need the extra 'video'")
    pytest.importorskip("cv2", reason="raw clips need the extra 'video'")
    return SimpleNamespace(
        draw_face=draw_face, write_clip=write_clip, tone=tone, rate=RATE, ntsc=NTSC
    )


@pytest.fixture(scope="session")
def raw_clips(clipmaker, tmp_path_factory):
    """A folder in RAVDESS' layout: three men and three women, one clip of 1.2 s each."""
    folder = tmp_path_factory.mktemp("raw")
    faces = [draw_face(mouth) for mouth in np.linspace(0, 1, 6)]
    for actor in range(1, 7):
        name = f"Actor_{actor:02d}/01-01-{actor:02d}-01-01-01-{actor:02d}.mp4"
        pictures = [faces[(frame + actor) % 6] for frame in range(36)]
        write_clip(folder / name, pictures, NTSC, tone(1.2, hertz=200 + 50 * actor))
    return folder


@pytest.fixture(scope="session")
def prepared_clips(raw_clips, tmp_path_factory):
    """The same clips, prepared in windows of one second; read only."""
    from mmcert.data.speech.prepare_ravdess import prepare_ravdess

    out = tmp_path_factory.mktemp("data") / "speech"
    prepare_ravdess(raw_clips, out, window=1.0, crop=32, workers=1)
    return out
