"""From run directories to tables, figures and the HTML report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmcert.errors import ConfigError
from mmcert.reporting.classes import ClassTable, class_table
from mmcert.reporting.comparability import check_comparable, shared_keys
from mmcert.reporting.comparison import (
    Comparison,
    compare,
    conclusion,
    explain,
)
from mmcert.reporting.loading import load_runs
from mmcert.reporting.rays import Ray, find_ray
from mmcert.reporting.runs import Budget, Run
from mmcert.reporting.sweep import Sweep, find_sweep, pairs_to_compare
from mmcert.reporting.wording import metric_name

#: The metric that a figure shows where there is room for one, by task.
HEADLINE = {
    "segmentation": "certified_f_score",
    "classification": "certified_accuracy",
}


@dataclass(frozen=True)
class Report:
    """What a report says, before anything is drawn.

    Args:
        runs: The runs, in the order they were named.
        keys: The results that all of them share; the first is the main one.
        metrics: Metrics in the order of the files.
        metric: The main metric.
        ray: The budgets of the curves.
        warnings: What the reader must be told about the comparison.
        comparisons: For each shared result, the reference run against each other run; in a sweep,
            setting by setting.
        sweep: The setting that the runs were made to vary, where there is one.
    """

    runs: tuple[Run, ...]
    keys: tuple[tuple[str, ...], ...]
    metrics: Mapping[tuple[str, ...], tuple[str, ...]]
    metric: str
    ray: Ray
    warnings: tuple[str, ...]
    comparisons: Mapping[tuple[str, ...], tuple[Comparison, ...]]
    sweep: Sweep | None = None

    @property
    def main(self) -> tuple[str, ...]:
        """The key of the main result: the first robust one that has the main metric."""
        return self.headline_keys[0]

    @property
    def headline_keys(self) -> tuple[tuple[str, ...], ...]:
        """The results that have the main metric, of one claim: robust where there is one."""
        keys = [key for key in self.keys if self.metric in self.metrics[key]]
        claim = "robust" if any(key[1] == "robust" for key in keys) else keys[0][1]
        return tuple(key for key in keys if key[1] == claim)

    def explanation(self, key: tuple[str, ...]) -> list[list[str]]:
        """Why, for each comparison of that result."""
        return [explain(comparison) for comparison in self.comparisons.get(key, ())]

    def class_tables(self) -> dict[tuple[str, ...], ClassTable]:
        """Classification: of each statistics option, under the result that names samples.

        Empty for a sweep: classes of every run would bury it; a report of two runs has them.
        """
        if self.runs[0].task != "classification" or self.sweep is not None:
            return {}
        tables: dict[tuple[str, ...], ClassTable] = {}
        seen: set[str] = set()
        for key in self.headline_keys:
            if key[1] != "robust" or key[0] in seen:
                continue
            seen.add(key[0])
            tables[key] = class_table(self.runs, key, self.ray.budgets)
        return tables

    def closing(self) -> str:
        """What the numbers say, in one paragraph."""
        comparisons = self.comparisons.get(self.main, ())
        if comparisons:
            return conclusion(comparisons, self.runs, self.ray.budgets, self.ray.text)
        return _single(self)


def build_report(
    folders: Sequence[str | Path],
    *,
    ray: Mapping[str, int] | None = None,
    metric: str | None = None,
    allow_differences: bool = False,
) -> Report:
    """Read run directories and compare them.

    Args:
        folders: Run directories, one or more.
        ray: Direction of the curves, e.g. ``{"rgb": 1, "depth": 2}``; None: found from the grid.
        metric: Main metric; None: F-score (segmentation) or accuracy (classification).
        allow_differences: Report runs over different test samples, with a warning.

    Raises:
        ConfigError: Where the runs cannot be compared, or the ray or metric is not there.
        RecordError: Where a folder is no run directory.
    """
    runs = load_runs(folders)
    warnings = check_comparable(runs, allow_differences=allow_differences)
    keys = tuple(shared_keys(runs))
    if not keys:
        raise ConfigError(f"{runs[0].path}: metrics.json holds no results; evaluate its votes.")
    metrics = {key: _shared_metrics(runs, key) for key in keys}
    chosen = _main_metric(runs[0], metrics, metric)
    main = next(key for key in keys if chosen in metrics[key])
    grid = _shared_budgets(runs, main)
    if not grid:
        raise ConfigError(
            "the runs share no budget; evaluate their votes on the same threat.grid= "
            "(mmcert-evaluate)."
        )
    sweep = find_sweep(runs, main)
    pairs = pairs_to_compare(runs, sweep)
    comparisons = {
        key: tuple(compare(one, other, key, chosen) for one, other in pairs)
        for key in keys
        if chosen in metrics[key]
    }
    skipped = max(len(_all_budgets(run, main)) for run in runs) - len(grid)
    if skipped > 0:
        warnings.append(f"{skipped} budgets were not evaluated by every run and are left out.")
    return Report(
        runs=tuple(runs),
        keys=keys,
        metrics=metrics,
        metric=chosen,
        ray=find_ray(grid, runs[0].names, ray),
        warnings=tuple(warnings),
        comparisons=comparisons,
        sweep=sweep,
    )


def _all_budgets(run: Run, key: tuple[str, ...]) -> list[Budget]:
    result = run.result(key)
    return [] if result is None else list(result.values)


def _shared_budgets(runs: Sequence[Run], key: tuple[str, ...]) -> list[Budget]:
    others = [set(_all_budgets(run, key)) for run in runs[1:]]
    return [b for b in _all_budgets(runs[0], key) if all(b in other for other in others)]


def _shared_metrics(runs: Sequence[Run], key: tuple[str, ...]) -> tuple[str, ...]:
    results = [run.result(key) for run in runs]
    first = results[0]
    if first is None:
        return ()
    return tuple(
        name for name in first.metrics if all(r is not None and name in r.metrics for r in results)
    )


def _main_metric(
    run: Run, metrics: Mapping[tuple[str, ...], Sequence[str]], wanted: str | None
) -> str:
    known = list(dict.fromkeys(name for names in metrics.values() for name in names))
    if not known:
        raise ConfigError(f"{run.path}: metrics.json holds no metric; evaluate its votes again.")
    if wanted is not None:
        if wanted not in known:
            raise ConfigError(f"metric={wanted}: the runs share {', '.join(known)}.")
        return wanted
    usual = HEADLINE.get(run.task, known[0])
    return usual if usual in known else known[0]


def _single(report: Report) -> str:
    from mmcert.reporting.comparison import budget_text
    from mmcert.reporting.rounding import rounded_down

    run = report.runs[0]
    result = run.result(report.main)
    assert result is not None
    name = metric_name(report.metric)
    points = [(b, result.value(b, report.metric)) for b in report.ray.budgets]
    positive = [(b, v) for b, v in points if v]
    if not positive:
        return f"{run.label} certifies nothing along {report.ray.text or 'its budgets'}."
    picks = sorted({0, len(positive) // 2, len(positive) - 1})
    listed = "; ".join(
        f"{rounded_down(positive[i][1])} at {budget_text(run.names, positive[i][0])}" for i in picks
    )
    lost = [b for b, v in points if v == 0]
    tail = f" It certifies nothing at {budget_text(run.names, lost[0])}." if lost else ""
    return f"{run.label}: {name[:1].lower() + name[1:]} of at least {listed}.{tail}"
