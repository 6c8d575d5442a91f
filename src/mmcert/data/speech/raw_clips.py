"""The raw files of RAVDESS, found by their names wherever they lie below one folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcert.data.problems import numbered
from mmcert.data.speech.names import MODALITIES, SONG, file_name
from mmcert.errors import ConfigError, DataError

SUFFIXES = (".mp4", ".wav", ".mov", ".mkv", ".avi", ".mpg", ".flac")
#: Problems that are printed one by one; the rest is counted.
SHOWN = 30


@dataclass(frozen=True)
class RawClip:
    """The files of one clip; both may be the same one.

    Args:
        id: Sample id.
        video: File with the picture, None where it is not wanted.
        audio: File with the sound, None where it is not wanted.
    """

    id: str
    video: Path | None
    audio: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """Each file once."""
        return tuple(dict.fromkeys(path for path in (self.video, self.audio) if path is not None))


@dataclass(frozen=True)
class Source:
    """What is to be found in a folder of raw files.

    Args:
        clips: By id.
        modalities: What each of them has.
        skipped: File or id -> why it is left out.
        songs: Clips left out because they are sung.
    """

    clips: tuple[RawClip, ...]
    modalities: tuple[str, ...]
    skipped: dict[str, str]
    songs: int


def find_raw_clips(source: Path, modalities: Sequence[str] | None = None) -> Source:
    """The clips below a folder.

    A file ``01-`` serves picture and sound on one clock. Without it, ``02-`` and ``03-`` are taken
    to start together. Sound alone comes from ``03-`` first: it is not compressed. A file that is
    there twice (some archives hold a copy of themselves) counts once.

    Args:
        source: The folder.
        modalities: What is wanted; None: whatever there is, pictures and sound, or sound alone.

    Raises:
        ConfigError: For an unknown modality.
        DataError: Where the folder is missing or holds no clip.
    """
    if not source.is_dir():
        raise DataError(
            f"{source}: the folder does not exist; source= names that of the raw clips."
        )
    wanted = checked_modalities(modalities)
    skipped: dict[str, str] = {}
    held: dict[str, dict[tuple[str, ...], Path]] = {}
    songs: set[str] = set()
    for path in sorted(_media_files(source), key=lambda path: (path.name, path)):
        try:
            holds, name = file_name(path.stem)
        except DataError as error:
            skipped[path.relative_to(source).as_posix()] = str(error)
            continue
        if name.channel == SONG:
            songs.add(name.id)
            continue
        held.setdefault(name.id, {}).setdefault(holds, path)
    if not held:
        raise DataError(
            f"{source}: no speech clips here. Unpack the archives of RAVDESS there; their files "
            f"are called like Actor_01/03-01-01-01-01-01-01.wav.\n"
            f"{numbered(list(skipped.values()), SHOWN)}".rstrip()
        )
    if wanted is None:
        pictures = any("video" in holds for files in held.values() for holds in files)
        wanted = MODALITIES if pictures else ("audio",)
    clips = []
    for clip_id, files in sorted(held.items()):
        clip = _raw_clip(clip_id, files, wanted)
        missing = [name for name in wanted if getattr(clip, name) is None]
        if missing:
            there = ", ".join(sorted(path.name for path in files.values()))
            skipped[clip_id] = f"'{clip_id}': no file with {missing[0]} (only {there})."
        else:
            clips.append(clip)
    if not clips:
        raise DataError(
            f"{source}: none of the {len(held)} clips has {' and '.join(wanted)}; set modalities= "
            f"to what is there."
        )
    return Source(tuple(clips), tuple(wanted), skipped, len(songs))


def checked_modalities(modalities: object) -> tuple[str, ...] | None:
    """Modalities in their order, each once; None stays None.

    Raises:
        ConfigError: For anything that is no modality.
    """
    if modalities is None:
        return None
    named: Any = [modalities] if isinstance(modalities, str) else modalities
    found = list(named) if isinstance(named, Iterable) else []
    if not found or not all(name in MODALITIES for name in found):
        raise ConfigError(
            f"modalities={modalities} must be [audio], [video] or [video,audio], or null for what "
            f"is there."
        )
    return tuple(name for name in MODALITIES if name in found)


def _media_files(source: Path) -> Iterable[Path]:
    # No hidden ones: macOS leaves ._NAME beside NAME.
    found = (path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    return (path for path in found if not path.name.startswith(".") and path.is_file())


def _raw_clip(clip_id: str, files: dict[tuple[str, ...], Path], wanted: Sequence[str]) -> RawClip:
    both, video, audio = (files.get(holds) for holds in (MODALITIES, ("video",), ("audio",)))
    picture = (both or video) if "video" in wanted else None
    sound = None
    if "audio" in wanted:
        sound = both or audio if picture is not None and picture == both else audio or both
    return RawClip(clip_id, picture, sound)


def fingerprint(clips: Sequence[RawClip]) -> str:
    """Names and sizes of what is converted: another download is not mistaken for this one."""
    lines = [
        f"{clip.id} {path.name} {path.stat().st_size}" for clip in clips for path in clip.files
    ]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return f"{len(lines)} files, fingerprint {digest[:16]}"
