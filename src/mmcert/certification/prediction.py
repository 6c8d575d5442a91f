"""What a certification would say, predicted from the votes of a validation split.

The predicted votes (:mod:`mmcert.theory.prediction`) go through the very code that certifies, so a
prediction is about the same statistics, families and averages. Nothing here is a certificate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmcert.certification.classification import SampleCounts
from mmcert.certification.evaluate import assess
from mmcert.certification.histograms import Levels, SampleHistogram
from mmcert.certification.options import Option
from mmcert.certification.reading import Sample
from mmcert.errors import ConfigError
from mmcert.records.meta import VotesMeta
from mmcert.theory.prediction import (
    expected_votes,
    jackknife,
    mean_interval,
    mixing_distribution,
    proportion_interval,
    redrawn_counts,
    whole_elements,
)

#: Samples are left out in at most so many groups.
MOST_GROUPS = 20


@dataclass(frozen=True)
class Goal:
    """The certified figure that is predicted.

    Args:
        option: Statistics, with their settings.
        guarantee: Which of its results, e.g. ``per_sample``.
        metric: E.g. ``certified_f_score``.
        budgets: Where.
        kinds: Threat kind per modality.
        alpha: Failure probability.
        future: Samples that will be certified.
        coverage: Of the prediction interval.
    """

    option: Option
    guarantee: str
    metric: str
    budgets: tuple[Mapping[str, int], ...]
    kinds: Mapping[str, str]
    alpha: float
    future: int
    coverage: float


@dataclass(frozen=True)
class Prediction:
    """A certified figure at one budget, and the interval that holds it for further samples."""

    budget: Mapping[str, int]
    value: float | None
    low: float | None
    high: float | None

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {**dataclasses.asdict(self), "budget": dict(self.budget)}


def predict(samples: Sequence[Sample], meta: VotesMeta, goal: Goal, N: int) -> list[Prediction]:
    """The certified figure at every budget with ``N`` draws.

    Args:
        samples: Labelled validation samples with their votes.
        meta: What their votes have in common.
        goal: The figure.
        N: Draws of the certification.

    Raises:
        ConfigError: Where samples have no labels, or the figure is none of the statistics.
    """
    votes = with_draws(samples, meta, goal.option, N)
    meta = dataclasses.replace(meta, draws=N)
    values = _figures(votes, meta, goal)
    if meta.task == "classification":
        known = len(votes)
        bounds = [
            None
            if value is None
            else proportion_interval(value * known, known, goal.future, goal.coverage)
            for value in values
        ]
    else:
        bounds = _by_leaving_out(votes, meta, goal, values)
    return [
        Prediction(budget, value, *(pair or (None, None)))
        for budget, value, pair in zip(goal.budgets, values, bounds, strict=True)
    ]


def _by_leaving_out(
    votes: Sequence[Sample], meta: VotesMeta, goal: Goal, values: Sequence[float | None]
) -> list[tuple[float, float] | None]:
    """The interval of every budget, from the figures of single samples or of all but a few."""
    columns: list[list[float] | None]
    if goal.guarantee == "dataset":
        columns = _pseudo_values(votes, meta, goal)
    else:  # a mean over samples: the pseudo-values of a mean are its terms
        alone = [_figures([sample], meta, goal) for sample in votes]
        columns = [
            [value for value in column if value is not None] for column in zip(*alone, strict=True)
        ]
    return [
        None
        if value is None or column is None
        else mean_interval(value, column, len(votes), goal.future, goal.coverage)
        for value, column in zip(values, columns, strict=True)
    ]


def _pseudo_values(
    votes: Sequence[Sample], meta: VotesMeta, goal: Goal
) -> list[list[float] | None]:
    G = min(len(votes), MOST_GROUPS)
    if G < 2:
        return [None] * len(goal.budgets)
    cache: dict[tuple[int, ...], list[float | None]] = {}

    def figures(groups: Sequence[int]) -> list[float | None]:
        key = tuple(groups)
        if key not in cache:
            kept = [sample for index, sample in enumerate(votes) if index % G in key]
            cache[key] = _figures(kept, meta, goal)
        return cache[key]

    return [
        jackknife(G, lambda groups, at=at: figures(groups)[at])  # type: ignore[misc]
        for at in range(len(goal.budgets))
    ]


def _figures(votes: Sequence[Sample], meta: VotesMeta, goal: Goal) -> list[float | None]:
    document, _, _ = assess(
        votes,
        meta,
        [goal.option],
        budgets=goal.budgets,
        kinds=goal.kinds,
        alpha=goal.alpha,
        claims=("robust",),
        maps=False,
        target=None,
    )
    for entry in document["results"]:
        if entry["guarantee"] == goal.guarantee:
            if goal.metric not in entry["grid"][0]:
                known = ", ".join(key for key in entry["grid"][0] if key != "budget")
                raise ConfigError(f"target.metric={goal.metric}: choose one of {known}.")
            return [point[goal.metric] for point in entry["grid"]]
    found = ", ".join(sorted({entry["guarantee"] for entry in document["results"]}))
    raise ConfigError(
        f"target.guarantee={goal.guarantee}: {goal.option.name} gives {found or 'nothing'}."
    )


def with_draws(samples: Sequence[Sample], meta: VotesMeta, option: Option, N: int) -> list[Sample]:
    """The samples as ``N`` draws are expected to leave them.

    Raises:
        ConfigError: Where a sample has no label; for pairs of votes of pixels with another number
            of draws than was voted.
    """
    if meta.task == "segmentation":
        return [_pixels(sample, N, option) for sample in samples]  # type: ignore[arg-type]
    counted = [sample for sample in samples if isinstance(sample, SampleCounts)]
    votes = np.zeros(meta.draws + 1, np.int64)
    for sample in counted:
        if sample.target is None:
            raise ConfigError(_unlabelled(sample.id))
        votes[sample.counts[sample.target]] += 1
    mixing = mixing_distribution(votes) if meta.draws < N else (np.ones(1), np.ones(1))
    rng = np.random.default_rng(0)  # the same plan from the same votes
    return [
        dataclasses.replace(
            sample,
            counts=redrawn_counts(sample.counts, int(sample.target or 0), N, mixing, rng),
            draws=N,
        )
        for sample in counted
    ]


def _pixels(sample: SampleHistogram, N: int, option: Option) -> SampleHistogram:
    if sample.robust is None:
        raise ConfigError(_unlabelled(sample.id))
    if sample.draws == N:
        return sample
    if option.test == "margin" and len(sample.robust.elements) > 2:
        raise ConfigError(
            f"test: margin with more than two classes is predicted for as many draws as are voted "
            f"only; set plan.draws={N}."
        )
    elements = np.stack([whole_elements(expected_votes(row, N)) for row in sample.robust.elements])
    levels = np.arange(N + 1)
    rival = N - levels if len(elements) == 2 else None
    robust = Levels(levels, rival, elements)
    # Only the robust claim is predicted; what else a histogram holds would be of other draws.
    return dataclasses.replace(
        sample, draws=N, robust=robust, stable=robust, robust_pairs=None, stable_pairs=None
    )


def _unlabelled(sample_id: str) -> str:
    return (
        f"validation sample '{sample_id}' has no label; a plan is chosen by certified metrics, "
        f"which need them."
    )
