"""Which weights are the best: by a score that was measured, or none."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor


def objective(options: Mapping[str, Any] | None, monitor: str) -> str:
    """The validation score that a training is judged by, and a search maximises.

    Args:
        options: The section ``callbacks.checkpoints``.
        monitor: The score of the task, e.g. ``val/f_score``.

    Returns:
        The score that chooses the checkpoint; the task's own where a smaller one is the better.

    >>> objective({"monitor": "val/iou"}, "val/f_score")
    'val/iou'
    >>> objective({"monitor": "val/loss", "mode": "min"}, "val/f_score")
    'val/f_score'
    """
    chosen = options or {}
    return monitor if chosen.get("mode", "max") != "max" else chosen.get("monitor") or monitor


class BestCheckpoint(ModelCheckpoint):
    """Keeps the weights with the best finite score; Lightning's own keeps a first NaN for ever.

    Its state holds the objective of the training for the weights that were kept, whatever score
    chose them: that is what a search compares. It finds its files again where the run
    directory was moved; Lightning's own forgets how good they are, and overwrites them by worse.

    Args:
        score: See :func:`objective`.
        options: Of :class:`~pytorch_lightning.callbacks.ModelCheckpoint`.
    """

    def __init__(self, score: str, **options: Any) -> None:
        super().__init__(**options)
        self._score = score
        self._reached: float | None = None

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether to keep the present weights: nothing that is not finite is better than any."""
        if current is None or not math.isfinite(float(current)):
            return False
        module = trainer.lightning_module
        if module is not None and not _finite(module):
            return False
        better = super().check_monitor_top_k(trainer, current)
        if better:
            reached = trainer.callback_metrics.get(self._score)
            self._reached = None if reached is None else float(reached)
        return better

    def state_dict(self) -> dict[str, Any]:
        """Lightning's, and the objective of the best weights."""
        return {**super().state_dict(), "score": self._reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning's, with the files where they are now."""
        state = copy.copy(state_dict)
        self._reached = state.pop("score", None)
        folder = Path(self.dirpath or "")
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            if state.get(key):
                state[key] = str(folder / Path(state[key]).name)
        state["best_k_models"] = {
            str(folder / Path(path).name): score
            for path, score in (state.get("best_k_models") or {}).items()
        }
        state["dirpath"] = self.dirpath
        super().load_state_dict(state)


def _finite(module: pl.LightningModule) -> bool:
    """Whether all weights are finite; with others nothing can be certified."""
    return all(bool(torch.isfinite(weight).all()) for weight in module.parameters())
