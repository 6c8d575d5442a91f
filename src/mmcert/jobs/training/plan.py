"""What is checked and fixed before a training begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmcert.data.base import MultiModalDataset
from mmcert.data.datamodule import DataModule
from mmcert.errors import ConfigError, DataError
from mmcert.models.registry import encoding_by_modality
from mmcert.theory.attacks import Attack
from mmcert.theory.encodings import check_encoding
from mmcert.theory.modality import InputSpec
from mmcert.theory.schemes import make_scheme


def count_elements(specs: Mapping[str, InputSpec], inputs: Mapping[str, Tensor]) -> dict[str, int]:
    """Elements of one sample per modality, from tensors without a batch axis."""
    return {name: spec.count(tuple(inputs[name].shape)) for name, spec in specs.items()}


def check_plan(config: Mapping[str, Any], dataset: MultiModalDataset) -> None:
    """Refuse what could not be trained, or not be certified afterwards.

    Args:
        config: The ``train`` configuration.
        dataset: The training split.

    Raises:
        ConfigError: For a task of another data set, ``k > n``, an unknown modality, a bad budget.
        UnsoundError: For an encoding that gives no certificate against the threat.
    """
    wanted = config["task"]["name"]
    if wanted != dataset.task:
        raise ConfigError(
            f"task={wanted} does not fit the data set '{dataset.name}', whose targets are for "
            f"{dataset.task}; set task={dataset.task}."
        )
    section = config["scheme"]
    first = dataset[0]
    n = count_elements(dataset.inputs, first["inputs"])
    try:
        scheme = make_scheme(
            section["name"],
            n,
            k=section.get("k"),
            ratio=section.get("ratio"),
            modification_only={m: spec.modification_only for m, spec in dataset.inputs.items()},
        )
    except ConfigError as error:
        raise ConfigError(f"sample '{first['id']}': {error}") from error
    threat = config.get("threat") or {}
    kinds = threat.get("kind") or "modification"
    for budget in (dict.fromkeys(n, 0), *_corners(threat)):
        named = kinds if isinstance(kinds, str) else {m: k for m, k in kinds.items() if m in budget}
        try:
            scheme.check(Attack(budget, named))
        except ConfigError as error:
            raise ConfigError(f"threat: {error}") from error
    encodings = encoding_by_modality(config["encoding"], tuple(dataset.inputs))
    names = {name: one["name"] for name, one in encodings.items()}
    check_encoding(names, kinds, section.get("ratio") is not None)


def _corners(threat: Mapping[str, Any]) -> list[dict[str, int]]:
    """Every budget of a list, or of a grid each axis on its own."""
    if threat.get("budgets"):
        return [dict(budget) for budget in threat["budgets"]]
    grid = threat.get("grid") or {}
    return [{name: value} for name, values in grid.items() for value in values]


def plan_encoding(config: Mapping[str, Any], data: DataModule) -> dict[str, dict[str, Any]]:
    """The encoding of each modality, the constants of ``constant_mean`` filled in.

    Args:
        config: The ``train`` configuration.
        data: Its data; means are taken over the training split.

    Returns:
        ``{modality: {"name": ..., **options}}``, plain numbers.
    """
    dataset = data.dataset("train")
    encodings = encoding_by_modality(config["encoding"], tuple(dataset.inputs))
    missing = [
        name
        for name, one in encodings.items()
        if one["name"] == "constant_mean" and one.get("value") is None
    ]
    for name, means in channel_means(dataset, missing).items():
        encodings[name]["value"] = means
    return encodings


def channel_means(dataset: MultiModalDataset, names: list[str]) -> dict[str, list[float]]:
    """Mean of each channel over all elements of all samples, for the modalities named.

    Raises:
        DataError: Where a value is not finite.
    """
    if not names:
        return {}
    sums: dict[str, Tensor] = {}
    elements = dict.fromkeys(names, 0)
    for index in range(len(dataset)):
        item = dataset[index]
        for name in names:
            x, axes = item["inputs"][name], dataset.inputs[name].element_axes
            total = x.double().sum(dim=tuple(axes)).flatten()  # (channels,)
            if not torch.isfinite(total).all():
                raise DataError(f"sample '{item['id']}': '{name}' holds NaN or infinite values.")
            sums[name] = sums[name] + total if name in sums else total
            elements[name] += dataset.inputs[name].count(tuple(x.shape))
    return {name: (sums[name] / elements[name]).tolist() for name in names}
