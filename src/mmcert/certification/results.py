"""The entries of ``metrics.json`` and the rows of ``certificates.parquet``.

Letters: ``S`` samples, ``G`` budgets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from mmcert.certification import segmentation
from mmcert.certification.classification import (
    Batch,
    Decided,
    SampleCounts,
    data_set_claim,
    decide,
    make_batch,
)
from mmcert.certification.formulas import shown
from mmcert.certification.grid import Grid
from mmcert.certification.histograms import SampleHistogram
from mmcert.certification.options import Option
from mmcert.certification.wording import promise
from mmcert.records.certificates import Certificate
from mmcert.theory.frontier import maximal_budgets
from mmcert.theory.sequential import BETS, GEOMETRIC_TERMS

Target = tuple[str, Fraction]


class Frontiers:
    """Maximal certified budgets; samples with the same certified budgets share the work."""

    def __init__(self, grid: Grid) -> None:
        self._budgets = grid.budgets
        self._known: dict[bytes, list[dict[str, int]]] = {}

    def of(self, certified: np.ndarray[Any, np.dtype[np.bool_]]) -> list[dict[str, int]]:
        """The frontier of one sample, from bool ``(G,)``."""
        mask = certified[: len(self._budgets)]
        key = mask.tobytes()
        if key not in self._known:
            self._known[key] = maximal_budgets(self._budgets, mask.tolist())
        return self._known[key]


def head(
    option: Option,
    claim: str,
    guarantee: str,
    family: str,
    alpha: float,
    draws: int | str,
    grid: Grid,
    reading: Mapping[str, Any],
) -> dict[str, Any]:
    """What an entry says before its grid."""
    return {
        "statistics": option.name,
        "claim": claim,
        "guarantee": guarantee,
        "family": family,
        "over_budgets": "joint" if option.joint else "each",
        "alpha": alpha,
        "draws": draws,
        "threat": dict(grid.kinds),
        "reading": dict(reading),
    }


def settings(option: Option) -> dict[str, Any]:
    """What decided the figures beyond alpha, so that anybody can derive them again from the votes.

    Settings that were left at their defaults are spelled out too.
    """
    found: dict[str, Any] = {"test": option.test}
    if option.test == "margin" and option.name in ("margin", "bonferroni"):
        found["method"] = "two_bounds" if option.task == "segmentation" else option.method
    if option.name == "closed_evalues" and not option.sequential:
        found |= {"levels": list(option.levels), "weights": list(option.weights)}
    elif option.sequential:
        found |= {"bets": list(BETS)} if option.test == "margin" else {"terms": GEOMETRIC_TERMS}
    if option.name == "closed_evalues" and option.task == "segmentation":
        found["families"] = "one" if option.one_family else "per_class"
    return found


def segmentation_results(
    samples: Sequence[SampleHistogram],
    options: Sequence[Option],
    claims: Sequence[str],
    grid: Grid,
    alpha: float,
    draws: int | str,
    unit: str,
    target: Target | None,
) -> tuple[list[dict[str, Any]], list[Certificate]]:
    """Entries and rows of a segmentation task."""
    full = grid.with_zero()
    zero = full.zero
    assert zero is not None
    entries = []
    rows: dict[tuple[str, str], Certificate] = {}
    frontiers = Frontiers(grid)
    for option in options:
        for claim in claims:
            for family in option.families or ("sample",):
                counted = segmentation.count(samples, option, claim, family, full, alpha)
                if counted is None:
                    continue
                reading = _segmentation_reading(counted, alpha, unit)
                entry = head(option, claim, counted.guarantee, family, alpha, draws, grid, reading)
                entry["grid"] = segmentation.grid_points(counted, grid, zero)
                entries.append(entry)
                if not counted.pooled:
                    for row in _rows_of(counted, samples, zero, target, frontiers):
                        rows.setdefault((row.id, row.statistics), row)
    # One row per sample and statistics: of the robust claim where there is a label.
    order = {sample.id: index for index, sample in enumerate(samples)}
    listed = sorted(rows.values(), key=lambda row: order[row.id])
    return entries, listed


def _segmentation_reading(counted: segmentation.Counted, alpha: float, unit: str) -> dict[str, Any]:
    closed = counted.option.name == "closed_evalues"
    reading: dict[str, Any] = {
        "promise": promise(
            counted.option,
            counted.claim,
            counted.guarantee,
            alpha,
            unit,
            metrics=closed and counted.claim != "stable",
        ),
        "average": "pooled over samples" if counted.pooled else "mean over samples",
        "samples": len(counted.ids),
        **settings(counted.option),
    }
    if not counted.pooled:
        empty = (counted.sizes.sum(axis=1) == 0).sum()
        reading["left_out"] = {
            "samples without a label": int(empty),
            # Recall, F-score and IoU of a class are undefined where it is absent, never 1.
            "samples without the class": [int(n) for n in (counted.sizes == 0).sum(axis=0)],
        }
    return reading


def _rows_of(
    counted: segmentation.Counted,
    samples: Sequence[SampleHistogram],
    zero: int,
    target: Target | None,
    frontiers: Frontiers,
) -> list[Certificate]:
    known = {sample.id: sample for sample in samples}
    reached = None
    joint = counted.option.joint and counted.guarantee == "per_sample"
    if target is not None and joint and counted.claim == "robust":
        reached = segmentation.reaches_target(counted, target)
    rows = []
    for index, sample_id in enumerate(counted.ids):
        sample = known[sample_id]
        # A row speaks of the true label where there is one, else of the predicted one.
        if counted.claim != ("stable" if sample.robust is None else "robust"):
            continue
        levels = sample.stable if sample.robust is None else sample.robust
        rows.append(
            Certificate(
                id=sample_id,
                statistics=counted.option.name,
                target=None,
                predicted=None,
                abstained=int(counted.total[index, zero]) == 0,
                draws=sample.draws,
                n={m.name: m.n for m in sample.scheme.modalities},
                k={m.name: m.k for m in sample.scheme.modalities},
                frontier=None if reached is None else frontiers.of(reached[index]),
                hist=levels.elements.tolist(),
            )
        )
    return rows


def classification_results(
    samples: Sequence[SampleCounts],
    options: Sequence[Option],
    claims: Sequence[str],
    grid: Grid,
    alpha: float,
    draws: int | str,
) -> tuple[list[dict[str, Any]], list[Certificate]]:
    """Entries and rows of a classification task."""
    full = grid.with_zero()
    entries: list[dict[str, Any]] = []
    rows: dict[tuple[str, str], Certificate] = {}
    frontiers = Frontiers(grid)
    for option in options:
        for claim in claims:
            batch = make_batch(samples, claim, full)
            decided = decide(option, batch, alpha)
            if decided is None:
                continue
            entries += _classification_entries(option, batch, decided, grid, alpha, draws)
            for row in _rows_of_batch(option, batch, decided, frontiers):
                rows.setdefault((row.id, row.statistics), row)
    order = {sample.id: index for index, sample in enumerate(samples)}
    return entries, sorted(rows.values(), key=lambda row: order[row.id])


def _classification_entries(
    option: Option, batch: Batch, decided: Decided, grid: Grid, alpha: float, draws: int | str
) -> list[dict[str, Any]]:
    single = option.name in ("binomial", "margin", "published")
    S = len(batch.samples)
    zero = batch.grid.zero
    assert zero is not None
    abstained = None
    if decided.certified is not None:
        abstained = shown(Fraction(S - int(decided.certified[:, zero].sum()), S))

    def entry(guarantee: str, counts: Sequence[int], extra: Mapping[str, Any]) -> dict[str, Any]:
        family = "dataset" if guarantee == "dataset" else "sample"
        reading = {
            "promise": promise(option, batch.claim, guarantee, alpha, "samples"),
            "average": "share of the samples",
            "samples": S,
            **settings(option),
            **extra,
        }
        result = head(option, batch.claim, guarantee, family, alpha, draws, grid, reading)
        # A figure that bounds a number names no sample, so nobody abstains in it.
        number = guarantee == "dataset" and (single or option.name == "closed_evalues")
        abstain = None if number else abstained
        result["grid"] = [
            _point(budget, batch.claim, int(count), S, abstain)
            for budget, count in zip(grid.budgets, counts, strict=False)
        ]
        return result

    alone = batch.correct[:, None] & decided.certified if decided.certified is not None else None
    if option.sequential:
        assert alone is not None
        assert decided.at_least is not None
        return [
            entry("per_sample", alone.sum(axis=0).tolist(), {}),
            entry("dataset", decided.at_least.tolist(), {}),
        ]
    if not single:
        counts = decided.at_least if alone is None else alone.sum(axis=0)
        assert counts is not None
        return [entry("dataset", counts.tolist(), {})]
    assert alone is not None
    entries = [entry("per_sample", alone.sum(axis=0).tolist(), {})]
    a = alpha if option.per_sample_alpha is None else option.per_sample_alpha
    at_a = decided if a == alpha else decide(option, batch, a)
    assert at_a is not None
    assert at_a.certified is not None
    sure = data_set_claim(option, batch, at_a.certified, alpha)
    entries.append(entry("dataset", sure.tolist(), {"per_sample_alpha": a}))
    return entries


def _point(
    budget: Mapping[str, int], claim: str, count: int, S: int, abstained: float | None
) -> dict[str, Any]:
    rate = shown(Fraction(count, S))
    return {
        "budget": dict(budget),
        "certified_accuracy": None if claim == "stable" else rate,
        "stable_rate": rate if claim == "stable" else None,
        "abstain_rate": abstained,
    }


def _rows_of_batch(
    option: Option, batch: Batch, decided: Decided, frontiers: Frontiers
) -> list[Certificate]:
    if decided.certified is None:  # a number, not a set: there is nothing to say of one sample
        return []
    zero = batch.grid.zero
    assert zero is not None
    rows = []
    for index, sample in enumerate(batch.samples):
        if batch.claim != ("stable" if sample.target is None else "robust"):
            continue
        bound = None if decided.bounds is None else float(decided.bounds[index])
        rows.append(
            Certificate(
                id=sample.id,
                statistics=option.name,
                target=sample.target,
                predicted=sample.predicted,
                abstained=not bool(decided.certified[index, zero]),
                draws=sample.draws,
                n={m.name: m.n for m in sample.scheme.modalities},
                k={m.name: m.k for m in sample.scheme.modalities},
                counts=list(sample.counts),
                lower_bound=bound,
                frontier=frontiers.of(decided.certified[index]) if option.joint else None,
            )
        )
    return rows
