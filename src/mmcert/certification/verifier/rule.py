"""By which rule an entry of ``metrics.json`` says that it was certified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mmcert.certification.verifier.findings import CheckError
from mmcert.certification.verifier.votes import Meta, is_count

#: Options that decide each element by itself, at one level for all budgets.
ALONE = ("binomial", "margin")
OPTIONS = (*ALONE, "bonferroni", "holm", "closed_evalues", "published", "exhaustive")


@dataclass(frozen=True)
class Rule:
    """An option with its settings, and what it is said to promise.

    Args:
        name: One of :data:`OPTIONS`.
        claim: ``robust``, ``stable`` or ``deployed``.
        task: ``classification`` or ``segmentation``.
        dataset: Whether all samples make one family.
        guarantee: ``per_element``, ``per_sample`` or ``dataset``.
        joint: Whether the claims hold for all budgets at once.
        alpha: Failure probability, in its decimal digits.
        test: ``binomial`` (label against the rest) or ``margin`` (against every rival).
        method: Which test of a margin.
        own_alpha: Level of each sample below a claim about the data set, or None.
        levels: e-value levels as fractions of alpha.
        weights: Their weights.
        sequential: Whether the votes decided their own number.
        bets: Bets of the margin martingale.
        terms: Terms of the binomial one.
        one_family: Whether one family gives every metric; else one gives accuracy, and one per
            class the others.
    """

    name: str
    claim: str
    task: str
    dataset: bool
    guarantee: str
    joint: bool
    alpha: Fraction
    test: str
    method: str = "two_bounds"
    own_alpha: Fraction | None = None
    levels: tuple[Fraction, ...] = ()
    weights: tuple[Fraction, ...] = ()
    sequential: bool = False
    bets: tuple[Fraction, ...] = ()
    terms: int = 0
    one_family: bool = False

    @property
    def closed(self) -> bool:
        """Whether a number is certified and not which elements."""
        return self.name == "closed_evalues"

    @property
    def stepwise(self) -> bool:
        """Whether an element's test depends on the votes for the others of its family."""
        pixels = self.task == "segmentation"
        return self.name in ("holm", "closed_evalues") or (self.name == "published" and pixels)

    @property
    def by_itself(self) -> bool:
        """Whether one sample's own martingale certifies it (classification)."""
        return self.sequential and self.task == "classification" and not self.dataset


def number(value: object, what: str) -> Fraction:
    """A finite number of a JSON file by its decimal digits.

    Raises:
        CheckError: For anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckError(f"{what} is {value!r}, not a number")
    return Fraction(repr(value))


def rule_of(entry: Mapping[str, Any], meta: Meta) -> Rule:
    """Read and check what an entry says before its grid.

    Raises:
        CheckError: Where a setting is missing, out of range, or promises more than the rule gives.
    """
    name, claim, reading = entry.get("statistics"), entry.get("claim"), entry.get("reading")
    if name not in OPTIONS or claim not in ("robust", "stable", "deployed"):
        raise CheckError(f"unknown statistics {name!r} or claim {claim!r}")
    if not isinstance(reading, Mapping) or reading.get("test") not in ("binomial", "margin"):
        raise CheckError("reading.test is missing: nobody knows what was tested")
    if (name == "exhaustive") != (meta.voting == "exhaustive"):
        raise CheckError(f"{name} certifies no votes that are {meta.voting}")
    if meta.voting == "sequential" and name != "closed_evalues":
        raise CheckError(f"{name} needs a number of draws that was fixed before the votes")
    rule = Rule(
        name=str(name),
        claim=str(claim),
        task=meta.task,
        dataset=entry.get("family") == "dataset",
        guarantee=str(entry.get("guarantee")),
        joint=entry.get("over_budgets") == "joint",
        alpha=number(entry.get("alpha"), "alpha"),
        test=reading["test"],
        sequential=meta.voting == "sequential",
        **_settings(str(name), reading, meta),
    )
    _check(rule, entry)
    return rule


def _settings(name: str, reading: Mapping[str, Any], meta: Meta) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if reading["test"] == "margin" and name in ("margin", "bonferroni"):
        found["method"] = reading.get("method")
        methods = ("two_bounds", "auto", "berger_boos")
        if found["method"] not in methods[: 1 if meta.task == "segmentation" else 3]:
            raise CheckError(f"reading.method is {found['method']!r}")
    if "per_sample_alpha" in reading:
        found["own_alpha"] = number(reading["per_sample_alpha"], "reading.per_sample_alpha")
        if not 0 < found["own_alpha"] < Fraction(1, 2):
            raise CheckError("reading.per_sample_alpha is not between 0 and 1/2")
    if name != "closed_evalues":
        return found
    if meta.task == "segmentation":  # runs of before this setting had families per class
        families = reading.get("families", "per_class")
        if families not in ("one", "per_class"):
            raise CheckError(f"reading.families is {families!r}")
        found["one_family"] = families == "one"
    if meta.voting == "sequential" and reading["test"] == "binomial":
        found["terms"] = reading.get("terms")
        if not is_count(found["terms"]):
            raise CheckError("reading.terms is missing: the martingale is unknown")
        return found
    keys = ("bets",) if meta.voting == "sequential" else ("levels", "weights")
    for key in keys:
        values = reading.get(key)
        if not isinstance(values, list) or not values:
            raise CheckError(f"reading.{key} is missing: the e-values are unknown")
        found[key] = tuple(number(value, f"reading.{key}") for value in values)
        if not all(0 < value <= 1 for value in found[key]):
            raise CheckError(f"reading.{key} are not all between 0 and 1")
    if "levels" in found:
        if len(found["levels"]) != len(found["weights"]) or max(found["levels"]) >= 1:
            raise CheckError("reading.levels and reading.weights do not belong together")
        if sum(found["weights"]) > 1:
            raise CheckError("reading.weights sum to more than 1: no e-value has mean 1 then")
    return found


def _check(rule: Rule, entry: Mapping[str, Any]) -> None:
    """Refuse a promise that the rule does not keep."""
    exhaustive = rule.name == "exhaustive"
    if exhaustive != (rule.alpha == 0) or not rule.alpha < Fraction(1, 2) or rule.alpha < 0:
        raise CheckError(f"alpha is {entry.get('alpha')}")
    if entry.get("family") not in ("sample", "dataset"):
        raise CheckError(f"family is {entry.get('family')!r}")
    if entry.get("over_budgets") not in ("joint", "each"):
        raise CheckError(f"over_budgets is {entry.get('over_budgets')!r}")
    pixels = rule.task == "segmentation"
    if rule.dataset:
        guarantee = "dataset"
    else:
        guarantee = "per_element" if pixels and rule.name in ALONE else "per_sample"
    if rule.guarantee != guarantee:
        raise CheckError(f"guarantee is {rule.guarantee}, the rule gives {guarantee}")
    each = rule.name == "holm" or (rule.name == "published" and pixels)
    if rule.joint and each:
        raise CheckError(f"over_budgets is joint, {rule.name} holds for each budget by itself")
    alone = rule.name in (*ALONE, "published")
    if pixels and rule.dataset and alone:
        raise CheckError(f"{rule.name} has no family of all samples")
    if not pixels and not rule.dataset and not (alone or rule.sequential):
        raise CheckError(f"{rule.name} of samples has a family of all of them")
    if not pixels and rule.dataset and alone and rule.own_alpha is None:
        raise CheckError("reading.per_sample_alpha is missing: M - v cannot be derived")
    if rule.name in ALONE and rule.test != rule.name:
        raise CheckError(f"{rule.name} cannot be tested by {rule.test}")
    if rule.name == "holm" and rule.test == "margin" and pixels:
        raise CheckError("holm of pixels by margins cannot be derived here")
