"""An image + audio classifier that encodes every element on its own.

Each retained element adds a feature vector, which depends on its position and value and on nothing
else; a multi-layer perceptron reads the two sums, or one reads each and their logits add. Features
are made once per sample, so a draw costs one masked sum and the head: about ten microseconds on a
CPU core.

Letters: ``B`` samples, ``R`` ablated inputs, ``n`` elements of a modality, ``e`` values of an
element, ``D`` features of an element, ``C`` classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmcert.errors import ConfigError
from mmcert.models.base import BaseModel, check_finite, first_largest
from mmcert.models.chunk_features import BandFeatures
from mmcert.sampling.subsets import Subset

#: Sums of features are divided by these, so that they start at the order of 1. Constants, not the
#: number of retained elements: it may differ between draws (pooled sub-sampling).
PIXEL_SCALE, CHUNK_SCALE = 10.0, 2.0
#: Power below which a frequency counts as silent (amplitudes are in [-1, 1]).
SILENCE = 1e-4


def as_elements(x: Tensor, element_axes: tuple[int, ...]) -> Tensor:
    """A batch of tensors as lists of elements.

    Args:
        x: (B, *shape).
        element_axes: The axes of ``shape`` that count elements.

    Returns:
        (B, n, e), elements in C order of their axes.

    >>> as_elements(torch.zeros(2, 3, 5, 7), (1, 2)).shape
    torch.Size([2, 35, 3])
    """
    first = [axis + 1 for axis in element_axes]
    rest = [axis for axis in range(1, x.ndim) if axis not in first]
    moved = x.permute(0, *first, *rest)
    n = moved.shape[1 : 1 + len(first)].numel()
    return moved.reshape(len(x), n, -1)


class PixelFeatures(nn.Module):
    """Features of a pixel: a vector of its position plus one per value, scaled by the value.

    Args:
        n: Pixels.
        values: Values of a pixel (channels).
        features: D.
    """

    def __init__(self, n: int, values: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, 1 + values, features) * 0.1)

    def forward(self, elements: Tensor) -> Tensor:
        """(B, n, e) to features (B, n, D)."""
        present, values = self.weight[:, 0], self.weight[:, 1:]
        return present + torch.einsum("bne,ned->bnd", elements, values)

    def summed(self, elements: Tensor, mask: Tensor) -> Tensor:
        """Sums of the features that masks (R, n) retain: (R, D).

        Sums the weights of what is retained, a few per cent: three times faster, with the way
        back, than a product of masked inputs with all weights.
        """
        row, column = mask.nonzero(as_tuple=True)
        sample = torch.div(row, len(mask) // len(elements), rounding_mode="floor")
        values = elements[sample, column]  # (retained in all rows, e)
        share = torch.cat((torch.ones_like(values[:, :1]), values), 1)
        parts = share.shape[1]
        place = column[:, None] * parts + torch.arange(parts, device=column.device)
        first = torch.searchsorted(row, torch.arange(len(mask), device=row.device)) * parts
        return F.embedding_bag(
            place.flatten(),
            self.weight.flatten(0, 1),
            first,
            mode="sum",
            per_sample_weights=share.flatten(),
        )


class ChunkFeatures(nn.Module):
    """Features of a chunk of samples: its log spectrum and position through a small net.

    Args:
        n: Chunks.
        samples: Samples of a chunk.
        hidden: Width of the net.
        features: D.
    """

    window: Tensor

    def __init__(self, n: int, samples: int, hidden: int, features: int) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(samples), persistent=False)
        self.spectrum = nn.Linear(samples // 2 + 1, hidden)
        self.place = nn.Parameter(torch.randn(n, hidden) * 0.1)
        self.out = nn.Linear(hidden, features)
        self.place_out = nn.Parameter(torch.zeros(n, features))

    def forward(self, elements: Tensor, places: Tensor | slice = slice(None)) -> Tensor:
        """(B, n, samples), or (M, samples) at ``places`` int64 (M,), to features (..., D)."""
        power = torch.fft.rfft(elements * self.window).abs().square()
        level = (torch.log(power + SILENCE) + 5.0) / 4.0  # silence is about -1, loud about 2
        hidden = F.relu(self.spectrum(level) + self.place[places])
        return F.relu(self.out(hidden) + self.place_out[places])

    def summed(self, elements: Tensor, mask: Tensor) -> Tensor:
        """Sums of the features that masks (R, n) retain: (R, D)."""
        features = self(elements)  # (B, n, D)
        grouped = mask.to(features.dtype).reshape(len(features), -1, mask.shape[1])
        return torch.bmm(grouped, features).flatten(0, 1)


def _retained_sums(features: Tensor, subset: Subset) -> Tensor:
    """Sums of the features (n, D) that each draw retains: (B, D)."""
    indices = subset.indices
    # Reading k rows costs twice as much per row as the product with the mask, which reads all n.
    if indices is not None and 2 * indices.shape[1] <= len(features):
        return F.embedding_bag(indices, features, mode="sum")
    return subset.mask.to(features.dtype) @ features


class Head(nn.Module):
    """What the sum of one modality's features says: (R, D) to logits (R, C).

    Args:
        features: D.
        hidden: Width.
        classes: C.
        dropout: Share of its inputs that training drops.
    """

    def __init__(self, features: int, hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Linear(features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, classes)

    def forward(self, sums: Tensor) -> Tensor:
        """(R, D) to (R, C)."""
        x = F.relu(self.first(self.dropout(F.relu(sums + self.bias))))
        x = x + F.relu(self.second(self.dropout(x)))
        return self.last(x)


class ElementwiseFusion(BaseModel):
    """Image + audio classification from sums of element features.

    Args:
        inputs: How the modalities are made of elements (``InputSpec``), of fixed shape.
        classes: C.
        encoding: Per modality ``{"name": "retained_indicator"}``: features depend on position and
            value of what is retained, and an ablated element adds nothing.
        image: The modality of pixels.
        audio: The modality of chunks of waveform samples in [-1, 1].
        pixel_features: D of the image.
        chunk_features: D of the audio.
        hidden: Width of the head.
        dropout: Share of the head's inputs that training drops.
        chunk: What is heard in a chunk: ``spectrum``, its log spectrum as it is, or ``bands``, few
            bands relative to the level of the chunk, which depend less on the voice.
        bands: Bands of ``bands``.
        rate: Waveform samples per second, for ``bands``.
        chunk_dropout: Share of values that training drops wherever ``bands`` are read.
        fusion: ``joint``, one head on both sums, or ``product``, a head for each modality and their
            logits added: right where the modalities are independent given the class, as pairs made
            by label are, and what one has learned of few voices cannot spoil the other.
        alone: Of ``product``: per modality the share of training's ablated inputs of which it alone
            is read, so that each head is right by itself; at most 1 together.

    Raises:
        ConfigError: For a modality that the data does not have, varying shapes, another encoding,
            an unknown ``chunk`` or ``fusion``, or shares ``alone`` that are none.
    """

    default_block = 1000

    def __init__(
        self,
        inputs: Mapping[str, Any],
        classes: int,
        encoding: Mapping[str, Mapping[str, Any]],
        *,
        image: str = "image",
        audio: str = "audio",
        pixel_features: int = 256,
        chunk_features: int = 128,
        hidden: int = 256,
        dropout: float = 0.1,
        chunk: str = "spectrum",
        bands: int = 16,
        rate: int = 8000,
        chunk_dropout: float = 0.2,
        fusion: str = "joint",
        alone: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("chunk", chunk, ("spectrum", "bands")),
            ("fusion", fusion, ("joint", "product")),
        ):
            if value not in known:
                raise ConfigError(f"model.options.{key}={value}; choose {' or '.join(known)}.")
        shares = tuple((alone or {}).get(name, 0.0) for name in (image, audio))
        if set(alone or {}) - {image, audio} or min(shares) < 0 or sum(shares) > 1:
            raise ConfigError(
                f"model.options.alone={dict(alone or {})}; give {image} and {audio} shares of at "
                f"most 1 together."
            )
        self._alone, self.classes = shares, classes
        self._modalities = (image, audio)
        self._axes: dict[str, tuple[int, ...]] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for name in self._modalities:
            if name not in inputs:
                raise ConfigError(
                    f"model 'elementwise_fusion' reads the modality '{name}'; the data has "
                    f"{', '.join(inputs)}. Set model.options.image and model.options.audio."
                )
            if encoding[name]["name"] != "retained_indicator":
                raise ConfigError(
                    f"model 'elementwise_fusion' knows which elements are retained; set "
                    f"encoding=retained_indicator instead of {encoding[name]['name']} "
                    f"for '{name}'."
                )
            shape = tuple(inputs[name].shape)
            if None in shape:
                raise ConfigError(
                    f"model 'elementwise_fusion' has weights per position and needs inputs of one "
                    f"size; '{name}' has the shape {shape}."
                )
            self._axes[name] = tuple(inputs[name].element_axes)
            _, n, values = as_elements(torch.empty(1, *shape), self._axes[name]).shape
            sizes[name] = (n, values)
        self.pixels = PixelFeatures(*sizes[image], pixel_features)
        self.chunks: ChunkFeatures | BandFeatures
        if chunk == "bands":
            self.chunks = BandFeatures(
                *sizes[audio],
                chunk_features,
                chunk_features,
                bands=bands,
                rate=rate,
                dropout=chunk_dropout,
            )
        else:
            self.chunks = ChunkFeatures(*sizes[audio], chunk_features, chunk_features)
        self.heads: nn.ModuleList | None = None
        if fusion == "product":
            self.heads = nn.ModuleList(
                (
                    Head(pixel_features, hidden, classes, dropout),
                    Head(chunk_features, chunk_features, classes, chunk_dropout),
                )
            )
            return
        self.bias = nn.Parameter(torch.zeros(pixel_features + chunk_features))
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Linear(pixel_features + chunk_features, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, classes)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Image and audio."""
        return self._modalities

    def logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits of ablated inputs.

        Args:
            inputs: Per modality float32 (B, *shape).
            masks: Per modality bool (R, n).

        Returns:
            float32 (R, C).
        """
        image, audio = self._modalities
        elements = {name: as_elements(inputs[name], self._axes[name]) for name in self._modalities}
        heard = self._heard(masks[image])
        if heard is not None:
            masks = {name: masks[name] & heard[name][:, None] for name in self._modalities}
        return self._head(
            self.pixels.summed(elements[image], masks[image]),
            self.chunks.summed(elements[audio], masks[audio]),
            heard,
        )

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """The features of every element of one sample, (n, D) per modality, on the device.

        Raises:
            DataError: Where a modality is missing.
        """
        inputs = self._on_device(sample)
        image, audio = self._modalities
        elements = {name: as_elements(x, self._axes[name]) for name, x in inputs.items()}
        features = {image: self.pixels(elements[image])[0], audio: self.chunks(elements[audio])[0]}
        return {"id": sample["id"], "features": features}

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> Tensor:
        """The labels of ``B`` draws of one sample, int64 (B,).

        Raises:
            NonFiniteLogitsError: Naming the sample.
        """
        features = state["features"]
        image, audio = (_retained_sums(features[name], subsets[name]) for name in self._modalities)
        logits = self._head(image, audio)
        check_finite(logits, state["id"])
        return first_largest(logits)

    def _heard(self, mask: Tensor) -> dict[str, Tensor] | None:
        """Per modality bool (R,), the rows in which training reads it; None: all of them."""
        if not self.training or self.heads is None or not any(self._alone):
            return None
        chance = torch.rand(len(mask), device=mask.device)
        (image, audio), (seen, heard) = self._modalities, self._alone
        return {image: chance >= heard, audio: chance < 1 - seen}

    def _head(
        self, image: Tensor, audio: Tensor, heard: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Sums of features (R, D) of both modalities to logits (R, C)."""
        scaled = (image / PIXEL_SCALE, audio / CHUNK_SCALE)
        if self.heads is not None:
            if heard is None:
                return self.heads[0](scaled[0]) + self.heads[1](scaled[1])
            logits = image.new_zeros(len(image), self.classes)
            for head, x, rows in zip(self.heads, scaled, heard.values(), strict=True):
                logits = logits.index_add(0, rows.nonzero()[:, 0], head(x[rows]))
            return logits
        sums = torch.cat(scaled, 1)
        x = F.relu(self.first(self.dropout(F.relu(sums + self.bias))))
        x = x + F.relu(self.second(self.dropout(x)))
        return self.last(x)
