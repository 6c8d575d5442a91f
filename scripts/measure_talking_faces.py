"""Measure how findable and how hard a set of talking faces is, after it was prepared.

    python scripts/measure_talking_faces.py data/synthetic_speech_prepared [--seeds 3]

The folder is what ``mmcert-prepare dataset=ravdess`` made. Faces: the share of frames in which the
detector found one. Difficulty: a small network with one encoder for a frame of the face and one for
a chunk of sound learns from the actors of the training split, and votes on those of the test split
from 3 of 108 frames and 3 of 108 chunks: both together, and each modality alone. ``certified``
counts clips whose two classes with most votes are further apart than the margin of 8 modified
elements in each modality, .745, plus .03 for what 10,000 draws leave open. The certificate itself
is what mmcert-certify writes; this one tells quickly what another constant of the world does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mmcert.data.speech.synthetic_speech import SyntheticSpeech
from mmcert.data.speech.windows import RATE

MARGIN = 0.745 + 0.03


def read(root: Path, split: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops ``(S, n, 3, H, W)`` uint8, log-mel ``(S, n, 40)``, emotions ``(S,)`` of a split."""
    data = SyntheticSpeech(split, root=root)
    video, audio, target = [], [], []
    for item in data:
        video.append((item["inputs"]["video"] * 255).round().to(torch.uint8))
        audio.append(log_mel(item["inputs"]["audio"]))
        target.append(item["target"])
    return torch.stack(video), torch.stack(audio), torch.stack(target)


def log_mel(chunks: torch.Tensor) -> torch.Tensor:
    """Log-mel spectrum of every chunk on its own: ``(n, 735)`` to ``(n, 40)``."""
    power = torch.fft.rfft(chunks * torch.hann_window(chunks.shape[-1]), 1024).abs() ** 2
    return torch.log(power @ torch.from_numpy(mel_filters()).float().T + 1e-5)


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
    """Train on what :func:`read` gives."""
    net, batch, k = Probe(), 32, 3
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    steps = epochs * (len(target) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        if step % (len(target) // batch) == 0:
            order = torch.randperm(len(target))[: len(target) // batch * batch].view(-1, batch)
        clips = order[step % (len(target) // batch)]
        frames = torch.rand(batch, video.shape[1]).argsort(1)[:, : 2 * k]
        chunks = torch.rand(batch, audio.shape[1]).argsort(1)[:, : 6 * k]
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
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    print(faces(options.root))
    video, audio, target = read(options.root, "train")
    held = list(zip(*read(options.root, "test"), strict=True))
    truth = torch.stack([emotion for _, _, emotion in held])[:, None]
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        began = time.perf_counter()
        net = learn(video, audio, target, options.epochs)
        spent = time.perf_counter() - began
        counted = torch.stack([votes(net, crops, mels) for crops, mels, _ in held], 1)
        print(f"seed {seed}: {len(target)} clips learned in {spent:.0f} s, {len(held)} held out")
        for name, share in zip(("both", "face", "voice"), counted, strict=True):
            right = share.gather(1, truth)
            rival = share.scatter(1, truth, -1).max(1, keepdim=True).values
            print(
                f"  {name:5} ensemble {(right > rival).float().mean():.3f}  "
                f"single draws {right.mean():.3f}  "
                f"certified at (8, 8) {(right - rival > MARGIN).float().mean():.3f}"
            )


def faces(root: Path) -> str:
    """In which share of the frames that were looked at the detector found a face."""
    clips = json.loads((root / "clips.json").read_text(encoding="utf-8"))
    clips = clips.get("clips", clips)
    looked = np.array([clip["examined"] for clip in clips.values()])
    missed = np.array([clip["without_face"] for clip in clips.values()])
    return (
        f"faces found: {1 - missed.sum() / looked.sum():.4f} of the frames of {len(clips)} clips, "
        f"{(1 - missed / looked).min():.3f} of the worst clip"
    )


if __name__ == "__main__":
    main()
