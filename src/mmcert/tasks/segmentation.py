"""Semantic segmentation of ablated inputs."""

from __future__ import annotations

from torch import Tensor

from mmcert.errors import ConfigError
from mmcert.tasks.base import AblatedTask


class SegmentationTask(AblatedTask):
    """Pixel-wise cross-entropy; logits (R, C, H, W), targets (R, H, W) with 255 unlabelled."""

    monitor = "val/f_score"

    def check_logits(self, logits: Tensor, targets: Tensor) -> None:
        """Refuse logits that are not on the grid of the targets.

        Raises:
            ConfigError: With both shapes.
        """
        if logits.ndim != 4 or logits.shape[-2:] != targets.shape[-2:]:
            raise ConfigError(
                f"task 'segmentation' needs logits (R, C, H, W) on the grid {tuple(targets.shape)} "
                f"of the targets; this model gives {tuple(logits.shape)}. Choose another model= or "
                f"task=."
            )
