"""PNG files of road data, read strictly: what is not as it should be is an error with a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mmcert.errors import DataError

Colour = tuple[int, int, int]


def _open(path: Path, what: str) -> Image.Image:
    if not path.is_file():
        raise DataError(
            f"{path}: the {what} is missing. Put it there, or take its frame out of the folder; "
            f"mmcert-prepare with check=true lists every problem of a folder at once."
        )
    try:
        with path.open("rb") as file:  # closed for a corrupt file too
            image = Image.open(file)
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: the {what} cannot be read ({error}); the file is corrupt or no image. "
            f"Fetch or make it anew."
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: the {what} is too large to be one frame ({error}).") from error
    return image


def read_rgb(path: Path, what: str = "image") -> NDArray[np.uint8]:
    """An image as ``(H, W, 3)`` uint8.

    Args:
        path: The file.
        what: What it is to a person, for messages.

    Raises:
        DataError: Where the file is missing, corrupt or has no three 8-bit channels.
    """
    image = _open(path, what)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise DataError(
            f"{path}: the {what} has the mode {image.mode}; it must have three channels of 8 bits."
        )
    return np.asarray(image.convert("RGB"))


def read_depth(path: Path, *, scale: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """A depth map as ``(H, W)`` float32 in metres, 0 = none.

    Args:
        path: A 16-bit one-channel PNG.
        scale: Units of the file per metre (1000: millimetres).
        size: Rows and columns of the image that it belongs to.

    Raises:
        DataError: Where the file is missing, corrupt, of 8 bits, of another size than the image,
            or has no depth at all.
    """
    image = _open(path, "depth map")
    if not image.mode.startswith("I"):
        raise DataError(
            f"{path}: the depth map has the mode {image.mode} (8 bits per channel); it must be a "
            f"16-bit one-channel PNG with 0 = none, of which {scale:g} units are one metre."
        )
    raw = np.asarray(image)
    if raw.shape != size:
        raise DataError(
            f"{path}: the depth map is {raw.shape[0]}x{raw.shape[1]}, its image is "
            f"{size[0]}x{size[1]} (rows x columns); they must be aligned pixel by pixel."
        )
    if not raw.any():
        raise DataError(
            f"{path}: the depth map is 0 (no depth) everywhere. Make it anew, or leave the sample "
            f"out: as it is it would only cost budget."
        )
    if int(raw.min()) < 0 or int(raw.max()) > 65535:
        raise DataError(f"{path}: the depth map has values outside 0..65535.")
    return (raw / np.float32(scale)).astype(np.float32)


def read_label(
    path: Path,
    *,
    colours: Mapping[Colour, int],
    size: tuple[int, int],
) -> NDArray[np.int64]:
    """A label image as ``(H, W)`` int64 class ids.

    Args:
        path: An RGB PNG.
        colours: The class id of every colour that may occur (255 = unlabelled).
        size: Rows and columns of the image that it belongs to.

    Raises:
        DataError: Where the file is missing, corrupt, of another size than the image, or has a
            colour of no class; with the first such pixel, its colour and their number.
    """
    label = read_rgb(path, "label")
    if label.shape[:2] != size:
        raise DataError(
            f"{path}: the label is {label.shape[0]}x{label.shape[1]}, its image is "
            f"{size[0]}x{size[1]} (rows x columns)."
        )
    packed = label.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    target = np.full(size, -1, np.int64)
    for (red, green, blue), value in colours.items():
        target[packed == (red << 16 | green << 8 | blue)] = value
    unknown = target < 0
    if unknown.any():
        row, column = (int(index) for index in np.argwhere(unknown)[0])
        found = tuple(int(value) for value in label[row, column])
        known = ", ".join(str(colour) for colour in colours)
        raise DataError(
            f"{path}: unknown label colour {found} at row {row}, column {column} "
            f"({int(unknown.sum())} such pixels); known are {known}. Labels must be PNG without "
            f"anti-aliasing; other classes are named in data.options.classes."
        )
    return target


def write_png(path: Path, array: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write ``(H, W)`` uint16, ``(H, W)`` uint8 or ``(H, W, 3)`` uint8; no time stamp inside."""
    Image.fromarray(array).save(path, format="PNG", compress_level=4)
