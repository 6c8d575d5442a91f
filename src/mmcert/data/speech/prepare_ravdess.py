"""From the raw files of RAVDESS, or of a set in its format, to elements on disk.

``audio_speech_actors_01-24.zip`` and ``Video_Speech_Actor_NN.zip`` of
https://zenodo.org/records/1188976, unpacked anywhere below one folder. Files are known by their
names (:mod:`mmcert.data.speech.names`); the folders that they lie in say nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.data.problems import counted, numbered
from mmcert.data.speech.actors import split_by_actor
from mmcert.data.speech.clips import clip_elements
from mmcert.data.speech.faces import face_detector
from mmcert.data.speech.media import media_library
from mmcert.data.speech.names import MODALITIES
from mmcert.data.speech.raw_clips import SHOWN, RawClip, Source, find_raw_clips, fingerprint
from mmcert.data.speech.windows import Window, window_from
from mmcert.data.workspace import Workspace, run_tasks, whole_file
from mmcert.errors import ConfigError, DataError

#: What is prepared, clip by clip, and which clips were not and why.
CLIPS = "clips.json"
#: Raised whenever the same clip gives other elements.
CONVERSION = 1
_RECORDS = ".clips"


@dataclass(frozen=True)
class Options:
    """How clips are prepared; see :func:`prepare_ravdess`."""

    window: Window
    crop: int
    detector: str
    allow_code: tuple[str, ...]


def prepare_ravdess(
    source: Path,
    out: Path,
    *,
    modalities: Sequence[str] | None = None,
    window: object = 3.6,
    crop: int = 64,
    detector: str = "cascade",
    allow_code: Sequence[str] = (),
    strict: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Prepare every clip; interrupted, it goes on with those that are not done.

    Args:
        source: See :func:`find_raw_clips`.
        out: Folder to make: ``video/ID.npy`` uint8 ``(n, 3, crop, crop)``, ``audio/ID.npy`` int16
            ``(n, 735)``, ``clips.json``, and ``manifest.json`` with checksums and the split.
        modalities: See :func:`find_raw_clips`.
        window: Seconds, or ``whole``; see :mod:`mmcert.data.speech.windows`.
        crop: Rows and columns of a face, 16 to 512.
        detector: Finds the faces, see :func:`mmcert.data.speech.faces.face_detector`.
        allow_code: Packages whose detectors may be imported by name.
        strict: Whether a clip that cannot be prepared is an error; else it is left out and listed.
        workers: Processes; None: one per core.

    Returns:
        The content of ``clips.json``, and under ``split`` the clips of each split.

    Raises:
        ConfigError: For values out of range.
        DataError: Where nothing can be prepared, ``out`` holds something else, or, if ``strict``,
            any clip is corrupt.
    """
    if isinstance(crop, bool) or not isinstance(crop, int) or not 16 <= crop <= 512:
        raise ConfigError(f"crop={crop} must be an integer from 16 to 512, in pixels.")
    options = Options(window_from(window), crop, str(detector), tuple(allow_code))
    found = find_raw_clips(source, modalities)
    pictures = "video" in found.modalities
    _check_tools(found.modalities, options)
    if strict and found.skipped:
        _refuse(source, list(found.skipped.values()))
    workspace = Workspace(
        out,
        {
            "dataset": "ravdess",
            "modalities": list(found.modalities),
            "window": options.window.setting,
            "crop": crop if pictures else None,
            "detector": options.detector if pictures else None,
            "conversion": CONVERSION,
            "source_files": fingerprint(found.clips),
        },
    )
    if not workspace.done:
        if not (workspace.folder / CLIPS).is_file():
            _convert_all(workspace.folder, found, options, source, strict, workers)
        shutil.rmtree(workspace.folder / _RECORDS, ignore_errors=True)
        document = read_clips(workspace.folder)
        split = split_by_actor(document["clips"])
        workspace.finish(
            {"seed": 0, **{name: list(ids) for name, ids in split.items()}},
            elements={
                name: None if options.window.seconds is None else common_size(document, name)
                for name in found.modalities
            },
            skipped=len(document["skipped"]),
        )
    document = read_clips(out)
    return {**document, "split": split_by_actor(document["clips"])}


def _convert_all(
    folder: Path,
    found: Source,
    options: Options,
    source: Path,
    strict: bool,
    workers: int | None,
) -> None:
    """Convert what has no record yet, and join the records to ``clips.json``."""
    records = folder / _RECORDS
    tasks = [
        (folder, clip, options)
        for clip in found.clips
        if not (records / f"{clip.id}.json").is_file()
    ]
    run_tasks(convert, tasks, workers=workers, unit="clips")
    clips: dict[str, Any] = {}
    skipped = dict(found.skipped)
    for clip in found.clips:
        record = json.loads((records / f"{clip.id}.json").read_text(encoding="utf-8-sig"))
        if "problem" in record:
            skipped[clip.id] = record["problem"]
        else:
            clips[clip.id] = record
    if not clips:
        shutil.rmtree(folder)
        _refuse(source, list(skipped.values()))
    if strict and skipped:  # what is done stays, for the same command with strict=false
        _refuse(source, list(skipped.values()))
    document = {
        "modalities": list(found.modalities),
        "clips": clips,
        "skipped": skipped,
        "songs": found.songs,
    }
    with whole_file(folder / CLIPS) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _check_tools(modalities: Sequence[str], options: Options) -> None:
    """Refuse to begin without the libraries or the detector that every clip needs.

    Raises:
        ConfigError: Naming what is missing.
    """
    media_library("av")
    if "audio" in modalities:
        media_library("soxr")
    if "video" in modalities:
        face_detector(options.detector, options.allow_code)


def common_size(document: Mapping[str, Any], modality: str) -> int | None:
    """``n`` of a modality where all clips have the same, else None."""
    sizes = {clip["elements"][modality] for clip in document["clips"].values()}
    return sizes.pop() if len(sizes) == 1 else None


def _refuse(source: Path, problems: list[str]) -> None:
    raise DataError(
        f"{source}: {counted(problems)}, so nothing was prepared. Fetch these files anew, or leave "
        f"them out with strict=false:\n{numbered(problems, SHOWN)}"
    )


def convert(folder: Path, clip: RawClip, options: Options) -> None:
    """Write the files of one clip and, last, its record; a clip that is corrupt has only that."""
    try:
        elements = clip_elements(
            clip.video,
            clip.audio,
            window=options.window,
            crop=options.crop,
            detector=options.detector,
            allow_code=options.allow_code,
        )
    except DataError as error:
        record: dict[str, Any] = {"problem": str(error)}
    else:
        for name in MODALITIES:
            array = getattr(elements, name)
            if array is not None:
                write_array(folder / name / f"{clip.id}.npy", array)
        sizes = {
            name: len(getattr(elements, name))
            for name in MODALITIES
            if getattr(elements, name) is not None
        }
        files = [path.name for path in clip.files]
        record = {"files": files, "elements": sizes, **elements.facts}
    with whole_file(folder / _RECORDS / f"{clip.id}.json") as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a plain ``.npy`` file, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_clips(folder: Path) -> dict[str, Any]:
    """``clips.json`` of a prepared folder.

    Raises:
        DataError: Where it is missing or broken.
    """
    path = folder / CLIPS
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(document["clips"], dict) or not isinstance(document["skipped"], dict):
            raise TypeError("clips and skipped must be maps")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); prepare the data anew.") from error
    return dict(document)
