"""Data sets by name, and those of users by ``package.module:Class``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcert.data.base import MultiModalDataset
from mmcert.errors import ConfigError

#: name -> where its class is; imported only when asked for.
DATASETS = {
    "kitti_road": "mmcert.data.kitti_road:KittiRoad",
    "synthetic_roads": "mmcert.data.synthetic_roads:SyntheticRoads",
    "avmnist": "mmcert.data.avmnist:AVMNIST",
}
_COMMON = ("split", "root", "seed", "max_samples", "stored_split")


def dataset_class(name: str, allow_code: Sequence[str] = ()) -> type[MultiModalDataset]:
    """The class of a data set.

    Args:
        name: A name of :data:`DATASETS`, or ``package.module:Class`` for code of your own.
        allow_code: Packages whose code may be imported by name. A name can come out of a
            checkpoint, and importing code runs it: so the command line must allow the package.

    Raises:
        ConfigError: For an unknown name, a package that is not allowed, or no such class.
    """
    address = DATASETS.get(name)
    if address is None:
        if ":" not in name:
            raise ConfigError(
                f"data.name={name} is no data set; choose one of {', '.join(sorted(DATASETS))}, or "
                f"name a class of your own as package.module:Class."
            )
        package = name.split(":")[0].split(".")[0]
        if package not in allow_code:
            raise ConfigError(
                f"data.name={name} would import code of the package '{package}', which is run by "
                f"doing so. If you trust it, add allow_code=[{package}] to the command line."
            )
        address = name
    module_name, _, class_name = address.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"data.name={name} cannot be imported: {error}. Is its package installed, or on "
            f"PYTHONPATH?"
        ) from error
    if not (isinstance(found, type) and issubclass(found, MultiModalDataset)):
        raise ConfigError(f"data.name={name} is no subclass of mmcert.data.base.MultiModalDataset.")
    return found


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
