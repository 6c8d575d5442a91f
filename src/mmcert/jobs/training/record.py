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


def best_score(run_dir: Path, score: str) -> float:
    """A validation score of ``best.ckpt``, a finite number.

    Args:
        run_dir: Of the training.
        score: See :func:`~mmcert.jobs.training.measurable.objective`.

    Raises:
        ConfigError: Where training ended without a validation that measured anything.
    """
    file = run_dir / "checkpoints" / "best.ckpt"
    if not file.is_file():
        raise ConfigError(
            f"{run_dir}: the training ended without a best checkpoint: no validation gave a finite "
            f"score of finite weights. If it validated at all "
            f"(trainer.check_val_every_n_epoch, trainer.limit_val_batches), its weights became NaN "
            f"or infinite: set a lower task.lr or trainer.gradient_clip_val, in another run_dir."
        )
    for state in read_plain(file).get("callbacks", {}).values():
        reached = state.get("score")
        if reached is None and state.get("monitor") == score:  # of an earlier version
            reached = state.get("current_score")
        if reached is not None and math.isfinite(float(reached)):
            return float(reached)
    raise ConfigError(
        f"{file} does not say which {score} it reached, so nothing compares it with others; "
        f"validate with trainer.check_val_every_n_epoch, in another run_dir."
    )
