"""Data sets by name, and those of users by ``package.module:Class``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcert.data.base import MultiModalDataset
from mmcert.errors import ConfigError
from mmcert.named_code import named_class

#: name -> where its class is; imported only when asked for.
DATASETS = {
    "kitti_road": "mmcert.data.roads.kitti_road:KittiRoad",
    "synthetic_roads": "mmcert.data.roads.synthetic_roads:SyntheticRoads",
    "avmnist": "mmcert.data.digits.avmnist:AVMNIST",
    "ravdess": "mmcert.data.speech.ravdess:Ravdess",
    "synthetic_speech": "mmcert.data.speech.synthetic_speech:SyntheticSpeech",
}
_COMMON = ("split", "root", "seed", "max_samples", "stored_split")


def dataset_class(name: str, allow_code: Sequence[str] = ()) -> type[MultiModalDataset]:
    """The class of a data set.

    Args and errors as in :func:`mmcert.named_code.named_class`.
    """
    # mypy has no word for "abstract classes too"
    return named_class("data.name", name, DATASETS, MultiModalDataset, allow_code)  # type: ignore[type-abstract]


def build_dataset(
    name: str,
    split: str,
    *,
    root: str | Path,
    seed: int = 0,
    max_samples: int | None = None,
    stored_split: Mapping[str, Any] | None = None,
    allow_code: Sequence[str] = (),
    **options: Any,
) -> MultiModalDataset:
    """One split of a data set; see :class:`~mmcert.data.base.MultiModalDataset` for the arguments.

    Args:
        name: See :func:`dataset_class`.
        split: ``train``, ``val``, ``test`` or ``all``.
        root: Folder of the data set.
        seed: Seed of the split.
        max_samples: Use only so many samples.
        stored_split: Split of an earlier run.
        allow_code: Packages whose code may be imported by name.
        **options: The data set's own options (``data.options``).

    Raises:
        ConfigError: For an unknown name or option.
        DataError: Where the folder is missing or the split is empty.
    """
    found = dataset_class(name, allow_code)
    known = [
        key
        for key, parameter in inspect.signature(found).parameters.items()
        if key not in _COMMON and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"data.options.{unknown[0]} is no option of the data set '{name}'; "
            f"it has {', '.join(known) if known else 'none'}."
        )
    return found(
        split,
        root=root,
        seed=seed,
        max_samples=max_samples,
        stored_split=stored_split,
        **options,
    )
