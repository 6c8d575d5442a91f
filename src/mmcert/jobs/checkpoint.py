"""Checkpoints as plain data: found, read and checked, with nothing in them run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmcert.errors import ConfigError, RecordError
from mmcert.quoting import command_line

#: Version of what a checkpoint carries under ``mmcert``.
SCHEMA = 1
#: Keys of the stored configuration that certification reads.
NEEDED = ("task", "data", "model", "encoding", "scheme", "seed", "inputs", "classes")
_NET = "net."


class Checkpoint(NamedTuple):
    """What :func:`load_checkpoint` gives.

    Attributes:
        config: The resolved configuration of the training, a plain dictionary.
        split: ``{"seed", "train": [ids], "val": [...], "test": [...]}``.
        state_dict: Weights of the base model.
        sha256: Of the file, hexadecimal.
    """

    config: dict[str, Any]
    split: dict[str, Any]
    state_dict: dict[str, Any]
    sha256: str


def find_checkpoint(path: str | Path) -> Path:
    """The checkpoint file that a path means: itself, or the best one of a training run_dir.

    Raises:
        RecordError: Where there is none.
    """
    path = Path(path)
    if path.is_file():
        return path
    best = path / "checkpoints" / "best.ckpt"
    if best.is_file():
        return best
    if not path.exists():
        raise RecordError(f"checkpoint={path} does not exist. Train one with mmcert-train.")
    last = path / "checkpoints" / "last.ckpt"
    hint = (
        f"its training was interrupted before a validation; name {last}, or go on with it:\n  "
        + command_line("train", run_dir=path)
        if last.is_file()
        else "give a .ckpt file or the run_dir of mmcert-train."
    )
    raise RecordError(f"checkpoint={path} holds no checkpoints/best.ckpt: {hint}")


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of ``mmcert-train``.

    Args:
        path: A file, or a training run_dir (then its best checkpoint).

    Raises:
        RecordError: Where the file is missing, corrupt, not plain data, not of ``mmcert-train`` or
            of another schema.
        ConfigError: Where its configuration holds an interpolation or a ``_target_``.
    """
    file = find_checkpoint(path)
    content = read_plain(file)
    record = content.get("mmcert")
    if not isinstance(record, dict) or "state_dict" not in content:
        raise RecordError(
            f"{file} is no checkpoint of mmcert-train (it carries no 'mmcert' record); it cannot "
            f"say which model, data and scheme it belongs to."
        )
    if record.get("schema") != SCHEMA:
        raise RecordError(
            f"{file} has schema {record.get('schema')!r}; this version of mmcert reads schema "
            f"{SCHEMA}. Use the version that wrote it ({record.get('versions')})."
        )
    config, split = record["config"], record["split"]
    refuse_code(config, str(file))
    missing = [key for key in NEEDED if key not in config]
    if missing:
        raise RecordError(f"{file}: its configuration lacks {', '.join(missing)}; train again.")
    weights = {
        key.removeprefix(_NET): value
        for key, value in content["state_dict"].items()
        if key.startswith(_NET)
    }
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Checkpoint(config, split, weights, digest)


def read_plain(file: Path) -> dict[str, Any]:
    """The dictionary in a checkpoint file, loaded as plain data.

    Raises:
        RecordError: Where the file cannot be read, or holds anything but plain data.
    """
    import pickle

    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # torch's own message advises loading with weights_only=False: not what a person should do
        raise RecordError(
            f"{file} cannot be read as a checkpoint of plain data ({type(error).__name__}). It is "
            f"truncated, or holds objects whose loading would run code; take another copy or train "
            f"again."
        ) from error
    if not isinstance(content, dict):
        raise RecordError(f"{file} holds no dictionary; it is no checkpoint of mmcert-train.")
    return content


def refuse_code(config: Any, where: str) -> None:
    """Refuse a configuration that would run code or read the environment when it is used.

    Args:
        config: A plain configuration out of a file or the command line.
        where: What it came from, for the message.

    Raises:
        ConfigError: For an interpolation (``${...}``) in a value, or a ``_target_`` key.
    """
    for key, value in _leaves(config, ""):
        if key.split(".")[-1] == "_target_":
            raise ConfigError(
                f"{where}: {key} names code to run ({value}); mmcert names parts by registry name "
                f"only. Remove it."
            )
        if isinstance(value, str) and "${" in value:
            raise ConfigError(
                f"{where}: {key}={value} is an unresolved interpolation, which could read the "
                f"environment of whoever loads it. Write its value instead."
            )


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) that is neither a mapping nor a list."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{key}[{index}]")
    else:
        yield key, value
