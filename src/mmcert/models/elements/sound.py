"""Encoders of chunks of a waveform (samples in [-1, 1]) and of rows of features.

The windows lie inside the chunk: an element's features use no sample of another.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcert.errors import ConfigError
from mmcert.models.elements.base import ElementEncoder, PlacedOutput

#: Mean power (amplitudes in [-1, 1]) below which a band counts as silent.
SILENCE = 1e-6


def mel_filters(rate: float, bins: int, mels: int, lowest: float, highest: float) -> Tensor:
    """Triangular filters, equally wide on the mel scale ``2595 log10(1 + f / 700)``.

    Each sums to 1, so a band's value is a mean power whatever its width.

    Args:
        rate: Samples per second, Hz.
        bins: Frequencies from 0 to ``rate / 2``.
        mels: Bands.
        lowest: Lower edge of the first, Hz.
        highest: Upper edge of the last, Hz.

    Returns:
        float32 (bins, mels).

    >>> filters = mel_filters(22050, 513, 40, 50, 8000)
    >>> filters.shape, bool(torch.allclose(filters.sum(0), torch.ones(40)))
    (torch.Size([513, 40]), True)
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    edges = 700 * (10 ** (torch.linspace(low, high, mels + 2, dtype=torch.float64) / 2595) - 1)
    step = rate / 2 / (bins - 1)
    # A filter narrower than the spacing of the frequencies would see none of them.
    left = torch.minimum(edges[:-2], edges[1:-1] - step)
    right = torch.maximum(edges[2:], edges[1:-1] + step)
    f = torch.arange(bins, dtype=torch.float64)[:, None] * step
    up = (f - left) / (edges[1:-1] - left)
    down = (right - f) / (right - edges[1:-1])
    filters = torch.minimum(up, down).clamp(min=0)
    return (filters / filters.sum(0)).float()


class LogMel(ElementEncoder):
    """The logarithm of a chunk's mel spectrum through a small net.

    Args:
        shape: ``(samples,)``.
        places: See :class:`ElementEncoder`.
        features: D.
        rate: Samples per second, Hz.
        mels: Bands.
        band: Lower and upper edge of all bands, Hz.
        hidden: Width of the net.

    Raises:
        ConfigError: For elements that are no chunks, or a band beyond half the rate.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        places: int | None,
        features: int,
        rate: float = 22050.0,
        mels: int = 64,
        band: tuple[float, float] = (40.0, 8000.0),
        hidden: int = 128,
    ) -> None:
        super().__init__(shape, places, features)
        if len(shape) != 1:
            raise ConfigError(
                f"the encoder 'log_mel' is for chunks of samples, not for elements of the shape "
                f"{shape}; choose another in model.options.encoders."
            )
        if not 0 <= band[0] < band[1] <= rate / 2:
            raise ConfigError(
                f"the encoder 'log_mel' needs 0 <= band[0] < band[1] <= rate / 2 (Hz), not "
                f"band={list(band)} at rate={rate}."
            )
        window = torch.hann_window(shape[0])
        self._length = 1 << (shape[0] - 1).bit_length()
        # Not stored in checkpoints: they follow from the options.
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)
        filters = mel_filters(rate, self._length // 2 + 1, mels, *band)
        self.register_buffer("filters", filters, persistent=False)
        self.hidden = nn.Linear(mels, hidden)
        self.output = PlacedOutput(hidden, places, features)

    def levels(self, elements: Tensor) -> Tensor:
        """(M, samples) to the scaled logarithms of the bands (M, mels); silence is -2.2."""
        power = torch.fft.rfft(elements * self.window, self._length).abs().square()
        return (torch.log(power @ self.filters + SILENCE) + 5.0) / 4.0

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        return self.output(F.relu(self.hidden(self.levels(elements))), places)


class FeatureRow(ElementEncoder):
    """A row of features that the data set made, such as an MFCC frame, through a small net.

    Args:
        shape: Of one row; it is flattened.
        places: See :class:`ElementEncoder`.
        features: D.
        scale: Values up to about this are seen in proportion, larger ones by their logarithm.
        hidden: Width of the net.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        places: int | None,
        features: int,
        scale: float = 1.0,
        hidden: int = 128,
    ) -> None:
        super().__init__(shape, places, features)
        self._scale = scale
        self.hidden = nn.Linear(math.prod(shape), hidden)
        self.output = PlacedOutput(hidden, places, features)

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        values = torch.asinh(elements.flatten(1) / self._scale)
        return self.output(F.relu(self.hidden(values)), places)
