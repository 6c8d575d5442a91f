"""Training of a base model on randomly ablated inputs, for every task.

Letters: ``B`` samples of a batch, ``M`` ablated inputs of each, ``C`` classes, ``V`` fixed draws
of a validation sample.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from mmcert.errors import ConfigError, DataError
from mmcert.metrics.scores import LabelScores
from mmcert.sampling.camera import CAMERA, cameras_of
from mmcert.sampling.subsets import draw_subsets
from mmcert.sampling.training import masks_of_schemes, scaled, varied, with_ratios
from mmcert.tasks.augmentation import build_augmentations
from mmcert.tasks.optimization import Optimization
from mmcert.tasks.retained import RetainedRange

#: Target of an element without a label.
UNLABELLED = 255
#: Builds the scheme of samples with so many elements per modality (a ``theory`` scheme).
SchemeFor = Callable[[Mapping[str, int]], Any]
#: Elements per modality of one sample, from the shapes of its tensors.
CountElements = Callable[[Mapping[str, Tensor]], dict[str, int]]


class AblatedTask(pl.LightningModule):
    """Trains an injected network on fresh sub-samples, and validates it at the test counts.

    Every training step draws new subsets on the device through the scheme that will be certified;
    only the retained counts vary: by a factor per ablated input that is log-uniform over
    ``retained_factor``; or, as published, to a ratio per ablated input and pool of the scheme that
    is uniform over ``retained_ratio``; or, for one checkpoint that serves many totals and splits,
    by a factor of its own for each modality, as ``retained`` says. Validation retains exactly the
    counts of certification, in draws that are the same every epoch: in training mode or not, a
    validation batch never sees
    training ablation.

    Args:
        net: ``logits(inputs, masks)``, see ``models.base.BaseModel``.
        scheme_for: The scheme of samples with so many elements.
        count_elements: Elements of a sample (without batch axis), per modality.
        classes: C.
        seed: Seed of the subsets.
        record: Plain data that every checkpoint carries under ``mmcert``.
        retained_factor: ``[lo, hi]``, multiples of the test counts in training; covers 1.
        retained_ratio: ``[lo, hi]``, share of all elements in training; wins over
            ``retained_factor``.
        retained: ``{"range": [lo, hi], "empty": p}``, see
            :class:`~mmcert.tasks.retained.RetainedRange`; wins over ``retained_factor``.
        auxiliary_weight: What the loss of each auxiliary head counts, for networks that have them:
            in training they give ``(logits, [logits, ...])``.
        ablations: M, ablated inputs per sample and step.
        validation_draws: V, fixed draws of each validation sample.
        optimizer: This and what follows: see :class:`~mmcert.tasks.optimization.Optimization`.
        lr: Peak learning rate.
        weight_decay: Weight decay.
        momentum: Of SGD.
        schedule: Of the learning rate.
        step_epochs: Of the schedule ``step``.
        step_factor: Of the schedules ``step`` and ``milestones``.
        dampening: Of SGD's momentum.
        milestones: Of the schedule ``milestones``.
        label_smoothing: Of the cross-entropy.
        augment: Augmentations of a training batch by name, each with its options.

    Raises:
        ConfigError: For an option that makes no sense.
    """

    #: The validation score that tells the best checkpoint, higher is better.
    monitor: str

    def __init__(
        self,
        net: nn.Module,
        *,
        scheme_for: SchemeFor,
        count_elements: CountElements,
        classes: int,
        seed: int,
        record: Mapping[str, Any],
        retained_factor: Sequence[float] = (0.5, 2.0),
        retained_ratio: Sequence[float] | None = None,
        retained: Mapping[str, Any] | None = None,
        auxiliary_weight: float = 0.3,
        ablations: int = 1,
        validation_draws: int = 4,
        optimizer: str = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        momentum: float = 0.9,
        schedule: str = "one_cycle",
        step_epochs: int = 25,
        step_factor: float = 0.9,
        dampening: float = 0.0,
        milestones: Sequence[int] | None = None,
        label_smoothing: float = 0.0,
        augment: Mapping[str, Mapping[str, Any] | None] | None = None,
    ) -> None:
        super().__init__()
        low, high = (float(value) for value in retained_factor)
        if not 0 < low <= 1 <= high:
            raise ConfigError(
                f"task.retained_factor={list(retained_factor)} must be [lo, hi] with "
                f"0 < lo <= 1 <= hi: training has to cover the counts of certification."
            )
        for key, value in (("ablations", ablations), ("validation_draws", validation_draws)):
            if value < 1:
                raise ConfigError(f"task.{key}={value} must be at least 1.")
        self._ratio: tuple[float, float] | None = None
        if retained_ratio is not None:
            least, most = (float(value) for value in retained_ratio)
            if not 0 <= least < most <= 1:
                raise ConfigError(
                    f"task.retained_ratio={list(retained_ratio)} must be [lo, hi] with "
                    f"0 <= lo < hi <= 1."
                )
            self._ratio = (least, most)
        self._range = RetainedRange.from_config(retained)
        if self._range is not None and self._ratio is not None:
            raise ConfigError("set only one of task.retained and task.retained_ratio.")
        if auxiliary_weight < 0:
            raise ConfigError(f"task.auxiliary_weight={auxiliary_weight} must be at least 0.")
        self._auxiliary_weight = auxiliary_weight
        self.net = net
        self._scheme_for, self._count = scheme_for, count_elements
        self._seed = seed
        self._record = dict(record)
        self._factor = (low, high)
        self._ablations, self._validation_draws = ablations, validation_draws
        self._optimization = Optimization(
            optimizer,
            lr,
            weight_decay,
            momentum,
            schedule,
            step_epochs,
            step_factor,
            dampening,
            tuple(milestones or ()),
        )
        self._loss = nn.CrossEntropyLoss(ignore_index=UNLABELLED, label_smoothing=label_smoothing)
        self._augment = build_augmentations(augment or {})
        self.draw_scores = LabelScores(classes)
        self.ensemble_scores = LabelScores(classes)

    @abstractmethod
    def check_logits(self, logits: Tensor, targets: Tensor) -> None:
        """Refuse logits that do not fit the targets of this task."""

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Loss of freshly ablated inputs."""
        return self._shared_step(batch, "train")

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        """Scores of the fixed draws."""
        self._shared_step(batch, "val")

    def _shared_step(self, batch: Mapping[str, Any], stage: str) -> Tensor:
        """Ablate, classify, score. Samples of differing size go through the net in groups."""
        losses, weights = [], []
        for ids, inputs, targets in _equal_sizes(batch):
            if stage == "train":
                inputs, targets = self._augment(inputs, targets)
                ids = _versions(ids, len(targets))
            scheme = self._scheme_for(self._count({name: x[0] for name, x in inputs.items()}))
            masks = self._fresh_masks(scheme, ids) if stage == "train" else self._fixed(scheme, ids)
            rows = len(next(iter(masks.values()))) // len(ids)
            output = self.net(inputs, masks)
            logits, auxiliary = output if isinstance(output, tuple) else (output, ())
            repeated = targets.repeat_interleave(rows, dim=0)
            self.check_logits(logits, repeated)
            # The mean over no labelled element is NaN, which would end the whole training.
            labelled = bool((repeated != UNLABELLED).any())
            if labelled:
                loss = self._loss(logits.float(), repeated)
                for one in auxiliary:
                    loss = loss + self._auxiliary_weight * self._loss(one.float(), repeated)
            else:
                loss = 0 * logits.float().sum()
            losses.append(loss)
            weights.append(len(ids) if labelled else 0)
            if stage == "val":
                self._score(logits, targets, rows)
        share = torch.tensor(weights, dtype=torch.float32, device=losses[0].device)
        loss = torch.stack(losses) @ (share / share.sum().clamp(min=1))
        self.log(
            f"{stage}/loss",
            loss.detach(),
            batch_size=sum(weights),
            on_step=False,
            on_epoch=True,
            sync_dist=stage == "val",
            prog_bar=True,
        )
        return loss

    def _fresh_masks(self, scheme: Any, ids: Sequence[str]) -> dict[str, Tensor]:
        """New masks for M ablated inputs of each sample; other ones on every process and step."""
        names = [f"{name}/{m}" for name in ids for m in range(self._ablations)]
        return masks_of_schemes(
            [self._training_scheme(scheme) for _ in names],
            seed=self._seed,
            sample_ids=names,
            step=self.global_step,
            rank=self.global_rank,
            device=self.device,
        )

    def _training_scheme(self, scheme: Any) -> Any:
        """The scheme of certification with the counts of one ablated input of training."""
        if self._ratio is not None:
            return with_ratios(
                scheme, torch.empty(len(scheme.pools())).uniform_(*self._ratio).tolist()
            )
        if self._range is not None:
            return varied(scheme, self._range.factors([m.name for m in scheme.modalities]))
        low, high = (math.log(value) for value in self._factor)
        return scaled(scheme, math.exp(float(torch.empty(()).uniform_(low, high))))

    def _fixed(self, scheme: Any, ids: Sequence[str]) -> dict[str, Tensor]:
        """The V draws of each validation sample, exactly at the counts of certification."""
        draws = range(self._validation_draws)
        subsets = [
            draw_subsets(
                scheme,
                seed=self._seed,
                sample_id=name,
                stream="train",
                draws=draws,
                device=self.device,
            )
            for name in ids
        ]
        return {name: torch.cat([one[name].mask for one in subsets]) for name in subsets[0]}

    def _score(self, logits: Tensor, targets: Tensor, rows: int) -> None:
        """Count the labels of single draws, and of their majority per sample."""
        labels = logits.argmax(1)
        classes = logits.shape[1]
        self.draw_scores.update(labels, targets.repeat_interleave(rows, dim=0))
        one_hot = nn.functional.one_hot(labels.unflatten(0, (-1, rows)), classes)
        self.ensemble_scores.update(one_hot.sum(1).argmax(-1), targets)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/<score>`` of single draws and ``val/ensemble_<score>`` of their majority."""
        for prefix, metric in (("", self.draw_scores), ("ensemble_", self.ensemble_scores)):
            for name, value in metric.compute().items():
                self.log(
                    f"val/{prefix}{name}", value, prog_bar=f"val/{prefix}{name}" == self.monitor
                )
            metric.reset()

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule over all steps of the training."""
        return self._optimization.build(self.net, int(self.trainer.estimated_stepping_batches))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what certification needs beside the weights, as plain data."""
        checkpoint["mmcert"] = self._record


def _versions(ids: Sequence[str], samples: int) -> list[str]:
    """An id of its own for each sample, where an augmentation made several versions of each."""
    versions = samples // len(ids)
    if versions == 1:
        return list(ids)
    return [f"{name}/version {version}" for version in range(versions) for name in ids]


def _equal_sizes(
    batch: Mapping[str, Any],
) -> Iterator[tuple[list[str], dict[str, Tensor], Tensor]]:
    """Parts of a batch whose samples have equal shapes: ids, inputs (B, ...), targets (B, ...).

    Inputs hold the cameras (B, 4) beside the modalities, where every sample has one.

    Raises:
        DataError: Where a sample has no target.
    """
    ids, inputs, targets = batch["id"], batch["inputs"], batch["target"]
    without = (
        ids
        if targets is None
        else [name for name, target in zip(ids, targets, strict=True) if target is None]
    )
    if without:
        raise DataError(f"sample '{without[0]}' has no target; training needs labelled samples.")
    cameras = cameras_of(batch.get("meta"))
    if cameras is not None:
        inputs = {**inputs, CAMERA: cameras.to(next(iter(inputs.values()))[0].device)}
    if isinstance(targets, Tensor) and all(isinstance(x, Tensor) for x in inputs.values()):
        yield ids, dict(inputs), targets
        return
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in range(len(ids)):
        shapes = tuple(tuple(x[index].shape) for x in inputs.values())
        groups.setdefault(shapes, []).append(index)
    for members in groups.values():
        yield (
            [ids[index] for index in members],
            {name: torch.stack([x[index] for index in members]) for name, x in inputs.items()},
            torch.stack([targets[index] for index in members]),
        )
