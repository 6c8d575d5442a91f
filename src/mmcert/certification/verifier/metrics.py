"""``metrics.json`` against the votes: thresholds, and every figure of every entry."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from mmcert.certification.verifier.derive import Case, Derived, derive
from mmcert.certification.verifier.figures import Ratio, at_most, could_be_more
from mmcert.certification.verifier.findings import CheckError, Findings
from mmcert.certification.verifier.overlap import margin
from mmcert.certification.verifier.rule import Rule, rule_of
from mmcert.certification.verifier.tally import Tally
from mmcert.certification.verifier.votes import Meta, is_count

KINDS = ("modification", "addition", "deletion", "edits")


@dataclass(frozen=True)
class Entry:
    """An entry of ``metrics.json``: its name in messages, its rule, and what it may claim."""

    label: str
    rule: Rule
    derived: Derived


def case_of(document: Mapping[str, Any], meta: Meta, tallies: Sequence[Tally]) -> Case:
    """The grid and the threat of all entries, which they share.

    Raises:
        CheckError: Where there is no entry, entries differ, or a budget or kind makes no sense.
    """
    entries = document.get("results")
    if not isinstance(entries, list) or not entries:
        raise CheckError("metrics.json: no results")
    try:
        grids = [[point["budget"] for point in entry["grid"]] for entry in entries]
        threats = [entry["threat"] for entry in entries]
    except (KeyError, TypeError):
        raise CheckError("metrics.json: an entry lacks its grid, a budget or its threat") from None
    if any(grid != grids[0] for grid in grids) or any(one != threats[0] for one in threats):
        raise CheckError("metrics.json: entries differ in their grid or threat")
    for budget in grids[0]:
        named = isinstance(budget, Mapping) and list(budget) == list(meta.sizes)
        if not named or not all(is_count(r) for r in budget.values()):
            raise CheckError(f"metrics.json: {budget} is no budget of {', '.join(meta.sizes)}")
    threat = threats[0]
    if not isinstance(threat, Mapping) or set(threat) != set(meta.sizes):
        raise CheckError(f"metrics.json: threat {threat} does not name every modality")
    if any(kind not in KINDS for kind in threat.values()):
        raise CheckError(f"metrics.json: unknown threat kind in {threat}")
    for name, kind in threat.items():
        if kind != "modification" and len({one.sizes[name][1] for one in tallies}) > 1:
            raise CheckError(f"{kind} of {name} needs one k for all samples: nothing is common")
    return Case(meta, tuple(tallies), tuple(grids[0]), dict(threat))


def check_thresholds(document: Mapping[str, Any], case: Case, findings: Findings) -> None:
    """Every stored threshold is the float just above the exact one, for every size of sample."""
    stored = document.get("thresholds")
    by_size: dict[str, Sequence[Any]] = {}
    for block in stored if isinstance(stored, list) else ():
        if isinstance(block, Mapping) and isinstance(block.get("t"), list):
            by_size[repr((block.get("n"), block.get("k")))] = block["t"]
    sizes = {tuple(one.sizes.items()): dict(one.sizes) for one in case.tallies}
    for own in sizes.values():
        n = {name: pair[0] for name, pair in own.items()}
        k = {name: pair[1] for name, pair in own.items()}
        found = by_size.get(repr((n, k)))
        if found is None or len(found) != len(case.budgets):
            findings.fail("thresholds", f"none for samples with n = {n}, k = {k}")
            continue
        for budget, claimed in zip(case.budgets, found, strict=True):
            exact = (1 + margin(case.meta.scheme, own, budget, case.kinds)) / 2
            number = isinstance(claimed, float) and math.isfinite(claimed)
            findings.check(
                "thresholds",
                number and Fraction(claimed) >= exact,
                f"n = {n}, k = {k}, {dict(budget)}: claimed {claimed}, derived {float(exact)!r}",
            )
            if number and Fraction(math.nextafter(claimed, 0)) >= exact:
                findings.warn("thresholds", f"{dict(budget)}: {claimed} is larger than needed")


def check_metrics(
    document: Mapping[str, Any], case: Case, alpha: Fraction | None, findings: Findings
) -> list[Entry]:
    """Every figure is at most what the votes allow.

    Args:
        document: Content of ``metrics.json``.
        case: The votes and the grid.
        alpha: Failure probability that the configuration asked for, where it is known.
        findings: Gets the outcome.

    Returns:
        The entries that could be derived.
    """
    entries = []
    for index, entry in enumerate(document["results"]):
        parts = [str(entry.get(key)) for key in ("statistics", "claim", "guarantee")]
        label = f"metrics.json: results[{index}] ({' '.join(parts)})"
        try:
            rule = rule_of(entry, case.meta)
            derived = derive(rule, case)
        except CheckError as error:
            findings.fail("metrics", f"{label}: {error}")
            continue
        if derived is None:
            findings.fail("metrics", f"{label}: nothing of the kind can be derived")
            continue
        wanted = 0 if rule.name == "exhaustive" else alpha
        if wanted is not None and rule.alpha != wanted:
            findings.fail(
                "settings", f"{label}: alpha is {float(rule.alpha)}, config.yaml says "
                f"{float(wanted)}"
            )  # fmt: skip
        _check_reading(entry, rule, derived, case, label, findings)
        for point, figures in zip(entry["grid"], derived.figures, strict=True):
            found = {key: value for key, value in point.items() if key != "budget"}
            where = f"{label}, {point['budget']}"
            _compare(found, figures, where, findings)
        entries.append(Entry(label, rule, derived))
    return entries


def _check_reading(
    entry: Mapping[str, Any],
    rule: Rule,
    derived: Derived,
    case: Case,
    label: str,
    findings: Findings,
) -> None:
    """How many samples count, how many draws they had, and how many are left out."""
    reading = entry["reading"]
    draws: object = case.meta.voting
    if draws == "fixed":
        draws = min(one.draws for one in case.tallies)
    average = "pooled over samples" if rule.dataset else "mean over samples"
    if rule.task == "classification":
        average = "share of the samples"
    expected: list[tuple[str, object, object]] = [
        ("reading.average", reading.get("average"), average),
        ("draws", entry.get("draws"), draws),
        ("reading.samples", reading.get("samples"), len(derived.samples)),
    ]
    if rule.task == "segmentation" and not rule.dataset:
        absent = [sum(own[c] == 0 for own in derived.sizes) for c in range(case.meta.classes)]
        left_out = {
            "samples without a label": sum(sum(own) == 0 for own in derived.sizes),
            "samples without the class": absent,
        }
        expected.append(("reading.left_out", reading.get("left_out"), left_out))
    stated = re.findall(r"at least 1 - ([0-9.e-]*[0-9])", str(reading.get("promise")))
    if stated:  # the promise is prose; the probability in it is not
        expected.append(("the alpha in its promise", stated[0], f"{float(rule.alpha):g}"))
    for what, claimed, found in expected:
        message = f"{label}: {what} is {claimed}, derived {found}"
        findings.check("settings", claimed == found, message)


def _compare(
    claimed: Mapping[str, Any], derived: Mapping[str, Any], where: str, findings: Findings
) -> None:
    for name in dict.fromkeys([*derived, *claimed]):
        if name not in derived or name not in claimed:
            findings.fail("metrics", f"{where}: {name} is claimed or derived, but not both")
        elif name == "per_class":
            for metric, values in derived[name].items():
                own = claimed[name].get(metric) if isinstance(claimed[name], Mapping) else None
                if not isinstance(own, list) or len(own) != len(values):
                    findings.fail("metrics", f"{where}: per_class has no {metric} of every class")
                    continue
                for label, (one, value) in enumerate(zip(own, values, strict=True)):
                    _compare_one(f"{metric} of class {label}", one, value, where, findings)
        else:
            _compare_one(name, claimed[name], derived[name], where, findings)


def _compare_one(
    name: str, claimed: Any, derived: Ratio | None, where: str, findings: Findings
) -> None:
    value = None if derived is None else derived[0] / derived[1]
    message = f"{where}: {name} claimed {claimed!r}, derived {value!r}"
    if claimed is None:
        findings.hold("metrics")
        if derived is not None:
            findings.warn("metrics", message)
        return
    number = isinstance(claimed, int | float) and not isinstance(claimed, bool)
    if not number or not math.isfinite(claimed) or derived is None:
        findings.fail("metrics", message)
        return
    claimed = float(claimed)
    if name == "abstain_rate":
        # More abstain where less is certified: the claim must not be below the derived rate.
        findings.check("metrics", could_be_more(claimed, derived) is False, message)
        if not at_most(claimed, derived):
            findings.warn("metrics", message)
        return
    findings.check("metrics", at_most(claimed, derived), message)
    if could_be_more(claimed, derived):
        findings.warn("metrics", message)
