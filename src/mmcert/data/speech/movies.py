"""Writing clips: H.264 picture and AAC sound in an MP4 file, and sound alone in a WAV file."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.media import media_library

#: Settings of x264 with which the same pictures give the same bytes: more threads give others on a
#: machine with more cores, and with both macroblock trees and B-frames its fast code was seen to
#: depend on what the memory held before.
_X264 = {"preset": "superfast", "crf": "20", "threads": "1", "bf": "0", "x264-params": "mbtree=0"}
_AAC_RATE = 128_000  # bits per second


def write_movie(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    sound: NDArray[np.int16],
    *,
    frame_rate: Fraction,
    sample_rate: int,
) -> None:
    """Write an MP4 file in which picture and sound start together.

    Args:
        path: File to write, ending in ``.mp4``.
        pictures: Frames in order, RGB uint8 ``(H, W, 3)``, all of one size with even sides.
        sound: Mono samples, int16 ``(S,)``.
        frame_rate: Frames per second, exact.
        sample_rate: Samples per second.

    Raises:
        ConfigError: Where PyAV or OpenCV is not installed.
    """
    av, cv2 = media_library("av"), media_library("cv2")
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=frame_rate, options=_X264)
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = 1 / frame_rate
        audio = file.add_stream("aac", rate=sample_rate, layout="mono", bit_rate=_AAC_RATE)
        spoken = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        spoken.sample_rate = sample_rate
        spoken.pts = 0
        spoken.time_base = Fraction(1, sample_rate)
        for index, picture in enumerate(pictures):
            if index == 0:
                video.height, video.width = picture.shape[:2]
            # FFmpeg's own conversion rounds as the address of the picture in memory has it.
            planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = index
            frame.time_base = 1 / frame_rate
            file.mux(video.encode(frame))
        file.mux(video.encode())
        file.mux(audio.encode(spoken))
        file.mux(audio.encode())


def write_wav(path: Path, sound: NDArray[np.int16], *, sample_rate: int) -> None:
    """Write mono samples, int16 ``(S,)``, as a 16-bit WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(sound.astype("<i2").tobytes())
