"""Plans: what can be certified at all, and the retained counts that serve a target budget best.

Without a checkpoint a plan is made before any vote: limits, draws, the best split of k. With one,
validation votes choose k: see :mod:`mmcert.jobs.validation_plan`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mmcert.certification.options import default_statistics
from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError
from mmcert.jobs.alone import alone
from mmcert.jobs.seed import check_seed
from mmcert.records.atomic import write_json
from mmcert.reporting.plan import make_plan, plan_tables, plan_text
from mmcert.saying import say
from mmcert.theory.modality import modalities_from

#: What a plan without a checkpoint assumes where nothing is set.
DRAWS, ALPHA = 1000, 0.001


@alone
def plan(
    config: Mapping[str, Any], run_dir: str | Path, *, console: Console | None = None
) -> dict[str, Any]:
    """Write ``run_dir/plan.json`` and print it as tables.

    Args:
        config: Plain configuration, the keys of ``conf/plan.yaml``; with ``checkpoint`` the plan is
            chosen by its votes on the validation split.
        run_dir: Where ``plan.json`` goes.
        console: Where a person reads; None: nowhere.

    Returns:
        The content of ``plan.json``.

    Raises:
        ConfigError: Where a setting is missing or does not fit the others.
    """
    began = time.monotonic()
    check_seed(config.get("seed"))
    console = console or Console(quiet=True)
    if config.get("checkpoint") is not None:
        from mmcert.jobs.validation_plan import plan_on_validation

        return plan_on_validation(config, Path(run_dir), console, began)
    if (config.get("target") or {}).get("budget"):
        raise ConfigError(
            "target.budget is planned for with the votes of a checkpoint: set checkpoint=. Before "
            "any vote, threat.budgets names the budgets that are wanted."
        )
    n = _elements(config)
    scheme = config.get("scheme") or {}
    k, retained = scheme.get("k"), scheme.get("ratio")
    counts = (
        None
        if k is None and retained is None
        else {m.name: m.k for m in modalities_from(n, k=k, ratio=retained)}
    )
    classification = (config.get("task") or {}).get("name") == "classification"
    family = config.get("family")
    # Elements of a family are the decisions: the pixels of one image, or one sample.
    P = int(family) if family is not None else 1 if classification else max(n.values())
    statistics = config.get("statistics") or default_statistics(
        "classification" if classification else "segmentation", 10 if classification else 2
    )
    threat = config.get("threat") or {}
    kinds = threat.get("kind") or "modification"
    budgets: list[dict[str, int]] = []
    if threat.get("grid") is not None or threat.get("budgets") is not None:
        budgets, kinds = budgets_from(threat, list(n))
    ratio = _whole("ratio", config.get("ratio")) or dict.fromkeys(n, 1)
    made = make_plan(
        str(scheme.get("name") or "mmcert"),
        n,
        counts,
        ratio=ratio,
        total=config.get("total"),
        floors=_whole("floors", config.get("floors")),
        draws=int(_or(config["voting"].get("draws"), DRAWS)),
        alpha=float(_or(config.get("alpha"), ALPHA)),
        P=P,
        statistics=statistics,
        kinds=kinds,
        budgets=budgets,
    )
    path = Path(run_dir) / "plan.json"
    write_json(path, made)
    for table in plan_tables(made):
        console.print(table)
        console.print()
    say(console, plan_text(made))
    say(console, f"Plan: {path}")
    return made


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _whole(key: str, given: object) -> dict[str, int]:
    """A map from modalities to whole numbers."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or any(
        isinstance(value, bool) or not isinstance(value, int) for value in given.values()
    ):
        raise ConfigError(f"{key}={given}: give a whole number per modality, e.g. {{rgb: 1}}.")
    return {str(name): int(value) for name, value in given.items()}


def _elements(config: Mapping[str, Any]) -> dict[str, int]:
    """``n`` as set, else counted in the first sample of the data."""
    n = _whole("n", config.get("n"))
    if n:
        return n
    data = config.get("data") or {}
    if not data.get("name") or not data.get("root"):
        raise ConfigError(
            "set n, the elements of one sample per modality, e.g. "
            "'n={rgb: 465750, depth: 465750}', or data= (or experiment=) with data.root to have "
            "them counted."
        )
    from mmcert.data.registry import build_dataset

    dataset = build_dataset(
        data["name"],
        data.get("split") or "test",
        root=data["root"],
        seed=int(config["seed"]),
        max_samples=1,
        allow_code=tuple(config.get("allow_code") or ()),
        **(data.get("options") or {}),
    )
    inputs = dataset[0]["inputs"]
    return {name: spec.count(tuple(inputs[name].shape)) for name, spec in dataset.inputs.items()}
