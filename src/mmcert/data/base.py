"""What every data set is: items, names of its splits, and the batch made of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmcert.data.splits import SPLITS, is_partition_of, seeded_order
from mmcert.errors import ConfigError, DataError
from mmcert.theory.modality import InputSpec

#: The value of a target element that has no label and takes part in no metric.
UNLABELLED = 255

Item = dict[str, Any]


class MultiModalDataset(Dataset[Item], ABC):
    """A folder read as multi-modal samples, one split of it.

    An item is ``{"id": str, "inputs": {modality: float32 Tensor}, "target": int64 Tensor | None,
    "meta": dict}``. Segmentation targets are ``(H, W)``, classification targets are scalars;
    255 is unlabelled, and None means that the sample has no label at all.

    A subclass sets the class attributes, finds the samples in :meth:`find_splits` and reads one in
    :meth:`load`. Its own options are set before ``super().__init__`` is called.

    Attributes:
        name: Registry name.
        task: ``segmentation`` or ``classification``.
        classes: Names of the classes; the index is the class id.
        inputs: For each modality its tensor and what an element of it is.
        splits: Sample ids of ``train``, ``val`` and ``test``; what is in none of them is only in
            ``all``.
        ids: Sample ids of this split, in order.
        split_is_stored: Whether ``splits`` is the ``stored_split`` that was given.

    Args:
        split: ``train``, ``val``, ``test`` or ``all``.
        root: Folder of the data set.
        seed: Seed of the split, where the folder itself states none, and of ``max_samples``.
        max_samples: Use only so many samples, chosen by the seed; a larger number adds to them.
        stored_split: ``{"seed", "train", "val", "test"}`` of an earlier run (of a checkpoint); used
            where its ids agree with those of the folder, see :attr:`split_is_stored`.

    Raises:
        DataError: Where the folder is missing or the split is empty.
        ConfigError: Where the split has another name or ``max_samples`` is not positive.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    inputs: dict[str, InputSpec]

    def __init__(
        self,
        split: str,
        *,
        root: str | Path,
        seed: int = 0,
        max_samples: int | None = None,
        stored_split: Mapping[str, Any] | None = None,
    ) -> None:
        if split not in (*SPLITS, "all"):
            raise ConfigError(
                f"data.split={split} is no split; choose one of {', '.join(SPLITS)}, all."
            )
        if max_samples is not None and max_samples < 1:
            raise ConfigError(
                f"data.max_samples={max_samples} must be at least 1, or null for all."
            )
        self.root = Path(root)
        self.split = split
        if not self.root.is_dir():
            raise DataError(
                f"{self.name}: the folder {self.root} does not exist. {self.how_to_make(self.root)}"
            )
        self.seed = int(stored_split["seed"]) if stored_split is not None else int(seed)
        found = self.find_splits(self.seed)
        self.split_is_stored = stored_split is not None and is_partition_of(
            stored_split, [name for ids in found.values() for name in ids]
        )
        if stored_split is not None and self.split_is_stored:
            chosen = {name: tuple(stored_split[name]) for name in SPLITS}
        else:
            if self.seed != int(seed):
                self.seed = int(seed)
                found = self.find_splits(self.seed)
            chosen = {name: tuple(found.get(name, ())) for name in SPLITS}
        self.splits: dict[str, tuple[str, ...]] = chosen
        everything = dict.fromkeys(name for ids in found.values() for name in ids)
        ids = tuple(sorted(everything)) if split == "all" else chosen[split]
        if not ids:
            sizes = ", ".join(f"{name} {len(chosen[name])}" for name in SPLITS)
            advice = (
                "A training needs samples for training and for validation: add labelled samples "
                "(of three or more, each split gets one)"
                if split in ("train", "val")
                else "Set data.split=all to certify every sample"
            )
            raise DataError(
                f"{self.name}: the split '{split}' of {self.root} is empty ({sizes}; "
                f"{len(everything)} samples in all). {advice}, or set another data.root."
            )
        if max_samples is not None and max_samples < len(ids):
            kept = set(seeded_order(ids, self.seed, "max_samples")[:max_samples])
            ids = tuple(name for name in ids if name in kept)
        self.ids: tuple[str, ...] = ids

    @classmethod
    def how_to_make(cls, root: Path) -> str:
        """A sentence that tells how to get the data into ``root``, with the exact command."""
        return f"Put the data set '{cls.name}' there or set data.root to its folder."

    @abstractmethod
    def find_splits(self, seed: int) -> dict[str, tuple[str, ...]]:
        """Sample ids of ``train``, ``val``, ``test``, and optionally of further names.

        Called once from the constructor, before anything else of the base class is there but
        ``root`` and ``split``; a second time where a stored split does not fit.
        """

    @abstractmethod
    def load(self, sample_id: str) -> Item:
        """The item of one sample.

        Raises:
            DataError: Naming the file, where one is missing, corrupt or inconsistent.
        """

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Item:
        return self.load(self.ids[index])


def collate(items: Sequence[Item]) -> Item:
    """A batch: tensors ``(B, ...)`` where the sizes of all items agree, else lists.

    Returns:
        ``{"id": list, "inputs": {modality: Tensor | list}, "target": Tensor | list | None,
        "meta": list}``; the target is None where no item has one, and a list with None in it where
        only some have.
    """

    def joined(tensors: list[Tensor]) -> Tensor | list[Tensor]:
        same = all(tensor.shape == tensors[0].shape for tensor in tensors)
        return torch.stack(tensors) if same else tensors

    targets = [item["target"] for item in items]
    target: Tensor | list[Tensor | None] | None
    if all(one is None for one in targets):
        target = None
    elif any(one is None for one in targets):
        target = targets
    else:
        target = joined(targets)  # type: ignore[assignment]
    return {
        "id": [item["id"] for item in items],
        "inputs": {
            name: joined([item["inputs"][name] for item in items]) for name in items[0]["inputs"]
        },
        "target": target,
        "meta": [item["meta"] for item in items],
    }
