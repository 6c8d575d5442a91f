"""One clip before it is seen or heard: what is felt, shown and said, and when.

How hard the set is lies here, in the constants below.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np

from mmcert.data.speech.names import EMOTIONS
from mmcert.data.speech.talkingworld.actors import Actor, draw_actor
from mmcert.data.speech.talkingworld.clips import Clip
from mmcert.data.speech.talkingworld.emotions import (
    EXPRESSIONS,
    FACE_DOUBLE,
    PROSODIES,
    VOICE_DOUBLE,
    Expression,
    Prosody,
    mixed,
)
from mmcert.data.speech.talkingworld.utterance import Utterance, speak

#: Frames per second: NTSC's, which is that of RAVDESS.
FRAME_RATE = (30000, 1001)
#: Samples of sound per second.
SAMPLE_RATE = 48000
#: Share of the double's expression in a clip: mean and standard deviation, cut to [0, 1].
_FACE_MIX = (0.33, 0.30)
_VOICE_MIX = (0.33, 0.30)
#: Standard deviation of an action of the face from clip to clip, and within a clip.
_CLIP_SPREAD, _FRAME_SPREAD = 0.07, 0.08
#: Strength of the expression and of the prosody at RAVDESS' intensities 1 and 2.
_STRENGTH = (0.85, 1.0)


@dataclass(frozen=True)
class Performance:
    """A clip, drawn. ``T`` is the number of frames.

    Args:
        actor: Who speaks.
        utterance: What is said, in time.
        prosody: How it is said.
        expressions: Action of the face in every frame: float64 ``(T, F)`` with the fields of
            :class:`Expression` in their order.
        gaze: Where the eyes look, in radians to the right and down, float64 ``(T, 2)``.
        roll: Inclination of the head, radians, float64 ``(T,)``.
        rounding: How round the lips are, float64 ``(T,)``.
        seed: Seeds of what picture and sound add (background, breath, noise).
    """

    actor: Actor
    utterance: Utterance
    prosody: Prosody
    expressions: np.ndarray
    gaze: np.ndarray
    roll: np.ndarray
    rounding: np.ndarray
    seed: tuple[int, ...]

    @property
    def frames(self) -> int:
        """Pictures of the clip."""
        return len(self.expressions)

    @property
    def samples(self) -> int:
        """Samples of its sound: as long as the pictures last."""
        return round(self.frames * SAMPLE_RATE * FRAME_RATE[1] / FRAME_RATE[0])


def perform(clip: Clip, seed: int) -> Performance:
    """The performance of a clip in the world ``seed``; no other clip influences it."""
    key = (seed, clip.actor, clip.emotion, clip.intensity, clip.statement, clip.repetition)
    rng = np.random.default_rng([*key, 2])
    actor = draw_actor(clip.actor, seed)
    strength = _STRENGTH[clip.intensity - 1]
    prosody = _prosody(clip, actor, strength, rng)
    lead = rng.uniform(0.45, 1.05)
    utterance = speak(clip.statement, lead, 0.82 * actor.rate * prosody.pace, rng)
    frames = round((utterance.end + rng.uniform(0.45, 1.0)) * FRAME_RATE[0] / FRAME_RATE[1])
    times = np.arange(frames) * FRAME_RATE[1] / FRAME_RATE[0]
    expressions = _expressions(clip, actor, strength, utterance, times, rng)
    gaze = np.stack([_wander(rng, times, 0.7, 0.05), _wander(rng, times, 0.7, 0.03)], axis=1)
    return Performance(
        actor=actor,
        utterance=utterance,
        prosody=prosody,
        expressions=expressions,
        gaze=gaze,
        roll=rng.normal(0, 0.02) + _wander(rng, times, 0.9, 0.02),
        rounding=utterance.track("rounding", times, smooth=0.12),
        seed=key,
    )


def _prosody(clip: Clip, actor: Actor, strength: float, rng: np.random.Generator) -> Prosody:
    emotion = EMOTIONS[clip.emotion - 1]
    share = float(np.clip(rng.normal(*_VOICE_MIX), 0, 1))
    felt = mixed(PROSODIES[emotion], PROSODIES[VOICE_DOUBLE[emotion]], share)
    felt = mixed(PROSODIES["neutral"], felt, strength)
    return Prosody(
        pitch=felt.pitch + rng.normal(0, 1.0),
        melody=max(0.5, felt.melody * rng.uniform(0.8, 1.2)),
        ending=felt.ending + rng.normal(0, 0.5),
        pace=felt.pace * float(np.exp(rng.normal(0, 0.04))),
        level=felt.level + actor.loudness + rng.normal(0, 1.5),
        tilt=felt.tilt + actor.brilliance + rng.normal(0, 0.4),
        breath=float(np.clip(felt.breath + actor.breath + rng.normal(0, 0.03), 0.02, 0.8)),
        rough=float(np.clip(felt.rough + rng.normal(0, 0.05), 0, 1)),
        tremor=float(np.clip(felt.tremor + rng.normal(0, 0.05), 0, 1)),
        smile=felt.smile + rng.normal(0, 0.01),
    )


def _expressions(
    clip: Clip,
    actor: Actor,
    strength: float,
    utterance: Utterance,
    times: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Action of the face in every frame, ``(T, F)``."""
    emotion = EMOTIONS[clip.emotion - 1]
    double = FACE_DOUBLE.get(emotion, emotion)
    share = float(np.clip(rng.normal(*_FACE_MIX), 0, 1))
    felt = np.array(astuple(mixed(EXPRESSIONS[emotion], EXPRESSIONS[double], share)))
    names = [field.name for field in fields(Expression)]
    at = {name: column for column, name in enumerate(names)}
    pose = [at[name] for name in ("nod", "turn", "lean", "shake")]
    spread = np.full(len(names), 1.0)
    spread[pose] = 0.0
    felt = felt * strength * actor.strength + rng.normal(0, _CLIP_SPREAD, len(names)) * spread
    # The expression grows before the first word, holds through speech, and fades to some extent.
    rest, grown = rng.uniform(0.35, 0.70), utterance.start - rng.uniform(0.0, 0.3)
    course = rest + (1 - rest) * _ramp(times, grown - 0.35, grown)
    course *= 1 - rng.uniform(0.1, 0.4) * _ramp(times, utterance.end, utterance.end + 0.5)
    course *= 1 + _wander(rng, times, 0.5, 0.08)
    shown = felt * course[:, None]
    for column in range(len(names)):
        if column not in pose:
            shown[:, column] += _wander(rng, times, 0.25, _FRAME_SPREAD)
    shown = np.where(spread > 0, np.clip(shown, 0, 1.15), shown)
    jaw = utterance.track("jaw", times, smooth=0.09)
    closed = 1 - 0.6 * shown[:, at["press"]]
    shown[:, at["jaw"]] = np.clip(
        shown[:, at["jaw"]] * (1 - 0.4 * jaw) + 0.42 * jaw * closed, 0, 1.2
    )
    shown[:, at["lid_droop"]] = np.maximum(shown[:, at["lid_droop"]], _blinks(times, rng))
    quiet = 0.6 + 0.5 * shown[:, at["shake"]]
    side = rng.choice([-1.0, 1.0])
    shown[:, at["nod"]] += quiet * _wander(rng, times, 0.45, 0.022) + rng.normal(0, 0.015)
    shown[:, at["turn"]] = (
        side * shown[:, at["turn"]] + quiet * _wander(rng, times, 0.55, 0.03) + rng.normal(0, 0.03)
    )
    shown[:, at["lean"]] += quiet * _wander(rng, times, 0.7, 0.008)
    return shown


def _ramp(times: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 before ``start``, 1 after ``end``, smooth between."""
    share = np.clip((times - start) / (end - start), 0, 1)
    return share * share * (3 - 2 * share)


def _wander(
    rng: np.random.Generator, times: np.ndarray, period: float, spread: float
) -> np.ndarray:
    """A smooth random course of mean 0 that turns about every ``period`` seconds."""
    knots = np.arange(-2, int(times[-1] / period) + 4)
    values = rng.normal(0, spread, len(knots))
    place = times / period + rng.uniform(0, 1)
    left = np.floor(place).astype(int)
    share = place - left
    share = share * share * (3 - 2 * share)
    return values[left + 2] * (1 - share) + values[left + 3] * share


def _blinks(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How far blinking closes the lids."""
    closed = np.zeros_like(times)
    when = rng.uniform(0.2, 2.0)
    while when < times[-1]:
        closed = np.maximum(closed, np.clip(1.3 - np.abs(times - when) / 0.075, 0, 1))
        when += rng.uniform(1.2, 3.5)
    return closed
