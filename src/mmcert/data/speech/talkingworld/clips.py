"""Which clips a set has, and their names: those of the speech part of RAVDESS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import islice

import numpy as np

from mmcert.data.speech.names import ACTORS, EMOTIONS, SPEECH

#: Clips of an actor: 8 of every emotion, 4 of neutral, which has no strong intensity.
CLIPS_OF_AN_ACTOR = 60


@dataclass(frozen=True)
class Clip:
    """What the name of a RAVDESS clip tells.

    Args:
        emotion: 1..8, the place in :data:`mmcert.data.speech.names.EMOTIONS`, from 1.
        intensity: 1 normal, 2 strong.
        statement: 1 or 2.
        repetition: 1 or 2.
        actor: 1..24.
    """

    emotion: int
    intensity: int
    statement: int
    repetition: int
    actor: int

    @property
    def stem(self) -> str:
        """The fields after the modality, with the channel of speech.

        >>> Clip(emotion=3, intensity=1, statement=2, repetition=1, actor=7).stem
        '01-03-01-02-01-07'
        """
        return "-".join(f"{field:02d}" for field in (SPEECH, *astuple(self)))

    @property
    def folder(self) -> str:
        """The folder of its actor."""
        return f"Actor_{self.actor:02d}"

    @property
    def movie(self) -> str:
        """Path of the file with picture and sound, relative to the root of the set."""
        return f"{self.folder}/01-{self.stem}.mp4"

    @property
    def sound(self) -> str:
        """Path of the file with sound alone, relative to the root of the set."""
        return f"{self.folder}/03-{self.stem}.wav"


def clips_of(count: int, seed: int) -> list[Clip]:
    """The first ``count`` clips of a world: actors take turns, and so do an actor's emotions.

    A smaller set is a part of a larger one of the same seed. Any 24 times 8 clips in a row from
    the start have every emotion of every actor once.
    """
    turns = zip(*(_clips_of_an_actor(actor, seed) for actor in range(1, ACTORS + 1)), strict=True)
    return list(islice((clip for turn in turns for clip in turn), count))


def _clips_of_an_actor(actor: int, seed: int) -> Iterator[Clip]:
    rng = np.random.default_rng([seed, actor])
    variants = {
        emotion: rng.permutation(
            [
                (intensity, statement, repetition)
                for intensity in ((1,) if emotion == 1 else (1, 2))
                for statement in (1, 2)
                for repetition in (1, 2)
            ]
        ).tolist()
        for emotion in range(1, len(EMOTIONS) + 1)
    }
    for turn in range(8):
        for emotion in (rng.permutation(len(EMOTIONS)) + 1).tolist():
            if turn < len(variants[emotion]):
                intensity, statement, repetition = variants[emotion][turn]
                yield Clip(emotion, intensity, statement, repetition, actor)
