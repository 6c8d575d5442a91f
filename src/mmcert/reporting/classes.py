"""Classification, class by class: what is certified of each, and what it is taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from mmcert.certification.confusion import Confusion, confusion_matrices
from mmcert.certification.grid import make_grid
from mmcert.certification.options import Option, exhaustive_option, parse_statistics
from mmcert.errors import ConfigError, RecordError
from mmcert.records.certificates import Certificate
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Budget, Result, Run
from mmcert.theory.schemes import round_down

#: Settings of an option that ``reading`` of a result spells out.
_SETTINGS = {
    "margin": ("method",),
    "bonferroni": ("test",),
    "holm": ("test",),
    "closed_evalues": ("test", "levels", "weights"),
}


@dataclass(frozen=True)
class ClassCurve:
    """What one run certifies of the samples of one class.

    Args:
        label: The class.
        samples: Its samples.
        certified: Certified ones at each budget.
    """

    label: int
    samples: int
    certified: tuple[int, ...]

    @property
    def accuracy(self) -> tuple[float, ...]:
        """Certified share at each budget, rounded down like every figure of metrics.json."""
        return tuple(round_down(Fraction(count, self.samples)) for count in self.certified)


@dataclass(frozen=True)
class ClassTable:
    """What every run certifies of every class, along the ray.

    Args:
        labels: The classes that have samples.
        curves: Of each run, its curve of each class; none where an option quotes no budgets.
    """

    labels: tuple[int, ...]
    curves: tuple[tuple[ClassCurve, ...], ...]


def class_name(run: Run, label: int) -> str:
    """The class as people call it."""
    return run.class_names[label] if label < len(run.class_names) else f"class {label}"


def class_curves(run: Run, key: tuple[str, ...], budgets: Sequence[Budget]) -> list[ClassCurve]:
    """Certified samples of each class, from their maximal certified budgets.

    A sample counts at a budget where one of its maximal certified budgets is nowhere smaller: then
    its certificate covers every attack within that budget. So the classes add up to the certified
    accuracy of the run.

    Args:
        run: A run of a classification task.
        key: A robust result of it.
        budgets: Budgets of its grid.

    Returns:
        One per class that has samples; empty where the option quotes no budgets of a sample.
    """
    rows = _rows(run, key)
    if not rows or any(row.frontier is None for row in rows):
        return []
    by_class: dict[int, list[list[bool]]] = {}
    for row in rows:
        assert row.target is not None
        maximal = [tuple(one.get(name, 0) for name in run.names) for one in row.frontier or ()]
        covered = [
            any(all(r <= most for r, most in zip(b, one, strict=True)) for one in maximal)
            for b in budgets
        ]
        by_class.setdefault(row.target, []).append(covered)
    return [
        ClassCurve(label, len(rows), tuple(sum(column) for column in zip(*rows, strict=True)))
        for label, rows in sorted(by_class.items())
    ]


def class_table(runs: Sequence[Run], key: tuple[str, ...], budgets: Sequence[Budget]) -> ClassTable:
    """The curves of every run, of the classes that have samples."""
    curves = tuple(tuple(class_curves(run, key, budgets)) for run in runs)
    labels = sorted({curve.label for found in curves for curve in found}) if all(curves) else ()
    return ClassTable(tuple(labels), curves)


def matrix_budgets(ray: Ray) -> list[Budget]:
    """No attack, and a quarter of the largest one on the ray: fixed before the votes."""
    quarter = -(-(len(ray.budgets) - 1) // 4)  # rounded up: a short ray shows an attack too
    return [ray.budgets[i] for i in sorted({0, quarter})]


def class_matrices(run: Run, key: tuple[str, ...], budgets: Sequence[Budget]) -> list[Confusion]:
    """A confusion matrix with abstention at each budget; empty where no labels are certified.

    Raises:
        RecordError: Where the rows do not fit the run.
    """
    rows, result = _rows(run, key), run.result(key)
    if not rows or result is None or not run.classes:
        return []
    grid = make_grid(
        [dict(zip(run.names, budget, strict=True)) for budget in budgets],
        result.threat,
        run.names,
    )
    try:
        option = _option(result, run.classes)
        return confusion_matrices(rows, run.scheme.name, run.classes, option, result.alpha, grid)
    except (ConfigError, RecordError) as error:
        raise RecordError(f"{run.path}: certificates.parquet, metrics.json: {error}") from None


def _rows(run: Run, key: tuple[str, ...]) -> list[Certificate]:
    """The rows of the labelled samples under the statistics of ``key``; none of another task."""
    if run.task != "classification":
        return []
    rows = [row for row in run.certificates if row.statistics == key[0] and row.target is not None]
    for row in rows:
        if not run.classes or not 0 <= (row.target or 0) < run.classes:
            raise RecordError(
                f"{run.path / 'certificates.parquet'}: sample '{row.id}' has the true class "
                f"{row.target}, of {run.classes or 0}; run mmcert-evaluate on the votes again."
            )
    return rows


def _option(result: Result, classes: int) -> Option:
    """The option of a result with the settings that decided it."""
    if result.statistics == "exhaustive":
        return exhaustive_option("classification")
    wanted: Mapping[str, Any] = {
        name: result.reading.get(name) for name in _SETTINGS.get(result.statistics, ())
    }
    parsed = parse_statistics({result.statistics: wanted}, "classification", classes)
    return replace(parsed[0], sequential=result.draws == "sequential")
