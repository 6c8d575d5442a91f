"""Labels to integer vote counts."""

from __future__ import annotations

import numpy as np
import torch

from mmcert.errors import DataError


class VoteCounter:
    """Adds up labels, one draw after the other, without a ``(B, C, H, W)`` temporary.

    Args:
        classes: ``C``.
        sample_id: For the error message.
    """

    def __init__(self, classes: int, sample_id: str) -> None:
        self._classes = classes
        self._sample_id = sample_id
        self._grid: torch.Size | None = None
        self._counts: torch.Tensor | None = None

    def add(self, labels: torch.Tensor) -> None:
        """Count one vote per draw.

        Args:
            labels: int64 ``(B,)`` or ``(B, H, W)`` in ``[0, C)``.

        Raises:
            DataError: Naming the sample, for labels outside the classes or of another shape.
        """
        if self._counts is None:
            self._grid = labels.shape[1:]
            self._counts = torch.zeros(
                (self._classes, self._grid.numel()), dtype=torch.int32, device=labels.device
            )
        if labels.shape[1:] != self._grid:
            raise DataError(
                f"sample '{self._sample_id}': the base model gave labels of shape "
                f"{tuple(labels.shape[1:])} after {tuple(self._grid or ())}."
            )
        flat = labels.reshape(len(labels), -1)
        low, high = (int(value) for value in torch.aminmax(flat))
        if low < 0 or high >= self._classes:
            raise DataError(
                f"sample '{self._sample_id}': the base model gave the label "
                f"{low if low < 0 else high}, outside of [0, {self._classes})."
            )
        one = torch.ones((), dtype=torch.int32, device=flat.device)
        self._counts.scatter_add_(0, flat, one.expand(flat.shape))

    def counts(self) -> np.ndarray:
        """int64 ``(C,)`` or ``(C, H, W)``."""
        if self._counts is None or self._grid is None:
            raise ValueError("nothing was counted")
        return self._counts.reshape(self._classes, *self._grid).cpu().numpy().astype(np.int64)
