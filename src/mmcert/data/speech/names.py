"""File names of RAVDESS: seven two-digit fields that say all there is to know about a clip.

``modality-channel-emotion-intensity-statement-repetition-actor``, for example
``01-01-06-01-02-01-12``: audio and video, speech, fearful, normal intensity, "Dogs are sitting by
the door", first repetition, actor 12. Livingstone, Russo, "The Ryerson Audio-Visual Database of
Emotional Speech and Song (RAVDESS)", PLoS ONE 13(5), 2018; DOI 10.5281/zenodo.1188976.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmcert.errors import DataError

#: The classes, in the order of their ids; the field of a name is the id plus one.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
ACTORS = 24
MODALITIES = ("video", "audio")
#: First field of a file name -> the modalities that the file holds.
HOLDS = {1: MODALITIES, 2: ("video",), 3: ("audio",)}
SPEECH, SONG = 1, 2

_FIELDS = re.compile("[0-9]{2}(-[0-9]{2}){5}")
#: The largest value of each field of a clip's id.
_LIMITS = {
    "channel": SONG,
    "emotion": len(EMOTIONS),
    "intensity": 2,
    "statement": len(STATEMENTS),
    "repetition": 2,
    "actor": ACTORS,
}


@dataclass(frozen=True)
class ClipName:
    """One performance: what its files, with sound, picture or both, have in common.

    Args:
        channel: 1 speech, 2 song.
        emotion: Class id, an index of :data:`EMOTIONS`.
        intensity: 1 normal, 2 strong (neutral has only 1).
        statement: 1 or 2, see :data:`STATEMENTS`.
        repetition: 1 or 2.
        actor: 1 to 24; odd numbers are male, even ones female.
    """

    channel: int
    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int

    @property
    def id(self) -> str:
        """The sample id: the file name without the field that says which modalities it holds.

        >>> ClipName(1, 5, 1, 2, 1, 12).id
        '01-06-01-02-01-12'
        """
        fields = (self.channel, self.emotion + 1, self.intensity, self.statement)
        return "-".join(f"{field:02d}" for field in (*fields, self.repetition, self.actor))

    @property
    def is_male(self) -> bool:
        """Whether the actor is one of the men."""
        return self.actor % 2 == 1


def clip_name(sample_id: str) -> ClipName:
    """The clip of a sample id.

    Raises:
        DataError: Saying which field is wrong.

    >>> clip_name("01-06-01-02-01-12")
    ClipName(channel=1, emotion=5, intensity=1, statement=2, repetition=1, actor=12)
    """
    if _FIELDS.fullmatch(sample_id) is None:
        raise DataError(
            f"'{sample_id}' is no name of a clip; it must have six two-digit fields, "
            f"{'-'.join(_LIMITS)}."
        )
    values = dict(zip(_LIMITS, map(int, sample_id.split("-")), strict=True))
    for field, limit in _LIMITS.items():
        if not 1 <= values[field] <= limit:
            raise DataError(
                f"'{sample_id}': the field {field} is {values[field]:02d}; it goes from 01 to "
                f"{limit:02d}."
            )
    return ClipName(**{**values, "emotion": values["emotion"] - 1})


def file_name(stem: str) -> tuple[tuple[str, ...], ClipName]:
    """The modalities that a file holds, and its clip.

    Args:
        stem: Name of the file without suffix.

    Raises:
        DataError: Saying what is wrong with the name.

    >>> file_name("03-01-06-01-02-01-12")[0]
    ('audio',)
    """
    first, _, rest = stem.partition("-")
    if not re.fullmatch("[0-9]{2}", first) or _FIELDS.fullmatch(rest) is None:
        raise DataError(
            f"'{stem}' is no RAVDESS name; it must have seven two-digit fields, "
            f"modality-{'-'.join(_LIMITS)}."
        )
    if int(first) not in HOLDS:
        raise DataError(
            f"'{stem}': the field modality is {first}; it is 01 (audio and video), 02 (video) or "
            f"03 (audio)."
        )
    return HOLDS[int(first)], clip_name(rest)
