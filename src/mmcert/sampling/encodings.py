"""Encodings: what the base model is shown of a sub-sample.

Sound for modification: the output is a function of (position, value) of the retained elements and
of nothing else (method section 1). Every encoding here selects with ``torch.where``, so a value of
an element that is not retained cannot reach the output, not even as NaN or infinity.

Shapes: ``B`` draws, ``c`` values per element, ``n`` elements on ``grid`` (for an image ``(H, W)``).
The axes of a sample that are not element axes become the channel axis: ``(3, H, W)`` with element
axes ``(1, 2)`` gives ``(B, 3, H, W)``, a sequence ``(n, c)`` with element axis ``(0,)`` gives
``(B, c, n)``.

Which encoding is sound for which threat: ``mmcert.theory.encodings``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmcert.errors import ConfigError
from mmcert.sampling.densification import distance_channel, push_pull
from mmcert.sampling.ground import ground_plane, relative_height
from mmcert.theory.modality import InputSpec

#: Relative height, in camera heights, below which the squashed height is nearly linear: 8 cm of a
#: car's camera.
KERB = 0.05
#: Relative heights beyond these are all the same.
HEIGHTS = (-1.0, 2.0)
#: Metres; a depth beyond is no measurement of a road scene (an infinite one has no inverse).
FARTHEST = 1e4


class Encoding(nn.Module, ABC):
    """Encodes the retained elements of one modality; has no parameters.

    Args:
        spec: Which axes of a sample count elements.

    Attributes:
        dense: Whether every element, retained or not, gets a value from the retained ones.
        reads: What the first channels hold: the elements' own ``value``, its ``inverse``, or the
            ``height`` above the ground.
    """

    dense: bool = False
    reads: Literal["value", "inverse", "height"] = "value"

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.element_axes = tuple(spec.element_axes)
        self.dims = len(spec.shape)

    def channels(self, c: int) -> int:
        """Channels of the output for elements of ``c`` values."""
        return c

    @abstractmethod
    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """Encode values (B or 1, c, *grid) where ``retained``, bool (B, 1, *grid)."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The sub-samples as the base model sees them.

        Args:
            x: Samples, (B, *shape), or (1, *shape) for ``B`` draws of one sample; floating point.
            mask: Retained elements, bool (B, n), elements in C order of the element axes.

        Returns:
            (B, channels, *grid) with the dtype of ``x``.

        Raises:
            ConfigError: Where shapes do not fit.
        """
        values = self._channels_first(x)
        grid = values.shape[2:]
        if mask.dim() != 2 or mask.shape[1] != math.prod(grid) or len(x) not in (1, len(mask)):
            raise ConfigError(
                f"a mask of shape {tuple(mask.shape)} does not fit inputs of shape "
                f"{tuple(x.shape)} with {math.prod(grid)} elements; it must be (B, n)."
            )
        return self.encode(values, mask.view(len(mask), 1, *grid))

    def _channels_first(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, c, *grid)."""
        if x.dim() != self.dims + 1:
            raise ConfigError(
                f"inputs of shape {tuple(x.shape)} must have a batch axis and {self.dims} more."
            )
        elements = [axis + 1 for axis in self.element_axes]
        others = [axis for axis in range(1, x.dim()) if axis not in elements]
        ordered = x.permute(0, *others, *elements)
        grid = ordered.shape[1 + len(others) :]
        return ordered.reshape(len(x), -1, *grid) if len(others) != 1 else ordered


class ZeroFill(Encoding):
    """Zero where an element is not retained."""

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``x`` or 0."""
        return torch.where(retained, values, 0.0)


class ConstantFill(Encoding):
    """A constant where an element is not retained, fixed before the input is seen.

    A mean over the training set is such a constant; the mean of the input itself is not.

    Args:
        spec: Which axes of a sample count elements.
        value: One number, or one per channel.

    Raises:
        ConfigError: Where a value is not a finite number.
    """

    def __init__(self, spec: InputSpec, value: float | Sequence[float]) -> None:
        super().__init__(spec)
        given = [value] if isinstance(value, int | float) else list(value)
        if not given or not all(isinstance(v, int | float) and math.isfinite(v) for v in given):
            raise ConfigError(f"encoding.value must hold finite numbers, not {value!r}.")
        self.constant: Tensor
        self.register_buffer("constant", torch.tensor(given, dtype=torch.float32), persistent=False)

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``x`` or the constant of its channel."""
        if len(self.constant) not in (1, values.shape[1]):
            raise ConfigError(
                f"encoding.value has {len(self.constant)} numbers, the input {values.shape[1]} "
                f"channels; give one number, or one per channel."
            )
        constant = self.constant.to(values).view(1, -1, *[1] * (values.dim() - 2))
        return torch.where(retained, values, constant)


class RetainedIndicator(Encoding):
    """Zero fill and one more channel: 1 where an element is retained, 0 elsewhere."""

    def channels(self, c: int) -> int:
        """``c + 1``."""
        return c + 1

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``(x or 0, retained)``."""
        return torch.cat((torch.where(retained, values, 0.0), retained.to(values.dtype)), dim=1)


class Doubling(Encoding):
    """Values in [0, 1] as ``(x, 1 - x)``, both 0 where an element is not retained.

    Source: Levine, Feizi, "Robustness certificates for sparse adversarial attacks by randomized
    ablation" (AAAI 2020), the NULL encoding.
    """

    def channels(self, c: int) -> int:
        """``2 c``."""
        return 2 * c

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``(x or 0, 1 - x or 0)``."""
        return torch.where(retained, torch.cat((values, 1 - values), dim=1), 0.0)


def _check_grid(name: str, spec: InputSpec) -> None:
    """Refuse elements that do not lie on a two-dimensional grid."""
    if len(spec.element_axes) != 2:
        raise ConfigError(
            f"encoding '{name}' needs elements on a two-dimensional grid, not "
            f"{len(spec.element_axes)} element axes ({spec.element})."
        )


class Interpolation(Encoding):
    """A dense map interpolated from the retained elements, and how far the nearest of them is.

    See ``mmcert.sampling.densification``; the last channel is its ``distance_channel``.

    Args:
        spec: Which axes of a sample count elements; two of them.
        inverse: Interpolate ``1/x`` instead of ``x``, 0 where ``x`` is 0. For depth in metres: a
            plane is linear in inverse depth (1/m), and no measurement reads as infinitely far.
        zero_is_missing: An element whose values are all 0 was not measured: where it is retained it
            neither enters the interpolation nor counts as near.

    Raises:
        ConfigError: Where elements do not lie on a two-dimensional grid.
    """

    dense = True

    def __init__(
        self, spec: InputSpec, inverse: bool = False, zero_is_missing: bool = False
    ) -> None:
        super().__init__(spec)
        _check_grid("interpolation", spec)
        self.reads = "inverse" if inverse else "value"
        self.zero_is_missing = zero_is_missing

    def channels(self, c: int) -> int:
        """``c + 1``."""
        return c + 1

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``(interpolated x, distance)``."""
        measured = values != 0
        known = retained
        if self.zero_is_missing:
            known = retained & measured.any(dim=1, keepdim=True)
        if self.reads == "inverse":
            values = torch.where(measured, values.reciprocal(), 0.0)
        dense = push_pull(torch.where(known, values, 0.0), known)
        return torch.cat((dense, distance_channel(known, values.dtype)), dim=1)


class GroundHeight(Encoding):
    """Depth as height above the ground, interpolated from the retained pixels.

    The plane of the ground is fitted to the retained measurements, see ``mmcert.sampling.ground``;
    no camera is needed. The channels: height above the plane, squashed so that both a kerb of a
    tenth of a metre and a house stand out, and how far the nearest retained measurement is
    (``distance_channel``). A depth of 0 is no measurement.

    Args:
        spec: Which axes of a sample count elements; two of them.

    Raises:
        ConfigError: Where elements do not lie on a two-dimensional grid.
    """

    dense = True
    reads = "height"

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec)
        _check_grid("ground_height", spec)

    def channels(self, c: int) -> int:
        """2."""
        return 2

    def encode(self, values: Tensor, retained: Tensor) -> Tensor:
        """``(squashed height, distance)``."""
        if values.shape[1] != 1:
            raise ConfigError(
                f"encoding 'ground_height' is for depth in metres, one channel; this modality has "
                f"{values.shape[1]}."
            )
        known = retained & (values > 0) & (values < FARTHEST)
        inverse = torch.where(known, values.float().reciprocal(), 0.0)
        height = relative_height(inverse, known, ground_plane(inverse, known))
        squashed = torch.asinh(height.clamp(*HEIGHTS) / KERB) / 4
        dense = push_pull(squashed, known).to(values.dtype)
        return torch.cat((dense, distance_channel(known, values.dtype)), dim=1)


_ENCODINGS: dict[str, type[Encoding]] = {
    "zero": ZeroFill,
    "constant_mean": ConstantFill,
    "retained_indicator": RetainedIndicator,
    "doubling": Doubling,
    "interpolation": Interpolation,
    "ground_height": GroundHeight,
}


def build_encoding(config: Mapping[str, Any], spec: InputSpec) -> Encoding:
    """The encoding of one modality from its configuration.

    Args:
        config: ``{"name": ..., **options}`` with one of ``zero``, ``constant_mean`` (option
            ``value``), ``retained_indicator``, ``doubling``, ``interpolation`` (options
            ``inverse``, ``zero_is_missing``), ``ground_height``.
        spec: How the modality's tensor is made of elements.

    Raises:
        ConfigError: For an unknown name or option.

    >>> spec = InputSpec((1, 2, 2), (1, 2), "pixel")
    >>> encode = build_encoding({"name": "retained_indicator"}, spec)
    >>> x = torch.tensor([[[[5.0, 6.0], [7.0, 8.0]]]])
    >>> encode(x, torch.tensor([[True, False, False, True]])).tolist()
    [[[[5.0, 0.0], [0.0, 8.0]], [[1.0, 0.0], [0.0, 1.0]]]]
    """
    options = dict(config)
    name = options.pop("name", None)
    if name == "compact":
        raise ConfigError(
            "encoding 'compact' has no positions, and this base model reads a grid; use "
            "model=elementwise_sequence, or an encoding with positions."
        )
    if name not in _ENCODINGS:
        raise ConfigError(f"unknown encoding {name!r}; choose one of {', '.join(_ENCODINGS)}.")
    try:
        return _ENCODINGS[name](spec, **options)
    except TypeError as error:
        raise ConfigError(f"encoding '{name}' with options {options}: {error}.") from None
