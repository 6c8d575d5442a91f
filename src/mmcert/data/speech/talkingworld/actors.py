"""Who speaks: twenty-four people who differ in skin, hair, shape and voice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Red, green, blue, 0..255.
Colour = tuple[float, float, float]
HAIR_STYLES = ("short", "side", "bald", "long", "bob", "tied")
#: From light to dark. An actor's skin is drawn around one of them, all being equally frequent.
_SKINS: tuple[Colour, ...] = (
    (244, 214, 193),
    (229, 189, 158),
    (208, 160, 123),
    (176, 126, 92),
    (141, 95, 67),
    (108, 72, 52),
)
_HAIRS: tuple[Colour, ...] = (
    (32, 26, 24),
    (58, 40, 30),
    (92, 62, 40),
    (140, 98, 58),
    (190, 158, 104),
    (150, 80, 46),
    (128, 124, 122),
)


@dataclass(frozen=True)
class Actor:
    """One person. Lengths are in units of half the face's height, and relative where so said.

    Args:
        number: 1..24.
        female: Whether the actor is a woman (even numbers).
        skin: Colour of the skin in full light.
        hair: Colour of hair and brows.
        hair_style: One of :data:`HAIR_STYLES`.
        clothes: Colour of the clothes.
        iris: Colour of the eyes.
        width: Half the face's width.
        jaw: Squareness of the jaw, 0 (pointed) to 1.
        eye_size: Relative.
        eye_distance: From the middle of the face to the middle of an eye.
        brow_thickness: Relative.
        brow_height: Resting height of the brows above the usual, in lengths.
        brow_slant: Resting rise of the outer ends of the brows, in lengths.
        nose: Relative size.
        mouth_width: Relative.
        mouth_curve: Resting height of the corners of the mouth, in lengths.
        lips: Relative fullness.
        pitch: Resting fundamental frequency of the voice, Hz.
        tract: Formant frequencies relative to a male speaker's.
        brilliance: Resting spectral tilt, dB per octave; higher is brighter.
        breath: Resting share of breath in the voice.
        rate: Relative speed of speech.
        loudness: Resting level, dB.
        strength: How strongly the face shows what is felt, relative.
    """

    number: int
    female: bool
    skin: Colour
    hair: Colour
    hair_style: str
    clothes: Colour
    iris: Colour
    width: float
    jaw: float
    eye_size: float
    eye_distance: float
    brow_thickness: float
    brow_height: float
    brow_slant: float
    nose: float
    mouth_width: float
    mouth_curve: float
    lips: float
    pitch: float
    tract: float
    brilliance: float
    breath: float
    rate: float
    loudness: float
    strength: float


def draw_actor(number: int, seed: int) -> Actor:
    """Actor ``number`` of the world ``seed``; nobody else influences the drawing."""
    rng = np.random.default_rng([seed, number, 1])
    female = number % 2 == 0
    # Neighbours in number, of both sexes, go through all skins: a split by actors has each.
    skin = np.array(_SKINS[(number // 2 + 3 * female + seed) % len(_SKINS)]) * rng.normal(1, 0.03)
    dark = skin.mean() < 120
    hair = np.array(_HAIRS[rng.integers(2 if dark else len(_HAIRS))]) * rng.normal(1, 0.06)
    styles = ("long", "bob", "tied", "side") if female else ("short", "side", "bald", "short")
    return Actor(
        number=number,
        female=female,
        skin=_colour(skin),
        hair=_colour(hair),
        hair_style=styles[rng.integers(len(styles))],
        clothes=_colour(rng.uniform(30, 200, 3)),
        iris=((70, 45, 30), (60, 80, 110), (70, 90, 60))[0 if dark else int(rng.integers(3))],
        width=(0.74 if female else 0.78) + rng.normal(0, 0.025),
        jaw=float(np.clip((0.35 if female else 0.65) + rng.normal(0, 0.15), 0, 1)),
        eye_size=(1.08 if female else 0.98) * _around(rng, 0.06),
        eye_distance=0.33 + rng.normal(0, 0.012),
        brow_thickness=(0.85 if female else 1.2) * _around(rng, 0.12),
        brow_height=rng.normal(0, 0.018),
        brow_slant=rng.normal(0, 0.018),
        nose=(0.95 if female else 1.06) * _around(rng, 0.07),
        mouth_width=_around(rng, 0.06),
        mouth_curve=rng.normal(0, 0.014),
        lips=(1.15 if female else 0.95) * _around(rng, 0.1),
        pitch=(205 if female else 116) * _around(rng, 0.08),
        tract=(1.17 if female else 1.0) * _around(rng, 0.03),
        brilliance=rng.normal(0, 0.7),
        breath=float(rng.uniform(0.05, 0.15)),
        rate=_around(rng, 0.06),
        loudness=rng.normal(0, 1.2),
        strength=_around(rng, 0.08),
    )


def _around(rng: np.random.Generator, spread: float) -> float:
    return float(np.exp(np.clip(rng.normal(0, spread), -2.5 * spread, 2.5 * spread)))


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return (red, green, blue)
