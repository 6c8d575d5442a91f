"""Augmentations of a training batch, on its device, before the ablation.

Each takes a batch and its targets and gives both back. Letters: ``B`` samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mmcert.errors import ConfigError
from mmcert.sampling.camera import CAMERA, mirrored, zoomed
from mmcert.tasks.voices import Voice

Inputs = dict[str, Tensor]
Augmentation = Callable[[Inputs, Tensor], tuple[Inputs, Tensor]]


def _uniform(like: Tensor, *shape: int) -> Tensor:
    """Uniform in [-1, 1), on the device of ``like``."""
    return torch.rand(*shape, device=like.device) * 2 - 1


@dataclass(frozen=True)
class AffineImage:
    """Small random affine maps of a picture (B, c, H, W), for drawings whose meaning they keep.

    Args:
        modality: Which.
        rotate: Largest angle, radians.
        scale: Largest relative change of size.
        shear: Largest shear, pixels per pixel.
        shift: Largest shift, in half widths.
    """

    modality: str = "image"
    rotate: float = 0.15
    scale: float = 0.1
    shear: float = 0.15
    shift: float = 0.1

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        x = inputs[self.modality]
        batch = len(x)
        angle = _uniform(x, batch) * self.rotate
        size = 1 + _uniform(x, batch, 2) * self.scale
        shear = _uniform(x, batch) * self.shear
        rows = (
            torch.stack((angle.cos() * size[:, 0], shear - angle.sin()), 1),
            torch.stack((angle.sin(), angle.cos() * size[:, 1]), 1),
        )
        shift = _uniform(x, batch, 2, 1) * self.shift
        theta = torch.cat((torch.stack(rows, 1), shift), 2)  # (B, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return {**inputs, self.modality: F.grid_sample(x, grid, align_corners=False)}, targets


@dataclass(frozen=True)
class StrokeWidth:
    """Thicker or thinner strokes in drawings (B, c, H, W) that are bright on dark ground.

    A mixture of the drawing and its dilation, or erosion, by one pixel up, down, left and right.

    Args:
        modality: Which.
        amount: Largest share of the dilation or erosion.
    """

    modality: str = "image"
    amount: float = 0.7

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        x = inputs[self.modality]
        share = _uniform(x, len(x), 1, 1, 1) * self.amount
        thick, thin = _dilated(x) - x, x + _dilated(-x)
        return {**inputs, self.modality: x + torch.where(share > 0, thick, thin) * share}, targets


def _dilated(x: Tensor) -> Tensor:
    """The largest of each pixel and its four neighbours, (B, c, H, W)."""
    rows = F.max_pool2d(x, (3, 1), stride=1, padding=(1, 0))
    return torch.maximum(rows, F.max_pool2d(x, (1, 3), stride=1, padding=(0, 1)))


@dataclass(frozen=True)
class Waveform:
    """Other speed (and pitch), start, loudness and noise of a waveform (B, chunks, samples).

    Args:
        modality: Which.
        speed: Largest relative change of speed.
        shift: Largest shift, samples.
        gain: Largest change of loudness, natural logarithm.
        noise: Largest standard deviation of white noise, drawn log-uniformly over 4 decades.
    """

    modality: str = "audio"
    speed: float = 0.2
    shift: float = 400
    gain: float = 0.7
    noise: float = 0.005

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        x = inputs[self.modality]
        flat = x.flatten(1)  # (B, samples)
        batch, samples = flat.shape
        time = torch.arange(samples, device=x.device) * (1 + _uniform(x, batch, 1) * self.speed)
        place = (time + _uniform(x, batch, 1) * self.shift) / (samples - 1) * 2 - 1
        grid = torch.stack((place, torch.zeros_like(place)), -1)[:, None]  # (B, 1, samples, 2)
        moved = F.grid_sample(flat[:, None, None], grid, align_corners=True)[:, 0, 0]
        loud = moved * torch.exp(_uniform(x, batch, 1) * self.gain)
        level = self.noise * 10 ** (2 * _uniform(x, batch, 1) - 2)
        noisy = loud + torch.randn_like(loud) * level
        return {**inputs, self.modality: noisy.reshape(x.shape)}, targets


@dataclass(frozen=True)
class ShuffleWithinClass:
    """Give each sample the modality of a random sample of the batch with the same label.

    For pairs that were put together by label, such as an image and a recording of a digit.

    Args:
        modality: Which is exchanged.
    """

    modality: str = "audio"

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch; targets (B,)."""
        order = torch.randperm(len(targets), device=targets.device)
        place = torch.empty_like(order)
        # Both sorts are stable, so the j-th member of a class gets its j-th in the random order.
        place[targets.argsort(stable=True)] = order[targets[order].argsort(stable=True)]
        return {**inputs, self.modality: inputs[self.modality][place]}, targets


@dataclass(frozen=True)
class Mirror:
    """Mirror pictures left to right: all modalities, their camera and the target (B, H, W) alike.

    Args:
        probability: Of each sample.
    """

    probability: float = 0.5

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        turned = torch.rand(len(targets), device=targets.device) < self.probability

        def flip(x: Tensor) -> Tensor:
            return torch.where(turned.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)

        flipped = {name: flip(x) for name, x in inputs.items() if name != CAMERA}
        if CAMERA in inputs:
            cameras = inputs[CAMERA]
            other = mirrored(cameras, targets.shape[-1])
            flipped[CAMERA] = torch.where(turned[:, None], other, cameras)
        return flipped, flip(targets)


@dataclass(frozen=True)
class Zoom:
    """A random window of pictures (B, c, H, W), enlarged: what a longer lens would have seen.

    Depth stays what it is, since nothing moves; the camera's focal length and principal point
    change with the window. Colours are interpolated, depth and targets (B, H, W) taken from the
    nearest pixel.

    Args:
        largest: Largest factor; factors are uniform from 1.
        colours: The modality that is interpolated.
    """

    largest: float = 1.3
    colours: str = "rgb"

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        batch, size = len(targets), (int(targets.shape[1]), int(targets.shape[2]))
        like = inputs[self.colours]
        factor = 1 + (_uniform(like, batch) + 1) / 2 * (self.largest - 1)
        shift = _uniform(like, batch, 2) * (1 - 1 / factor)[:, None]
        theta = torch.zeros(batch, 2, 3, device=like.device)
        theta[:, 0, 0] = theta[:, 1, 1] = 1 / factor
        theta[:, :, 2] = shift
        grid = F.affine_grid(theta, [batch, 1, *size], align_corners=False)

        def window(x: Tensor, mode: str) -> Tensor:
            return F.grid_sample(x, grid, mode=mode, padding_mode="border", align_corners=False)

        changed = {
            name: window(x, "bilinear" if name == self.colours else "nearest")
            for name, x in inputs.items()
            if name != CAMERA
        }
        if CAMERA in inputs:
            changed[CAMERA] = zoomed(inputs[CAMERA], factor, shift, size)
        return changed, window(targets[:, None].float(), "nearest")[:, 0].to(targets.dtype)


@dataclass(frozen=True)
class Lighting:
    """Other exposure and colour of light in pictures (B, 3, H, W) in [0, 1].

    Args:
        modality: Which.
        gain: Largest change of brightness, natural logarithm.
        colour: Largest change of one channel, natural logarithm.
    """

    modality: str = "rgb"
    gain: float = 0.3
    colour: float = 0.1

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        x = inputs[self.modality]
        change = _uniform(x, len(x), 1, 1, 1) * self.gain
        change = change + _uniform(x, len(x), x.shape[1], 1, 1) * self.colour
        return {**inputs, self.modality: (x * change.exp()).clamp(0, 1)}, targets


@dataclass(frozen=True)
class ModalityDropout:
    """Each sample in ``T + 2`` versions: as it is, scaled, and without each of ``T`` modalities.

    The scaled version multiplies the modalities by random shares that sum to 1 (uniform over all
    such shares); an absent modality is 0. As published for two modalities under the name "softhard"
    (Chumachenko, Iosifidis, Gabbouj, ICPR 2022). The batch grows: ``(T + 2) B`` samples.

    Args:
        modalities: Which are dropped.
    """

    modalities: tuple[str, ...] = ("video", "audio")

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        names = tuple(self.modalities)
        draws = torch.empty(len(targets), len(names), device=targets.device).exponential_()
        shares = draws / draws.sum(1, keepdim=True)
        versions = {name: [x] * (len(names) + 2) for name, x in inputs.items()}
        for position, name in enumerate(names):
            x = inputs[name]
            versions[name][1] = x * shares[:, position].reshape(-1, *[1] * (x.ndim - 1))
            versions[name][2 + position] = torch.zeros_like(x)
        grown = {name: torch.cat(list_of) for name, list_of in versions.items()}
        return grown, targets.repeat(len(names) + 2, *[1] * (targets.ndim - 1))


AUGMENTATIONS: dict[str, type[Any]] = {
    "affine_image": AffineImage,
    "stroke_width": StrokeWidth,
    "waveform": Waveform,
    "voice": Voice,
    "shuffle_within_class": ShuffleWithinClass,
    "mirror": Mirror,
    "zoom": Zoom,
    "lighting": Lighting,
    "modality_dropout": ModalityDropout,
}


@dataclass(frozen=True)
class Chain:
    """Augmentations one after the other."""

    parts: tuple[Augmentation, ...]

    def __call__(self, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Change a batch."""
        for part in self.parts:
            inputs, targets = part(inputs, targets)
        return inputs, targets


def build_augmentations(config: Mapping[str, Mapping[str, Any] | None]) -> Chain:
    """The augmentations of ``task.augment``, in its order.

    Args:
        config: Name -> options; an entry that is null is left out.

    Raises:
        ConfigError: For an unknown name or option.
    """
    parts = []
    for name, options in config.items():
        if options is None:
            continue
        if name not in AUGMENTATIONS:
            raise ConfigError(
                f"task.augment.{name} is no augmentation; choose from {', '.join(AUGMENTATIONS)}."
            )
        known = [field.name for field in dataclasses.fields(AUGMENTATIONS[name])]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise ConfigError(
                f"task.augment.{name}.{unknown[0]} is no option; it has {', '.join(known)}."
            )
        parts.append(AUGMENTATIONS[name](**options))
    return Chain(tuple(parts))
