"""What a run says in the terminal: one table per result, and a short paragraph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from rich.console import Console

from mmcert.errors import ConfigError
from mmcert.reporting.loading import load_runs
from mmcert.reporting.rays import Ray, find_ray
from mmcert.reporting.runs import Result, Run
from mmcert.reporting.terminal import comparison_table, shown
from mmcert.reporting.wording import guarantee_sentences, metric_name, threat_text
from mmcert.saying import say

#: Rows of a table; a longer curve is thinned for the terminal and whole in metrics.json.
ROWS = 12
#: The metrics worth a column in the terminal, most telling first.
COLUMNS = (
    "certified_f_score",
    "certified_iou",
    "certified_pixel_accuracy",
    "certified_accuracy",
    "stable_rate",
    "abstain_rate",
)


def print_summary(console: Console, run_dir: Path) -> None:
    """Print the certified metrics of a run directory."""
    (run,) = load_runs([run_dir])
    labelled = [result for result in run.results if result.claim == "robust"]
    for result in labelled or run.results:  # the other claims are in metrics.json
        ray = _ray(run, result)
        if ray is None:
            continue
        columns = [name for name in COLUMNS if name in result.metrics]
        console.print(comparison_table([run], result.key, columns, ray))
        console.print()
    say(console, paragraph(run, run_dir))


def _ray(run: Run, result: Result) -> Ray | None:
    """The budgets to show: a ray, thinned; the one budget there is where none is attacked."""
    budgets = list(result.values)
    if not budgets:
        return None
    try:
        ray = find_ray(budgets, run.names)
    except ConfigError:  # nothing but the budget 0
        return Ray(run.names, tuple(1 for _ in run.names), tuple(budgets))
    if len(ray.budgets) <= ROWS:
        return ray
    last = len(ray.budgets) - 1
    kept = sorted({round(i * last / (ROWS - 1)) for i in range(ROWS)})
    return dataclasses.replace(ray, budgets=tuple(ray.budgets[i] for i in kept))


def paragraph(run: Run, run_dir: Path) -> str:
    """What the first result says, what it guarantees, and where the rest is."""
    lines: list[str] = []
    if run.results:
        result = run.results[0]
        metric = next((name for name in COLUMNS if name in result.metrics), result.metrics[0])
        lines.append(_reading(run, result, metric))
        lines += guarantee_sentences(result, run)
    lines.append(f"Everything is in {run_dir} (metrics.json, certificates.parquet, votes/).")
    return " ".join(lines)


def _reading(run: Run, result: Result, metric: str) -> str:
    """The metric without attack and half way along the ray; no best budget is quoted."""
    samples = f"{run.samples} sample{'s' if run.samples != 1 else ''}"
    text = f"{metric_name(metric)} over {samples}"
    zero = tuple(0 for _ in run.names)
    if zero in result.values:
        text += f" without attack: at least {shown(result.value(zero, metric), metric)}"
    ray = _ray(run, result)
    attacked = [budget for budget in ray.budgets if any(budget)] if ray else []
    if attacked:
        middle = attacked[(len(attacked) - 1) // 2]
        budget = ", ".join(f"{r} in {name}" for name, r in zip(run.names, middle, strict=True))
        value = shown(result.value(middle, metric), metric)
        text += f"; under {threat_text(result)} of at most {budget} elements: at least {value}"
    return text + "."
