"""Batches whose order and chance depend on the seed and the epoch alone."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import RandomSampler

from mmcert.data.datamodule import DataModule
from mmcert.data.splits import seeded_hash


class Loaders(pl.LightningDataModule):
    """Makes the loaders in the process that uses them: a generator cannot be sent to a spawned one.

    The order of an epoch is a function of the seed and its number, so that a training that was
    interrupted goes on as if it had not been.

    Args:
        data: The data of the training.
        first: Number of the epoch that this process begins with.
    """

    def __init__(self, data: DataModule, first: int) -> None:
        super().__init__()
        self._data, self._first = data, first
        self._generator: torch.Generator | None = None

    def train_dataloader(self) -> Any:
        """Shuffled batches of the training split."""
        loader = self._data.loader("train")
        # One of its own: from the loader's, seeds of workers are drawn too, but only at a start.
        self._generator = torch.Generator()
        assert isinstance(loader.sampler, RandomSampler)
        loader.sampler.generator = self._generator
        self.order(self._first)  # Lightning counts on only after it has asked for batches
        return loader

    def order(self, epoch: int) -> None:
        """Fix the order of that epoch, before its first batch is fetched."""
        if self._generator is not None:
            self._generator.manual_seed(seeded_hash(self._data.seed, "order", epoch) >> 1)

    def val_dataloader(self) -> Any:
        """Batches of the validation split in order."""
        return self._data.loader("val", shuffle=False)


class EpochSeeds(pl.Callback):
    """Makes all chance of an epoch a function of the seed, the epoch and the process.

    Masks are drawn by counter anyway; this is for retained counts, augmentations and dropout.

    Args:
        loaders: Whose order is fixed too.
        seed: Seed of the training.
    """

    def __init__(self, loaders: Loaders, seed: int) -> None:
        self._loaders, self._seed = loaders, seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the generators of this process anew."""
        part = seeded_hash(self._seed, "epoch", trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(part >> 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The next epoch's iterator is made before it starts."""
        self._loaders.order(trainer.current_epoch + 1)
