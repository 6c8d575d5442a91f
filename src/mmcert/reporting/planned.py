"""A plan that was chosen on validation votes: as tables, in words, and beside its outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from mmcert.errors import RecordError
from mmcert.records.plan import read_plan
from mmcert.reporting.rounding import UNDEFINED, rounded_down, rounded_up
from mmcert.reporting.runs import Run
from mmcert.reporting.wording import metric_name, scheme_name, statistics_name

#: Rows of the table of draws and minutes.
MOST_TRADE_OFFS = 12


def interval_text(point: Mapping[str, Any]) -> str:
    """A predicted figure and its interval.

    >>> interval_text({"value": 0.65, "low": 0.6, "high": 0.7})
    '0.650 (0.600 to 0.700)'
    """
    if point["value"] is None:
        return UNDEFINED
    text = rounded_down(point["value"])
    if point["low"] is None:
        return f"{text} (one sample: no interval)"
    return f"{text} ({rounded_down(point['low'])} to {rounded_up(point['high'])})"


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts or budgets of modalities."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def candidate_line(
    scheme: str, k: Mapping[str, int], at: Mapping[str, Any], metric: str, spent: str
) -> str:
    """What a person sees of one candidate while the search runs."""
    return (
        f"{scheme_name(scheme)}, k = {counts_text(k)}: {metric_name(metric)} "
        f"{interval_text(at)} at the target [{spent}]"
    )


def document_tables(plan: Mapping[str, Any]) -> list[Table]:
    """The plan for the terminal."""
    target, metric = plan["target"], metric_name(plan["target"]["metric"])
    coverage = f"{100 * plan['interval']['coverage']:g} %"
    best = _table(
        f"{metric} predicted at {counts_text(target['budget'])} "
        f"({statistics_name(target['statistics'])}; in brackets the {coverage} interval)",
        ["scheme", "k", "draws N", f"minutes for {plan['certify']['samples']} samples", metric],
    )
    for scheme, entry in plan["best"].items():
        best.add_row(
            scheme_name(scheme),
            counts_text(entry["k"]),
            f"{entry['draws']:,}",
            _minutes(entry["minutes"]),
            interval_text(entry["at_target"]),
        )
    tables = [best, _curves(plan, metric)]
    if plan["trade_offs"]:
        tables.append(_trade_offs(plan, metric))
    return tables


def _curves(plan: Mapping[str, Any], metric: str) -> Table:
    scheme, names = plan["chosen"]["scheme"], list(plan["target"]["budget"])
    table = _table(
        f"{metric} along the ray, {scheme_name(scheme)}, every k that was tried "
        f"({'/'.join(names)}; * chosen)",
        ["k", *(_short(budget) for budget in plan["certify"]["budgets"])],
    )
    rows = [entry for entry in plan["candidates"] if entry["scheme"] == scheme]
    for entry in sorted(rows, key=lambda entry: -sum(entry["k"].values())):
        mark = "*" if entry["k"] == plan["chosen"]["k"] else ""
        table.add_row(
            mark + _short(entry["k"]), *(rounded_down(point["value"]) for point in entry["curve"])
        )
    return table


def _short(counts: Mapping[str, int]) -> str:
    return "/".join(str(count) for count in counts.values())


def _trade_offs(plan: Mapping[str, Any], metric: str) -> Table:
    """No row that another one beats with no more minutes."""
    table = _table(
        "More draws against fewer elements: what is best for its time",
        ["minutes", "draws N", "k", metric],
    )
    best = -1.0
    kept = []
    for row in sorted(plan["trade_offs"], key=lambda row: (row["minutes"] or 0, row["draws"])):
        if row["value"] is not None and row["value"] > best:
            best = row["value"]
            kept.append(row)
    for row in kept[-MOST_TRADE_OFFS:]:
        table.add_row(
            _minutes(row["minutes"]),
            f"{row['draws']:,}{' (extrapolated)' if row['extrapolated'] else ''}",
            counts_text(row["k"]),
            interval_text(row),
        )
    return table


def document_text(plan: Mapping[str, Any]) -> str:
    """What the plan says, in one paragraph."""
    chosen, target, on = plan["chosen"], plan["target"], plan["chosen_on"]
    metric = metric_name(target["metric"])
    reference = next(
        (
            entry
            for entry in plan["candidates"]
            if entry["scheme"] == chosen["scheme"] and entry["k"] == plan["reference"]
        ),
        None,
    )
    sentences = [
        f"Chosen on the {len(on['ids'])} samples of the split '{on['split']}' with {on['draws']:,} "
        f"draws each: k = {counts_text(chosen['k'])} and N = {chosen['draws']:,}, for which "
        f"{metric} {interval_text(chosen['at_target'])} is predicted at "
        f"{counts_text(target['budget'])}."
    ]
    if reference is not None and reference["k"] != chosen["k"]:
        sentences.append(
            f"The k of the checkpoint ({counts_text(reference['k'])}) is predicted to have "
            f"{interval_text(reference['at_target'])} there."
        )
    ahead = [
        scheme_name(scheme)
        for scheme, entry in plan["best"].items()
        if (entry["at_target"]["value"] or 0) > (chosen["at_target"]["value"] or 0)
    ]
    if ahead:
        sentences.append(f"With its own best k, {' and '.join(ahead)} is ahead at the target.")
    if not chosen["at_target"]["value"]:
        sentences.append(
            "Nothing that was tried certifies anything at this target: train on fewer retained "
            "elements (task.retained_factor), or fear less."
        )
    if cut := plan["search"]["ended_by_time"]:
        names = ", ".join(scheme_name(scheme) for scheme in cut)
        sentences.append(
            f"plan.minutes ended the search for {names}; the same line goes on from the votes that "
            f"are there."
        )
    sentences.append("These are predictions; the certificate comes from the test split alone.")
    return " ".join(sentences)


def _minutes(minutes: float | None) -> str:
    if minutes is None:
        return UNDEFINED
    return f"{minutes:.1f}" if minutes >= 0.1 else "under 0.1"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(Text(column), justify="right")
    return table


def outcome_table(run: Run) -> dict[str, Any] | None:
    """What the plan of a run predicted beside what the run certified, for the template.

    None where the run followed no plan.

    Raises:
        RecordError: Where the copy of the plan is missing, or not the one that ``run.json`` names.
    """
    facts = run.description.extra.get("plan") if run.description else None
    if not isinstance(facts, Mapping):
        return None
    path = run.path / "plan.json"
    plan, sha256 = read_plan(path)
    if sha256 != facts.get("sha256"):
        raise RecordError(
            f"{path}: not the plan that run.json names (its SHA-256 differs); restore it, or "
            f"certify again."
        )
    target, entry = plan["target"], plan["best"].get(run.scheme.name, plan["chosen"])
    result = next(
        (
            result
            for result in run.results
            if result.statistics == target["statistics"]
            and result.guarantee == target["guarantee"]
            and result.claim == "robust"
        ),
        None,
    )
    rows = []
    for point in entry["curve"]:
        budget = tuple(int(point["budget"].get(name, 0)) for name in run.names)
        found = None if result is None else result.value(budget, target["metric"])
        inside = None
        if found is not None and point["low"] is not None:
            inside = bool(point["low"] <= found <= point["high"])
        rows.append(
            {
                "budget": list(budget),
                "target": point["budget"] == target["budget"],
                "predicted": interval_text(point),
                "certified": rounded_down(found),
                "inside": {None: UNDEFINED, True: "yes", False: "no"}[inside],
            }
        )
    on = plan["chosen_on"]
    return {
        "label": run.label,
        "names": list(run.names),
        "metric": metric_name(target["metric"]),
        "statistics": statistics_name(target["statistics"]),
        "coverage": f"{100 * plan['interval']['coverage']:g} %",
        "text": (
            f"k = {counts_text(entry['k'])} was chosen for {counts_text(target['budget'])} on "
            f"{len(on['ids'])} samples of the split '{on['split']}' ({on['draws']:,} draws each), "
            f"none of which is certified here. The prediction is for N = {entry['draws']:,}."
        ),
        "sha256": sha256,
        "rows": rows,
    }
