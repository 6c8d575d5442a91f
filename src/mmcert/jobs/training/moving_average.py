"""An exponential moving average of the weights that can be sent to spawned processes.

Lightning's own averages by a local function, which cannot.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from mmcert.errors import ConfigError


def averaged(average: Tensor, current: Tensor, count: Any, *, decay: float) -> Tensor:
    """``decay * average + (1 - decay) * current``."""
    return decay * average + (1 - decay) * current


class MovingAverage(WeightAveraging):
    """Validates, keeps as best and leaves for certification an average of the weights.

    Args:
        decay: Share that the average keeps in every optimizer step; buffers are averaged alike.

    Raises:
        ConfigError: For a decay that is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ConfigError(f"callbacks.ema.decay={decay} must lie between 0 and 1.")
        super().__init__(avg_fn=partial(averaged, decay=float(decay)))
