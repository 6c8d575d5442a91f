"""Calibration files of KITTI: ``KEY: floats`` lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcert.errors import DataError

#: The matrices that are used here, and their shapes.
SHAPES = {
    "P0": (3, 4),
    "P1": (3, 4),
    "P2": (3, 4),
    "P3": (3, 4),
    "R0_rect": (3, 3),
    "Tr_velo_to_cam": (3, 4),
    "Tr_imu_to_velo": (3, 4),
    "Tr_cam_to_road": (3, 4),
}


@dataclass(frozen=True)
class Calibration:
    """The matrices of one frame, float64, by their KITTI names.

    Args:
        path: The file they come from.
        matrices: ``P0`` .. ``P3`` and ``Tr_*`` are 3x4, ``R0_rect`` is 3x3; metres and pixels.
    """

    path: Path
    matrices: dict[str, NDArray[np.float64]]

    def __getitem__(self, key: str) -> NDArray[np.float64]:
        if key not in self.matrices:
            raise DataError(
                f"{self.path}: the calibration has no {key}; it has {sorted(self.matrices)}. "
                f"Take the calib folder of the KITTI Road download (data_road)."
            )
        return self.matrices[key]

    def camera(self) -> dict[str, float]:
        """Intrinsics of the colour camera 2 in pixels: ``fx``, ``fy``, ``u0``, ``v0``."""
        p2 = self["P2"]
        return {
            "fx": float(p2[0, 0]),
            "fy": float(p2[1, 1]),
            "u0": float(p2[0, 2]),
            "v0": float(p2[1, 2]),
        }


def read_calibration(path: Path, *, needs: Sequence[str] = ("P2",)) -> Calibration:
    """Read a calibration file; blank lines and unknown keys are skipped.

    Args:
        path: A text file of ``KEY: floats`` lines.
        needs: Keys that must be there.

    Raises:
        DataError: Where the file is missing, a line is not as it should be, or a key is missing.
    """
    if not path.is_file():
        raise DataError(f"{path}: the calibration file is missing.")
    matrices: dict[str, NDArray[np.float64]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the calibration file cannot be read ({error}).") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, colon, rest = line.partition(":")
        shape = SHAPES.get(key.strip())
        if not colon:
            raise DataError(f"{path}, line {number}: expected 'KEY: floats', found {line[:60]!r}.")
        if shape is None:
            continue
        try:
            values = np.array([float(word) for word in rest.split()])
        except ValueError as error:
            raise DataError(f"{path}, line {number}, {key}: {error}.") from error
        if values.size != shape[0] * shape[1] or not np.isfinite(values).all():
            raise DataError(
                f"{path}, line {number}: {key} must be {shape[0] * shape[1]} finite numbers "
                f"({shape[0]}x{shape[1]}), found {int(np.isfinite(values).sum())}."
            )
        if key.strip() == "P2" and not (values[0] > 0 and values[5] > 0):
            raise DataError(
                f"{path}, line {number}: the focal lengths of P2 (its first and sixth number) are "
                f"{values[0]:g} and {values[5]:g} pixels; they must be above 0."
            )
        matrices[key.strip()] = values.reshape(shape)
    calibration = Calibration(path, matrices)
    for key in needs:
        calibration[key]
    return calibration


def format_calibration(matrices: dict[str, NDArray[np.float64]]) -> str:
    """The text of a calibration file, in the digits of KITTI's own."""
    lines = [
        f"{key}: " + " ".join(f"{value:.12e}" for value in np.ravel(matrix))
        for key, matrix in matrices.items()
    ]
    return "\n".join(lines) + "\n\n"
