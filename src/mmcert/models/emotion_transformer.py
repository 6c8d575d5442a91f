"""The published audio-visual emotion model (Chumachenko, Iosifidis, Gabbouj, ICPR 2022).

Frames go through EfficientFace one by one, then 1-D convolutions run over time, as they do over
MFCC frames; the two streams meet in one of three ways:

- ``lt``: after both stages each stream attends to the other (late transformer);
- ``it``: the same after the first stage, added to the stream (intermediate transformer);
- ``ia``: after the first stage attention only scales time steps (intermediate attention).

The base input: ablated frames and feature frames are 0 (encoding ``zero``), so it is sound for
modification. The frame encoder looks at single frames, so voting runs it once per frame.

Letters: ``B`` samples, ``R`` ablated inputs, ``n`` frames, ``a`` MFCC frames, ``C`` classes,
``t``, ``s`` time steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmcert.errors import ConfigError
from mmcert.models.base import BaseModel, check_finite
from mmcert.models.efficient_face import SIDE, EfficientFace, load_efficient_face
from mmcert.sampling.compact import retained_once
from mmcert.sampling.encodings import InputSpec
from mmcert.sampling.subsets import Subset

FUSIONS = ("lt", "it", "ia")
#: Channels of the streams after their first and second stage.
VIDEO, AUDIO = (64, 128), (128, 128)
#: MFCC frames that the unpadded convolutions and pools of the audio stream use up.
USED_UP = 12


def _over_time(inputs: int, outputs: int, *, padded: bool) -> nn.Sequential:
    """Convolution of three steps, batch norm, ReLU; unpadded ones also pool two steps."""
    layers: list[nn.Module] = [
        nn.Conv1d(inputs, outputs, 3, padding=1 if padded else 0),
        nn.BatchNorm1d(outputs),
        nn.ReLU(inplace=True),
    ]
    return nn.Sequential(*layers, *([] if padded else [nn.MaxPool1d(2, 1)]))


class AttentionMap(nn.Module):
    """How much each step of one stream attends to each of the other.

    Args:
        queries: Channels of the stream that asks.
        keys: Channels of the stream that is asked.
        width: Channels of queries and keys inside.
        heads: Of the attention, a divisor of ``width``.
    """

    def __init__(self, queries: int, keys: int, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k = nn.Linear(queries, width, bias=False), nn.Linear(keys, width, bias=False)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(R, t, queries), (R, s, keys) to weights (R, heads, t, s) that sum to 1 over s."""
        q, k = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.q(asking), self.k(asked))
        )
        return torch.softmax(q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5, -1)


class CrossAttention(nn.Module):
    """A transformer block whose values come from the other stream.

    Args:
        queries: Channels of the stream that asks.
        keys: Channels of the stream that is asked.
        width: Channels of the result.
        heads: Of the attention, a divisor of ``width``.
    """

    def __init__(self, queries: int, keys: int, width: int, heads: int) -> None:
        super().__init__()
        self.norm_q, self.norm_k = nn.LayerNorm(queries), nn.LayerNorm(keys)
        self.attention = AttentionMap(queries, keys, width, heads)
        self.value, self.out = nn.Linear(keys, width, bias=False), nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        """(R, t, queries), (R, s, keys) to (R, t, width)."""
        asking, asked = self.norm_q(asking), self.norm_k(asked)
        weights = self.attention(asking, asked)
        values = self.value(asked).unflatten(2, (weights.shape[1], -1)).transpose(1, 2)
        x = self.out((weights @ values).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm(x))


class EmotionTransformer(BaseModel):
    """Frames and MFCC frames to an emotion.

    Args:
        inputs: ``video`` (n, 3, H, W), float32 in [0, 1], an element is a frame, sides multiples
            of 16 pixels; ``audio`` (a, coefficients), an element is a frame of MFCC, at least 13.
            Published: 15 frames of 224x224, 156 frames of 10 coefficients.
        classes: C.
        encoding: ``{"name": "zero"}`` for both.
        video: The modality of frames.
        audio: The modality of feature frames.
        fusion: ``lt``, ``it`` or ``ia``.
        heads: Of the attention.
        encoder_weights: A public EfficientFace checkpoint, or None.
        pretrained: Whether ``encoder_weights`` are read at all.

    Raises:
        ConfigError: For inputs, an encoding or an option that does not fit.
    """

    default_block = 64

    def __init__(
        self,
        inputs: Mapping[str, InputSpec],
        classes: int,
        encoding: Mapping[str, Mapping[str, Any]],
        *,
        video: str = "video",
        audio: str = "audio",
        fusion: str = "ia",
        heads: int = 1,
        encoder_weights: str | None = None,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        self._video, self._audio = video, audio
        coefficients = _check(inputs, encoding, video, audio)
        if fusion not in FUSIONS:
            raise ConfigError(f"model.options.fusion={fusion} is none of {', '.join(FUSIONS)}.")
        self.fusion = fusion
        self.face = EfficientFace()
        self.video_first = nn.Sequential(
            _over_time(EfficientFace.features, VIDEO[0], padded=True),
            _over_time(VIDEO[0], VIDEO[0], padded=True),
        )
        self.video_second = nn.Sequential(
            _over_time(VIDEO[0], VIDEO[1], padded=True), _over_time(VIDEO[1], VIDEO[1], padded=True)
        )
        self.audio_first = nn.Sequential(
            _over_time(coefficients, 64, padded=False), _over_time(64, AUDIO[0], padded=False)
        )
        self.audio_second = nn.Sequential(
            _over_time(AUDIO[0], 256, padded=False), _over_time(256, AUDIO[1], padded=False)
        )
        v, a = (VIDEO[1], AUDIO[1]) if fusion == "lt" else (VIDEO[0], AUDIO[0])
        meet: type[nn.Module] = AttentionMap if fusion == "ia" else CrossAttention
        widths = (AUDIO[1], VIDEO[1]) if fusion == "lt" else (a, v)
        if any(width % heads for width in widths):
            raise ConfigError(
                f"model.options.heads={heads} must divide {' and '.join(map(str, widths))}."
            )
        self.audio_asks = meet(a, v, widths[0], heads)
        self.video_asks = meet(v, a, widths[1], heads)
        self.last = nn.Linear(VIDEO[1] + AUDIO[1], classes)
        if encoder_weights is not None and pretrained:
            load_efficient_face(self.face, encoder_weights)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Frames and feature frames."""
        return self._video, self._audio

    def logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits of ablated inputs; see :class:`BaseModel`."""
        frames, mask = inputs[self._video], masks[self._video]
        once = retained_once(mask, len(frames))
        # One encoded frame more: the black one that stands for all that are ablated.
        shown = torch.cat(
            (frames.new_zeros(1, *frames.shape[2:]), frames[once.samples, once.places])
        )
        rows = torch.zeros_like(mask, dtype=torch.int64)
        rows[mask] = once.bags.rows + 1
        audio = inputs[self._audio]
        audio = audio.repeat_interleave(len(mask) // len(audio), dim=0)
        return self._fuse(self.face(shown)[rows], audio, masks[self._audio])

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """Features of the black frame and of each frame, (1 + n, 1024), and the MFCC frames.

        Raises:
            DataError: Where a modality is missing.
        """
        inputs = self._on_device(sample)
        frames = inputs[self._video][0]
        shown = torch.cat((torch.zeros_like(frames[:1]), frames))
        return {"id": sample["id"], "faces": self.face(shown), "audio": inputs[self._audio]}

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> Tensor:
        """The labels of ``B`` draws of one sample, int64 (B,).

        Raises:
            NonFiniteLogitsError: Naming the sample.
        """
        mask = subsets[self._video].mask
        numbers = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        logits = self._fuse(
            state["faces"][torch.where(mask, numbers, 0)],
            state["audio"],
            subsets[self._audio].mask,
        )
        check_finite(logits, state["id"])
        return logits.argmax(1)

    def _fuse(self, faces: Tensor, audio: Tensor, heard: Tensor) -> Tensor:
        """Features of shown frames (R, n, 1024), MFCC (R or 1, a, c), their mask, to (R, C)."""
        v = self.video_first(faces.transpose(1, 2))  # (R, channels, n)
        shown = torch.where(heard[..., None], audio, 0.0)  # (R, a, c)
        a = self.audio_first(shown.transpose(1, 2))  # (R, channels, a - 6)
        if self.fusion == "lt":
            v, a = self.video_second(v).transpose(1, 2), self.audio_second(a).transpose(1, 2)
            pooled = (self.audio_asks(a, v).mean(1), self.video_asks(v, a).mean(1))
        else:
            steps_v, steps_a = v.transpose(1, 2), a.transpose(1, 2)
            to_v = self.audio_asks(steps_a, steps_v)
            to_a = self.video_asks(steps_v, steps_a)
            if self.fusion == "it":
                a, v = a + to_v.transpose(1, 2), v + to_a.transpose(1, 2)
            else:
                # What each step is worth: how much all steps of the other stream attend to it.
                v = v * to_v.mean(1).sum(1)[:, None]
                a = a * to_a.mean(1).sum(1)[:, None]
            pooled = (self.audio_second(a).mean(2), self.video_second(v).mean(2))
        return self.last(torch.cat(pooled, 1))


def _check(
    inputs: Mapping[str, InputSpec],
    encoding: Mapping[str, Mapping[str, Any]],
    video: str,
    audio: str,
) -> int:
    """Refuse what the model cannot read; the number of coefficients."""
    model = "model 'emotion_transformer'"
    for name in (video, audio):
        if name not in inputs:
            raise ConfigError(
                f"{model} reads the modality '{name}'; the data has {', '.join(inputs)}. Set "
                f"model.options.video and model.options.audio."
            )
        if encoding[name]["name"] != "zero":
            raise ConfigError(
                f"{model} sees 0 where an element is ablated; set encoding=zero instead of "
                f"{encoding[name]['name']} for '{name}'."
            )
        if tuple(inputs[name].element_axes) != (0,) or None in inputs[name].shape:
            raise ConfigError(
                f"{model} needs sequences of one length, not '{name}' {inputs[name]}."
            )
    frames, rows = inputs[video].shape, inputs[audio].shape
    if len(frames) != 4 or frames[1] != 3 or frames[2] % SIDE or frames[3] % SIDE:  # type: ignore[operator]
        raise ConfigError(
            f"{model} needs frames (n, 3, H, W) with sides that are multiples of {SIDE} pixels; "
            f"'{video}' is {list(frames)}."
        )
    if len(rows) != 2 or rows[0] <= USED_UP:  # type: ignore[operator]
        raise ConfigError(
            f"{model} needs at least {USED_UP + 1} feature frames (a, coefficients); '{audio}' is "
            f"{list(rows)}. With MFCC: data.options.audio=mfcc."
        )
    return int(rows[1])  # type: ignore[arg-type]
