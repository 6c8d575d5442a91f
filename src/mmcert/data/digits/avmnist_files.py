"""The files of AV-MNIST: IDX images and labels, and one WAV per spoken digit."""

from __future__ import annotations

import gzip
import re
import struct
import wave
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmcert.data.visible_files import visible_files
from mmcert.errors import DataError

RATE = 8000
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)\.wav")
#: Stems of image files, in the order in which they are joined; the label stem beside each.
_STEMS = (
    ("images-idx3-ubyte", "labels-idx1-ubyte"),
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes, gzipped or not, as an array of the shape that it states.

    Raises:
        DataError: Where the file is missing, corrupt, or of another type.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}). Fetch it anew.") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError(f"{path}: not an IDX file of unsigned bytes (its magic number is wrong).")
    axes = raw[3]
    header = 4 + 4 * axes
    if len(raw) < header:
        raise DataError(f"{path}: the file ends within its header. Fetch it anew.")
    shape = struct.unpack(f">{axes}I", raw[4:header])
    body = np.frombuffer(raw, np.uint8, offset=header)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"{path}: {body.size} bytes of data, its header promises {shape}. Fetch it anew."
        )
    return body.reshape(shape)


def _file(root: Path, stem: str) -> Path | None:
    for name in (
        f"{stem}.gz",
        stem,
        f"{stem.replace('-idx', '.idx')}.gz",
        stem.replace("-idx", ".idx"),
    ):
        if (root / name).is_file():
            return root / name
    return None


def read_images(root: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All images ``(S, 28, 28)`` and labels ``(S,)`` of a folder; MNIST's train before t10k.

    Raises:
        DataError: Where no image file is there, a label file is missing, or the two disagree.
    """
    named = [stems for stems in _STEMS if _file(root, stems[0]) is not None]
    if named[:1] == [_STEMS[0]] and len(named) > 1:
        raise DataError(
            f"{root}: images are here under two names ({named[0][0]} and {named[1][0]}), and would "
            f"be taken for different ones: the same image in training and in the test. Keep one "
            f"kind, MNIST's own files or images-idx3-ubyte with labels-idx1-ubyte."
        )
    images, labels = [], []
    for image_stem, label_stem in _STEMS:
        image_file = _file(root, image_stem)
        if image_file is None:
            continue
        label_file = _file(root, label_stem)
        if label_file is None:
            raise DataError(f"{root / label_stem}.gz: missing, but {image_file.name} is there.")
        pixels, digits = read_idx(image_file), read_idx(label_file)
        if pixels.ndim != 3 or pixels.shape[1:] != (28, 28):
            raise DataError(f"{image_file}: expected images of 28x28, found shape {pixels.shape}.")
        if digits.shape != pixels.shape[:1]:
            raise DataError(
                f"{label_file}: {digits.shape} labels for the {pixels.shape[0]} images of "
                f"{image_file.name}."
            )
        if digits.size and int(digits.max()) > 9:
            raise DataError(f"{label_file}: a label is {int(digits.max())}, not a digit 0..9.")
        images.append(pixels)
        labels.append(digits)
    if not images:
        raise DataError(
            f"{root}: no images here. Expected images-idx3-ubyte.gz and labels-idx1-ubyte.gz, or "
            f"MNIST's own files (train-images-idx3-ubyte.gz, t10k-images-idx3-ubyte.gz and labels)."
        )
    return np.concatenate(images), np.concatenate(labels)


@dataclass(frozen=True)
class Recording:
    """One file ``{digit}_{speaker}_{index}.wav``."""

    path: Path
    digit: int
    speaker: str


def find_recordings(root: Path) -> list[Recording]:
    """The recordings below ``root/recordings``, sorted by name.

    Raises:
        DataError: Where there are none, or a WAV file has another kind of name.
    """
    folder = root / "recordings"
    found = []
    for path in visible_files(folder, "*.wav"):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise DataError(
                f"{path}: a recording must be named {{digit}}_{{speaker}}_{{index}}.wav."
            )
        found.append(Recording(path, int(match["digit"]), match["speaker"]))
    if not found:
        raise DataError(
            f"{folder}: no recordings here. Expected {{digit}}_{{speaker}}_{{index}}.wav, the "
            f"recordings folder of the Free Spoken Digit Dataset."
        )
    return found


def read_wav(path: Path) -> NDArray[np.int16]:
    """One second of an 8 kHz mono 16-bit WAV, from its start: cut, or padded with silence.

    The scale is not changed: a loudness relative to the clip would make every sample depend on
    all others, and the attacker counts chunks of samples.

    Raises:
        DataError: Where the file is corrupt or of another kind.
    """
    try:
        with wave.open(str(path), "rb") as file:
            kind = (file.getframerate(), file.getnchannels(), file.getsampwidth())
            frames = file.readframes(RATE)
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{path}: cannot be read as WAV ({error or 'it ends early'}).") from error
    if kind != (RATE, 1, 2):
        raise DataError(
            f"{path}: {kind[0]} Hz, {kind[1]} channels, {8 * kind[2]} bits; expected 8000 Hz, "
            f"mono, 16 bits."
        )
    samples = np.frombuffer(frames[: len(frames) // 2 * 2], "<i2")
    if samples.size == 0:
        raise DataError(f"{path}: the recording holds no samples.")
    clip = np.zeros(RATE, np.int16)
    clip[: samples.size] = samples
    return clip
