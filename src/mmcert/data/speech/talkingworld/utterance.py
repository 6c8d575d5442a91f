"""The two statements of RAVDESS as sounds in time: what the mouth forms and the voice says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phone:
    """One speech sound.

    Args:
        length: Usual length in seconds.
        formants: Resonances of the vocal tract of a male speaker, Hz.
        voiced: Level of the voice, 0 to 1.
        hiss: Level of the noise of friction or of a burst, 0 to 1.
        centre: Middle of that noise's spectrum, Hz.
        jaw: How far the mouth is open, 0 to 1.
        rounding: How round the lips are, 0 to 1.
        burst: Whether it is silent in its first half.
    """

    length: float
    formants: tuple[float, float, float]
    voiced: float
    hiss: float = 0.0
    centre: float = 4000.0
    jaw: float = 0.2
    rounding: float = 0.0
    burst: bool = False


_PHONES = {
    "aa": Phone(0.15, (730, 1090, 2440), 1.0, jaw=1.0),
    "ao": Phone(0.15, (570, 840, 2410), 1.0, jaw=0.75, rounding=0.8),
    "ih": Phone(0.09, (390, 1990, 2550), 1.0, jaw=0.35),
    "ah": Phone(0.08, (640, 1190, 2390), 0.95, jaw=0.5),
    "a": Phone(0.11, (700, 1220, 2600), 1.0, jaw=0.9),
    "y": Phone(0.09, (330, 2150, 2800), 0.95, jaw=0.25),
    "r": Phone(0.08, (420, 1300, 1650), 0.85, jaw=0.3, rounding=0.5),
    "ng": Phone(0.09, (280, 1200, 2300), 0.55, jaw=0.15),
    "b": Phone(0.07, (250, 900, 2200), 0.30, 0.15, 900, jaw=0.0, burst=True),
    "d": Phone(0.06, (280, 1700, 2600), 0.30, 0.25, 3800, jaw=0.15, burst=True),
    "g": Phone(0.07, (270, 1900, 2500), 0.30, 0.25, 2200, jaw=0.2, burst=True),
    "dh": Phone(0.05, (320, 1400, 2500), 0.55, 0.10, 5000, jaw=0.15),
    "k": Phone(0.09, (300, 1800, 2500), 0.0, 0.50, 2400, jaw=0.25, burst=True),
    "t": Phone(0.08, (300, 1700, 2600), 0.0, 0.55, 4500, jaw=0.15, burst=True),
    "s": Phone(0.11, (300, 1700, 2600), 0.0, 0.60, 6500, jaw=0.1),
    "z": Phone(0.09, (300, 1600, 2600), 0.45, 0.40, 6000, jaw=0.1),
}
#: Words of phones; an apostrophe marks the vowel of an accent.
_STATEMENTS = (
    "k ih' d z  aa r  t ao' k ih ng  b a' y  dh ah  d ao' r",  # Kids are talking by the door
    "d ao' g z  aa r  s ih' t ih ng  b a' y  dh ah  d ao' r",  # Dogs are sitting by the door
)


@dataclass(frozen=True)
class Utterance:
    """A statement in time; ``P`` is the number of phones.

    Args:
        phones: The sounds.
        starts: When each begins, seconds, float64 ``(P,)``.
        end: When the last one ends, seconds.
        accents: Times of the accents, seconds, float64 ``(A,)``.
    """

    phones: tuple[Phone, ...]
    starts: np.ndarray
    end: float
    accents: np.ndarray

    @property
    def start(self) -> float:
        """When speech begins, seconds."""
        return float(self.starts[0])

    def track(self, name: str, times: np.ndarray, smooth: float = 0.0) -> np.ndarray:
        """A property of the phones over time, ``(T,)`` or ``(T, 3)`` for the formants.

        Args:
            name: Field of :class:`Phone`, or ``onset`` for the share of the phone that has passed.
            times: Rising and evenly spaced, seconds, ``(T,)``.
            smooth: Time over which neighbouring sounds melt together, seconds.

        Returns:
            float64, 0 outside of speech but for the formants, which rest as they were.
        """
        ends = np.append(self.starts[1:], self.end)
        index = np.clip(np.searchsorted(self.starts, times, "right") - 1, 0, len(ends) - 1)
        if name == "onset":
            return (times - self.starts[index]) / (ends - self.starts)[index]
        values = np.array([getattr(phone, name) for phone in self.phones], np.float64)[index]
        if name != "formants":
            values = np.where((times < self.start) | (times >= self.end), 0.0, values)
        width = round(smooth / (times[1] - times[0])) if smooth else 0
        if width < 2:
            return values
        kernel = np.hanning(width + 2)[1:-1]
        kernel /= kernel.sum()
        padded = np.pad(
            values,
            [(width // 2, width - 1 - width // 2)] + [(0, 0)] * (values.ndim - 1),
            mode="edge",
        )
        windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
        return windows @ kernel


def speak(statement: int, start: float, pace: float, rng: np.random.Generator) -> Utterance:
    """Statement 1 or 2, spoken from ``start`` (seconds) at ``pace`` times the usual speed."""
    phones: list[Phone] = []
    lengths: list[float] = []
    accents: list[int] = []
    for word in _STATEMENTS[statement - 1].split("  "):
        for name in word.split():
            phone = _PHONES[name.rstrip("'")]
            stretch = 1.45 if name.endswith("'") else 1.1
            if name.endswith("'"):
                accents.append(len(phones))
            phones.append(phone)
            lengths.append(phone.length * stretch * rng.uniform(0.9, 1.12) / pace)
    lengths[-1] *= 1.4  # the last syllable of a sentence is drawn out
    lengths[-2] *= 1.4
    edges = start + np.concatenate([[0.0], np.cumsum(lengths)])
    middles = (edges[:-1] + edges[1:]) / 2
    return Utterance(tuple(phones), edges[:-1], float(edges[-1]), middles[accents])
