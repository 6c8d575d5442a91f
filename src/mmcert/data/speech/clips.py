"""One raw clip to its elements: pictures of the face and chunks of sound, on one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.crops import boxes_over_time, crop_face
from mmcert.data.speech.faces import Box, FaceDetector, face_detector
from mmcert.data.speech.frames import Video
from mmcert.data.speech.sound import cut_chunks, read_sound, resampled
from mmcert.data.speech.windows import LATEST_START, Window
from mmcert.errors import DataError

#: The detector looks at every second frame; boxes in between are interpolated.
EVERY = 2


@dataclass(frozen=True)
class Elements:
    """What a clip gives.

    Args:
        video: uint8 ``(n, 3, crop, crop)``, or None.
        audio: int16 ``(n, 735)`` at 22,050 Hz, or None.
        facts: What there is to say about the clip, plain values: ``start`` in seconds,
            ``frames_per_second``, ``frames`` used, frames ``examined`` by the detector and those
            ``without_face``.
    """

    video: NDArray[np.uint8] | None
    audio: NDArray[np.int16] | None
    facts: dict[str, Any]


def clip_elements(
    video_file: Path | None,
    audio_file: Path | None,
    *,
    window: Window,
    crop: int,
    detector: str = "cascade",
    allow_code: Sequence[str] = (),
) -> Elements:
    """The elements of a clip.

    The sound starts with the first frame used, by the presentation times in the file; a sound file
    of its own is taken to start with the video file.

    Args:
        video_file: File with the picture, or None.
        audio_file: File with the sound, possibly the same one, or None.
        window: Which part of the clip.
        crop: Rows and columns of a face.
        detector: See :func:`mmcert.data.speech.faces.face_detector`.
        allow_code: Packages whose detectors may be imported by name.

    Raises:
        DataError: Naming the file, where one is corrupt or cut off, or no frame shows a face.
    """
    facts: dict[str, Any] = {}
    pictures = start = None
    if video_file is not None:
        finder = face_detector(detector, allow_code)
        pictures, start, facts = _faces(video_file, finder, window, crop)
    chunks = None
    if audio_file is not None:
        sound = resampled(read_sound(audio_file))
        if start is None:
            start = sound.start + window.start(sound.duration)
        try:
            chunks = cut_chunks(sound, start, window.chunks)
        except DataError as error:
            raise DataError(f"{audio_file}: {error}") from None
        facts = {"start": round(start, 6), **facts, "seconds_of_sound": round(sound.duration, 3)}
    return Elements(pictures, chunks, facts)


def _faces(
    path: Path, detector: FaceDetector, window: Window, crop: int
) -> tuple[NDArray[np.uint8], float, dict[str, Any]]:
    """The crops, the time of the first one, and what there is to say."""
    small = Video(path, detector.width)
    found: dict[int, Box] = {}
    near: Box | None = None
    examined = 0
    for index, picture in small.read(every=EVERY):
        wanted = window.frames(small.rate)
        if wanted is not None and index > LATEST_START * small.rate + wanted:
            continue  # beyond every window; read on, to see whether the file is whole
        examined += 1
        box = detector.find(picture, near)
        if box is not None:
            found[index] = near = box
    if not found:
        raise DataError(f"{path}: no face in any of the {examined} frames that were looked at.")
    first = window.first_frame(len(small.times), small.rate)
    wanted = window.frames(small.rate) or len(small.times)
    used = range(first, min(first + wanted, len(small.times)))
    scale = small.size[0] / min(small.size[0], detector.width or small.size[0])
    boxes = boxes_over_time(found, used)
    crops = np.zeros((wanted, 3, crop, crop), np.uint8)
    for index, picture in Video(path).read(first=used.start, stop=used.stop):
        crops[index - first] = crop_face(picture, boxes[index - first].scaled(scale), crop)
    start = small.times[first]
    facts = {
        "start": round(start, 6),
        "frames": len(used),
        "frames_per_second": round(small.rate, 4),
        "examined": examined,
        "without_face": examined - len(found),
    }
    return crops, start, facts
