"""The configuration of a certification: the checkpoint's own, and what the command line changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmcert.errors import ConfigError, UnsoundError

#: Sections that belong to the checkpoint: other ones would be another base model.
BELONG_TO_THE_CHECKPOINT = ("model", "encoding")


def refuse_model_overrides(arguments: Sequence[str]) -> None:
    """Refuse ``model`` and ``encoding`` on the command line, before Hydra does with less to say.

    Raises:
        ConfigError: Naming the argument.
    """
    for argument in arguments:
        found = re.match(r"[+~]*(model|encoding)(?=[.@=]|$)", argument)
        if found is not None:
            raise ConfigError(
                f"{argument}: {found[1]} belongs to the checkpoint, and certifying it with another "
                f"one would certify another base model; train one with mmcert-train "
                f"{found[1]}=... and give its checkpoint."
            )


def merged_config(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The checkpoint's configuration with what the command line sets.

    Args:
        stored: Resolved configuration of the training run.
        given: Configuration of ``certify.yaml`` and the command line; null means "as stored".

    Returns:
        Sections ``data, model, encoding, scheme, threat, statistics, voting`` and ``alpha, seed``
        (of the draws), ``data_seed`` (of the split and of what a data set pairs by chance).

    Raises:
        ConfigError: Where ``model`` or ``encoding`` is given, or a section is nowhere.
        UnsoundError: For statistics that the mode of voting does not allow.
    """
    for section in BELONG_TO_THE_CHECKPOINT:
        if given.get(section):
            refuse_model_overrides([section])
    config: dict[str, Any] = {
        "data": _data(stored.get("data") or {}, given.get("data") or {}),
        "model": copy.deepcopy(stored.get("model")),
        "encoding": copy.deepcopy(stored.get("encoding")),
        "scheme": _scheme(stored.get("scheme") or {}, given.get("scheme") or {}),
        "threat": _threat(stored.get("threat") or {}, given.get("threat") or {}),
        "voting": {**(stored.get("voting") or {}), **_set_values(given.get("voting") or {})},
        "alpha": _first(given.get("alpha"), stored.get("alpha")),
        "claims": given.get("claims"),
        "maps": _first(given.get("maps"), True),
        "target": given.get("target"),
        "seed": _first(given.get("seed"), stored.get("seed"), 0),
        "shard": given.get("shard"),
        "data_seed": _first(stored.get("seed"), 0),
    }
    config["statistics"] = _statistics(
        config["voting"].get("mode") or "fixed",
        stored.get("statistics") or {},
        given.get("statistics") or {},
    )
    for key in ("model", "encoding", "alpha"):
        if config[key] in (None, {}):
            raise ConfigError(
                f"{key} is set neither in the checkpoint nor on the command line; "
                f"is this a checkpoint of mmcert-train?"
            )
    return config


def _set_values(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: copy.deepcopy(value) for key, value in section.items() if value is not None}


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _data(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Key by key; options of another data set are not mixed with the stored ones.

    All samples of the split are certified unless the command line says fewer: a limit was for the
    training.
    """
    changes = _set_values(given)
    options = changes.pop("options", {}) or {}
    base = {key: copy.deepcopy(value) for key, value in stored.items() if key != "max_samples"}
    same_set = changes.get("name", base.get("name")) == base.get("name")
    if not same_set:
        base = {key: base[key] for key in ("split", "workers") if key in base}
        base["options"] = {}
    merged = {**base, **changes}
    merged["options"] = {**(base.get("options") or {}), **options}
    return merged


def _scheme(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Counts given replace stored ratios, and the reverse."""
    name = _first(given.get("name"), stored.get("name"))
    if given.get("k") is not None or given.get("ratio") is not None:
        source: Mapping[str, Any] = given
    else:
        source = stored
    return {"name": name, "k": source.get("k"), "ratio": source.get("ratio")}


def _threat(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but null wins; a grid given replaces a stored list of budgets, and the reverse."""
    merged = {**copy.deepcopy(dict(stored)), **_set_values(given)}
    if given.get("grid") is not None or given.get("budgets") is not None:
        merged["grid"], merged["budgets"] = given.get("grid"), given.get("budgets")
    return merged


def _statistics(mode: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics for a fixed number of draws, for votes that decide it, or none at all.

    Those of the checkpoint that a mode does not allow are left out; those given are refused.
    """
    allowed = {"sequential": {"closed_evalues"}, "exhaustive": set()}.get(mode)
    if allowed is None:
        return copy.deepcopy(dict(given or stored))
    refused = sorted(set(given) - allowed)
    if refused and mode == "sequential":
        raise UnsoundError(
            f"voting=sequential lets the votes decide how many they are, so statistics for a fixed "
            f"number of draws ({', '.join(refused)}) would not hold; use closed_evalues."
        )
    if refused:
        raise UnsoundError(
            f"voting=exhaustive estimates nothing, so statistics ({', '.join(refused)}) have "
            f"nothing to test; leave them away."
        )
    chosen = {name: copy.deepcopy((given or stored).get(name)) for name in allowed}
    return {name: settings or {} for name, settings in chosen.items()}
