"""``maps/<id>.png`` against the votes: every pixel that is shown as certified is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.verifier.derive import Case
from mmcert.certification.verifier.findings import CheckError, Findings
from mmcert.certification.verifier.metrics import Entry
from mmcert.certification.verifier.naming import named
from mmcert.certification.verifier.overlap import limit_of, margin
from mmcert.certification.verifier.rule import Rule
from mmcert.certification.verifier.tally import Pair, pairs_of, tally, view
from mmcert.certification.verifier.votes import Votes, VotesFolders, is_count

ABSTAINED, UNLABELLED = 254, 255


def check_maps(
    folder: Path,
    document: Mapping[str, Any],
    case: Case,
    entries: Sequence[Entry],
    votes: VotesFolders,
    findings: Findings,
) -> None:
    """Compare every pixel of every map.

    Args:
        folder: Where the maps are.
        document: Content of ``metrics.json``, which says what the maps show.
        case: The votes and the threat.
        entries: The derived entries of ``metrics.json``; the maps are of one of their options.
        votes: The votes, read once more.
        findings: Gets the outcome.
    """
    facts = document.get("maps")
    there = {path.stem for path in folder.glob("[!.]*.png")} if folder.is_dir() else set()
    if facts is None:
        for name in sorted(there):
            findings.fail("maps", f"maps/{name}.png: metrics.json knows no maps")
        return
    try:
        budget = _budget(facts, case)
        rule = _rule(facts, entries)
    except CheckError as error:
        findings.fail("maps", f"metrics.json: maps: {error}")
        return
    one_budget = replace(case, budgets=(budget,))
    for name in sorted(there - set(votes.ids)):
        findings.fail("maps", f"maps/{name}.png: there are no votes of this sample")
    for sample_id in votes.ids:
        where = f"maps/{sample_id}.png"
        if sample_id not in there:
            findings.fail("maps", f"{where} is missing")
            continue
        try:
            sample = votes.read(sample_id)
            image = _read_map(folder / f"{sample_id}.png", facts)
            if image.shape != sample.shape:
                raise CheckError(f"shape {image.shape}, the votes have {sample.shape}")
        except CheckError as error:
            findings.fail("maps", f"{where}: {error}")
            continue
        _compare(image, certified_map(sample, rule, one_budget), where, budget, findings)


def _budget(facts: Mapping[str, Any], case: Case) -> dict[str, int]:
    budget = facts.get("budget")
    if not isinstance(budget, Mapping) or set(budget) != set(case.kinds):
        raise CheckError(f"{budget} is no budget of {', '.join(case.kinds)}")
    if not all(is_count(r) for r in budget.values()):
        raise CheckError(f"{budget} is no budget")
    return {str(name): r for name, r in budget.items()}


def _rule(facts: Mapping[str, Any], entries: Sequence[Entry]) -> Rule:
    for entry in entries:
        rule = entry.rule
        if rule.name == facts.get("statistics") and not rule.dataset and not rule.closed:
            if float(rule.alpha) != facts.get("alpha"):
                raise CheckError(f"alpha is {facts.get('alpha')}, of {rule.name} it is otherwise")
            return rule
    raise CheckError(f"no entry names elements of a sample by {facts.get('statistics')!r}")


def certified_map(sample: Votes, rule: Rule, case: Case) -> NDArray[np.int64]:
    """The true class where it is certified; without a target the claimed one where that is.

    Args:
        sample: Votes.
        rule: A rule that names elements.
        case: With the budget of the map as its only one.

    Returns:
        ``(H, W)``: class ids, 254 where nothing is certified, 255 without a label.
    """
    classes = case.meta.classes
    counted = tally(sample, case.meta)
    target = None if counted.robust is None else sample.target
    claim = "stable" if target is None else "robust"
    limits = (limit_of(margin(case.meta.scheme, sample.sizes, case.budgets[0], case.kinds)),)
    own = view(counted, claim, limits)
    (found,) = named(replace(rule, claim=claim), [own], rule.alpha)
    certified: set[Pair] = set(found.pairs[: found.cuts[0]])
    labels = sample.claimed() if target is None else target
    known = (labels >= 0) & (labels < classes)
    inside = np.where(known, labels, 0)
    votes, rival = pairs_of(sample.counts, inside, sample.draws)
    base = sample.draws + 1
    keys = np.array([votes * base + rival for votes, rival in certified], dtype=np.int64)
    holds = np.isin(votes * base + rival, keys)
    image = np.where(known, np.where(holds, inside, ABSTAINED), UNLABELLED)
    return np.asarray(image.reshape(sample.shape), dtype=np.int64)


def _read_map(path: Path, facts: Mapping[str, Any]) -> NDArray[np.int64]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            stated = dict(getattr(image, "text", {}))
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise CheckError(f"cannot be read ({error})") from None
    for key in ("statistics", "budget", "alpha"):
        if stated.get(key) != json.dumps(facts[key]):
            raise CheckError(f"states {key} = {stated.get(key)}, metrics.json {facts[key]}")
    if pixels.ndim != 2 or pixels.dtype != np.uint8:
        raise CheckError("is no 8-bit greyscale image")
    return pixels.astype(np.int64)


def _compare(
    claimed: NDArray[np.int64],
    derived: NDArray[np.int64],
    where: str,
    budget: Mapping[str, int],
    findings: Findings,
) -> None:
    different = claimed != derived
    less = different & (claimed == ABSTAINED) & (derived != UNLABELLED)
    wrong = different & ~less
    if wrong.any():
        y, x = np.argwhere(wrong)[0].tolist()
        findings.fail(
            "maps",
            f"{where}: {int(wrong.sum())} pixels at {dict(budget)}, first row {y}, column {x}: "
            f"claimed {claimed[y, x]}, derived {derived[y, x]}",
        )
        return
    findings.hold("maps")
    if less.any():
        findings.warn("maps", f"{where}: {int(less.sum())} pixels abstain that are certified")
