"""The report as one HTML file that opens from a disk, a mail or a web server.

Everything is inside it: style, figures, numbers. No script, no network; a content security policy
says so to the browser. Names, ids and texts come from folders that anyone may have written, so the
template escapes them all.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcert import __version__
from mmcert.records.certificates import Certificate
from mmcert.reporting.classes import ClassTable, class_name
from mmcert.reporting.comparison import budget_text
from mmcert.reporting.planned import outcome_table
from mmcert.reporting.rays import Ray
from mmcert.reporting.report import Report
from mmcert.reporting.rounding import UNDEFINED, duration, rounded_down
from mmcert.reporting.runs import Budget, Result, Run
from mmcert.reporting.terminal import best_of, shown
from mmcert.reporting.wording import (
    draws_text,
    guarantee_sentences,
    metric_name,
    result_title,
    threat_text,
)

TEMPLATES = Path(__file__).parent / "templates"
#: Rows of the table of samples; certificates.parquet has the rest.
MOST_SAMPLES = 500


@dataclass(frozen=True)
class Picture:
    """A figure in the report.

    Args:
        name: File name without suffix, below ``figures/``.
        png: Its bytes.
        caption: Below it.
        alt: What it shows, in words, for people who cannot see it.
        section: Where it belongs: ``main``, ``sample``, ``claims``, or the key of a result.
    """

    name: str
    png: bytes
    caption: str
    alt: str
    section: str | tuple[str, ...] = "main"

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


def render(report: Report, pictures: Sequence[Picture]) -> str:
    """The HTML of a report."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["math"] = subscripts
    return environment.get_template("report.html").render(_context(report, pictures))


def subscripts(text: str) -> Any:
    """``r_rgb`` and ``k_rgb`` set as variables with a subscript; everything else escaped.

    >>> str(subscripts("r_rgb < 3 & r_depth"))
    '<var>r</var><sub>rgb</sub> &lt; 3 &amp; <var>r</var><sub>depth</sub>'
    """
    import markupsafe

    escaped = str(markupsafe.escape(text))
    return markupsafe.Markup(
        re.sub(r"\b([rk])_([A-Za-z0-9]+)\b", r"<var>\1</var><sub>\2</sub>", escaped)
    )


def _context(report: Report, pictures: Sequence[Picture]) -> dict[str, Any]:
    first = report.runs[0]
    tables = report.class_tables()
    title = " and ".join(dict.fromkeys(run.label for run in report.runs))
    return {
        "title": f"Certified robustness: {title}",
        "version": __version__,
        "task": first.task,
        "samples": first.samples,
        "closing": report.closing(),
        "warnings": report.warnings,
        "ray": report.ray.text,
        "main_pictures": [p for p in pictures if p.section == "main"],
        "claim_pictures": [p for p in pictures if p.section == "claims"],
        "sample_pictures": [p for p in pictures if p.section == "sample"],
        "runs": [_run_facts(run) for run in report.runs],
        "sections": [
            _section(report, key, pictures, tables.get(key)) for key in report.headline_keys
        ],
        "other_sections": [
            _section(report, key, pictures)
            for key in report.keys
            if key not in report.headline_keys
        ],
        "plans": [table for run in report.runs if (table := outcome_table(run)) is not None],
        "samples_table": _samples_table(report),
    }


def _run_facts(run: Run) -> dict[str, Any]:
    description = run.description
    facts = [
        ("Run directory", str(run.path)),
        ("Scheme", run.scheme.name),
        ("Samples", f"{run.samples:,}"),
        ("Votes", "; ".join(dict.fromkeys(draws_text(r.draws) for r in run.results))),
    ]
    for modality in run.scheme.modalities:
        vary = " (most common; sizes vary)" if run.sizes_vary else ""
        facts.append(
            (
                f"Modality {modality.name}",
                f"one element is a {modality.element}; n = {modality.n:,}, "
                f"k = {modality.k:,}{vary}",
            )
        )
    facts.append(("Retained per draw", _pools_text(run)))
    threats = dict.fromkeys(threat_text(result) for result in run.results)
    facts.append(("Threat", "; ".join(threats)))
    data = run.config.get("data")
    if isinstance(data, dict) and data.get("name"):
        facts.append(("Data", f"{data['name']}, split {data.get('split', UNDEFINED)}"))
    if description is not None:
        if description.precision:
            facts.append(("Precision of the base model", description.precision))
        if description.seeds:
            facts.append(("Seeds", ", ".join(f"{k} {v}" for k, v in description.seeds.items())))
        facts.append(("Time", _time_text(description.timings, description.draws_per_second)))
        if description.checkpoint_sha256:
            facts.append(("Checkpoint SHA-256", description.checkpoint_sha256))
        if description.fingerprint:
            facts.append(("Fingerprint of the votes", description.fingerprint))
        if description.versions:
            versions = ", ".join(f"{k} {v}" for k, v in description.versions.items())
            facts.append(("Versions", versions))
    return {"label": run.label, "facts": facts}


def _pools_text(run: Run) -> str:
    texts = []
    for pool in run.scheme.pools():
        names = " and ".join(pool.names)
        if pool.shared:
            texts.append(f"the same {pool.k:,} of {pool.n:,} positions in {names}")
        elif len(pool.names) > 1:
            texts.append(f"{pool.k:,} of the {pool.n:,} elements of {names} in one pool")
        else:
            texts.append(f"{pool.k:,} of {pool.n:,} of {names}")
    return "; ".join(texts)


def _time_text(timings: Any, rate: float | None) -> str:
    parts = [
        f"{name.replace('_', ' ')} {duration(float(seconds))}"
        for name, seconds in timings.items()
        if isinstance(seconds, int | float)
    ]
    if rate:
        parts.append(f"{rate:,.1f} draws per second")
    return "; ".join(parts) or "not recorded"


def _section(
    report: Report,
    key: tuple[str, ...],
    pictures: Sequence[Picture],
    classes: ClassTable | None = None,
) -> dict[str, Any]:
    result = report.runs[0].result(key)
    assert result is not None
    return {
        "title": result_title(result),
        "anchor": "result-" + "-".join("".join(c for c in part if c.isalnum()) for part in key),
        "guarantee": guarantee_sentences(result, report.runs[0]),
        "facts": _result_facts(result, report.runs[0].task),
        "pictures": [p for p in pictures if p.section == key],
        "explanations": [
            {"title": f"{c.reference.label} and {c.other.label}", "sentences": sentences}
            for c, sentences in zip(
                report.comparisons.get(key, ()), report.explanation(key), strict=True
            )
            if sentences
        ],
        "classes": _class_table(report, classes),
        "along": number_table(
            report.runs, key, report.metrics[key], report.ray.budgets, report.ray
        ),
        "whole": number_table(
            report.runs, key, report.metrics[key], _shared_grid(report.runs, key), report.ray
        ),
    }


def _result_facts(result: Result, task: str) -> list[tuple[str, str]]:
    unit = "elements" if task == "segmentation" else "samples"
    family = {"sample": f"the {unit} of one sample", "dataset": f"all {unit} of the data set"}
    if task == "classification":
        family["sample"] = "one decision"
    return [
        ("statistics", result.statistics),
        ("claim", result.claim),
        ("guarantee", result.guarantee),
        ("family", f"{result.family} ({family.get(result.family, result.family)})"),
        ("over_budgets", result.over_budgets),
        ("alpha", f"{result.alpha:g}"),
        ("draws", str(result.draws)),
        ("threat", threat_text(result)),
    ]


def _shared_grid(runs: Sequence[Run], key: tuple[str, ...]) -> list[Budget]:
    grids = [set(result.values) for run in runs if (result := run.result(key)) is not None]
    return sorted(set.intersection(*grids))


def number_table(
    runs: Sequence[Run],
    key: tuple[str, ...],
    metrics: Sequence[str],
    budgets: Sequence[Budget],
    ray: Ray,
) -> dict[str, Any]:
    """A table of certified numbers, rounded down, for the template."""
    rows = []
    for budget in budgets:
        cells = []
        for metric in metrics:
            values = [
                None if (result := run.result(key)) is None else result.value(budget, metric)
                for run in runs
            ]
            best = best_of(values, metric)
            cells += [
                {"text": shown(value, metric), "best": index in best}
                for index, value in enumerate(values)
            ]
        rows.append({"budget": list(budget), "cells": cells})
    return {
        "names": list(ray.names),
        "metrics": [metric_name(metric) for metric in metrics],
        "labels": [run.label for run in runs],
        "rows": rows,
    }


def _class_table(report: Report, table: ClassTable | None) -> dict[str, Any] | None:
    """One row per class and run: its samples, and its certified share along the ray."""
    if table is None or not table.labels:
        return None
    rows = [
        {
            "name": class_name(run, label),
            "run": run.label,
            "samples": curve.samples,
            "cells": [rounded_down(value) for value in curve.accuracy],
        }
        for label in table.labels
        for run, curves in zip(report.runs, table.curves, strict=True)
        for curve in curves
        if curve.label == label
    ]
    budgets = [", ".join(str(r) for r in budget) for budget in report.ray.budgets]
    return {"budgets": budgets, "names": list(report.ray.names), "rows": rows}


def _samples_table(report: Report) -> dict[str, Any] | None:
    """One row per sample: what each run says about it under its main statistics."""
    first = report.runs[0]
    statistics = report.main[0]
    by_run = [
        {row.id: row for row in run.certificates if row.statistics == statistics}
        for run in report.runs
    ]
    ids = first.ids[:MOST_SAMPLES]
    if not all(by_run):
        return None
    classes = dict(enumerate(first.class_names))
    columns = _sample_columns(first.task)
    rows = []
    for sample_id in ids:
        target = next((table[sample_id].target for table in by_run if sample_id in table), None)
        cells = [
            value
            for table, run in zip(by_run, report.runs, strict=True)
            for value in _sample_cells(table.get(sample_id), run, classes)
        ]
        rows.append({"id": sample_id, "target": _class_text(target, classes), "cells": cells})
    return {
        "statistics": statistics,
        "labels": [run.label for run in report.runs],
        "columns": columns,
        "show_target": first.task == "classification",
        "rows": rows,
        "left_out": len(first.ids) - len(ids),
    }


def _sample_columns(task: str) -> list[str]:
    if task == "classification":
        return ["predicted", "votes for it", "lower bound", "maximal certified budgets"]
    return ["elements", "with unanimous votes", "maximal certified budgets"]


def _sample_cells(row: Certificate | None, run: Run, classes: dict[int, str]) -> list[str]:
    width = len(_sample_columns(run.task))
    if row is None:
        return [UNDEFINED] * width
    frontier = _frontier_text(row, run)
    if run.task == "classification":
        votes = UNDEFINED
        if row.counts is not None and row.predicted is not None:
            votes = f"{row.counts[row.predicted]:,} of {row.draws:,}"
        predicted = _class_text(row.predicted, classes)
        if row.abstained:
            predicted += " (abstained)"
        return [predicted, votes, rounded_down(row.lower_bound, ratio=False), frontier]
    if row.hist is None:
        return [UNDEFINED, UNDEFINED, frontier]
    total = sum(sum(level) for level in row.hist)
    unanimous = sum(level[-1] for level in row.hist)
    share = f"{rounded_down(100 * unanimous / total, 1)} %" if total else UNDEFINED
    return [f"{total:,}", share, frontier]


def _class_text(value: int | None, classes: dict[int, str]) -> str:
    return UNDEFINED if value is None else classes.get(value, str(value))


def _frontier_text(row: Certificate, run: Run) -> str:
    if row.frontier is None:
        return "not quoted: each budget stands on its own"
    if not row.frontier:
        return "none"
    shown_budgets = [
        budget_text(run.names, tuple(budget.get(name, 0) for name in run.names))
        for budget in row.frontier[:4]
    ]
    more = f"; {len(row.frontier) - 4} more" if len(row.frontier) > 4 else ""
    return "; ".join(shown_budgets) + more
