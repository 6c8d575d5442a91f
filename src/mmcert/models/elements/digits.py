"""Pixels and chunks as ``elementwise_fusion`` sees them, as encoders of single elements."""

from __future__ import annotations

import torch
from torch import Tensor

from mmcert.errors import ConfigError
from mmcert.models.elements.base import ElementEncoder
from mmcert.models.elementwise_fusion import ChunkFeatures, PixelFeatures


class Pixel(ElementEncoder):
    """A vector of the pixel's place plus one per value, scaled by the value.

    Args:
        shape: ``(channels,)``.
        places: See :class:`ElementEncoder`; without places all pixels share their vectors.
        features: D.

    Raises:
        ConfigError: For elements that are no pixels.
    """

    def __init__(self, shape: tuple[int, ...], places: int | None, features: int) -> None:
        super().__init__(shape, places, features)
        if len(shape) != 1:
            raise ConfigError(f"the encoder 'pixel' is for (channels,), not {shape}.")
        self.pixels = PixelFeatures(places or 1, shape[0], features)

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        weight = self.pixels.weight
        chosen = weight.expand(len(elements), -1, -1) if places is None else weight[places]
        ones = torch.ones_like(elements[:, :1])
        return torch.einsum("mv,mvd->md", torch.cat((ones, elements), 1), chosen).relu()


class Spectrum(ElementEncoder):
    """The log spectrum of a chunk of samples through a small net.

    Args:
        shape: ``(samples,)``.
        places: See :class:`ElementEncoder`; without places all chunks share one.
        features: D.
        hidden: Width of the net.

    Raises:
        ConfigError: For elements that are no chunks.
    """

    def __init__(
        self, shape: tuple[int, ...], places: int | None, features: int, hidden: int = 128
    ) -> None:
        super().__init__(shape, places, features)
        if len(shape) != 1:
            raise ConfigError(f"the encoder 'spectrum' is for (samples,), not {shape}.")
        self.chunks = ChunkFeatures(places or 1, shape[0], hidden, features)

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        if places is None:
            places = torch.zeros(len(elements), dtype=torch.int64, device=elements.device)
        return self.chunks(elements, places)
