"""One part of several of the samples of a run, for the tasks of a job array."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

from mmcert.errors import ConfigError

if TYPE_CHECKING:
    from mmcert.data.base import MultiModalDataset


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``(i, n)`` of ``"i/n"``; None for None.

    Parts may be counted from 0 to n - 1 or from 1 to n: part n is part 0.

    >>> parse_shard("1/3"), parse_shard("3/3"), parse_shard("0/3")
    ((1, 3), (0, 3), (0, 3))

    Raises:
        ConfigError: For anything else.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", str(text))
    if found is None or not 0 < int(found[2]) >= int(found[1]):
        raise ConfigError(
            f"shard={text} must be i/n, part i of n: 0/4, 1/4, 2/4, 3/4 (or 1/4 to 4/4). In an "
            f"array of Slurm with --array=0-3: shard=$SLURM_ARRAY_TASK_ID/4."
        )
    return int(found[1]) % int(found[2]), int(found[2])


def shard_of(dataset: MultiModalDataset, text: str | None) -> MultiModalDataset:
    """Every n-th sample, from the i-th on; the data set itself without a shard.

    Raises:
        ConfigError: Where no sample is left, or for another text than ``"i/n"``.
    """
    shard = parse_shard(text)
    if shard is None:
        return dataset
    part = copy.copy(dataset)
    part.ids = dataset.ids[shard[0] :: shard[1]]
    if not part.ids:
        raise ConfigError(f"shard={text} holds no sample: there are only {len(dataset.ids)}.")
    return part
