"""Measure how findable and how hard a synthetic talking-face set is.

    python scripts/measure_talking_faces.py RAW [--seeds 3] [--workers 2]

RAW is what ``mmcert-prepare dataset=synthetic_speech`` wrote (480 clips: 80 of them held out).
Faces: OpenCV's cascade ``alt2`` on every second frame of every clip. Difficulty: a small network
with one encoder for a frame of the face and one for a chunk of sound learns from 16 actors, and
votes on 4 others from 3 of 36 frames (every third of the window) and 3 of 108 chunks: both
together, and each modality alone. ``certified`` counts clips whose two classes with most votes are
further apart than the margin of 8 modified elements in each modality, .745 for n = 108, k = 3,
plus .03 for what 10,000 draws leave open; the certificate itself is what mmcert-certify writes.
"""

from __future__ import annotations

import argparse
import time
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import soxr
import torch
from torch import nn
from torch.nn import functional as F

from mmcert.data.workspace import run_tasks

ELEMENTS, STEP, CROP, CHUNK, RATE, SECONDS = 108, 3, 64, 735, 22050, 3.6
HELD_OUT, UNUSED = (5, 12, 17, 24), (1, 8, 13, 20)  # balanced by sex; the unused ones validate
MARGIN = 0.745 + 0.03


def read_clip(path: Path) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Crops ``(36, 3, 64, 64)``, log-mel ``(108, 40)``, frames with a face, frames looked at."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    with av.open(str(path)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        rate = float(file.streams.video[0].average_rate)
    boxes = {}
    for index in range(0, len(frames), 2):
        grey = cv2.cvtColor(frames[index], cv2.COLOR_RGB2GRAY)
        least = (grey.shape[0] // 4,) * 2
        found = cascade.detectMultiScale(grey, 1.1, 3, minSize=least)
        if len(found) == 0:
            found = cascade.detectMultiScale(grey, 1.05, 1, minSize=least)
        if len(found):
            boxes[index] = max(found, key=lambda box: box[2])
    looked = len(range(0, len(frames), 2))
    start = round(min(0.5, max(0.0, len(frames) / rate - SECONDS)) * rate)
    crops = np.zeros((ELEMENTS // STEP, 3, CROP, CROP), np.uint8)
    for place, index in enumerate(range(start, min(start + ELEMENTS, len(frames)), STEP)):
        x, y, width, height = boxes[min(boxes, key=lambda other: abs(other - index))]
        scale = CROP / (1.15 * width)
        shift = (CROP / 2 - scale * (x + width / 2), CROP / 2 - scale * (y + height / 2))
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        crops[place] = cv2.warpAffine(frames[index], matrix, (CROP, CROP)).transpose(2, 0, 1)
    with wave.open(str(path.with_name("03" + path.stem[2:] + ".wav"))) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        sound = soxr.resample(sound, file.getframerate(), RATE)
    sound = sound[round(start / rate * RATE) :][: ELEMENTS * CHUNK]
    chunks = np.pad(sound, (0, ELEMENTS * CHUNK - len(sound))).reshape(ELEMENTS, CHUNK)
    power = np.abs(np.fft.rfft(chunks * np.hanning(CHUNK), 1024)) ** 2
    return crops, np.log(power @ mel_filters().T + 1e-5).astype(np.float32), len(boxes), looked


def mel_filters(count: int = 40) -> np.ndarray:
    """Triangles evenly spaced in mel from 50 Hz: ``(count, 513)``."""
    frequencies = np.fft.rfftfreq(1024, 1 / RATE)
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in (50, RATE / 2))
    edges = 700 * (10 ** (np.linspace(low, high, count + 2) / 2595) - 1)
    rise = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rise, fall), 0, None)


class Probe(nn.Module):
    """Encoders per element, mean and attention over the retained ones, a head for each question."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()

        def halve(inner: int, outer: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(inner, outer, 3, 2, 1), nn.BatchNorm2d(outer), nn.ReLU())

        self.frame = nn.Sequential(
            halve(3, 16), halve(16, 32), halve(32, 48), halve(48, 64), nn.Flatten(),
            nn.Dropout(0.2), nn.Linear(64 * 16, width), nn.ReLU(),
        )  # fmt: skip
        self.chunk = nn.Sequential(
            nn.Linear(40, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, width), nn.ReLU()
        )
        self.weight = nn.ModuleList(nn.Linear(width, 1) for _ in range(2))
        self.alone = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, 8)) for _ in range(2)
        )
        self.both = nn.Sequential(
            nn.Linear(4 * width, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 8)
        )

    def frames(self, crops: torch.Tensor) -> torch.Tensor:
        """Features of frames ``(B, T, 3, 64, 64)`` in [0, 1]."""
        return self.frame(crops.flatten(0, 1) - 0.5).unflatten(0, crops.shape[:2])

    def chunks(self, mels: torch.Tensor) -> torch.Tensor:
        """Features of chunks ``(B, T, 40)``."""
        return self.chunk((mels + 11.5) / 3)

    def forward(self, video: torch.Tensor, audio: torch.Tensor) -> list[torch.Tensor]:
        """Logits ``(B, 8)`` of both together, of the face, of the voice."""
        pooled = []
        for features, weight in zip((video, audio), self.weight, strict=True):
            share = torch.softmax(weight(features), -2)
            pooled.append(torch.cat([features.mean(-2), (share * features).sum(-2)], -1))
        alone = [head(part) for head, part in zip(self.alone, pooled, strict=True)]
        return [self.both(torch.cat(pooled, -1)), *alone]


def learn(video: torch.Tensor, audio: torch.Tensor, target: torch.Tensor, epochs: int) -> Probe:
    """Train on clips ``(S, 36, 3, 64, 64)`` uint8 and ``(S, 108, 40)``."""
    net, batch, k = Probe(), 32, 3
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    steps = epochs * (len(target) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(target) // batch) == 0:
            order = torch.randperm(len(target))[: len(target) // batch * batch].view(-1, batch)
        clips = order[step % (len(target) // batch)]
        frames = torch.rand(batch, video.shape[1]).argsort(1)[:, : 2 * k]
        chunks = torch.rand(batch, ELEMENTS).argsort(1)[:, : 6 * k]
        crops = video[clips[:, None], frames] / 255
        crops = crops * (0.85 + 0.3 * torch.rand(batch, 1, 3, 1, 1))
        mirrored = torch.rand(batch) < 0.5
        crops[mirrored] = crops[mirrored].flip(-1)
        crops = crops.roll(torch.randint(-3, 4, (2,)).tolist(), (-2, -1))
        mels = audio[clips[:, None], chunks] + 0.6 * torch.randn(batch, 1, 1)
        seen, heard = net.frames(crops), net.chunks(mels)
        loss = torch.zeros(())
        for _ in range(6):  # draws share what was encoded
            logits = net(seen[:, torch.randperm(2 * k)[:k]], heard[:, torch.randperm(6 * k)[:k]])
            for weight, part in zip((1, 0.3, 0.3), logits, strict=True):
                loss = loss + weight * F.cross_entropy(part, target[clips], label_smoothing=0.05)
        optimizer.zero_grad()
        (loss / 6).backward()
        optimizer.step()
        schedule.step()
    return net.eval()


@torch.no_grad()
def votes(net: Probe, crops: torch.Tensor, mels: torch.Tensor, draws: int = 2000) -> torch.Tensor:
    """Shares of the draws of one clip for each class: both, face, voice, ``(3, 8)``."""
    seen, heard = net.frames(crops[None] / 255)[0], net.chunks(mels[None])[0]
    frames = torch.rand(draws, len(seen)).argsort(1)[:, :3]
    chunks = torch.rand(draws, len(heard)).argsort(1)[:, :3]
    logits = net(seen[frames], heard[chunks])
    return torch.stack([F.one_hot(part.argmax(-1), 8).float().mean(0) for part in logits])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    paths = sorted(options.raw.glob("Actor_*/01-*.mp4"))
    clips = run_tasks(read_clip, [(path,) for path in paths], workers=options.workers, unit="clips")
    shares = [found / looked for _, _, found, looked in clips]
    total = sum(clip[2] for clip in clips) / sum(clip[3] for clip in clips)
    print(f"faces found: {total:.4f} of the frames, {min(shares):.3f} of the worst clip")
    video = torch.from_numpy(np.stack([clip[0] for clip in clips]))
    audio = torch.from_numpy(np.stack([clip[1] for clip in clips]))
    fields = [path.stem.split("-") for path in paths]
    target = torch.tensor([int(field[2]) - 1 for field in fields])
    actor = np.array([int(field[6]) for field in fields])
    learning = torch.from_numpy(np.flatnonzero(~np.isin(actor, HELD_OUT + UNUSED)))
    held = np.flatnonzero(np.isin(actor, HELD_OUT)).tolist()
    truth = target[held, None]
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        began = time.perf_counter()
        net = learn(video[learning], audio[learning], target[learning], options.epochs)
        spent = time.perf_counter() - began
        counted = torch.stack([votes(net, video[i], audio[i]) for i in held], 1)
        print(f"seed {seed}: {len(learning)} clips learned in {spent:.0f} s, {len(held)} held out")
        for name, share in zip(("both", "face", "voice"), counted, strict=True):
            right = share.gather(1, truth)
            rival = share.scatter(1, truth, -1).max(1, keepdim=True).values
            print(
                f"  {name:5} ensemble {(right > rival).float().mean():.3f}  "
                f"single draws {right.mean():.3f}  "
                f"certified at (8, 8) {(right - rival > MARGIN).float().mean():.3f}"
            )


if __name__ == "__main__":
    main()
