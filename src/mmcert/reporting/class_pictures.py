"""The pictures of a classification report that look at single classes."""

from __future__ import annotations

from pathlib import Path

from mmcert.reporting.classes import ClassTable, class_matrices, class_name, matrix_budgets
from mmcert.reporting.comparison import budget_text
from mmcert.reporting.figures.classes import (
    MOST_PANELS,
    MOST_ROWS,
    confusion_figure,
    per_class_figure,
    percent,
)
from mmcert.reporting.figures.style import save
from mmcert.reporting.html import Picture
from mmcert.reporting.report import Report
from mmcert.reporting.terminal import shown
from mmcert.reporting.wording import confusion_sentence, per_class_sentence, result_title


def class_pictures(report: Report, folder: Path) -> list[Picture]:
    """Certified accuracy of each class, and which class is taken for which."""
    pictures = []
    for key, table in report.class_tables().items():
        result = report.runs[0].result(key)
        assert result is not None
        if table.labels:
            file = f"per_class_{result.slug}"
            figure = per_class_figure(report.runs, table.curves, table.labels, result, report.ray)
            left_out = len(table.labels) - MOST_PANELS
            more = f" The first {MOST_PANELS} classes; the table has all." if left_out > 0 else ""
            pictures.append(
                Picture(
                    file,
                    save(figure, folder / f"{file}.png"),
                    f"Certified accuracy of each class: {result_title(result)}. "
                    f"{per_class_sentence(result)}{more}",
                    f"Line plots of the certified share of each class. {_in_words(report, table)}",
                    key,
                )
            )
        pictures += _confusion(report, folder, key)
    return pictures


def _in_words(report: Report, table: ClassTable) -> str:
    """Certified share of each class at the budgets of the matrices."""
    budgets = report.ray.budgets
    picks = [budgets.index(budget) for budget in matrix_budgets(report.ray)]
    texts = []
    for run, curves in zip(report.runs, table.curves, strict=True):
        listed = ", ".join(
            f"{class_name(run, curve.label)} "
            + " and ".join(shown(curve.accuracy[i], "certified_accuracy") for i in picks)
            for curve in curves
        )
        texts.append(f"{run.label}: {listed}.")
    places = " and ".join(budget_text(report.ray.names, budgets[i]) for i in picks)
    return f"At {places}: {' '.join(texts)}"


def _confusion(report: Report, folder: Path, key: tuple[str, ...]) -> list[Picture]:
    runs, budgets = report.runs, matrix_budgets(report.ray)
    matrices = [class_matrices(run, key, budgets) for run in runs]
    result = runs[0].result(key)
    assert result is not None
    if not all(matrices) or len(matrices[0][0].labels) > MOST_ROWS:
        return []
    texts = []
    for run, found in zip(runs, matrices, strict=True):
        matrix = found[0]
        rows = "; ".join(
            f"{class_name(run, label)}: right {percent(row[label], samples, right=True)} %, "
            f"abstained {percent(left, samples, right=False)} %"
            for label, (row, left, samples) in enumerate(
                zip(matrix.labels, matrix.abstained, matrix.samples, strict=True)
            )
            if samples
        )
        texts.append(f"{run.label}: {rows}.")
    file = f"confusion_{result.slug}"
    return [
        Picture(
            file,
            save(confusion_figure(runs, matrices, result, budgets), folder / f"{file}.png"),
            f"Confusion matrices with abstention: {result_title(result)}. "
            f"{confusion_sentence(result)} Percent of the true class; the diagonal is rounded "
            f"down, all else up.",
            f"Confusion matrices of true class and certified label. Without an attack: "
            f"{' '.join(texts)}",
            key,
        )
    ]
