"""RoadSeg: two encoders fused stage by stage, and a densely connected decoder.

Fan, Wang, Cai, Liu, "SNE-RoadSeg", ECCV 2020 (arXiv 2008.11351); the segmentation network of
MMCert (CVPR 2024). Modules carry the names of the public checkpoints, so that their state dicts
load one to one.

Letters: ``B`` batch, ``C`` classes, ``H, W`` input size, both divisible by 32.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcert.errors import ConfigError

#: torchvision ResNets, whose pieces carry the names of the public checkpoints.
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
#: The pieces of a ResNet that RoadSeg uses, in the order of the computation.
RESNET_PIECES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
STAGES = 5


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with bias, batch normalisation and ReLU: a node of the decoder."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels_in, h, w)`` to ``(B, channels_out, h, w)``."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)))


class UpBlock(nn.Module):
    """Bilinear doubling (corners aligned), 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, channels_in, h, w)`` to ``(B, channels_out, 2h, 2w)``."""
        return torch.relu(self.bn1(self.conv1(self.up(x))))


def _first_convolution(channels: int, like: nn.Conv2d, pretrained: bool) -> nn.Conv2d:
    """A first convolution for ``channels`` inputs; pretrained weights are averaged over colours."""
    conv = nn.Conv2d(
        channels,
        like.out_channels,
        kernel_size=like.kernel_size,  # type: ignore[arg-type]
        stride=like.stride,  # type: ignore[arg-type]
        padding=like.padding,  # type: ignore[arg-type]
        bias=like.bias is not None,
    )
    if pretrained:
        with torch.no_grad():
            conv.weight.copy_(like.weight.mean(1, keepdim=True).expand_as(conv.weight))
    return conv


def resnet_encoder(
    name: str, channels: int, pretrained: bool
) -> tuple[OrderedDict[str, nn.Module], list[int]]:
    """The pieces of a torchvision ResNet, and the channels after the stem and each layer.

    Raises:
        ConfigError: Where the ImageNet weights are neither cached nor to be downloaded.
    """
    import torchvision

    try:
        resnet = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    except OSError as error:
        raise ConfigError(
            f"the ImageNet weights of {name} could not be fetched ({error}); put them into "
            f"{torch.hub.get_dir()}/checkpoints, or set model.options.pretrained=false."
        ) from error
    if channels != 3:
        resnet.conv1 = _first_convolution(channels, resnet.conv1, pretrained)
    pieces = OrderedDict((piece, getattr(resnet, piece)) for piece in RESNET_PIECES)
    lasts = [layer[-1] for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)]
    widths = [resnet.conv1.out_channels]
    widths += [getattr(block, "conv3", block.conv2).out_channels for block in lasts]
    return pieces, widths


def timm_encoder(name: str, channels: int, pretrained: bool) -> tuple[list[nn.Module], list[int]]:
    """A timm encoder cut into five stages of stride 2, 4, 8, 16, 32, and their channels.

    Raises:
        ConfigError: For an unknown name, or an encoder that has not these five stages in sequence.
    """
    import timm

    if not timm.is_model(name):
        raise ConfigError(
            f"unknown encoder {name!r}; choose one of {', '.join(RESNETS)} or a timm model name."
        )
    try:
        features: Any = timm.create_model(
            name, features_only=True, pretrained=pretrained, in_chans=channels
        )
    except OSError as error:
        raise ConfigError(
            f"the ImageNet weights of {name} could not be fetched ({error}); fetch them once where "
            f"there is a network and copy the cache of Hugging Face (HF_HOME), or set "
            f"model.options.pretrained=false."
        ) from error
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"timm cannot make the encoder {name!r}: {error}") from error
    strides = features.feature_info.reduction()
    if type(features).__name__ != "FeatureListNet" or strides != [2, 4, 8, 16, 32]:
        raise ConfigError(
            f"encoder {name!r} has stages of stride {strides}; RoadSeg fuses five stages of "
            f"stride 2, 4, 8, 16, 32 in sequence (for example resnet18d, regnety_008)."
        )
    ends = set(features.return_layers)
    stages: list[nn.Module] = []
    current: list[nn.Module] = []
    for key, module in features.items():
        current.append(module)
        if key in ends:
            stages.append(nn.Sequential(*current))
            current = []
    return stages, list(features.feature_info.channels())


class RoadSegNet(nn.Module):
    """Two encoders; the second stream is added to the RGB stream after the stem and every stage.

    Args:
        classes: ``C``.
        encoder: A torchvision ResNet (18 to 152), or a timm model with five sequential stages.
        channels: Input channels of the RGB stream and of the second stream.
        pretrained: ImageNet weights for both encoders (averaged over colours where the number of
            channels is not 3).

    Raises:
        ConfigError: For an unknown encoder, or weights that cannot be fetched.

    Parameters at ``C = 2``, three channels each: ResNet-18 28.409 M, -34 48.625 M, -50 132.053 M,
    -101 170.038 M, -152 201.325 M, the published figures.
    """

    def __init__(
        self,
        classes: int = 2,
        encoder: str = "resnet18",
        channels: Sequence[int] = (3, 3),
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self._resnet = encoder in RESNETS
        for stream, count in zip(("rgb", "another"), channels, strict=True):
            if self._resnet:
                pieces, widths = resnet_encoder(encoder, count, pretrained)
                for piece, module in pieces.items():
                    setattr(self, f"encoder_{stream}_{piece}", module)
            else:
                stages, widths = timm_encoder(encoder, count, pretrained)
                for index, module in enumerate(stages):
                    setattr(self, f"encoder_{stream}_stage{index}", module)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for i in range(1, STAGES):
            for j in range(1, STAGES - i + 1):
                width, below = widths[i - 1], widths[i]
                setattr(self, f"up{i + 1}_{j - 1}", UpBlock(below, width))
                setattr(self, f"conv{i}_{j}", ConvBlock(width * (j + 1), width))
        self.final = UpBlock(widths[0], classes)

    def _stage(self, stream: str, index: int, x: Tensor) -> Tensor:
        """Stage ``index`` of one encoder: 0 the stem, 1 to 4 the layers."""
        if not self._resnet:
            return getattr(self, f"encoder_{stream}_stage{index}")(x)
        if index == 0:
            stem = getattr(self, f"encoder_{stream}_conv1")(x)
            return torch.relu(getattr(self, f"encoder_{stream}_bn1")(stem))
        if index == 1:
            x = self.maxpool(x)
        return getattr(self, f"encoder_{stream}_layer{index}")(x)

    def forward(self, rgb: Tensor, another: Tensor) -> Tensor:
        """Logits ``(B, C, H, W)`` of ``rgb (B, c1, H, W)`` and ``another (B, c2, H, W)``.

        The head ends in a ReLU, as published: logits are not negative.
        """
        nodes: dict[tuple[int, int], Tensor] = {}
        for index in range(STAGES):
            rgb = self._stage("rgb", index, rgb)
            another = self._stage("another", index, another)
            rgb = rgb + another
            nodes[index + 1, 0] = rgb
        for j in range(1, STAGES):
            for i in range(1, STAGES - j + 1):
                up = getattr(self, f"up{i + 1}_{j - 1}")(nodes[i + 1, j - 1])
                earlier = [nodes[i, column] for column in range(j)]
                nodes[i, j] = getattr(self, f"conv{i}_{j}")(torch.cat([*earlier, up], dim=1))
        return self.final(nodes[1, STAGES - 1])
