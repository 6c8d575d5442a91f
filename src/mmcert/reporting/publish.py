"""Draw the figures of a report and write it: ``figures/``, ``report/index.html``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmcert.certification.grid import make_grid
from mmcert.records.atomic import atomic_write
from mmcert.reporting.class_pictures import class_pictures
from mmcert.reporting.comparison import budget_text
from mmcert.reporting.figures.claims import claim_results, claims_figure
from mmcert.reporting.figures.curves import headline_figure, metrics_figure
from mmcert.reporting.figures.heatmap import find_plane, heatmap_figure
from mmcert.reporting.figures.sample import sample_figure
from mmcert.reporting.figures.style import save
from mmcert.reporting.figures.sweep import shown_budgets, sweep_figure
from mmcert.reporting.html import Picture, render
from mmcert.reporting.map_at import telling_budget
from mmcert.reporting.report import Report
from mmcert.reporting.rounding import rounded_up
from mmcert.reporting.sample_images import choose_sample, load_sample
from mmcert.reporting.terminal import LESS_IS_BETTER, shown
from mmcert.reporting.wording import metric_name, result_title


def publish(
    report: Report,
    out: Path,
    *,
    sample: str | None = None,
    map_budget: Mapping[str, int] | None = None,
) -> Path:
    """Write the report below ``out``; returns ``out/report/index.html``.

    Args:
        report: What to say.
        out: Folder; ``figures/`` and ``report/`` are made in it.
        sample: Id of the sample to draw; None: the one with the median abstained part.
        map_budget: Budget of its maps; None: where the runs differ most along the ray.

    Raises:
        ConfigError: Where ``sample`` has no certified maps, or ``map_budget`` is no budget.
    """
    figures = out / "figures"
    pictures = [
        *_sample(report, figures, sample, map_budget),  # first: it can refuse what was asked for
        *_curves(report, figures),
        *_sweep(report, figures),
        *_maps(report, figures),
        *class_pictures(report, figures),
        *_claims(report, figures),
    ]
    index = out / "report" / "index.html"
    with atomic_write(index) as stream:
        stream.write(render(report, pictures).encode())
    return index


def _curves(report: Report, folder: Path) -> list[Picture]:
    ray, runs = report.ray, report.runs
    keys = report.headline_keys
    name = metric_name(report.metric)
    place = f"along {ray.text}" if ray.text else f"against r_{ray.names[ray.axis]}"
    png = save(headline_figure(runs, keys, report.metric, ray), folder / "certified_vs_budget.png")
    pictures = [
        Picture(
            "certified_vs_budget",
            png,
            f"{name} {place}, under each statistics option. Steps hold to the left: what is "
            f"certified at r attacked elements is certified for fewer.",
            f"Line plot. {_in_words(report, keys[0], report.metric)}",
        )
    ]
    for key in keys:
        # One number for all budgets is no curve; the figure of the claims has it.
        metrics = [metric for metric in report.metrics[key] if metric not in LESS_IS_BETTER]
        if len(metrics) < 2:
            continue
        result = runs[0].result(key)
        assert result is not None
        file = f"metrics_{result.slug}"
        png = save(metrics_figure(runs, key, metrics, ray), folder / f"{file}.png")
        listed = ", ".join(metric_name(metric).lower() for metric in metrics)
        pictures.append(
            Picture(
                file,
                png,
                f"All metrics {place}: {result_title(result)}.",
                f"Line plots of {listed}. {_in_words(report, key, metrics[0])}",
                key,
            )
        )
    return pictures


def _sweep(report: Report, folder: Path) -> list[Picture]:
    """Metrics against the swept setting, at a few budgets."""
    sweep, ray = report.sweep, report.ray
    if sweep is None:
        return []
    pictures = []
    for key in report.headline_keys:
        result = report.runs[0].result(key)
        assert result is not None
        metrics = [metric for metric in report.metrics[key] if metric not in LESS_IS_BETTER]
        figure = sweep_figure(report.runs, key, metrics, ray, sweep)
        file = f"sweep_{result.slug}"
        texts = []
        for run, value in zip(report.runs, sweep.values, strict=True):
            own = run.result(key)
            points = ", ".join(
                f"{shown(own.value(budget, report.metric) if own else None, report.metric)} at "
                f"{budget_text(ray.names, budget)}"
                for budget in shown_budgets(ray)
            )
            texts.append(f"{run.label}, {value:g}: {points}.")
        pictures.append(
            Picture(
                file,
                save(figure, folder / f"{file}.png"),
                f"Metrics against the {sweep.name}: {result_title(result)}. Rows: no attack, a "
                f"quarter and half of the largest one.",
                f"Line plots of {metric_name(report.metric).lower()} and other metrics against "
                f"the {sweep.name}. {' '.join(texts)}",
                key,
            )
        )
    return pictures


def _in_words(report: Report, key: tuple[str, ...], metric: str) -> str:
    """The curve of a metric as text: what a screen reader says instead of the picture."""
    budgets = report.ray.budgets
    picks = sorted({round(i * (len(budgets) - 1) / 4) for i in range(5)})
    texts = []
    for run in report.runs:
        result = run.result(key)
        if result is None:
            continue
        points = ", ".join(
            f"{shown(result.value(budgets[i], metric), metric)} at "
            f"r = {budgets[i][report.ray.axis]}"
            for i in picks
        )
        texts.append(f"{run.label}: {points}.")
    return f"{metric_name(metric)} against r_{report.ray.names[report.ray.axis]}. " + " ".join(
        texts
    )


def _maps(report: Report, folder: Path) -> list[Picture]:
    if report.sweep is not None:
        return []  # a map for every run would bury the sweep; a report of two runs has them
    pictures = []
    for key in report.headline_keys:
        result = report.runs[0].result(key)
        assert result is not None
        plane = find_plane(list(result.values))
        if plane is None:
            continue
        comparisons = report.comparisons.get(key, ())
        file = f"heatmap_{result.slug}"
        figure = heatmap_figure(report.runs, key, report.metric, plane, report.ray, comparisons)
        ahead = " ".join(
            f"{c.reference.label} is higher at {len(c.ahead)} and {c.other.label} at "
            f"{len(c.behind)} of {len(c.cells)} budgets."
            for c in comparisons
        )
        names = report.ray.names
        caption = (
            f"{metric_name(report.metric)} over r_{names[plane.x]} and r_{names[plane.y]}: "
            f"{result_title(result)}."
        )
        if comparisons:
            caption += (
                f" In the difference, the black line is where the smaller delta (exact, from n and "
                f"k) changes sides. {ahead}"
            )
        pictures.append(
            Picture(
                file,
                save(figure, folder / f"{file}.png"),
                caption,
                f"Heat maps of {metric_name(report.metric).lower()} over two budgets, one per run"
                + (f", and their difference. {ahead}" if comparisons else "."),
                key,
            )
        )
    return pictures


def _claims(report: Report, folder: Path) -> list[Picture]:
    """Robust beside stable and deployed, under the main statistics."""
    key = report.main
    results = [claim_results(run, key) for run in report.runs]
    if any(len(found) < 2 for found in results):
        return []
    result = report.runs[0].result(key)
    assert result is not None
    texts = []
    for run, found in zip(report.runs, results, strict=True):
        first = report.ray.budgets[0]
        readings = ", ".join(
            f"{claim} {shown(one.value(first, metric), metric)}"
            for claim, one in found.items()
            for metric in one.metrics[:1]
        )
        texts.append(f"{run.label} at r = {first[report.ray.axis]}: {readings}.")
    return [
        Picture(
            "claims",
            save(claims_figure(report.runs, key, report.ray), folder / "claims.png"),
            f"The same votes read in three ways: {result_title(result)}. Robust and deployed need "
            f"labels; stable and the abstained share do not.",
            f"Line plots of the robust, stable and deployed share. {' '.join(texts)}",
            "claims",
        )
    ]


def _sample(
    report: Report, folder: Path, wanted: str | None, map_budget: Mapping[str, int] | None
) -> list[Picture]:
    if report.runs[0].task != "segmentation":
        return []
    chosen = choose_sample(report.runs, wanted)
    if chosen is None:
        return []
    if map_budget is None:
        budget = telling_budget(report.runs, report.ray, report.metric)
    else:
        named = make_grid([map_budget], "modification", report.ray.names).budgets[0]
        budget = tuple(named.values())
    pictures = load_sample(report.runs, chosen, budget)
    png = save(sample_figure(pictures), folder / "sample.png")
    why = "" if wanted else " It is the sample with the median abstained part, not the best one."
    if map_budget is None and len(report.runs) > 1:
        why += " The budget is the one on the ray where the runs differ most."
    if not wanted or map_budget is None:
        why += (
            " The votes shown chose it: an illustration, since alpha holds for a sample and a "
            "budget that are fixed before the votes."
        )
    missing = (
        ""
        if pictures.rgb is not None
        else " Its input is not shown: the data are not at the place that the run names."
    )
    shares = "; ".join(
        f"{m.label} abstains on {rounded_up(100 * m.abstained, 1)} % of the labelled elements"
        for m in pictures.maps
    )
    return [
        Picture(
            "sample",
            png,
            f"Sample {chosen}, certified at {pictures.budget}. {shares}. Abstained is not a "
            f"class: no label is certified there.{why}{missing}",
            f"Sample {chosen}: ground truth, certified maps at {pictures.budget}. {shares}.",
            "sample",
        )
    ]
