"""How checkpoints reach the disk: beside their target, then under its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from mmcert.records.atomic import atomic_write


class WholeCheckpoints(TorchCheckpointIO):
    """Writes every checkpoint of a training (best, last, and whatever else is asked for).

    Lightning's own goes through the system's folder of temporary files and then over the target,
    which is lost where the disk fills up on the way. Reading is Lightning's.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Replace ``path`` once the whole checkpoint is on its disk.

        Raises:
            FullDiskError: Where it does not fit; the old one is there.
        """
        with atomic_write(path) as stream:
            torch.save(checkpoint, stream)
