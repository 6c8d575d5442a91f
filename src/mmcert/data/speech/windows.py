"""Which part of a clip is used: a window of a fixed length, or all of it.

The window of 3.6 s starts at ``min(0.5, max(0, duration - 3.6))`` seconds, for picture and sound
alike. Of 480 real clips it holds all that is within 35 dB of the loudest 20 ms in 94 %, a window
from 0 in 91 % (``tests/data/speech/test_clips.py``). Frames are consecutive native ones. Where a
clip ends early the rest of the window is a constant, black and silence: a frame repeated to fill up
would make one raw frame several elements, and the certificate wrong.

The window depends on the duration, and what is missing is filled up. Both are harmless where
elements can only be modified. An element added or deleted would move the others in and out of the
window, so those threats need the whole clip, with an ``n`` of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mmcert.errors import ConfigError

#: Hz of prepared sound.
RATE = 22050
#: Samples of one chunk, the element of sound; 30 chunks a second.
CHUNK = 735
#: Seconds into the clip at which the window starts, where the clip is long enough.
LATEST_START = 0.5
DEFAULT_SECONDS = 3.6
WHOLE = "whole"

WINDOWED_BY_DURATION = (
    "a window is cut from the clip by the clip's duration and filled up where the clip is shorter, "
    "so an element added or deleted would move all others; prepare the data with window=whole"
)


@dataclass(frozen=True)
class Window:
    """The part of every clip that is used.

    Args:
        seconds: Its length; None: the whole clip, whatever its length.
    """

    seconds: float | None

    @property
    def chunks(self) -> int | None:
        """Chunks of sound in the window; None: as many whole ones as the clip has.

        >>> Window(3.6).chunks
        108
        """
        return None if self.seconds is None else round(self.seconds * RATE / CHUNK)

    def frames(self, rate: float) -> int | None:
        """Native frames in the window; None: all of the clip.

        >>> Window(3.6).frames(30), Window(3.6).frames(30000 / 1001), Window(3.6).frames(25)
        (108, 108, 90)
        """
        return None if self.seconds is None else max(1, round(self.seconds * rate))

    def first_frame(self, frames: int, rate: float) -> int:
        """Index of the first frame used, of a clip of so many frames per second.

        >>> [Window(3.6).first_frame(frames, 30) for frames in (90, 112, 123, 150)]
        [0, 4, 15, 15]
        """
        wanted = self.frames(rate)
        if wanted is None:
            return 0
        return min(math.ceil(LATEST_START * rate - 1e-9), max(0, frames - wanted))

    def start(self, duration: float) -> float:
        """Seconds from the start of a clip without picture.

        >>> [round(Window(3.6).start(seconds), 3) for seconds in (3.0, 3.7, 5.0)]
        [0.0, 0.1, 0.5]
        """
        if self.seconds is None:
            return 0.0
        return min(LATEST_START, max(0.0, duration - self.seconds))

    @property
    def setting(self) -> float | str:
        """As the manifest states it."""
        return WHOLE if self.seconds is None else self.seconds


def window_from(value: object) -> Window:
    """The window of a setting: seconds, or ``whole``.

    Raises:
        ConfigError: For anything else.

    >>> window_from("whole"), window_from(3.6)
    (Window(seconds=None), Window(seconds=3.6))
    """
    if value == WHOLE:
        return Window(None)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.1 <= value <= 3600:  # type: ignore[operator]
        raise ConfigError(
            f"window={value} must be seconds from 0.1 to 3600, or whole for the whole clip."
        )
    return Window(float(value))  # type: ignore[arg-type]
