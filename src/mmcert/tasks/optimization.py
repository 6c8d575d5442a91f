"""Optimizers and learning rate schedules by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mmcert.errors import ConfigError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("one_cycle", "cosine", "constant", "step", "milestones")


@dataclass(frozen=True)
class Optimization:
    """How weights are learned.

    Args:
        optimizer: ``adamw``, or ``sgd`` (the published recipe).
        lr: Peak learning rate.
        weight_decay: AdamW: decoupled, none for biases, norms and other vectors. SGD: L2, on all
            parameters, as published.
        momentum: Of SGD.
        dampening: Of SGD's momentum.
        schedule: ``one_cycle``, ``cosine`` or ``constant``, per optimizer step; ``step``: times
            ``step_factor`` every ``step_epochs`` epochs; ``milestones``: after each of these.
        step_epochs: Epochs between two changes of ``step``.
        step_factor: What ``step`` and ``milestones`` multiply the learning rate by.
        milestones: Epochs of the changes of ``milestones``.

    Raises:
        ConfigError: For an unknown name, or a number out of its range.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9
    schedule: str = "one_cycle"
    step_epochs: int = 25
    step_factor: float = 0.9
    dampening: float = 0.0
    milestones: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"task.optimizer={self.optimizer} is none of {', '.join(OPTIMIZERS)}")
        if self.schedule not in SCHEDULES:
            raise ConfigError(f"task.schedule={self.schedule} is none of {', '.join(SCHEDULES)}.")
        for key, value, fits in (
            ("lr", self.lr, self.lr > 0),
            ("weight_decay", self.weight_decay, self.weight_decay >= 0),
            ("momentum", self.momentum, 0 <= self.momentum < 1),
            ("dampening", self.dampening, 0 <= self.dampening <= 1),
            ("milestones", self.milestones, self.schedule != "milestones" or self.milestones),
            ("step_epochs", self.step_epochs, self.step_epochs >= 1),
            ("step_factor", self.step_factor, 0 < self.step_factor <= 1),
        ):
            if not fits:
                raise ConfigError(f"task.{key}={value} is out of its range.")

    def build(self, net: nn.Module, steps: int) -> dict[str, Any]:
        """Optimizer and schedule as Lightning's ``configure_optimizers`` returns them.

        Args:
            net: Whose parameters are learned.
            steps: Optimizer steps of the whole training.
        """
        optimizer = self._optimizer(net)
        steps = max(steps, 2)
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if self.schedule == "one_cycle":
            scheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=self.lr, total_steps=steps, pct_start=0.1
            )
        elif self.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        elif self.schedule == "step":
            scheduler = torch.optim.lr_scheduler.StepLR(
                optimizer, step_size=self.step_epochs, gamma=self.step_factor
            )
        elif self.schedule == "milestones":
            scheduler = torch.optim.lr_scheduler.MultiStepLR(
                optimizer, list(self.milestones), gamma=self.step_factor
            )
        else:
            scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        interval = "epoch" if self.schedule in ("step", "milestones") else "step"
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": interval},
        }

    def _optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                net.parameters(),
                lr=self.lr,
                momentum=self.momentum,
                dampening=self.dampening,
                weight_decay=self.weight_decay,
            )
        matrices = [p for p in net.parameters() if p.ndim > 1]
        vectors = [p for p in net.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=self.lr,
        )
