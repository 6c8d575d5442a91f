"""Public RoadSeg checkpoints: read as plain data, matched name by name, written as our own."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from mmcert.data.datamodule import DataModule
from mmcert.data.splits import SPLITS, is_partition_of
from mmcert.errors import ConfigError, RecordError
from mmcert.jobs.alone import alone
from mmcert.jobs.checkpoint import read_plain, refuse_code
from mmcert.jobs.seed import check_seed
from mmcert.jobs.training.plan import check_plan
from mmcert.jobs.training.training import checkpoint_record
from mmcert.models.registry import build_model, encoding_by_modality
from mmcert.quoting import command_line
from mmcert.records.atomic import atomic_write, write_json

#: What ``torch.nn.DataParallel`` puts before every name.
PARALLEL = "module."
#: Where the network sits in our base model, and that in a checkpoint.
INNER = "net."
OURS = f"net.{INNER}"
#: Blocks of layer 3 and whether they are bottlenecks -> the ResNet.
ENCODERS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
#: Names that an error lists.
SHOWN = 12


@alone
def convert(given: Mapping[str, Any], run_dir: Path) -> str:
    """Write ``run_dir/checkpoints/best.ckpt`` from a public checkpoint.

    Args:
        given: The resolved ``convert`` configuration: that of a training, ``source`` and ``split``.
        run_dir: A folder without a checkpoint, or with the one of the same conversion, which stays.

    Returns:
        What was done and what to run next.

    Raises:
        RecordError: Where the file is no RoadSeg of this configuration, naming every difference,
            or ``run_dir`` holds another checkpoint.
        ConfigError, DataError, UnsoundError: See ``train``.
    """
    config: dict[str, Any] = copy.deepcopy(dict(given))
    source, split = Path(config.pop("source")), config.pop("split")
    refuse_code(config, "the configuration")
    check_seed(config["seed"])
    target = run_dir / "checkpoints" / "best.ckpt"
    weights = read_public(source)
    if config["model"]["name"] != "roadseg":
        raise ConfigError(f"model={config['model']['name']}: public checkpoints are of roadseg.")
    config["data"]["root"] = str(Path(config["data"]["root"]).resolve())
    allow_code = tuple(config.get("allow_code") or ())
    data = DataModule(config["data"], config["seed"], allow_code=allow_code)
    dataset = data.dataset("all")
    check_plan(config, dataset)
    config["encoding"] = encoding_by_modality(config["encoding"], tuple(dataset.inputs))
    net = build_model(
        "roadseg",
        inputs=dataset.inputs,
        classes=len(dataset.classes),
        encoding=config["encoding"],
        stored_weights=True,
        **(config["model"].get("options") or {}),
    )
    named = net.state_dict()
    check_names(weights, {name.removeprefix(INNER): value for name, value in named.items()}, source)
    record = checkpoint_record(config, data, "all")
    if split is not None:
        record["split"] = stated_split(Path(split), list(dataset.ids), config["seed"])
    content = {
        "state_dict": {OURS + name: value for name, value in weights.items()},
        "mmcert": record,
    }
    if target.exists():
        check_same_conversion(content, target)
    else:
        with atomic_write(target) as stream:
            torch.save(content, stream)
    with atomic_write(run_dir / "config.yaml") as stream:
        stream.write(yaml.safe_dump(config, sort_keys=False).encode())
    write_json(run_dir / "split.json", record["split"])
    return _next(run_dir, target, len(weights), len(record["split"]["test"]), split is not None)


def check_same_conversion(content: Mapping[str, Any], target: Path) -> None:
    """Refuse to write over a checkpoint that is not of the same file, settings and split.

    Raises:
        RecordError: Where it is another one.
    """
    there = read_plain(target)
    ours, theirs = content["mmcert"], there.get("mmcert") or {}
    same = all(ours[key] == theirs.get(key) for key in ours if key != "versions")
    weights, stored = content["state_dict"], there.get("state_dict") or {}
    if same and weights.keys() == stored.keys():
        same = all(torch.equal(value, stored[name]) for name, value in weights.items())
    else:
        same = False
    if not same:
        raise RecordError(
            f"{target} exists, and is not the conversion of this file with these settings; choose "
            f"another run_dir."
        )


def _next(run_dir: Path, target: Path, tensors: int, test: int, stated: bool) -> str:
    warning = (
        ""
        if stated
        else "The public code splits an unsorted directory listing, so nobody but its author knows "
        "which frames this model was trained on: frames of the split that was computed here may be "
        "among them. If you know them, convert with split=FILE.json; certify other frames with "
        "data.root=... data.split=all.\n"
    )
    return (
        f"All {tensors} tensors were matched one to one; {target} certifies {test} frames.\n"
        f"{warning}Next:\n  " + command_line("certify", checkpoint=run_dir)
    )


def read_public(path: Path) -> dict[str, Tensor]:
    """The tensors of a public checkpoint by name, without ``module.``.

    Args:
        path: A state dict, or a dictionary with one under ``state_dict``; plain data only.

    Raises:
        RecordError: Where it is missing, not plain data or no state dict, or a value is not finite.
    """
    if not path.is_file():
        what = "is a folder, give the file in it" if path.is_dir() else "does not exist"
        raise RecordError(f"source={path} {what}.")
    content = read_plain(path)
    inner = content.get("state_dict")
    state = inner if isinstance(inner, dict) else content
    strange = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        raise RecordError(
            f"{path} is no state dict: {strange[0] if strange else 'it'} "
            f"{'is no tensor' if strange else 'is empty'}. Give the state dict itself, or a "
            f"dictionary that has it under 'state_dict'."
        )
    if all(str(name).startswith(PARALLEL) for name in state):
        state = {name.removeprefix(PARALLEL): value for name, value in state.items()}
    broken = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if broken:
        raise RecordError(f"{path}: {_listed(broken)} hold NaN or infinite values.")
    return {str(name): value.detach().clone() for name, value in state.items()}


def check_names(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path | str
) -> None:
    """Refuse a state dict that does not match one to one, with all that does not.

    Raises:
        RecordError: With missing and unknown names, other shapes, and the encoder that the file
            has where that is the reason.
    """
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    if not (missing or unknown or shapes):
        return
    parts = [
        f"{len(names)} {what}: {_listed(names)}"
        for what, names in (
            ("missing", missing),
            ("unknown", unknown),
            ("of another shape", shapes),
        )
        if names
    ]
    theirs, ours = encoder_of(found), encoder_of(expected)
    advice = (
        f"It has the layout of {theirs}; set model.options.encoder={theirs}."
        if theirs is not None and theirs != ours
        else "Is it a RoadSeg of so many classes (data.options.classes), with such a second stream "
        "(model.options.second) and encoding?"
    )
    raise RecordError(f"{path} does not match. {advice} {'; '.join(parts)}.")


def encoder_of(state: Mapping[str, Tensor]) -> str | None:
    """The ResNet that the names of a state dict tell of, or None."""
    prefix = "encoder_rgb_layer3."
    names = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
    blocks = {name.split(".")[0] for name in names}
    return ENCODERS.get((len(blocks), "0.conv3.weight" in names))


def stated_split(path: Path, ids: list[str], seed: int) -> dict[str, Any]:
    """The split in a JSON file.

    Raises:
        RecordError: Where it cannot be read or names frames that are not there, or one twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        split = {name: [str(one) for one in content[name]] for name in SPLITS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"split={path} cannot be read ({error!r}); it must hold "
            f'{{"train": [ids], "val": [ids], "test": [ids]}}.'
        ) from error
    if not is_partition_of(split, ids):
        strange = [one for name in SPLITS for one in split[name] if one not in set(ids)]
        raise RecordError(
            f"split={path} names a frame twice, or frames that are not in the data: "
            f"{_listed(strange) or 'none'}; ids look like {ids[0]}."
        )
    return {"seed": seed, **split}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
