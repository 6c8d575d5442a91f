"""The head without its features: hair, neck, ears and the shape of the face."""

from __future__ import annotations

import numpy as np

from mmcert.data.speech.talkingworld.actors import Actor
from mmcert.data.speech.talkingworld.canvas import Head, blend, curve, ellipse, fill, shade, stroke
from mmcert.data.speech.talkingworld.emotions import Expression


def _outline(actor: Actor, jaw: float) -> np.ndarray:
    """Outline of the face; the chin sinks with the jaw."""
    w, square, drop = actor.width, actor.jaw, 0.13 * jaw
    right = [
        (0.30 * w, -1.13),
        (0.72 * w, -0.95),
        (0.98 * w, -0.50),
        (w, -0.05),
        (0.95 * w, 0.32 + 0.3 * drop),
        ((0.74 + 0.10 * square) * w, 0.66 + 0.7 * drop),
        ((0.40 + 0.12 * square) * w, 0.93 + drop),
        (0.0, 1.02 + drop),
    ]
    left = [(-x, y) for x, y in right[-2::-1]]
    return curve(*right, *left, right[0], points=90)


def draw_head(
    canvas: np.ndarray, head: Head, actor: Actor, shown: Expression, shoulders: np.ndarray
) -> None:
    """Hair behind the head, neck, ears and the face without its features.

    Args:
        canvas: Picture to draw on.
        head: Where the head is.
        actor: Whose it is.
        shown: What the face does.
        shoulders: Where the neck ends, from the viewer's right to the left: canvas coordinates
            ``(P, 2)``.
    """
    w = actor.width
    dark_hair = shade(actor.hair, 0.85)
    if actor.hair_style == "long":
        back = curve(
            (-w - 0.28, 1.6), (-w - 0.25, 0.3), (-w - 0.12, -0.8), (0, -1.38), (w + 0.12, -0.8),
            (w + 0.25, 0.3), (w + 0.28, 1.6), points=60,
        )  # fmt: skip
        fill(canvas, head.place(back, -0.3), dark_hair)
    elif actor.hair_style == "bob":
        back = curve(
            (-w - 0.10, 0.85), (-w - 0.28, 0.3), (-w - 0.16, -0.8), (0, -1.38), (w + 0.16, -0.8),
            (w + 0.28, 0.3), (w + 0.10, 0.85), points=60,
        )  # fmt: skip
        fill(canvas, head.place(back, -0.3), dark_hair)
    elif actor.hair_style != "bald":
        fill(canvas, head.place(ellipse(0, -0.42, w + 0.13, 0.98), -0.1), dark_hair)
        if actor.hair_style == "tied":
            fill(canvas, head.place(ellipse(0, -1.36, 0.3, 0.25), -0.2), dark_hair)
    # The neck moves with the head above and rests on the shoulders below.
    slim = 0.38 if actor.female else 0.43
    throat = head.place(np.array([(-slim, 0.55), (slim, 0.55)]), -0.2)
    fill(canvas, np.vstack([throat, shoulders]), shade(actor.skin, 0.78))
    if actor.hair_style not in ("long", "bob"):
        for side in (-1, 1):
            ear = ellipse(side * (w + 0.02), 0.02, 0.10, 0.20)
            fill(canvas, head.place(ear, -0.1), shade(actor.skin, 0.9))
    face = head.place(_outline(actor, shown.jaw), 0.0)
    fill(canvas, face, actor.skin)
    stroke(canvas, np.vstack([face, face[:1]]), shade(actor.skin, 0.82), head.unit * 0.015)
    blush = blend(actor.skin, (215, 90, 80), 0.12)
    for side in (-1, 1):
        fill(canvas, head.place(ellipse(side * 0.42, 0.28, 0.15, 0.10)), blush)


def draw_fringe(canvas: np.ndarray, head: Head, actor: Actor) -> None:
    """Hair over the forehead."""
    w = actor.width
    if actor.hair_style == "bald":
        return
    low = {"short": -0.80, "side": -0.72, "long": -0.76, "bob": -0.70, "tied": -0.86}
    y = low[actor.hair_style]
    if actor.hair_style == "side":
        line = [(w + 0.04, -0.32), (0.75 * w, -0.68), (-0.1, -0.82), (-0.6 * w, -0.62)]
    elif actor.hair_style in ("long", "bob"):
        line = [(w + 0.06, 0.0), (0.82 * w, -0.52), (0.1, y - 0.12), (-0.82 * w, -0.52)]
    else:
        line = [(w + 0.03, -0.30), (0.84 * w, -0.62), (0.0, y), (-0.84 * w, -0.62)]
    line.append((-w - 0.06, 0.0 if actor.hair_style in ("long", "bob") else -0.30))
    lower = head.place(curve(*line, points=40), 0.1)
    top = [(-w - 0.08, -0.55), (-0.75 * w, -1.12), (0, -1.34), (0.75 * w, -1.12), (w + 0.08, -0.55)]
    upper = head.place(curve(*top, points=40), -0.05)
    fill(canvas, np.vstack([lower, upper]), actor.hair)
    for x in np.linspace(-0.7, 0.7, 6) * w:
        strand = curve((x * 0.6, -1.28), (x * 0.9, -1.08), (x, y - 0.08), points=12)
        stroke(canvas, head.place(strand, 0.0), shade(actor.hair, 1.10), head.unit * 0.015)
