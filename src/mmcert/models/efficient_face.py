"""EfficientFace, the frame encoder of the published emotion model (Zhao, Liu, Wang, AAAI 2021).

A ShuffleNetV2 whose second stage is modulated by channel and spatial attention and joined by a
branch that looks at the four quarters of the face apart. Parameters have the names of the public
checkpoints, so that those load.

Letters: ``M`` frames.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.shufflenetv2 import InvertedResidual

from mmcert.errors import ConfigError

#: Channels after the stem, the three stages and the last convolution; blocks of the stages.
CHANNELS, BLOCKS = (29, 116, 232, 464, 1024), (4, 8, 4)
#: Sides of a frame are multiples of this: the quarters must meet the second stage's grid.
SIDE = 16


class QuarterFeatures(nn.Module):
    """Depthwise convolutions on each quarter of a face, with weights of its own.

    Args:
        inputs: Channels in.
        outputs: Channels out, a multiple of ``inputs``.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        for quarter in range(1, 5):
            for step, (channels, stride) in enumerate(((inputs, 2), (outputs, 1)), 1):
                conv = nn.Conv2d(
                    channels, outputs, 3, stride, padding=1, groups=channels, bias=False
                )
                self.add_module(f"conv{quarter}_{step}", conv)
                self.add_module(f"bn{quarter}_{step}", nn.BatchNorm2d(outputs))

    def _quarter(self, x: Tensor, quarter: int) -> Tensor:
        for step in (1, 2):
            x = self.get_submodule(f"conv{quarter}_{step}")(x)
            x = self.get_submodule(f"bn{quarter}_{step}")(x).relu()
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(M, inputs, h, w) to (M, outputs, h / 2, w / 2)."""
        top, bottom = x.chunk(2, 2)
        left = [half.chunk(2, 3)[0] for half in (top, bottom)]
        right = [half.chunk(2, 3)[1] for half in (top, bottom)]
        sides = [
            torch.cat(
                [self._quarter(part, number) for part, number in zip(side, names, strict=True)], 2
            )
            for side, names in ((left, (1, 2)), (right, (3, 4)))
        ]
        return torch.cat(sides, 3)


class Modulator(nn.Module):
    """Scales features by a sigmoid of channel attention times spatial attention.

    Args:
        channels: Channels in and out.
        reduction: What the attention's own channels are divided by.
        dilation: Of its two spatial convolutions, pixels.
    """

    def __init__(self, channels: int, reduction: int = 16, dilation: int = 4) -> None:
        super().__init__()
        few = channels // reduction
        channel = nn.Sequential()
        channel.add_module("gate_c_fc_0", nn.Linear(channels, few))
        channel.add_module("gate_c_bn_1", nn.BatchNorm1d(few))
        channel.add_module("gate_c_relu_1", nn.ReLU())
        channel.add_module("gate_c_fc_final", nn.Linear(few, channels))
        self.channel_att = nn.ModuleDict({"gate_c": channel})
        spatial = nn.Sequential()
        spatial.add_module("gate_s_conv_reduce0", nn.Conv2d(channels, few, 1))
        spatial.add_module("gate_s_bn_reduce0", nn.BatchNorm2d(few))
        spatial.add_module("gate_s_relu_reduce0", nn.ReLU())
        for i in range(2):
            conv = nn.Conv2d(few, few, 3, padding=dilation, dilation=dilation)
            spatial.add_module(f"gate_s_conv_di_{i}", conv)
            spatial.add_module(f"gate_s_bn_di_{i}", nn.BatchNorm2d(few))
            spatial.add_module(f"gate_s_relu_di_{i}", nn.ReLU())
        spatial.add_module("gate_s_conv_final", nn.Conv2d(few, 1, 1))
        self.spatial_att = nn.ModuleDict({"gate_s": spatial})

    def forward(self, x: Tensor) -> Tensor:
        """(M, channels, h, w) to the same shape."""
        channel = self.channel_att["gate_c"](x.mean((2, 3)))[..., None, None]
        return torch.sigmoid(channel * self.spatial_att["gate_s"](x)) * x


class EfficientFace(nn.Module):
    """Features of faces, 1024 each."""

    features = CHANNELS[-1]

    def __init__(self) -> None:
        super().__init__()
        stem, *stages, last = CHANNELS
        self.conv1 = _unit(3, stem, kernel=3, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = stem
        for number, (width, blocks) in enumerate(zip(stages, BLOCKS, strict=True), 2):
            first = InvertedResidual(channels, width, 2)
            more = [InvertedResidual(width, width, 1) for _ in range(blocks - 1)]
            self.add_module(f"stage{number}", nn.Sequential(first, *more))
            channels = width
        self.local = QuarterFeatures(stem, stages[0])
        self.modulator = Modulator(stages[0])
        self.conv5 = _unit(channels, last, kernel=1, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """Frames (M, 3, H, W), float in [0, 1], sides multiples of 16 pixels, to (M, 1024)."""
        x = self.maxpool(self.conv1(x))
        stage = self.get_submodule
        x = self.modulator(stage("stage2")(x)) + self.local(x)
        return self.conv5(stage("stage4")(stage("stage3")(x))).mean((2, 3))


def _unit(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def load_efficient_face(encoder: EfficientFace, path: str | Path) -> None:
    """Put the weights of a public EfficientFace checkpoint into an encoder.

    Args:
        encoder: Gets the weights.
        path: A file of ``torch.save``: the weights by name, or ``{"state_dict": weights, ...}``;
            names may begin with ``module.``. The classifier ``fc`` is left out. The file is read
            as plain data: nothing in it is run.

    Raises:
        ConfigError: Where the file is missing, holds other objects than plain data, or other
            weights.
    """
    key = f"model.options.encoder_weights={path}"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{key}: there is no such file.") from None
    except Exception as error:  # torch's readers raise whatever a broken file makes them
        raise ConfigError(
            f"{key} cannot be read as plain weights: {error}. If you trust the file, load it once "
            f"with torch.load(..., weights_only=False) and save its 'state_dict' alone."
        ) from error
    weights = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
        raise ConfigError(f"{key} holds no weights by name.")
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    weights = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    wanted = encoder.state_dict()
    wrong = sorted(
        name
        for name in wanted.keys() | weights.keys()
        if name not in wanted or name not in weights or wanted[name].shape != weights[name].shape
    )
    if wrong:
        raise ConfigError(
            f"{key} is no EfficientFace: {len(wrong)} of its weights are missing, superfluous or "
            f"of another shape, such as {', '.join(wrong[:3])}."
        )
    encoder.load_state_dict(weights)
