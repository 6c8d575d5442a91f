"""RoadSeg on ablated frames, in the order of the public code of the field.

Ablate on the native grid, surface normals or depth of what is retained, resize to the network
(bilinear, both streams), predict, nearest back to the native grid. Everything between the ablation
and the label is a fixed function of the retained pixels, their positions and the camera.

Source: Fan, Wang, Cai, Liu, "SNE-RoadSeg" (ECCV 2020); Wang, Fu, Zou, Jia, "MMCert" (CVPR 2024).

Letters: ``B`` samples, ``R`` ablated inputs, ``C`` classes, ``H, W`` native grid, ``h, w`` input
size of the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcert.errors import ConfigError
from mmcert.models.base import BaseModel, check_finite, first_largest, repeated
from mmcert.models.normals import check_normals, normals_of_inputs
from mmcert.models.roadseg_net import RoadSegNet
from mmcert.sampling.encodings import build_encoding
from mmcert.sampling.subsets import Subset

#: Metres; the unit of depth in the published depth stream (65535 mm is 1).
FAR = 65.535
#: Metres; inverse depth enters as NEAR / depth, about 0 to 1 for what a car's camera sees.
NEAR = 4.0
#: What the second stream may see.
SECONDS = ("depth", "normals")
#: Encoders halve their input five times.
STRIDE = 32


class RoadSeg(BaseModel):
    """RoadSeg with any encoding of its two modalities; any native size.

    Args:
        inputs: How the two modalities are made of elements (``InputSpec``), equal pixel grids.
        classes: C.
        encoding: Per modality the configuration of its encoding.
        rgb: The modality with colours, (3, H, W) in [0, 1].
        depth: The modality with depth in metres, (1, H, W); 0 means no measurement.
        second: What the second stream sees: ``depth`` as its encoding gives it, or surface
            ``normals`` computed from it (the published choice; of ablated depth they are blind,
            unless the encoding interpolates). Further channels of the encoding stay beside it.
        size: Input size (h, w) of the network, multiples of 32; null: the native size rounded up.
        encoder: A torchvision ResNet (18 to 152), or a timm model with five sequential stages.
        pretrained: ImageNet weights for both encoders.

    Raises:
        ConfigError: For a modality that the data does not have, or an option that makes no sense.
    """

    default_block = 4

    def __init__(
        self,
        inputs: Mapping[str, Any],
        classes: int,
        encoding: Mapping[str, Mapping[str, Any]],
        *,
        rgb: str = "rgb",
        depth: str = "depth",
        second: str = "depth",
        size: Sequence[int] | None = (384, 1248),
        encoder: str = "resnet18",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        for name in (rgb, depth):
            if name not in inputs:
                raise ConfigError(
                    f"model 'roadseg' reads the modality '{name}'; the data has "
                    f"{', '.join(inputs)}. Set model.options.rgb and model.options.depth."
                )
        if second not in SECONDS:
            raise ConfigError(f"model.options.second={second} must be one of {', '.join(SECONDS)}.")
        if size is not None and (
            len(size) != 2 or any(int(side) != side or side < 1 or side % STRIDE for side in size)
        ):
            raise ConfigError(
                f"model.options.size={list(size)} must be [rows, columns] in multiples of {STRIDE}."
            )
        self._rgb, self._depth, self._normals = rgb, depth, second == "normals"
        self._size = None if size is None else (int(size[0]), int(size[1]))
        self._encode_rgb = build_encoding(encoding[rgb], inputs[rgb])
        self._encode_depth = build_encoding(encoding[depth], inputs[depth])
        check_normals(second, self._encode_depth.reads)
        channels = (
            self._encode_rgb.channels(3),
            self._encode_depth.channels(1) + 2 * self._normals,
        )
        self.net = RoadSegNet(classes, encoder, channels, pretrained=pretrained)
        # Same numbers in another layout: faster on CPUs and GPUs, most of all in bf16.
        self.net.to(memory_format=torch.channels_last)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Colour and depth."""
        return (self._rgb, self._depth)

    def logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits of ablated frames, bilinear on the native grid.

        Args:
            inputs: ``rgb`` float32 (B, 3, H, W) in [0, 1]; ``depth`` (B, 1, H, W) in metres;
                ``camera`` (B, 4) where the second stream sees normals.
            masks: Per modality bool (R, H * W).

        Returns:
            float (R, C, H, W).

        Raises:
            DataError: Where normals are wanted and the camera is unknown.
        """
        logits = self._network_logits(inputs, masks)
        native = inputs[self._rgb].shape[-2:]
        return F.interpolate(logits, size=native, mode="bilinear", align_corners=False)

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> Tensor:
        """Labels at the network's size, nearest back to the native grid; int64 (B, H, W)."""
        masks = {name: subset.mask for name, subset in subsets.items()}
        logits = self._network_logits(state["inputs"], masks)
        check_finite(logits, state["id"])
        native = state["inputs"][self._rgb].shape[-2:]
        # uint8: 'nearest' has no int64, and a class index fits.
        labels = first_largest(logits)[:, None].to(torch.uint8)
        return F.interpolate(labels, size=native, mode="nearest")[:, 0].long()

    def _network_logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits (R, C, h, w) at the network's own size."""
        rgb = self._encode_rgb(repeated(inputs[self._rgb], len(masks[self._rgb])), masks[self._rgb])
        second = self._second(inputs, masks[self._depth])
        size = self._size or tuple(-(-side // STRIDE) * STRIDE for side in rgb.shape[-2:])
        streams = [
            F.interpolate(x, size=size, mode="bilinear", align_corners=False).contiguous(
                memory_format=torch.channels_last
            )
            for x in (rgb, second)
        ]
        return self.net(*streams)

    def _second(self, inputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """What the second stream sees of the retained depth, (R, c, H, W)."""
        encoded = self._encode_depth(repeated(inputs[self._depth], len(mask)), mask)
        first, others = encoded[:, :1], encoded[:, 1:]
        reads = self._encode_depth.reads
        if self._normals:
            metres = (
                torch.where(first > 0, first.reciprocal(), 0.0) if reads == "inverse" else first
            )
            return torch.cat((normals_of_inputs(metres, inputs), others), 1)
        if reads == "height":
            return encoded
        scaled = (first * NEAR).clamp(max=1.0) if reads == "inverse" else first / FAR
        return torch.cat((scaled, others), 1)
