"""Labels to integer vote counts."""

from __future__ import annotations

import numpy as np
import torch

from mmcert.errors import DataError

#: The label of a draw that ran out of candidates on a GPU (``Subset.complete``).
INCOMPLETE = -(1 << 40)


class VoteCounter:
    """Adds up labels, one draw after the other, without a ``(B, C, H, W)`` temporary.

    Everything stays on the device of the labels until :meth:`counts`, which asks once: a question
    per block would let a GPU wait for the host.

    Args:
        classes: ``C``.
        sample_id: For the error message.
    """

    def __init__(self, classes: int, sample_id: str) -> None:
        self._classes = classes
        self._sample_id = sample_id
        self._grid: torch.Size | None = None
        self._counts: torch.Tensor | None = None
        self._extremes: torch.Tensor | None = None

    def add(self, labels: torch.Tensor) -> None:
        """Count one vote per draw.

        Args:
            labels: int64 ``(B,)`` or ``(B, H, W)`` in ``[0, C)``; others are refused by
                :meth:`counts`.

        Raises:
            DataError: Naming the sample, for labels of another shape.
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
        low, high = torch.aminmax(flat)
        extremes = torch.stack((-low, high))  # the largest of each is what counts
        self._extremes = (
            extremes if self._extremes is None else torch.maximum(self._extremes, extremes)
        )
        if self._classes == 2:  # several times faster than scattering
            ones = flat.sum(0, dtype=torch.int32)
            self._counts[1] += ones
            self._counts[0] += len(flat) - ones
            return
        one = torch.ones((), dtype=torch.int32, device=flat.device)
        # Clamped only because a GPU must never see an index that is out of range.
        self._counts.scatter_add_(0, flat.clamp(0, self._classes - 1), one.expand(flat.shape))

    def counts(self) -> np.ndarray:
        """int64 ``(C,)`` or ``(C, H, W)``.

        Raises:
            DataError: Naming the sample, where a label was outside the classes.
        """
        if self._counts is None or self._grid is None or self._extremes is None:
            raise ValueError("nothing was counted")
        negated_low, high = self._extremes.tolist()
        if negated_low == -INCOMPLETE:
            raise DataError(
                f"sample '{self._sample_id}': a draw needed more candidates than the GPU sets "
                f"aside (less likely than 2**-80 each); vote this run on a CPU."
            )
        if negated_low > 0 or high >= self._classes:
            raise DataError(
                f"sample '{self._sample_id}': the base model gave the label "
                f"{-negated_low if negated_low > 0 else high}, outside of [0, {self._classes})."
            )
        return self._counts.reshape(self._classes, *self._grid).cpu().numpy().astype(np.int64)
