"""What voting asks of a base model and of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from mmcert.sampling.subsets import Subset
from mmcert.theory.modality import InputSpec


class BaseModel(Protocol):
    """Labels random sub-samples of one sample; ``models.base.BaseModel`` is one."""

    @property
    def default_block(self) -> int:
        """Draws per call of :meth:`label` where the configuration names no block."""
        ...

    def prepare(self, sample: Mapping[str, Any]) -> Any:
        """What every draw of the sample shares, on the model's device."""
        ...

    def label(self, state: Any, subsets: Mapping[str, Subset]) -> torch.Tensor:
        """The labels of ``B`` draws, int64 ``(B,)`` or ``(B, H, W)`` on the native grid."""
        ...


class VotingDataset(Protocol):
    """The samples to certify; ``data.MultiModalDataset`` is one."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Sample ids, in order."""
        ...

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        """Per modality, which axes count elements."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        ...

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """``{"id", "inputs": {modality: Tensor}, "target": Tensor | None, "meta"}``."""
        ...
