"""The statistics options and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmcert.errors import ConfigError
from mmcert.theory.bounds import check_alpha
from mmcert.theory.evalues import LEVELS, WEIGHTS

#: The statistics options, in the order in which they are listed.
OPTIONS = ("binomial", "margin", "bonferroni", "holm", "closed_evalues", "published")
FAMILIES = ("sample", "dataset")
CLAIMS = ("robust", "stable", "deployed")
#: ``closed_evalues``: every metric from one family, or one family per class.
METRIC_FAMILIES = ("one", "per_class")


@dataclass(frozen=True)
class Option:
    """One statistics option with its settings.

    Args:
        name: One of :data:`OPTIONS`.
        task: ``segmentation`` or ``classification``.
        families: ``sample``: the elements of one sample form a family; ``dataset``: those of all.
            Both give a result each. Empty for the options that decide each element by itself.
        test: The test of one element: ``binomial`` (label against the rest) or ``margin`` (against
            every rival). Fixed by the option's name for ``binomial`` and ``margin``.
        method: How ``margin`` is tested: ``auto``, ``two_bounds`` or ``berger_boos``.
        per_sample_alpha: Classification: the level of each sample in the data-set claim ``M - v``
            (None: alpha).
        levels: e-value levels as fractions of alpha (``closed_evalues``).
        weights: Their weights.
        over_budgets: ``each`` or ``joint`` (``closed_evalues``; joint costs a factor ``H_P``).
        one_family: Whether all metrics come jointly from one family at alpha (``closed_evalues``);
            else accuracy from one and the others from one per class at ``alpha / C``.
        sequential: Whether the votes decided their own number (``closed_evalues`` by martingales).
    """

    name: str
    task: str
    families: tuple[str, ...] = ()
    test: str = "binomial"
    method: str = "auto"
    per_sample_alpha: float | None = None
    levels: tuple[float, ...] = LEVELS
    weights: tuple[float, ...] = WEIGHTS
    over_budgets: str = "each"
    one_family: bool = True
    sequential: bool = False

    @property
    def joint(self) -> bool:
        """Whether the claims hold for all budgets at once."""
        if self.name == "published":
            return self.task == "classification"
        alone = self.name in ("binomial", "margin", "bonferroni", "exhaustive")
        return alone or self.over_budgets == "joint"

    @property
    def stepwise(self) -> bool:
        """Whether an element's test depends on the votes for the others of its family."""
        if self.name == "published":
            return self.task == "segmentation"
        return self.name in ("holm", "closed_evalues")


def exhaustive_option(task: str) -> Option:
    """What votes over all sub-samples are judged by: counting, with probability 1."""
    families = ("sample", "dataset") if task == "segmentation" else ("dataset",)
    return Option("exhaustive", task, families, test="margin")


#: Settings that each option knows.
SETTINGS: Mapping[str, frozenset[str]] = {
    "binomial": frozenset({"per_sample_alpha"}),
    "margin": frozenset({"per_sample_alpha", "method"}),
    "published": frozenset(),
    "bonferroni": frozenset({"family", "test"}),
    "holm": frozenset({"family", "test"}),
    "closed_evalues": frozenset(
        {"family", "families", "test", "levels", "weights", "over_budgets"}
    ),
}


def default_statistics(task: str, classes: int) -> dict[str, dict[str, Any]]:
    """The options that are evaluated where none is chosen."""
    if task == "segmentation":
        return {"holm": {}, "closed_evalues": {}}
    return {"binomial": {}, "margin": {}} if classes > 2 else {"binomial": {}}


def parse_statistics(
    statistics: Mapping[str, Mapping[str, Any] | None], task: str, classes: int
) -> tuple[Option, ...]:
    """The options that a ``statistics`` section asks for; an empty one means by task.

    Raises:
        ConfigError: For an unknown option or setting, or one that makes no sense for the task.
    """
    chosen = dict(statistics) or dict(default_statistics(task, classes))
    return tuple(
        _parse(str(name), dict(settings or {}), task, classes) for name, settings in chosen.items()
    )


def _parse(name: str, settings: dict[str, Any], task: str, classes: int) -> Option:
    if name not in OPTIONS:
        raise ConfigError(f"unknown statistics '{name}'; choose among {', '.join(OPTIONS)}.")
    unknown = sorted(set(settings) - SETTINGS[name])
    if unknown:
        known = ", ".join(sorted(SETTINGS[name])) or "none"
        raise ConfigError(f"statistics.{name} has no setting {unknown[0]!r}; it knows {known}.")
    settings = {key: value for key, value in settings.items() if value is not None}
    families = _families(name, settings.pop("family", None), task)
    metric_families = settings.pop("families", "one")
    if metric_families not in METRIC_FAMILIES:
        raise ConfigError(
            f"statistics.{name}.families must be one or per_class, not {metric_families!r}."
        )
    test = _test(name, str(settings.pop("test", "auto")), task, classes)
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list | tuple) else value
        for key, value in settings.items()
    }
    option = Option(name, task, families, test, one_family=metric_families == "one", **given)
    _check(option)
    return option


def _families(name: str, chosen: str | Sequence[str] | None, task: str) -> tuple[str, ...]:
    if name in ("binomial", "margin"):
        return ()
    if name == "published":  # Holm over the elements of an image; a sample by itself
        return ("sample",) if task == "segmentation" else ()
    if chosen is None:
        if task == "classification":
            return ("dataset",)
        return ("sample", "dataset") if name == "closed_evalues" else ("sample",)
    families = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    if not families or any(family not in FAMILIES for family in families):
        raise ConfigError(
            f"statistics.{name}.family must be sample, dataset or both, not {chosen!r}."
        )
    if task == "classification" and "sample" in families:
        raise ConfigError(
            f"statistics.{name}.family: a sample of a classification task is one element, so its "
            f"family is the data set; set family: dataset."
        )
    return tuple(dict.fromkeys(families))


def _test(name: str, chosen: str, task: str, classes: int) -> str:
    if name in ("binomial", "margin"):
        return name
    if name == "published":
        return "binomial" if task == "segmentation" else "margin"
    if chosen not in ("auto", "binomial", "margin"):
        raise ConfigError(
            f"statistics.{name}.test must be auto, binomial or margin, not {chosen!r}."
        )
    if chosen == "margin" and name == "holm" and task == "segmentation":
        raise ConfigError(
            "statistics.holm.test=margin is for classification: with one p-value per element and "
            "budget it takes hours on pixels; use bonferroni or closed_evalues with test: margin."
        )
    if chosen == "auto":
        # Two classes have one rival, and label against the rest is the better test of it.
        return (
            "margin"
            if classes > 2 and not (name == "holm" and task == "segmentation")
            else "binomial"
        )
    return chosen


def _check(option: Option) -> None:
    where = f"statistics.{option.name}"
    if option.method not in ("auto", "two_bounds", "berger_boos"):
        raise ConfigError(
            f"{where}.method must be auto, two_bounds or berger_boos, not {option.method!r}."
        )
    if option.over_budgets not in ("each", "joint"):
        raise ConfigError(f"{where}.over_budgets must be each or joint.")
    if option.per_sample_alpha is not None:
        check_alpha(option.per_sample_alpha)
    if (
        len(option.levels) != len(option.weights)
        or not option.levels
        or any(not 0 < level < 1 for level in option.levels)
        or any(not 0 < weight <= 1 for weight in option.weights)
        or sum(option.weights) > 1 + 1e-12
    ):
        raise ConfigError(
            f"{where}: levels are fractions of alpha in (0, 1), with one positive weight each, "
            f"weights summing to at most 1; not {option.levels} and {option.weights}."
        )


def check_claims(claims: Sequence[str]) -> tuple[str, ...]:
    """The claims in the order of :data:`CLAIMS`.

    Raises:
        ConfigError: For an unknown one, or none.
    """
    unknown = [claim for claim in claims if claim not in CLAIMS]
    if unknown or not claims:
        raise ConfigError(f"claims must be among {', '.join(CLAIMS)}, not {list(claims)}.")
    return tuple(claim for claim in CLAIMS if claim in claims)
