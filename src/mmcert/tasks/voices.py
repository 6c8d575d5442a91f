"""Other voices from the recordings of a few speakers, before the ablation.

What is learned from few speakers has to hold for voices that training never heard. Tempo, pitch
and formants, the frequency response of mouth and microphone, loudness and noise vary here, each on
its own. Letters: ``B`` samples, ``n`` chunks of ``e`` waveform samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Inputs = dict[str, Tensor]


def _uniform(like: Tensor, *shape: int) -> Tensor:
    """Uniform in [-1, 1), on the device of ``like``."""
    return torch.rand(*shape, device=like.device) * 2 - 1


@dataclass(frozen=True)
class Voice:
    """Another voice in a waveform (B, n, e), for models that encode chunks on their own.

    A chunk is a look at the recording at its own time: looks follow each other at another tempo,
    and what is seen in each is played at another pitch. The two are independent, as they are
    between speakers; in exchange neighbouring chunks of the result repeat or skip some samples at
    their border, which nothing sees that encodes each chunk on its own.

    Args:
        modality: Which.
        tempo: Largest change of tempo, natural logarithm.
        pitch: Largest change of pitch and formants together, natural logarithm.
        shift: Largest shift, samples.
        response: Largest gain of a random frequency response, decibels; 0: none.
        knots: Frequencies at which the response is drawn, equally spaced; linear between them.
        gain: Largest change of loudness, natural logarithm.
        noise: Largest standard deviation of white noise, drawn log-uniformly over 4 decades.
    """

    modality: str = "audio"
    tempo: float = 0.2
    pitch: float = 0.2
    shift: float = 400
    response: float = 6.0
    knots: int = 6
    gain: float = 0.7
    noise: float = 0.005

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        x = inputs[self.modality]
        batch, chunks, size = x.shape
        heard = self._filtered(x.flatten(1))  # (B, samples)
        tempo = torch.exp(_uniform(x, batch, 1, 1) * self.tempo)
        pitch = torch.exp(_uniform(x, batch, 1, 1) * self.pitch)
        centre = (torch.arange(chunks, device=x.device)[:, None] + 0.5) * size  # (n, 1)
        offset = torch.arange(size, device=x.device) - (size - 1) / 2  # (e,)
        when = centre * tempo - 0.5 + offset * pitch + _uniform(x, batch, 1, 1) * self.shift
        moved = _at(heard, when.flatten(1))
        loud = moved * torch.exp(_uniform(x, batch, 1) * self.gain)
        level = self.noise * 10 ** (2 * _uniform(x, batch, 1) - 2)
        noisy = loud + torch.randn_like(loud) * level
        return {**inputs, self.modality: noisy.reshape(x.shape)}, targets

    def _filtered(self, flat: Tensor) -> Tensor:
        """Waveforms (B, samples) through random frequency responses without delay."""
        if not self.response:
            return flat
        samples = flat.shape[1]
        decibels = _uniform(flat, len(flat), 1, self.knots) * self.response
        shape = samples // 2 + 1
        response = F.interpolate(decibels, size=shape, mode="linear", align_corners=True)[:, 0]
        factor = torch.exp(response * (math.log(10) / 20))
        return torch.fft.irfft(torch.fft.rfft(flat) * factor, n=samples)


def _at(flat: Tensor, when: Tensor) -> Tensor:
    """Waveforms (B, samples) at times (B, m), in samples: linear between them, silent outside."""
    last = flat.shape[1] - 1
    place = torch.stack((when / last * 2 - 1, torch.zeros_like(when)), -1)[:, None]
    return F.grid_sample(flat[:, None, None], place, align_corners=True)[:, 0, 0]
