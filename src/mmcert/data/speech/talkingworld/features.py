"""Brows, eyes, nose and mouth as the actions of the face move them.

Every feature is darker or lighter than the skin by a factor, never by a fixed amount: on dark skin
it stands out as much as on light skin.
"""

from __future__ import annotations

import numpy as np

from mmcert.data.speech.talkingworld.actors import Actor, Colour
from mmcert.data.speech.talkingworld.canvas import (
    Head,
    blend,
    curve,
    darkest,
    ellipse,
    fill,
    lowered,
    shade,
    stroke,
)
from mmcert.data.speech.talkingworld.emotions import Expression

_EYE_Y, _BROW_Y, _MOUTH_Y = -0.12, -0.37, 0.56
_SIDES = (-1.0, 1.0)


def draw_brows(canvas: np.ndarray, head: Head, actor: Actor, shown: Expression) -> None:
    """The brows, and the furrow between them."""
    colour = darkest(blend(shade(actor.hair, 0.8), shade(actor.skin, 0.3), 0.5), actor.skin, 0.5)
    base = _BROW_Y - actor.brow_height
    drawn_in = 0.055 * shown.brow_lower
    inner = base - 0.15 * shown.inner_brow + 0.13 * shown.brow_lower + 0.03 * shown.wrinkle
    middle = base - 0.05 - 0.10 * (shown.inner_brow + shown.outer_brow) / 2
    middle += 0.07 * shown.brow_lower - 0.05 * shown.outer_brow
    outer = base + 0.05 - actor.brow_slant - 0.13 * shown.outer_brow + 0.05 * shown.inner_brow
    thick = 0.038 * actor.brow_thickness
    x = actor.eye_distance
    for side in _SIDES:
        points = [(x - 0.20 - drawn_in, inner), (x - 0.02, middle), (x + 0.21, outer)]
        line = curve(*points, points=16)
        taper = np.linspace(1.0, 0.45, len(line))[:, None] * np.array([0.0, thick])
        shape = np.vstack([line - taper, (line + taper)[::-1]]) * (side, 1)
        fill(canvas, head.place(shape), colour)
        depth = shown.brow_lower - 0.3
        if depth > 0:
            furrow = curve((0.05, inner - 0.05), (0.06, inner + 0.08), points=6) * (side, 1)
            tone = shade(actor.skin, 1 - 0.45 * min(depth, 0.7))
            stroke(canvas, head.place(furrow), tone, head.unit * 0.025)
    if shown.inner_brow + shown.outer_brow > 0.7:
        strength = min(1.0, (shown.inner_brow + shown.outer_brow - 0.7) / 1.2)
        for y in (-0.66, -0.58):
            fold = curve((-0.3, y + 0.01), (0, y - 0.015), (0.3, y + 0.01), points=12)
            tone = shade(actor.skin, 1 - 0.18 * strength)
            stroke(canvas, head.place(fold), tone, head.unit * 0.02)


def draw_eyes(
    canvas: np.ndarray, head: Head, actor: Actor, shown: Expression, gaze: np.ndarray
) -> None:
    """The eyes between their lids."""
    half = 0.165 * actor.eye_size
    upper = 0.085 + 0.055 * shown.lid_raise - 0.025 * shown.lid_tight
    upper *= max(0.0, 1 - shown.lid_droop)
    lower = 0.058 - 0.038 * shown.lid_tight - 0.012 * shown.smile + 0.01 * shown.lid_raise
    lower *= 1 - 0.3 * min(1.0, shown.lid_droop)
    upper, lower = upper * actor.eye_size, max(lower, 0.008) * actor.eye_size
    dark = shade(actor.skin, 0.28)
    t = np.linspace(-1, 1, 15)
    arch = 1 - t**2
    white = blend((236, 234, 230), actor.skin, 0.12)
    for side in _SIDES:
        x = side * actor.eye_distance
        tilt = -0.012 * t * side  # the outer corner is a little higher
        top = np.stack([x + half * t, _EYE_Y - upper * arch**0.75 + tilt], axis=1)
        bottom = np.stack([x + half * t, _EYE_Y + lower * arch + tilt], axis=1)
        socket = np.vstack([lowered(top, -0.045), lowered(bottom, 0.03)[::-1]])
        fill(canvas, head.place(socket), shade(actor.skin, 0.72))
        if upper + lower > 0.03:
            opening = np.vstack([top, bottom[::-1]])
            fill(canvas, head.place(opening), white)
            eye_x, eye_y = x + 0.8 * half * gaze[0] * 4, _EYE_Y - 0.012 + 0.3 * gaze[1]
            for radius, colour in ((0.088, actor.iris), (0.045, (14.0, 12.0, 12.0))):
                disc = ellipse(eye_x, eye_y, radius * actor.eye_size, radius * actor.eye_size)
                disc[:, 1] = np.clip(
                    disc[:, 1],
                    np.interp(disc[:, 0], top[:, 0], top[:, 1]),
                    np.interp(disc[:, 0], bottom[:, 0], bottom[:, 1]),
                )
                fill(canvas, head.place(disc), colour)
            glint = ellipse(eye_x - 0.025, eye_y - 0.03, 0.016, 0.016, 8)
            if upper > 0.05:
                fill(canvas, head.place(glint), (245.0, 245.0, 245.0))
        lash = 0.040 if actor.female else 0.030
        stroke(canvas, head.place(top), dark, head.unit * lash)
        stroke(canvas, head.place(bottom), shade(actor.skin, 0.55), head.unit * 0.014)
        if shown.lid_tight + shown.smile > 0.5:  # the cheek pushes a fold below the eye
            fold = np.stack([x + half * t, bottom[:, 1] + 0.05], axis=1)[3:-3]
            stroke(canvas, head.place(fold), shade(actor.skin, 0.75), head.unit * 0.016)


def draw_nose(canvas: np.ndarray, head: Head, actor: Actor, shown: Expression) -> None:
    """The nose, its wrinkles and the folds beside it."""
    size, lift = actor.nose, 0.045 * shown.wrinkle + 0.02 * shown.lip_raise
    tip = 0.26 - lift
    shadow, line = shade(actor.skin, 0.62), head.unit * 0.018
    for side in _SIDES:
        wing = curve(
            (0.10 * size, tip - 0.09), (0.145 * size, tip - 0.01), (0.09 * size, tip + 0.03),
            points=10,
        )  # fmt: skip
        stroke(canvas, head.place(wing * (side, 1)), shadow, line)
        nostril = ellipse(side * 0.06 * size, tip + 0.03, 0.036 * size, 0.020)
        fill(canvas, head.place(nostril, 0.8), shade(actor.skin, 0.30))
        if shown.wrinkle > 0.15:
            for y in (-0.02, 0.05):
                fold = curve((0.04, y - 0.02), (0.11, y + 0.03), points=6) * (side, 1)
                tone = shade(actor.skin, 1 - 0.4 * min(1.0, shown.wrinkle))
                stroke(canvas, head.place(fold), tone, head.unit * 0.022)
        deep = max(0.9 * shown.smile, shown.lip_raise, 0.6 * shown.wrinkle)
        if deep > 0.15:
            spread = 0.06 * shown.smile + 0.04 * shown.stretch
            fold = curve(
                (0.16 * size, tip - 0.04), (0.29 + spread, tip + 0.10), (0.34 + spread, tip + 0.26),
                points=12,
            )  # fmt: skip
            tone = shade(actor.skin, 1 - 0.32 * min(1.0, deep))
            stroke(canvas, head.place(fold * (side, 1)), tone, head.unit * 0.022)
    base = curve((-0.06 * size, tip + 0.055), (0, tip + 0.065), (0.06 * size, tip + 0.055))
    stroke(canvas, head.place(base, 0.8), shade(actor.skin, 0.7), line)


def draw_mouth(
    canvas: np.ndarray, head: Head, actor: Actor, shown: Expression, rounding: float
) -> None:
    """Lips, and what is seen between them."""
    half = 0.27 * actor.mouth_width
    half *= 1 + 0.30 * shown.smile + 0.32 * shown.stretch - 0.12 * shown.press - 0.32 * rounding
    half *= 1 - 0.12 * min(1.0, shown.jaw)
    corner = _MOUTH_Y - actor.mouth_curve - 0.10 * shown.smile + 0.10 * shown.frown
    corner += 0.03 * shown.jaw
    gap = 0.30 * shown.jaw
    lift = 0.085 * shown.lip_raise + 0.02 * shown.smile
    top_in = _MOUTH_Y - 0.18 * gap - lift
    bottom_in = _MOUTH_Y + 0.82 * gap + 0.03 * (shown.stretch > 0.5) * shown.stretch
    bottom_in -= 0.03 * shown.frown
    full = actor.lips * (1 - 0.65 * min(1.0, shown.press))
    top_out = top_in - 0.065 * full
    bottom_out = bottom_in + 0.085 * full
    middle = np.linspace(-1, 1, 21)
    arch = (1 - np.abs(middle) ** 2.2)[:, None]
    x = (middle * half)[:, None]

    def edge(y: float, bow: float = 0.0) -> np.ndarray:
        dip = bow * np.exp(-((middle / 0.18) ** 2))[:, None]
        return np.hstack([x, corner + (y - corner) * arch + dip])

    lips: Colour = blend(
        shade(actor.skin, 0.62), (150.0, 50.0, 55.0), 0.45 if actor.female else 0.2
    )
    upper_out, upper_in = edge(top_out, 0.018 * full), edge(top_in)
    lower_in, lower_out = edge(max(bottom_in, top_in)), edge(max(bottom_out, top_in + 0.02))
    fill(canvas, head.place(np.vstack([upper_out, lower_out[::-1]])), lips)
    if bottom_in - top_in > 0.02:
        inside = np.vstack([upper_in, lower_in[::-1]])
        fill(canvas, head.place(inside), shade((60.0, 22.0, 24.0), 0.5 + actor.skin[0] / 500))
        show = min(0.07, 0.55 * (bottom_in - top_in)) * arch
        teeth = np.vstack([upper_in, lowered(upper_in, show)[::-1]])
        teeth[:, 1] = np.minimum(teeth[:, 1], np.interp(teeth[:, 0], x[:, 0], lower_in[:, 1]))
        fill(canvas, head.place(teeth), (222.0, 217.0, 207.0))
    else:
        stroke(canvas, head.place(upper_in), shade(actor.skin, 0.25), head.unit * 0.022)
    for side in _SIDES:
        end = np.array([[side * half * 0.97, corner], [side * half * 1.06, corner - 0.015]])
        stroke(canvas, head.place(end), shade(actor.skin, 0.5), head.unit * 0.02)
