"""Whether a training is going to measure anything, before it costs anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mmcert.certification.formulas import reported_classes
from mmcert.data.base import UNLABELLED
from mmcert.data.datamodule import DataModule
from mmcert.errors import ConfigError, DataError
from mmcert.jobs.training.best import objective
from mmcert.jobs.training.trainer import device_count
from mmcert.metrics.scores import LabelScores

_ENSEMBLE = "ensemble_"


def check_measurable(config: Mapping[str, Any], data: DataModule, monitor: str) -> None:
    """Refuse a training that would end without a score of its weights.

    Args:
        config: The ``train`` configuration.
        data: Its data; of the validation split as much is read as it takes to see a label of each
            class that the score needs.
        monitor: The validation score of the task, e.g. ``val/f_score``.

    Raises:
        ConfigError: Where no validation would take place, or leave no checkpoint.
        DataError: Where the validation split is empty, or a score that decides is undefined on it.
    """
    trainer, callbacks = config["trainer"], config.get("callbacks") or {}
    processes = device_count(trainer) * int(trainer.get("num_nodes") or 1)
    _check_validates(config, -(-len(data.loader("train")) // processes))
    _check_split(data)
    chosen = callbacks["checkpoints"]
    deciding = {objective(chosen, monitor), chosen.get("monitor") or monitor}
    if callbacks.get("early_stopping") is not None:
        deciding.add(callbacks["early_stopping"].get("monitor") or monitor)
    names = {str(one).removeprefix("val/").removeprefix(_ENSEMBLE) for one in deciding}
    _check_defined(data, names, _samples(trainer, data, processes))


def _check_validates(config: Mapping[str, Any], batches: int) -> None:
    """At least one step, one validation, and a place for the best weights."""
    trainer = config["trainer"]
    if trainer.get("fast_dev_run"):
        raise ConfigError(
            "trainer.fast_dev_run leaves no checkpoint and no score; for a few steps on little "
            "data use debug=smoke."
        )
    if (config.get("callbacks") or {}).get("checkpoints") is None:
        raise ConfigError(
            "callbacks.checkpoints=null: the training would leave no weights to certify or to go "
            "on from; leave callbacks.checkpoints away, or set it to {}."
        )
    for key in ("limit_train_batches", "limit_val_batches", "max_epochs", "max_steps"):
        if trainer.get(key) == 0:
            raise ConfigError(f"trainer.{key}=0 leaves nothing to do; set it to more, or to null.")
    every, epochs = trainer.get("check_val_every_n_epoch", 1), _epochs(trainer, batches)
    if trainer.get("val_check_interval") is None and every is not None and every > epochs:
        raise ConfigError(
            f"trainer.check_val_every_n_epoch={every}, but the training has {epochs} epochs: it "
            f"would end without a validation, and no checkpoint would be the best. Set it to at "
            f"most {epochs}, or trainer.max_epochs to at least {every}."
        )


def _epochs(trainer: Mapping[str, Any], batches: int) -> float:
    """Whole epochs that will be trained; infinite where nothing limits them."""
    limit = trainer.get("limit_train_batches")
    if isinstance(limit, int) and not isinstance(limit, bool):
        batches = min(batches, limit)
    elif isinstance(limit, float):
        batches = int(batches * limit)
    epochs, steps = trainer.get("max_epochs"), trainer.get("max_steps")
    limits = [math.inf if epochs in (None, -1) else int(epochs)]
    if steps not in (None, -1):
        # A step may take several batches; the epoch in which the last one falls is cut short.
        several = int(trainer.get("accumulate_grad_batches") or 1)
        limits.append(int(steps) * several // max(batches, 1))
    elif epochs is None:
        limits.append(1000)  # what Lightning does where nothing is said
    return min(limits)


def _check_split(data: DataModule) -> None:
    split = data.split()
    if split["val"]:
        return
    sizes = ", ".join(f"{len(split[name])} for {name}" for name in ("train", "val", "test"))
    raise DataError(
        f"{data.config['root']}: the split leaves no sample for validation ({sizes}), and without "
        f"one nothing tells which weights are the best. Use more labelled samples (a split needs "
        f"about 10), or a folder with a validation split of its own."
    )


def _samples(trainer: Mapping[str, Any], data: DataModule, processes: int) -> int:
    """How many samples a validation reads, in the order of the split."""
    total = len(data.dataset("val"))
    limit = trainer.get("limit_val_batches")
    size = int(data.config.get("batch_size") or 1)
    if isinstance(limit, float):
        limit = max(1, int(limit * -(-total // (size * processes))))
    return min(total, limit * size * processes) if isinstance(limit, int) else total


def _check_defined(data: DataModule, names: set[str], samples: int) -> None:
    """Read targets until every score is defined: by what is true alone, whatever is predicted."""
    dataset = data.dataset("val")
    metric = LabelScores(len(dataset.classes), ignore_index=UNLABELLED)
    metric.update(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))
    names = names & metric.compute().keys()  # the loss, say, is no such score
    undefined = names
    for index in range(samples if names else 0):
        target = dataset[index]["target"]
        if target is None:
            continue
        metric.update(target, target)
        scores = metric.compute()
        undefined = {name for name in names if scores[name].isnan()}
        if not undefined:
            break
    if not undefined:
        return
    labelled = bool(metric.matrix.any())
    lacking = [dataset.classes[index] for index in reported_classes(len(dataset.classes))]
    what = f"element of the class '{lacking[0]}'" if labelled else "labelled element"
    limited = data.config.get("max_samples") is not None or samples < len(dataset)
    ways = [
        "validate on more samples (data.max_samples, trainer.limit_val_batches)"
        if limited
        else "put samples with one there",
        "make another split with another seed",
    ]
    if labelled:
        ways.append("choose a score that is defined: callbacks.checkpoints.monitor=val/accuracy")
    raise DataError(
        f"{data.config['root']}: val/{min(undefined)} is undefined, because the {samples} "
        f"validation samples hold no {what}; nothing would tell which weights are the best. Ways "
        f"out: {'; '.join(ways)}."
    )
