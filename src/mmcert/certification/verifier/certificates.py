"""``certificates.parquet`` against the votes: every row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmcert.certification.verifier.derive import Case, Derived, ratio_of
from mmcert.certification.verifier.figures import (
    ACCURACY,
    Ratio,
    mean,
    reported,
    share,
)
from mmcert.certification.verifier.findings import CheckError, Findings
from mmcert.certification.verifier.margins import (
    gap_of_bounds,
    margin_holds,
    uses_berger_boos,
)
from mmcert.certification.verifier.metrics import Entry
from mmcert.certification.verifier.rule import Rule, number
from mmcert.certification.verifier.tails import lower_limit_holds
from mmcert.certification.verifier.tally import Tally
from mmcert.certification.verifier.votes import is_count

Row = Mapping[str, Any]
COLUMNS = ("id", "statistics", "target", "predicted", "abstained", "draws", "n", "k", "counts",
           "lower_bound", "frontier", "hist")  # fmt: skip


def read_rows(path: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows, and what holds for all of them.

    Raises:
        CheckError: Where the file is missing, corrupt, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            row["n"], row["k"] = dict(row["n"]), dict(row["k"])
            if row["frontier"] is not None:
                row["frontier"] = [dict(budget) for budget in row["frontier"]]
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise CheckError(f"{path}: cannot be read ({error!r})") from None
    absent = [name for name in COLUMNS if name not in table.column_names]
    if absent:
        raise CheckError(f"{path}: columns {', '.join(absent)} are missing")
    facts = table.schema.metadata or {}
    return rows, {key.decode(): value.decode() for key, value in facts.items()}


def check_certificates(
    path: Path,
    case: Case,
    entries: Sequence[Entry],
    target: Mapping[str, Any] | None,
    findings: Findings,
) -> None:
    """Every row says what can be derived, and there is one for every sample and option.

    Args:
        path: The parquet file.
        case: The votes and the grid.
        entries: The derived entries of ``metrics.json``.
        target: Metric and level that the frontier of an image is for.
        findings: Gets the outcome.
    """
    try:
        rows, facts = read_rows(path)
        goal = _goal(target)
    except CheckError as error:
        findings.fail("certificates", str(error))
        return
    levels = {str(entry.rule.alpha) for entry in entries}
    stated = facts.get("alpha", "missing")
    with suppress(ValueError):
        stated = str(Fraction(stated))
    findings.check(
        "settings", levels <= {stated}, f"{path.name}: alpha is {facts.get('alpha')} in its "
        f"metadata, metrics.json says otherwise",
    )  # fmt: skip
    for name, wanted in (("voting", case.meta.voting), ("task", case.meta.task)):
        message = f"{path.name}: {name} is {facts.get(name)}, not {wanted}"
        findings.check("settings", facts.get(name) == wanted, message)
    expected = _expected(entries)
    known = {one.id for one in case.tallies}
    for row in rows:
        key = (row["id"], row["statistics"])
        where = f"{path.name}: sample {row['id']}, {row['statistics']}"
        if row["id"] not in known:
            findings.fail("certificates", f"{where}: there are no votes of this sample")
        elif key not in expected:
            findings.fail("certificates", f"{where}: a row twice, or one that nobody can derive")
        else:
            entry, index = expected.pop(key)
            problems = list(_problems(row, entry, index, case, goal, where, findings))
            for problem in problems:
                findings.fail("certificates", f"{where}: {problem}")
            findings.hold("certificates", 0 if problems else 1)
    for sample_id, statistics in expected:
        message = f"{path.name}: sample {sample_id}, {statistics}: the row is missing"
        findings.fail("certificates", message)


def _goal(target: Mapping[str, Any] | None) -> tuple[str, Fraction] | None:
    if not target:
        return None
    return str(target.get("metric")), number(target.get("level"), "target.level")


def _expected(entries: Sequence[Entry]) -> dict[tuple[str, str], tuple[Entry, int]]:
    """One row per sample and option: of the true label where there is one, else of the claimed."""
    found: dict[tuple[str, str], tuple[Entry, int]] = {}
    for entry in entries:
        rule, derived = entry.rule, entry.derived
        pixels = rule.task == "segmentation"
        # A claim about the data set that names no samples has no rows.
        single = rule.name in ("binomial", "margin", "published")
        if rule.dataset and (pixels or single or rule.closed):
            continue
        if rule.closed and not pixels and not rule.by_itself:
            continue
        for index, one in enumerate(derived.samples):
            if rule.claim == ("stable" if one.robust is None else "robust"):
                found.setdefault((one.id, rule.name), (entry, index))
    return found


def _problems(
    row: Row,
    entry: Entry,
    index: int,
    case: Case,
    goal: tuple[str, Fraction] | None,
    where: str,
    findings: Findings,
) -> Iterable[str]:
    rule, derived = entry.rule, entry.derived
    one = derived.samples[index]
    certified, best = _certified(rule, derived, index, case, goal)
    plain: dict[str, object] = {
        "draws": one.draws,
        "n": {name: pair[0] for name, pair in one.sizes.items()},
        "k": {name: pair[1] for name, pair in one.sizes.items()},
        "target": one.target,
        "predicted": one.predicted,
        "counts": None if one.counts is None else list(one.counts),
        "hist": _histogram(one) if rule.task == "segmentation" else None,
    }
    for name, value in plain.items():
        if row[name] != value:
            yield f"{name} is {_brief(row[name])}, derived {_brief(value)}"
    if row["abstained"] not in (True, False):
        yield f"abstained is {row['abstained']}"
    elif row["abstained"] < (not certified[case.zero]):
        yield "abstained is False, derived True: nothing is certified even without attack"
    elif row["abstained"] and certified[case.zero]:
        findings.warn("certificates", f"{where}: abstained, but certified without attack")
    yield from _frontier_problems(row["frontier"], best, case, where, findings)
    if row["lower_bound"] is not None:
        yield from _bound_problems(row["lower_bound"], rule, one, len(derived.samples))


def _histogram(one: Tally) -> list[list[int]]:
    hist = [[0] * (one.draws + 1) for _ in range(one.classes)]
    for row in one.stable if one.robust is None else one.robust:
        hist[row.label][row.pair[0]] += row.count
    return hist


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) < 120 else f"{text[:110]} .."


def _certified(
    rule: Rule, derived: Derived, index: int, case: Case, goal: tuple[str, Fraction] | None
) -> tuple[list[bool], list[bool] | None]:
    """Where the sample is not abstained, and at which budgets of the grid its frontier may lie."""
    if rule.task == "classification":
        assert derived.by_sample is not None
        certified = [cut > 0 for cut in derived.by_sample[index].cuts]
        return certified, certified[: len(case.budgets)] if rule.joint else None
    assert derived.reached is not None
    reached = derived.reached[index]
    certified = [total > 0 for total, _ in reached]
    named = rule.joint and rule.guarantee == "per_sample" and rule.claim == "robust"
    if goal is None or not named:
        return certified, None
    metric, level = goal
    sizes = derived.sizes[index]
    best = []
    for total, got in reached[: len(case.budgets)]:
        value: Ratio | None
        if metric == ACCURACY:
            value = share(total, sum(sizes))
        else:
            labels = reported(case.meta.classes)
            value = mean([ratio_of(metric, label, got, sizes) for label in labels])
        best.append(
            value is not None and value[0] * level.denominator >= level.numerator * value[1]
        )
    return certified, best


def _frontier_problems(
    frontier: Any, best: list[bool] | None, case: Case, where: str, findings: Findings
) -> Iterable[str]:
    if frontier is None:
        return
    if best is None:
        yield f"a frontier {_brief(frontier)}, but its claims hold for each budget by itself"
        return
    held = {tuple(b.values()): ok for b, ok in zip(case.budgets, best, strict=True)}
    names = list(case.kinds) if not case.budgets else list(case.budgets[0])
    claimed = []
    for budget in frontier:
        point = tuple(budget.get(name, 0) for name in names)
        claimed.append(point)
        if set(budget) - set(names) or not all(is_count(r) for r in point):
            yield f"frontier: {budget} is no budget"
        elif not held.get(point, False):
            reason = "it is not certified" if point in held else "it is not in the grid"
            yield f"frontier: {budget} is claimed, derived: {reason}"
    for point, ok in held.items():
        if ok and not any(all(r <= s for r, s in zip(point, c, strict=True)) for c in claimed):
            findings.warn("certificates", f"{where}: {point} is certified, beyond the frontier")


def _bound_problems(claimed: float, rule: Rule, one: Tally, S: int) -> Iterable[str]:
    """A lower bound is one: at its value the votes still reject."""
    if not math.isfinite(claimed):
        yield f"lower_bound is {claimed}"
        return
    (row,) = one.stable if one.robust is None else one.robust
    votes, rival = row.pair
    N, C = one.draws, one.classes
    fixed = one.robust is not None or one.selected > 0
    level = rule.alpha / (S if rule.name == "bonferroni" else 1)
    value = Fraction(claimed)
    if rule.name == "exhaustive":
        holds = value * N <= votes - rival
    elif rule.name == "published":
        each = level / (C if fixed else 2 * C)
        holds = value < 0 or value <= gap_of_bounds(votes, rival, N, each)
    elif rule.test == "margin":
        own = level if fixed else level / C
        if uses_berger_boos(rule.method, N):
            holds = margin_holds(votes, rival, N, own, claimed)
        else:
            holds = value < 0 or value <= gap_of_bounds(votes, rival, N, own / 2)
    elif rule.name in ("binomial", "bonferroni"):
        holds = lower_limit_holds(claimed, votes, N, level if fixed else level / 2)
    else:
        yield f"{rule.name} has no lower bound of a sample, claimed {claimed}"
        return
    if not holds:
        yield f"lower_bound {claimed!r} does not hold for {votes} of {N} votes, rival {rival}"
