"""The data set and the base model of a certification, as every voting process makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmcert.errors import RecordError

if TYPE_CHECKING:
    from mmcert.data.base import MultiModalDataset
    from mmcert.models.base import BaseModel


def build_data(workload: Mapping[str, Any]) -> MultiModalDataset:
    """The split that is certified.

    Args:
        workload: ``data`` section, ``data_seed``, ``stored_split``, ``allow_code``.
    """
    from mmcert.data.datamodule import DataModule

    module = DataModule(
        workload["data"],
        workload["data_seed"],
        stored_split=workload["stored_split"],
        allow_code=workload["allow_code"],
    )
    return module.dataset()


def build(workload: Mapping[str, Any]) -> tuple[MultiModalDataset, BaseModel]:
    """Data set and base model, on the CPU.

    Args:
        workload: Plain data: what :func:`build_data` needs, and ``checkpoint`` (a file) with its
            ``sha256``.

    Raises:
        RecordError: Where the checkpoint is another file than when the run began.
    """
    from mmcert.jobs.checkpoint import load_checkpoint
    from mmcert.jobs.shard import shard_of
    from mmcert.models.registry import build_model

    stored, _, state, sha256 = load_checkpoint(workload["checkpoint"])
    if sha256 != workload["sha256"]:
        raise RecordError(f"{workload['checkpoint']} was changed while it was read; run it again.")
    model = build_model(
        stored["model"]["name"],
        inputs=stored["inputs"],
        classes=len(stored["classes"]),
        encoding=stored["encoding"],
        allow_code=workload["allow_code"],
        stored_weights=True,
        **(stored["model"].get("options") or {}),
    )
    model.load_state_dict(state)
    return shard_of(build_data(workload), workload.get("shard")), model
