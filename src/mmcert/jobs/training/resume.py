"""Going on with a training that a run directory holds."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmcert.errors import RecordError
from mmcert.jobs.checkpoint import SCHEMA, read_plain, refuse_code
from mmcert.jobs.training.record import CARRIED

#: Keys of the trainer section that may differ when an interrupted training goes on.
MAY_DIFFER = ("trainer.threads", "trainer.log_every_n_steps")


def stored_config(run_dir: Path) -> dict[str, Any] | None:
    """The configuration of the training that ``run_dir`` holds, or None.

    Raises:
        RecordError: Where the file is no configuration.
        ConfigError: Where it holds an interpolation or a ``_target_``.
    """
    file = run_dir / "config.yaml"
    if not file.is_file():
        return None
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("command") != "train":
        raise RecordError(f"{file} is no configuration of mmcert-train; choose another run_dir.")
    refuse_code(config, str(file))
    return config


def resumable(config: Mapping[str, Any], run_dir: Path) -> tuple[Path | None, int]:
    """The ``last.ckpt`` to go on with and the epochs that it has seen; None and 0 for a new one.

    Raises:
        RecordError: Where ``run_dir`` holds a finished or another training.
    """
    last = run_dir / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return None, 0
    content = read_plain(last)
    record = content.get("mmcert") or {}
    if record.get("schema") != SCHEMA:
        raise RecordError(f"{last} is no checkpoint of this version; choose another run_dir.")
    before = _flat({key: record["config"].get(key) for key in CARRIED})
    now = _flat({key: config.get(key) for key in CARRIED})
    different = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in MAY_DIFFER
    ]
    if different:
        key = different[0]
        raise RecordError(
            f"{run_dir} holds a training with {key}={before.get(key)}, not {now.get(key)}"
            f"{f' (and {len(different) - 1} more differences)' if len(different) > 1 else ''}. To "
            f"go on with it: mmcert-train run_dir={shlex.quote(str(run_dir))}; for another "
            f"training choose another run_dir."
        )
    epochs, steps = config["trainer"].get("max_epochs"), config["trainer"].get("max_steps", -1)
    done_epochs, done_steps = content["epoch"] + 1, content["global_step"]
    if (epochs not in (None, -1) and done_epochs >= epochs) or 0 < (steps or -1) <= done_steps:
        raise RecordError(
            f"the training in {run_dir} is finished ({done_epochs} epochs, {done_steps} steps). "
            f"Certify it: mmcert-certify checkpoint={shlex.quote(str(run_dir))}; for another "
            f"training choose another run_dir."
        )
    return last, done_epochs


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Leaves by dotted key; lists are leaves."""
    if not isinstance(value, Mapping):
        return {key: list(value) if isinstance(value, tuple) else value}
    if not value:
        return {key: {}}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{key}.{name}" if key else str(name))
    return flat
