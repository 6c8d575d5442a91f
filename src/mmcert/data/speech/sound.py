"""Sound of a clip: decoded, mixed down to one channel, resampled, cut into chunks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.media import media_library
from mmcert.data.speech.windows import CHUNK, RATE
from mmcert.errors import DataError

#: Seconds between the end of one packet and the start of the next that are a gap, not jitter.
GAP = 0.01
#: Seconds of a track that may be missing at its end (AAC comes in packets of about 20 ms).
TOLERATED = 0.1

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Sound:
    """A waveform and when it starts.

    Args:
        samples: float32 ``(samples,)``, one channel, nominally in [-1, 1].
        rate: Hz.
        start: Presentation time of the first sample, in seconds of the file.
    """

    samples: FloatArray
    rate: int
    start: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate


def read_sound(path: Path) -> Sound:
    """The sound of a file of any format that FFmpeg reads, its channels averaged.

    Packets are placed by their presentation times; a gap between two is silence.

    Raises:
        DataError: Where the file is missing, corrupt or cut off, or holds no sound.
    """
    av = media_library("av")
    _check_riff(path)
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise DataError(f"{path}: holds no sound.")
            stream = file.streams.audio[0]
            rate = int(stream.rate)
            # Read here: a closed stream has no attributes left.
            promised = float(stream.duration * stream.time_base) if stream.duration else 0.0
            start: float | None = None
            parts: list[FloatArray] = []
            total = 0
            for frame in file.decode(stream):
                mono = _mono(frame)
                if start is None:
                    start = float(frame.time or 0.0)
                elif frame.time is not None:
                    gap = frame.time - (start + total / rate)
                    if gap > GAP:
                        parts.append(np.zeros(round(gap * rate), np.float32))
                        total += len(parts[-1])
                parts.append(mono)
                total += len(mono)
    except (av.error.FFmpegError, OSError) as error:
        raise DataError(f"{path}: the sound cannot be decoded ({error.strerror}).") from error
    if not total or start is None:
        raise DataError(f"{path}: holds no sound.")
    if total / rate < promised - TOLERATED:
        raise DataError(
            f"{path}: the sound ends after {total / rate:.2f} s of {promised:.2f} s; the file is "
            f"cut off."
        )
    return Sound(np.concatenate(parts), rate, start)


def _check_riff(path: Path) -> None:
    """Refuse a WAV file that is shorter than its header says: FFmpeg reads on without a word.

    Raises:
        DataError: With both lengths.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
    if head[:4] != b"RIFF" or len(head) < 8:
        return
    promised = int.from_bytes(head[4:8], "little")
    streamed = promised in (0, 0xFFFFFFFF)  # written by a program that could not go back
    if not streamed and size < promised + 8 - 1:  # odd chunks are padded, or should be
        raise DataError(f"{path}: {size} bytes of {promised + 8}; the file is cut off.")


def _mono(frame: Any) -> FloatArray:
    """The channels of a decoded frame averaged, float32 ``(samples,)`` in [-1, 1]."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T  # (channels, samples)
    if array.dtype == np.uint8:
        array = (array.astype(np.float64) - 128) / 128
    elif array.dtype.kind == "i":
        array = array / float(-int(np.iinfo(array.dtype).min))
    return array.mean(axis=0, dtype=np.float64).astype(np.float32)


def resampled(sound: Sound, rate: int = RATE) -> Sound:
    """The same sound at another rate, without aliases (soxr, "very high quality").

    Every sample of the result depends on its neighbours in the recording: the certificate is about
    the result.
    """
    if sound.rate == rate:
        return sound
    soxr = media_library("soxr")
    samples = soxr.resample(sound.samples.astype(np.float64), sound.rate, rate, quality="VHQ")
    return Sound(samples.astype(np.float32), rate, sound.start)


def cut_chunks(sound: Sound, start: float, chunks: int | None) -> NDArray[np.int16]:
    """Chunks from a time on.

    Args:
        sound: At 22,050 Hz.
        start: Presentation time of the first sample wanted, in seconds of the file.
        chunks: How many; where the sound ends early, or begins late, the rest is silence. None: as
            many whole ones as there are.

    Returns:
        int16 ``(chunks, 735)``, clipped to the 16-bit range.

    Raises:
        DataError: Where there is not one chunk.
    """
    offset = round((start - sound.start) * sound.rate)
    samples = sound.samples[max(0, offset) :]
    if offset < 0:
        samples = np.concatenate((np.zeros(-offset, np.float32), samples))
    wanted = len(samples) // CHUNK if chunks is None else chunks
    if not len(samples) or not wanted:
        raise DataError("there is no sound where the picture begins.")
    filled = np.zeros(wanted * CHUNK, np.float32)
    filled[: len(samples)] = samples[: wanted * CHUNK]
    scaled = np.clip(np.rint(filled * 32768.0), -32768, 32767)
    return scaled.astype(np.int16).reshape(wanted, CHUNK)
