"""A prepared folder: what is in it, and the elements of one clip, fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.speech.names import MODALITIES, clip_name
from mmcert.data.speech.windows import CHUNK, window_from
from mmcert.data.workspace import MANIFEST, read_manifest
from mmcert.errors import ConfigError, DataError

_TYPES = {"video": np.dtype(np.uint8), "audio": np.dtype(np.int16)}


@dataclass(frozen=True)
class Prepared:
    """What all clips of a prepared folder have in common.

    Args:
        ids: Sample ids, sorted.
        modalities: What was prepared.
        whole: Whether clips were prepared whole, each with an ``n`` of its own.
        crop: Rows and columns of a face; 0 without video.
        sizes: ``n`` per modality where all clips have the same, else None: clips were prepared
            whole, or differ in frames per second.
    """

    ids: tuple[str, ...]
    modalities: tuple[str, ...]
    whole: bool
    crop: int
    sizes: dict[str, int | None]


def read_prepared(root: Path, advice: str, *, complete: bool = True) -> Prepared:
    """What ``mmcert-prepare`` left in a folder.

    Args:
        root: The folder.
        advice: How to make it, for messages.
        complete: Whether a missing file is an error here; a check lists all of them itself.

    Raises:
        DataError: Where it was not prepared, or (``complete``) a file is missing.
    """
    manifest = read_manifest(root)
    if manifest is None:
        raise DataError(f"{root}: not a prepared folder, it has no {MANIFEST}. {advice}")
    settings = manifest.get("settings")
    try:
        modalities = tuple(name for name in MODALITIES if name in settings["modalities"])  # type: ignore[index]
        window = window_from(settings["window"])  # type: ignore[index]
        crop = int(settings["crop"] or 0)  # type: ignore[index]
        sizes = {name: manifest["elements"][name] for name in modalities}
        if not modalities:
            raise ValueError("no modality")
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(
            f"{root / MANIFEST}: these settings are not of prepared speech ({error!r}). {advice}"
        ) from error
    found = {name: {path.stem for path in _files(root, name)} for name in modalities}
    ids = sorted(set.union(*found.values()))
    if not ids:
        raise DataError(f"{root}: holds no clips. {advice}")
    for clip_id in ids:
        clip_name(clip_id)
        for name in modalities:
            if complete and clip_id not in found[name]:
                raise DataError(f"{root / name / clip_id}.npy: missing. {advice}")
    return Prepared(tuple(ids), modalities, window.seconds is None, crop, sizes)


def _files(root: Path, modality: str) -> list[Path]:
    folder = root / modality
    return [path for path in folder.glob("*.npy") if not path.name.startswith(".")]


def read_elements(
    root: Path, prepared: Prepared, clip_id: str, modality: str, *, mapped: bool = False
) -> NDArray[Any]:
    """The elements of one modality of a clip, as they are on disk.

    Args:
        root: The prepared folder.
        prepared: What is in it.
        clip_id: Sample id.
        modality: ``video`` or ``audio``.
        mapped: Read only what is asked of the array later, not all of it.

    Returns:
        uint8 ``(n, 3, crop, crop)`` or int16 ``(n, 735)``.

    Raises:
        DataError: Where the file is missing, corrupt, or of another shape.
    """
    path = root / modality / f"{clip_id}.npy"
    if not path.is_file():
        raise DataError(f"{path}: missing; prepare the data anew.")
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); prepare the data anew.") from error
    element = (3, prepared.crop, prepared.crop) if modality == "video" else (CHUNK,)
    n = prepared.sizes[modality]
    fits = array.shape[1:] == element and len(array) and n in (None, len(array))
    if array.dtype != _TYPES[modality] or not fits:
        raise DataError(
            f"{path}: {array.dtype} of shape {array.shape}; expected {_TYPES[modality]} "
            f"{(n or 'n', *element)}. Prepare the data anew."
        )
    return array
