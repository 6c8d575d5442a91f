"""What a chunk of waveform sounds like, whoever speaks: coarse bands and their level.

Everything is a function of one chunk alone, so an element stays what the attacker counts. Letters:
``B`` samples, ``n`` chunks, ``e`` waveform samples of a chunk, ``b`` bands, ``D`` features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Power of a band below which it counts as silent (amplitudes are in [-1, 1]).
SILENCE = 1e-4


def mel(hertz: float) -> float:
    """Frequency on the mel scale (O'Shaughnessy, 1987).

    >>> round(mel(1000.0))
    1000
    """
    return 2595 * math.log10(1 + hertz / 700)


def mel_bands(bands: int, points: int, rate: int, lowest: float) -> Tensor:
    """Triangular bands, equally wide on the mel scale.

    Args:
        bands: b.
        points: Points of the Fourier transform.
        rate: Waveform samples per second.
        lowest: Lower edge of the first band, Hz; the last one ends at 95 % of ``rate / 2``.

    Returns:
        float32 (points // 2 + 1, b), each band at most 1.
    """
    low, high = mel(lowest), mel(0.95 * rate / 2)
    steps = low + (high - low) * torch.arange(bands + 2, dtype=torch.float64) / (bands + 1)
    edges = 700 * (10 ** (steps / 2595) - 1)
    frequency = torch.arange(points // 2 + 1, dtype=torch.float64)[:, None] * rate / points
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class BandLevels(nn.Module):
    """Loudness of a chunk and how it is spread over coarse bands: (B, n, e) to (B, n, b + 1).

    Few bands show formants rather than the harmonics of a voice, and levels relative to the chunk
    do not know how loud somebody speaks.

    Args:
        samples: e.
        bands: b.
        rate: Waveform samples per second.
        lowest: Lower edge of the first band, Hz.
    """

    window: Tensor
    bank: Tensor

    def __init__(self, samples: int, bands: int, rate: int, lowest: float = 100.0) -> None:
        super().__init__()
        # Padded to a power of two: narrow bands at low frequencies need points to fall into.
        self._points = 1 << (samples - 1).bit_length()
        bank = mel_bands(bands, self._points, rate, lowest)
        self.register_buffer("window", torch.hann_window(samples, False), persistent=False)
        self.register_buffer("bank", bank, persistent=False)

    def forward(self, chunks: Tensor) -> Tensor:
        """(..., e) to (..., b + 1): relative levels, then the mean level."""
        centred = chunks - chunks.mean(-1, keepdim=True)
        spectrum = torch.fft.rfft(centred * self.window, n=self._points)
        power = torch.view_as_real(spectrum).square().sum(-1)  # abs() takes a slow square root
        level = torch.log(power @ self.bank + SILENCE)
        mean = level.mean(-1, keepdim=True)
        return torch.cat(((level - mean) / 2, (mean + 5) / 4), -1)  # each of the order of 1


class BandFeatures(nn.Module):
    """Features of a chunk: its band levels and position through a small net.

    Args:
        n: Chunks.
        samples: e.
        hidden: Width of the net.
        features: D.
        bands: b.
        rate: Waveform samples per second.
        dropout: Share of the hidden values that training drops.
    """

    def __init__(
        self,
        n: int,
        samples: int,
        hidden: int,
        features: int,
        *,
        bands: int,
        rate: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.levels = BandLevels(samples, bands, rate)
        self.spectrum = nn.Linear(bands + 1, hidden)
        self.place = nn.Parameter(torch.zeros(n, hidden))
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, features)
        self.place_out = nn.Parameter(torch.zeros(n, features))

    def forward(self, elements: Tensor, places: Tensor | slice = slice(None)) -> Tensor:
        """(B, n, e), or (M, e) at ``places`` int64 (M,), to features (..., D)."""
        heard = F.relu(self.spectrum(self.levels(elements)) + self.place[places])
        return F.relu(self.out(self.dropout(heard)) + self.place_out[places])

    def summed(self, elements: Tensor, mask: Tensor) -> Tensor:
        """Sums of the features that masks (R, n) retain: (R, D).

        Encodes what any row of a sample retains: a third of the chunks, of a few rows.
        """
        samples, n = elements.shape[:2]
        grouped = mask.reshape(samples, -1, n)
        sample, place = grouped.any(1).nonzero(as_tuple=True)
        features = elements.new_zeros(samples, n, self.place_out.shape[1])
        if len(sample):
            encoded = self(elements[sample, place], place)
            features = features.index_put((sample, place), encoded)
        return torch.bmm(grouped.to(features.dtype), features).flatten(0, 1)
