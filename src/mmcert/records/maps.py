"""``maps/<id>.png``: the certified class of each pixel, as an 8-bit greyscale image."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.errors import RecordError
from mmcert.records.atomic import atomic_write

#: Not certified at the budget of the map; no class index.
ABSTAINED = 254
#: Without a label.
UNLABELLED = 255
#: Class indices must stay below the two values above.
MOST_CLASSES = 254


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def write_map(
    path: str | Path, classes: NDArray[np.integer[Any]], facts: Mapping[str, str] | None = None
) -> None:
    """Write a map ``(H, W)`` with values 0 to 255 as PNG, atomically.

    Written here in a few lines, so that the same map gives the same bytes on every machine.

    Args:
        path: The PNG file.
        classes: Class ids below 254, :data:`ABSTAINED`, :data:`UNLABELLED`; ``(H, W)``.
        facts: What the map states (budget, statistics, claim), kept as text chunks (latin-1).

    Raises:
        RecordError: Where the array is not such a map.
    """
    if classes.ndim != 2 or classes.size == 0:
        raise RecordError(f"{path}: a map has shape (H, W), not {classes.shape}.")
    if int(classes.min()) < 0 or int(classes.max()) > 255:
        raise RecordError(f"{path}: a map holds values from 0 to 255.")
    height, width = classes.shape
    rows = np.zeros((height, width + 1), np.uint8)  # a leading 0 per row: no filter
    rows[:, 1:] = classes
    content = b"\x89PNG\r\n\x1a\n"
    content += _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    for key, text in (facts or {}).items():
        content += _chunk(b"tEXt", f"{key}\0{text}".encode("latin-1", "replace"))
    content += _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _chunk(b"IEND", b"")
    with atomic_write(path) as stream:
        stream.write(content)
