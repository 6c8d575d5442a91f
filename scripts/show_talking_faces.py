"""A picture of the synthetic talking faces: ``python scripts/show_talking_faces.py OUT.jpg``.

Rows are actors, columns emotions; every face is taken from the middle of a strong performance
(a normal one for neutral, which has no other). With ``--clip EMOTION`` the columns are moments of
one clip of that emotion instead, evenly spaced over its length.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mmcert.data.speech.names import EMOTIONS
from mmcert.data.speech.talkingworld.clips import Clip
from mmcert.data.speech.talkingworld.face import Stage
from mmcert.data.speech.talkingworld.performance import FRAME_RATE, perform

SIDE, MOMENTS, TITLE = 110, 10, 16


def stage_of(actor: int, emotion: str, seed: int) -> tuple[Stage, list[int]]:
    """A clip, and its frames: the one that stands for it, then moments over its length."""
    number = EMOTIONS.index(emotion) + 1
    clip = Clip(number, intensity=2 - (number == 1), statement=1, repetition=1, actor=actor)
    performance = perform(clip, seed)
    spoken = performance.utterance
    middle = spoken.start + 0.62 * (spoken.end - spoken.start)
    moments = np.linspace(0, performance.frames - 1, MOMENTS).astype(int).tolist()
    return Stage(performance, (240, 320)), [int(middle * FRAME_RATE[0] / FRAME_RATE[1]), *moments]


def tile(stage: Stage, frame: int) -> Image.Image:
    return Image.fromarray(stage.picture(frame)[14:234, 50:270]).resize((SIDE, SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--actors", type=int, nargs="+", default=[3, 10, 11, 20])
    parser.add_argument("--clip", choices=EMOTIONS, help="moments of a clip of this emotion")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for actor in options.actors:
        if options.clip:
            stage, (_, *moments) = stage_of(actor, options.clip, options.seed)
            rows.append([tile(stage, frame) for frame in moments])
        else:
            stages = [stage_of(actor, emotion, options.seed) for emotion in EMOTIONS]
            rows.append([tile(stage, frames[0]) for stage, frames in stages])
    sheet = Image.new("RGB", (SIDE * len(rows[0]), SIDE * len(rows) + TITLE), "white")
    titles = [options.clip] if options.clip else EMOTIONS
    for column, title in enumerate(titles):
        ImageDraw.Draw(sheet).text(
            ((column + 0.5) * SIDE, TITLE / 2), title, fill="black", anchor="mm"
        )
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * SIDE, TITLE + y * SIDE))
    sheet.save(options.out, quality=85)
    print(options.out)


if __name__ == "__main__":
    main()
