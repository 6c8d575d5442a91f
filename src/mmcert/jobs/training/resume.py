"""Going on with a training that a run directory holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmcert.errors import RecordError
from mmcert.jobs.checkpoint import SCHEMA, read_plain, refuse_code
from mmcert.jobs.training.record import CARRIED
from mmcert.models.registry import encoding_by_modality
from mmcert.quoting import command_line

#: Keys that may differ when an interrupted training goes on: they change no weight, given that the
#: folder holds the same samples, see :mod:`mmcert.jobs.training.same_data`.
MAY_DIFFER = (
    "trainer.threads",
    "trainer.log_every_n_steps",
    "trainer.rendezvous_minutes",
    "data.root",
    "data.workers",
)


@dataclass(frozen=True)
class Earlier:
    """A training that a run directory holds.

    Args:
        last: Its ``last.ckpt``.
        record: What that carries beside the weights.
        epochs: Epochs that it has seen.
        steps: Optimizer steps that it has made.
        stopped: Whether early stopping has ended it.
    """

    last: Path
    record: Mapping[str, Any]
    epochs: int
    steps: int
    stopped: bool

    def is_finished(self, config: Mapping[str, Any]) -> bool:
        """Whether a training with these settings has nothing left to do."""
        if self.stopped and (config.get("callbacks") or {}).get("early_stopping") is not None:
            return True
        epochs, steps = config["trainer"].get("max_epochs"), config["trainer"].get("max_steps")
        enough = epochs not in (None, -1) and self.epochs >= epochs
        return enough or 0 < (steps or -1) <= self.steps


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
        config = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("command") != "train":
        raise RecordError(f"{file} is no configuration of mmcert-train; choose another run_dir.")
    refuse_code(config, str(file))
    return config


def earlier_training(run_dir: Path) -> Earlier | None:
    """What ``run_dir`` holds of a training, or None.

    Raises:
        RecordError: Where its checkpoint cannot be read, or is of another version.
    """
    last = run_dir / "checkpoints" / "last.ckpt"
    if not last.is_file():
        return None
    content = read_plain(last)
    record = content.get("mmcert") or {}
    if record.get("schema") != SCHEMA:
        raise RecordError(f"{last} is no checkpoint of this version; choose another run_dir.")
    stopped = any(
        name.startswith("EarlyStopping") and state.get("wait_count", 0) >= state["patience"]
        for name, state in content.get("callbacks", {}).items()
    )
    return Earlier(last, record, content["epoch"] + 1, content["global_step"], stopped)


def stored_means(encoding: Mapping[str, Any], earlier: Earlier) -> dict[str, dict[str, Any]]:
    """The encoding of each modality, with the constants that the earlier training filled in."""
    stored = earlier.record["config"]
    encodings = encoding_by_modality(encoding, tuple(stored["inputs"]))
    for name, one in encodings.items():
        before = stored["encoding"].get(name) or {}
        if one["name"] == before.get("name") == "constant_mean" and one.get("value") is None:
            one["value"] = before.get("value")
    return encodings


def check_same_training(config: Mapping[str, Any], earlier: Earlier, run_dir: Path) -> None:
    """Refuse to go on with a training of other settings.

    Raises:
        RecordError: Naming a setting that differs.
    """
    before = _flat({key: earlier.record["config"].get(key) for key in CARRIED})
    before.setdefault("trainer.num_nodes", 1)  # not written by earlier versions
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
            f"{f' (and {len(different) - 1} more differences)' if len(different) > 1 else ''}. For "
            f"another training choose another run_dir; to go on with this one:\n  "
            + command_line("train", run_dir=run_dir)
        )


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
