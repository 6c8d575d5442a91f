"""Data sets and loaders of one ``data`` section of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from mmcert.data.base import Item, MultiModalDataset, collate
from mmcert.data.registry import build_dataset
from mmcert.data.splits import SPLITS, seeded_hash
from mmcert.errors import ConfigError

_KEYS = ("name", "root", "split", "max_samples", "batch_size", "workers", "options")


class DataModule:
    """Builds the data sets and loaders that a ``data`` section describes.

    Args:
        config: ``{name, root, split, max_samples, batch_size, workers, options}``, plain values.
            ``split`` is the one that is certified; ``max_samples`` limits every split.
        seed: Seed of the split and of the order of shuffled batches.
        stored_split: Split of a checkpoint; used where its ids agree with those of ``root``.
        allow_code: Packages whose data sets may be imported by name.

    Raises:
        ConfigError: For a missing or unknown key.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        seed: int,
        *,
        stored_split: Mapping[str, Any] | None = None,
        allow_code: tuple[str, ...] | list[str] = (),
    ) -> None:
        unknown = sorted(set(config) - set(_KEYS))
        if unknown:
            raise ConfigError(
                f"data.{unknown[0]} is no key of the data section; it has {', '.join(_KEYS)}. "
                f"Arguments of the data set itself go under data.options."
            )
        for key in ("name", "root"):
            if config.get(key) is None:
                raise ConfigError(f"data.{key} is not set.")
        self.config = dict(config)
        self.seed = int(seed)
        self.stored_split = stored_split
        self.allow_code = tuple(allow_code)
        self._datasets: dict[str, MultiModalDataset] = {}

    def dataset(self, split: str | None = None) -> MultiModalDataset:
        """A split of the data set, built once; without a name the one that ``data.split`` names."""
        name = split or self.config.get("split") or "test"
        if name not in self._datasets:
            self._datasets[name] = build_dataset(
                self.config["name"],
                name,
                root=self.config["root"],
                seed=self.seed,
                max_samples=self.config.get("max_samples"),
                stored_split=self.stored_split,
                allow_code=self.allow_code,
                **(self.config.get("options") or {}),
            )
        return self._datasets[name]

    def loader(
        self, split: str, batch_size: int | None = None, shuffle: bool | None = None
    ) -> DataLoader[Item]:
        """A loader whose order is a function of the seed alone, for any number of workers.

        Args:
            split: ``train``, ``val``, ``test`` or ``all``.
            batch_size: Samples in a batch, by default ``data.batch_size``.
            shuffle: Whether to shuffle, by default for ``train`` only.
        """
        size = int(batch_size if batch_size is not None else self.config.get("batch_size") or 1)
        if size < 1:
            raise ConfigError(f"data.batch_size={size} must be at least 1.")
        workers = int(self.config.get("workers") or 0)
        generator = torch.Generator().manual_seed(seeded_hash(self.seed, "loader", split) >> 1)
        return DataLoader(
            self.dataset(split),
            batch_size=size,
            shuffle=split == "train" if shuffle is None else shuffle,
            num_workers=workers,
            collate_fn=collate,
            generator=generator,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=bool(workers),
        )

    def split(self) -> dict[str, Any]:
        """``{"seed", "train": [ids], "val": [...], "test": [...]}``: what a checkpoint carries."""
        dataset = next(iter(self._datasets.values()), None) or self.dataset("all")
        lists: dict[str, Any] = {name: list(dataset.splits[name]) for name in SPLITS}
        return {"seed": dataset.seed, **lists}
