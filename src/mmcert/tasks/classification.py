"""Classification of ablated inputs."""

from __future__ import annotations

from torch import Tensor

from mmcert.errors import ConfigError
from mmcert.tasks.base import AblatedTask


class ClassificationTask(AblatedTask):
    """Cross-entropy of one label per input; logits (R, C), targets (R,)."""

    monitor = "val/accuracy"

    def check_logits(self, logits: Tensor, targets: Tensor) -> None:
        """Refuse logits that are not one row per target.

        Raises:
            ConfigError: With both shapes.
        """
        if logits.ndim != 2 or targets.ndim != 1:
            raise ConfigError(
                f"task 'classification' needs logits (R, C) and one label per sample; this model "
                f"gives {tuple(logits.shape)} for targets {tuple(targets.shape)}. Choose another "
                f"model= or task=."
            )
