"""Where the face is in a picture: the detector that comes along, and the place for your own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.media import media_library
from mmcert.named_code import named_class

RGB = NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """A square around a face, in pixels of the picture.

    Args:
        x: Column of the centre.
        y: Row of the centre.
        size: Length of a side.
    """

    x: float
    y: float
    size: float

    def scaled(self, factor: float) -> Box:
        """The same box in a picture that is so many times as large."""
        return Box(self.x * factor, self.y * factor, self.size * factor)


class FaceDetector(ABC):
    """Finds the face of the one person in a picture.

    A detector of your own is a subclass that is named ``detector=my_package.my_module:MyDetector``
    and allowed by ``allow_code=[my_package]``. One is made per clip, without arguments.

    Attributes:
        width: Width in pixels to which pictures are scaled before it sees them; None: not at all.
    """

    width: int | None = None

    @abstractmethod
    def find(self, picture: RGB, near: Box | None) -> Box | None:
        """The face, or None where there is none.

        Args:
            picture: uint8 RGB ``(H, W, 3)``.
            near: The face in an earlier frame of the same clip, where one was found; a hint.
        """


class CascadeDetector(FaceDetector):
    """OpenCV's cascade ``frontalface_alt2`` (the default one finds boxes beside drawn faces).

    Near the face of the frame before it looks for one of about the same size, which takes a third
    of the time; then in the whole picture; then there once more, less strictly.
    """

    width = 320
    #: The least size of a face, as a share of the picture's height.
    least = 0.25
    #: How far from the face before, in sizes of it, and how much smaller or larger.
    around, smaller, larger = 0.35, 0.75, 1.35

    def __init__(self) -> None:
        cv2 = media_library("cv2")
        cv2.setNumThreads(1)  # clips are prepared in processes
        self._cv2 = cv2
        self._cascade = cv2.CascadeClassifier(
            cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml"
        )

    def find(self, picture: RGB, near: Box | None) -> Box | None:
        """See the base class."""
        grey = self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2GRAY)
        if near is not None:
            reach = near.size * (0.5 + self.around)
            left, top = max(0, int(near.x - reach)), max(0, int(near.y - reach))
            part = grey[top : int(near.y + reach) + 1, left : int(near.x + reach) + 1]
            sizes = (near.size * self.smaller, near.size * self.larger)
            found = self._boxes(part, 1.1, 3, sizes)
            if found:
                closest = min(found, key=lambda box: abs(box.size - near.size))
                return Box(closest.x + left, closest.y + top, closest.size)
        sizes = (grey.shape[0] * self.least, float(max(grey.shape)))
        for step, neighbours in ((1.1, 3), (1.05, 1)):
            found = self._boxes(grey, step, neighbours, sizes)
            if found:
                return max(found, key=lambda box: box.size)
        return None

    def _boxes(
        self, grey: NDArray[np.uint8], step: float, neighbours: int, sizes: tuple[float, float]
    ) -> list[Box]:
        least, most = (max(1, round(size)) for size in sizes)
        found: Sequence[Sequence[int]] = self._cascade.detectMultiScale(
            np.ascontiguousarray(grey),
            scaleFactor=step,
            minNeighbors=neighbours,
            minSize=(least, least),
            maxSize=(most, most),
        )
        return [Box(x + w / 2, y + h / 2, float(max(w, h))) for x, y, w, h in found]


DETECTORS = {"cascade": f"{__name__}:CascadeDetector"}


def face_detector(name: str, allow_code: Sequence[str] = ()) -> FaceDetector:
    """A detector by name.

    Args and errors as in :func:`mmcert.named_code.named_class`.
    """
    return named_class("detector", name, DETECTORS, FaceDetector, allow_code)()  # type: ignore[type-abstract]
