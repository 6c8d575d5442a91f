"""What a base model is: logits of ablated inputs for training, labels of sub-samples for voting.

Letters: ``B`` samples of a batch, ``R`` ablated inputs (a multiple of ``B``; input ``j`` is sample
``j // (R / B)``), ``n`` elements of a modality, ``C`` classes, ``H, W`` native grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmcert.errors import DataError, MmcertError
from mmcert.sampling.camera import CAMERA, cameras_of
from mmcert.sampling.subsets import Subset


class NonFiniteLogitsError(MmcertError):
    """A base model gave NaN or infinite logits: its label, and every vote, would be arbitrary."""


def check_finite(logits: Tensor, sample: str) -> None:
    """Refuse NaN and infinite logits.

    Args:
        logits: Any shape, float.
        sample: Id of the sample, for the message.

    Raises:
        NonFiniteLogitsError: Naming the sample.
    """
    # A finite sum proves every term finite, in one pass; a sum may overflow, hence the second look.
    if not torch.isfinite(logits.sum()) and not torch.isfinite(logits).all():
        raise NonFiniteLogitsError(
            f"sample '{sample}': the base model gave NaN or infinite logits. Train it again with a "
            f"lower learning rate, or vote in fp32 (voting.precision=32); nothing was certified."
        )


def first_largest(logits: Tensor) -> Tensor:
    """The class of the largest logit, the first one of equals: ``logits.argmax(1)``.

    Ten times faster on a CPU for maps of two classes, where argmax looks at each pixel alone.

    Args:
        logits: (R, C, ...), float, finite.

    Returns:
        int64 (R, ...).

    >>> first_largest(torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 2.0, 0.0]]]).transpose(0, 1)).tolist()
    [[0, 1, 0]]
    """
    if logits.ndim > 2 and logits.shape[1] == 2:
        return (logits[:, 1] > logits[:, 0]).long()
    return logits.argmax(1)


def repeated(x: Tensor, rows: int) -> Tensor:
    """Each sample repeated for its ablated inputs; a single sample stays one, to be broadcast.

    Args:
        x: (B, ...).
        rows: R, a multiple of B.

    Returns:
        (R, ...), or (1, ...) where B is 1.

    >>> repeated(torch.tensor([[1], [2]]), 4).flatten().tolist()
    [1, 1, 2, 2]
    """
    return x if len(x) in (1, rows) else x.repeat_interleave(rows // len(x), dim=0)


class BaseModel(nn.Module, ABC):
    """A base model: any function of the retained elements and their positions.

    Attributes:
        default_block: Draws per forward pass where the configuration names no block.
    """

    default_block: int = 32

    @abstractmethod
    def logits(self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> Tensor:
        """Logits of ablated inputs; the ablation happens in here.

        Args:
            inputs: Per modality float32 (B, *shape); ``camera`` (B, 4) where the data has it.
            masks: Per modality bool (R, n), True where retained; R is a multiple of B.

        Returns:
            float (R, C), or (R, C, H, W) on the native grid.
        """

    def forward(
        self, inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """The same as :meth:`logits`, by the name that training calls.

        In training mode a model may add the logits of auxiliary heads: ``(logits, [logits, ...])``.
        """
        return self.logits(inputs, masks)

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """What every draw of one sample shares, on the model's device.

        Args:
            sample: An item of a data set: ``id`` and ``inputs``, per modality float32 (*shape);
                where its ``meta`` has a camera, the inputs get it too.

        Raises:
            DataError: Where a modality is missing.
        """
        inputs = self._on_device(sample)
        cameras = cameras_of([sample.get("meta") or {}])
        if cameras is not None:
            inputs[CAMERA] = cameras  # read by the host; on a GPU, every map would wait for it
        return {"id": sample["id"], "inputs": inputs}

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> Tensor:
        """The labels of ``B`` draws of one sample.

        Args:
            state: What :meth:`prepare` gave.
            subsets: Per modality what each draw retains.

        Returns:
            int64 (B,) or (B, H, W) on the native grid.

        Raises:
            NonFiniteLogitsError: Naming the sample.
        """
        masks = {name: subset.mask for name, subset in subsets.items()}
        logits = self.logits(state["inputs"], masks)
        check_finite(logits, state["id"])
        return first_largest(logits)

    def _on_device(self, sample: Mapping[str, Any]) -> dict[str, Tensor]:
        """The modalities that the model reads as a batch of one."""
        device = next(self.parameters()).device
        batch = {}
        for name in self.modalities:
            if name not in sample["inputs"]:
                raise DataError(
                    f"sample '{sample['id']}' has the modalities {sorted(sample['inputs'])}; the "
                    f"model needs {', '.join(self.modalities)}."
                )
            # Not waiting for the copy matters on a GPU, where voting gives pinned memory.
            batch[name] = sample["inputs"][name].to(device, non_blocking=True)[None]
        return batch

    @property
    @abstractmethod
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model reads."""
