"""What an emotion does to a face and to a voice.

Emotions are confusable on purpose, and differently in each modality: every emotion has a double in
the voice, all but two have one in the face, and no two emotions are doubles in both. A clip mixes
in some of the double's expression, of each modality on its own (see ``performance``), so that
neither modality alone decides what both together do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar


@dataclass(frozen=True)
class Expression:
    """Action of the face, 0 (rest) to 1 each; the names follow the action units of FACS.

    Args:
        inner_brow: AU1, the inner ends of the brows rise.
        outer_brow: AU2, their outer ends rise.
        brow_lower: AU4, the brows sink and draw together.
        lid_raise: AU5, the eyes open wide.
        lid_droop: AU43, the eyes close; 1 is shut.
        lid_tight: AU7, the lids tighten from below.
        wrinkle: AU9, the nose wrinkles.
        lip_raise: AU10, the upper lip rises.
        smile: AU12, the corners of the mouth rise.
        frown: AU15, the corners of the mouth sink.
        stretch: AU20, the mouth widens.
        press: AU24, the lips press together.
        jaw: AU26, the jaw drops.
        nod: Pitch of the head in radians; positive looks down.
        turn: Yaw of the head in radians, to either side.
        lean: Approach to the camera, relative.
        shake: Amplitude of head motion, relative to a quiet head's.
    """

    inner_brow: float = 0.0
    outer_brow: float = 0.0
    brow_lower: float = 0.0
    lid_raise: float = 0.0
    lid_droop: float = 0.0
    lid_tight: float = 0.0
    wrinkle: float = 0.0
    lip_raise: float = 0.0
    smile: float = 0.0
    frown: float = 0.0
    stretch: float = 0.0
    press: float = 0.0
    jaw: float = 0.0
    nod: float = 0.0
    turn: float = 0.0
    lean: float = 0.0
    shake: float = 0.0


@dataclass(frozen=True)
class Prosody:
    """A manner of speaking, relative to the speaker's neutral one.

    Args:
        pitch: Semitones above it.
        melody: Semitones by which accents rise.
        ending: Semitones by which the last syllable rises (negative: falls).
        pace: Factor of the speed.
        level: dB.
        tilt: dB per octave above 500 Hz; higher is brighter.
        breath: Share of breath, 0 to 1.
        rough: Irregularity of the voice's periods, 0 to 1.
        tremor: Depth of a tremor of about 6 Hz, 0 to 1.
        smile: Relative rise of the formants.
    """

    pitch: float = 0.0
    melody: float = 2.0
    ending: float = -2.0
    pace: float = 1.0
    level: float = 0.0
    tilt: float = 0.0
    breath: float = 0.0
    rough: float = 0.0
    tremor: float = 0.0
    smile: float = 0.0


Manner = TypeVar("Manner", Expression, Prosody)

EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "calm": Expression(smile=0.28, lid_droop=0.16, inner_brow=0.1, nod=0.02),
    "happy": Expression(
        smile=1.0, lid_tight=0.55, outer_brow=0.2, stretch=0.25, lip_raise=0.2, jaw=0.12,
        nod=-0.03, lean=0.02, shake=1.6,
    ),
    "sad": Expression(
        inner_brow=0.95, brow_lower=0.25, lid_droop=0.32, frown=0.9, nod=0.10, shake=0.6,
    ),
    "angry": Expression(
        brow_lower=1.0, lid_tight=0.5, lid_raise=0.25, press=0.8, frown=0.35, wrinkle=0.25,
        nod=0.04, lean=0.06, shake=2.2,
    ),
    "fearful": Expression(
        inner_brow=0.95, outer_brow=0.45, brow_lower=0.3, lid_raise=0.85, stretch=0.9, jaw=0.25,
        frown=0.3, nod=-0.02, lean=-0.04, shake=1.8,
    ),
    "disgust": Expression(
        brow_lower=0.8, lid_tight=0.7, wrinkle=0.9, lip_raise=0.85, frown=0.5, jaw=0.05,
        nod=-0.02, turn=0.10, shake=1.2,
    ),
    "surprised": Expression(
        inner_brow=0.95, outer_brow=0.95, lid_raise=0.9, jaw=0.75, nod=-0.06, lean=-0.02,
        shake=1.3,
    ),
}  # fmt: skip

PROSODIES: dict[str, Prosody] = {
    "neutral": Prosody(),
    "calm": Prosody(pitch=-1.5, melody=1.5, pace=0.88, level=-8, tilt=-3.5, breath=0.40),
    "happy": Prosody(
        pitch=6, melody=6, ending=-1, pace=1.05, level=4, tilt=0.5, smile=0.06, breath=0.05
    ),
    "sad": Prosody(
        pitch=0.5, melody=1.0, ending=-3, pace=0.82, level=-9, tilt=-4.5, breath=0.55, tremor=0.3
    ),
    "angry": Prosody(
        pitch=3.5, melody=5, ending=-4, pace=1.08, level=10, tilt=4, rough=0.45
    ),
    "fearful": Prosody(
        pitch=6, melody=3, ending=0, pace=1.18, level=8, tilt=3, breath=0.2, rough=0.35, tremor=0.8
    ),
    "disgust": Prosody(
        pitch=-2.5, melody=3.5, ending=-3, pace=0.88, level=0.5, tilt=-0.8, rough=0.3
    ),
    "surprised": Prosody(
        pitch=9, melody=9, ending=5, pace=1.1, level=4.5, tilt=-0.3, breath=0.15
    ),
}  # fmt: skip

_FACE_DOUBLES = (("neutral", "calm"), ("angry", "disgust"), ("fearful", "surprised"))
_VOICE_DOUBLES = (
    ("neutral", "disgust"),
    ("calm", "sad"),
    ("happy", "surprised"),
    ("angry", "fearful"),
)
#: emotion -> the emotion that its face, or its voice, is easily taken for.
FACE_DOUBLE = {one: other for pair in _FACE_DOUBLES for one, other in (pair, pair[::-1])}
VOICE_DOUBLE = {one: other for pair in _VOICE_DOUBLES for one, other in (pair, pair[::-1])}


def mixed(own: Manner, double: Manner, share: float) -> Manner:
    """The values of ``own`` with ``share`` of those of ``double`` instead.

    >>> mixed(Prosody(level=0), Prosody(level=8), 0.25).level
    2.0
    """
    values = {
        field.name: (1 - share) * getattr(own, field.name) + share * getattr(double, field.name)
        for field in fields(own)
    }
    return type(own)(**values)
