"""Pictures of a clip: how many, when, and one after the other without holding them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.media import media_library
from mmcert.errors import DataError

#: Frames that a container may promise beyond those that decode (edit lists drop some).
TOLERATED = 2

RGB = NDArray[np.uint8]


class Video:
    """The picture track of a file; read by iterating, any number of times.

    Args:
        path: A file of any format that FFmpeg reads.
        width: Scale the pictures to this width in pixels; None: leave them as they are.

    Attributes:
        rate: Nominal frames per second; known from the first picture on.
        times: Presentation time of every frame, in seconds of the file; known once all are read.
        size: Width and height of the file's pictures in pixels; known from the first one on.
    """

    def __init__(self, path: Path, width: int | None = None) -> None:
        self.path = path
        self.width = width
        self.rate = 0.0
        self.times: tuple[float, ...] = ()
        self.size = (0, 0)

    def read(
        self, first: int = 0, stop: int | None = None, every: int = 1
    ) -> Iterator[tuple[int, RGB]]:
        """The pictures ``first, first + every, ...`` before ``stop``; None: to the end.

        Yields:
            Index of the frame and the picture, uint8 RGB ``(H, W, 3)``.

        Raises:
            DataError: Where the file is missing, corrupt or cut off, or holds no picture.
        """
        av = media_library("av")
        times: list[float] = []
        try:
            with av.open(str(self.path)) as file:
                if not file.streams.video:
                    raise DataError(f"{self.path}: holds no picture.")
                stream = file.streams.video[0]
                # Read here: a closed stream has no attributes left. MPEG promises 0 frames.
                promised = int(stream.frames)
                self.rate = _rate(stream, self.path)
                self.size = (stream.width, stream.height)
                for index, frame in enumerate(file.decode(stream)):
                    if stop is not None and index >= stop:
                        return
                    if frame.is_corrupt:
                        raise DataError(f"{self.path}: frame {index} is corrupt.")
                    times.append(float(index / self.rate if frame.time is None else frame.time))
                    if index >= first and (index - first) % every == 0:
                        yield index, self._picture(frame)
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(
                f"{self.path}: the picture cannot be decoded ({error.strerror})."
            ) from error
        if not times:
            raise DataError(f"{self.path}: holds no picture.")
        if len(times) < promised - TOLERATED:
            raise DataError(
                f"{self.path}: the picture ends after {len(times)} of {promised} frames; the file "
                f"is cut off."
            )
        self.times = tuple(times)

    def _picture(self, frame: Any) -> RGB:
        if self.width is None or frame.width <= self.width:
            return frame.to_ndarray(format="rgb24")
        height = round(frame.height * self.width / frame.width)
        return frame.to_ndarray(format="rgb24", width=self.width, height=height)


def _rate(stream: Any, path: Path) -> float:
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    if not rate:
        raise DataError(f"{path}: states no frame rate.")
    return float(rate)
