"""The certified map of one sample at any budget, from its votes.

The maps on disk are made at one budget for all samples (0 unless asked otherwise); a comparison is
worth looking at where the attack bites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmcert.certification.grid import make_grid
from mmcert.certification.histograms import histogram
from mmcert.certification.maps import certified_map, choose_map
from mmcert.certification.options import parse_statistics
from mmcert.records.folders import VotesFolders
from mmcert.reporting.rays import Ray
from mmcert.reporting.runs import Budget, Result, Run

#: Statistics that say which elements are certified.
NAMING = ("holm", "bonferroni", "binomial", "margin")


def naming_result(run: Run) -> Result | None:
    """The first result that says which elements of a sample are certified; None without votes."""
    if not run.votes or run.task != "segmentation":
        return None
    for result in run.results:
        if (
            result.statistics in NAMING
            and result.claim in ("robust", "stable")
            and result.guarantee != "dataset"
            and isinstance(result.draws, int)
        ):
            return result
    return None


def telling_budget(runs: Sequence[Run], ray: Ray, metric: str) -> Budget | None:
    """The budget on the ray at which the maps of the runs differ most in the main metric.

    Of one run: the middle one of those where it certifies anything.
    """
    results = [naming_result(run) for run in runs]
    if any(result is None for result in results):
        return None
    columns = {
        budget: [result.value(budget, metric) or 0.0 for result in results if result is not None]
        for budget in ray.budgets
    }
    alive = [budget for budget, values in columns.items() if max(values) > 0]
    if not alive:
        return ray.budgets[0] if ray.budgets else None
    if len(runs) == 1:
        return alive[len(alive) // 2]
    return max(alive, key=lambda budget: max(columns[budget]) - min(columns[budget]))


def map_at(run: Run, sample_id: str, budget: Budget) -> npt.NDArray[np.uint8] | None:
    """The certified map ``(H, W)`` of a sample at ``budget``; None where votes cannot say.

    Args:
        run: A run with its votes.
        sample_id: The sample.
        budget: ``r_i`` in the order of ``run.names``.

    Raises:
        RecordError: Where the votes are broken.
    """
    result = naming_result(run)
    if result is None:
        return None
    votes = VotesFolders(dict.fromkeys(folder.resolve() for folder in run.votes))
    if sample_id not in votes.ids:
        return None
    meta = votes.meta
    kinds = dict(result.threat)
    grid = make_grid([dict(zip(run.names, budget, strict=True))], kinds, run.names)
    settings: Mapping[str, Any] = {}
    if result.statistics == "bonferroni" and "test" in result.reading:
        settings = {"test": result.reading["test"]}
    options = parse_statistics({result.statistics: settings}, meta.task, meta.classes)
    choice = choose_map({"budget": dict(grid.budgets[0])}, options, grid, result.alpha)
    if choice is None:
        return None
    sample = votes.read(sample_id)
    pairs = meta.classes > 2 and options[0].test == "margin"
    counted = histogram(sample, meta.ignore_index, pairs=pairs, stable=sample.target is None)
    return certified_map(sample, counted, choice, meta.ignore_index)
