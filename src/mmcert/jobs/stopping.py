"""When a sample has had enough draws: the rule of sequential voting, from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError
from mmcert.voting.settings import StoppingRule, VotingSettings


def stopping_rule(
    config: Mapping[str, Any],
    settings: VotingSettings,
    *,
    task: str,
    names: Sequence[str],
    kinds: Any,
) -> StoppingRule:
    """The target of sequential voting.

    Args:
        config: The configuration of the certification.
        settings: How to vote; the block is a number.
        task: ``segmentation`` or ``classification``.
        names: The modalities.
        kinds: Threat kind per modality.

    Raises:
        ConfigError: For a budget of an unknown modality or that is no count.
    """
    assert isinstance(settings.block, int)
    budgets, _ = budgets_from({"budgets": [settings.budget]}, list(names))
    statistics = dict(config["statistics"].get("closed_evalues") or {})
    metric: Any = "certified_accuracy"
    level: Any = 1.0  # one sample is certified or not
    if task == "segmentation":
        target = config["target"] or {}
        metric, level = target.get("metric"), target.get("level")
        statistics["family"] = "sample"
        if metric is None or level is None:
            raise ConfigError("voting=sequential needs target.metric and target.level.")
    every = settings.look_every or settings.block
    return StoppingRule(
        budget=budgets[0],
        kinds=kinds,
        metric=metric,
        level=float(level),
        alpha=config["alpha"],
        statistics=statistics,
        every=-(-every // settings.block) * settings.block,
    )
