"""A training in a log file: a line per epoch instead of a bar that moves."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console

from mmcert.saying import EVERY, animated, duration
from mmcert.voting.spawn import Report

Manner = Literal["bar", "lines", "quiet"]


def manner(console: Console) -> Manner:
    """How a progress can be shown there."""
    if console.quiet:
        return "quiet"
    return "bar" if animated(console) else "lines"


def shown_as(how: Manner, callbacks: list[pl.Callback], report: Report) -> list[pl.Callback]:
    """The callbacks with what shows the progress of this process: a bar, lines, or nothing."""
    if how == "bar":
        return callbacks
    others = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
    if len(others) == len(callbacks) or how == "quiet":
        return others
    return [*others, EpochLines(report)]


class EpochLines(pl.Callback):
    """Prints one line per epoch, and one per minute within a long one, without control codes.

    Args:
        report: Gets each line as an event ``say``.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._began = self._last = 0.0
        self._first_step = self._batches = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        self._began = self._last = time.monotonic()
        self._first_step, self._batches = trainer.global_step, 0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """A line where the last one is a minute old."""
        self._batches += 1
        if time.monotonic() - self._last > EVERY:
            of = trainer.num_training_batches
            self._line(trainer, f"{_epoch(trainer)}, batch {batch_idx + 1} of {of}", [])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Loss, the monitored score where the epoch ended with a validation, pace."""
        metrics = trainer.callback_metrics
        said = [f"loss {float(metrics['train/loss']):.4f}"] if "train/loss" in metrics else []
        monitor = str(getattr(pl_module, "monitor", ""))
        every = trainer.check_val_every_n_epoch
        if monitor in metrics and (every is None or (trainer.current_epoch + 1) % every == 0):
            name = monitor.removeprefix("val/").replace("_", "-")
            score = float(metrics[monitor])
            said.append(f"{name} {score:.4f} (best {_best(trainer, score):.4f})")
        self._line(trainer, _epoch(trainer), said)

    def _line(self, trainer: pl.Trainer, where: str, said: list[str]) -> None:
        if not trainer.is_global_zero:
            return
        self._last = time.monotonic()
        seconds = max(self._last - self._began, 1e-9)
        pace = [f"{self._batches / seconds:.3g} batches/s"]
        steps = trainer.global_step - self._first_step
        total = trainer.estimated_stepping_batches - self._first_step
        if steps and steps < total < math.inf:
            pace.append(f"{duration(seconds * (total - steps) / steps)} left")
        self._report(("say", {"text": f"{where}: {', '.join([*said, *pace])}"}))


def _epoch(trainer: pl.Trainer) -> str:
    most = trainer.max_epochs
    return f"epoch {trainer.current_epoch + 1}" + (f" of {most}" if most and most > 0 else "")


def _best(trainer: pl.Trainer, score: float) -> float:
    """The best score so far, this one included: its checkpoint may not be written yet."""
    kept = getattr(trainer.checkpoint_callback, "best_model_score", None)
    return score if kept is None or not float(kept) > score else float(kept)
