"""What a checkpoint of a training carries beside its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.data.datamodule import DataModule
from mmcert.errors import ConfigError
from mmcert.jobs.checkpoint import SCHEMA, read_plain

#: Sections that a checkpoint carries: the base model, its data, and the plan of certification.
CARRIED = (
    "data",
    "model",
    "task",
    "encoding",
    "scheme",
    "threat",
    "statistics",
    "voting",
    "trainer",
    "alpha",
    "seed",
)


def checkpoint_record(
    config: Mapping[str, Any], data: DataModule, split: str = "train"
) -> dict[str, Any]:
    """What every checkpoint carries beside the weights: plain data, nothing to run."""
    from mmcert.records.run import package_versions

    dataset = data.dataset(split)
    carried = {key: copy.deepcopy(config.get(key)) for key in CARRIED}
    carried["inputs"] = {
        name: {
            "shape": list(spec.shape),
            "element_axes": list(spec.element_axes),
            "element": spec.element,
        }
        for name, spec in dataset.inputs.items()
    }
    carried["classes"] = list(dataset.classes)
    return {
        "schema": SCHEMA,
        "task": config["task"]["name"],
        "config": carried,
        "split": data.split(),
        "versions": package_versions(),
    }


def best_score(run_dir: Path, monitor: str) -> float:
    """The validation score of ``best.ckpt``.

    Raises:
        ConfigError: Where training ended without a validation.
    """
    file = run_dir / "checkpoints" / "best.ckpt"
    if not file.is_file():
        raise ConfigError(
            "training ended without a validation, so there is no best checkpoint; set "
            "trainer.check_val_every_n_epoch to at most trainer.max_epochs."
        )
    for state in read_plain(file).get("callbacks", {}).values():
        if state.get("monitor") == monitor and state.get("current_score") is not None:
            return float(state["current_score"])
    return math.nan  # chosen by another score, see callbacks.checkpoints.monitor
