"""Encoders of visual frames (3, H, W), float32 in [0, 1]: a small network, or any of timm's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmcert.errors import ConfigError
from mmcert.models.elements.base import ElementEncoder, PlacedOutput


def _check_picture(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise ConfigError(
            f"the encoder '{name}' is for elements that are pictures (channels, H, W), not of the "
            f"shape {shape}; choose another in model.options.encoders."
        )


class FrameCNN(ElementEncoder):
    """Convolutions with strides, flattened: where something is in the face counts.

    The first one steps by 4 pixels (half the cost of a network that halves the frame twice), the
    others halve.

    Args:
        shape: ``(channels, H, W)``, sides at least ``2 ** (len(widths) + 1)`` pixels.
        places: See :class:`ElementEncoder`.
        features: D.
        widths: Channels after each convolution.

    Raises:
        ConfigError: For elements that are no pictures, or too small ones.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        places: int | None,
        features: int,
        widths: tuple[int, ...] = (24, 48, 64),
    ) -> None:
        super().__init__(shape, places, features)
        _check_picture("frame_cnn", shape)
        if min(shape[1:]) < 2 ** (len(widths) + 1):
            raise ConfigError(
                f"the encoder 'frame_cnn' shrinks a frame by {2 ** (len(widths) + 1)}; frames of "
                f"{shape[1]}x{shape[2]} pixels are too small. Give it fewer widths."
            )
        layers: list[nn.Module] = []
        channels = shape[0]
        for number, width in enumerate(widths):
            kernel, stride = (5, 4) if number == 0 else (3, 2)
            # One group: the statistics of one frame alone.
            layers += [
                nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False),
                nn.GroupNorm(1, width),
                nn.ReLU(),
            ]
            channels = width
        self.layers = nn.Sequential(*layers)
        with torch.no_grad():
            values = self.layers(torch.zeros(1, *shape)).numel()
        self.output = PlacedOutput(values, places, features)

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        return self.output(self.layers(elements).flatten(1), places)


class TimmFrames(ElementEncoder):
    """Any timm backbone, pooled.

    Args:
        shape: ``(channels, H, W)``.
        places: See :class:`ElementEncoder`.
        features: D.
        backbone: Name of a timm model.
        pretrained: Begin with timm's weights (cached, or fetched).
        freeze: Train only what follows the backbone.

    Raises:
        ConfigError: For elements that are no pictures, or a name that timm does not know.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        places: int | None,
        features: int,
        backbone: str = "resnet18",
        pretrained: bool = False,
        freeze: bool = False,
    ) -> None:
        import timm

        super().__init__(shape, places, features)
        _check_picture("timm", shape)
        if not timm.is_model(backbone):
            raise ConfigError(
                f"model.options.encoders: timm has no model '{backbone}'; timm.list_models() "
                f"lists them."
            )
        self.backbone = timm.create_model(
            backbone, pretrained=pretrained, num_classes=0, in_chans=shape[0]
        )
        self._freeze = freeze
        if freeze:
            self.backbone.requires_grad_(False)
        settings = getattr(self.backbone, "pretrained_cfg", None) or {}
        for name in ("mean", "std"):
            known = tuple(settings.get(name) or ())
            values = known if len(known) == shape[0] else (0.5,) * shape[0]
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.backbone.eval()
        with torch.no_grad():
            width = self.backbone(torch.zeros(1, *shape)).shape[1]
        self.output = PlacedOutput(width, places, features)

    def train(self, mode: bool = True) -> TimmFrames:
        """Batch norms of a frozen backbone keep their statistics."""
        super().train(mode)
        if self._freeze:
            self.backbone.eval()
        return self

    def forward(self, elements: Tensor, places: Tensor | None) -> Tensor:
        """See the base class."""
        return self.output(self.backbone((elements - self.mean) / self.std), places)
