"""Certified maps: for every pixel its class where that is certified at a stated budget."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcert.certification.counting import View, view
from mmcert.certification.grid import Grid, make_grid
from mmcert.certification.histograms import Levels, SampleHistogram, claimed_label
from mmcert.certification.levels import level_bounds, limits, split_over_labels
from mmcert.certification.options import Option
from mmcert.errors import ConfigError
from mmcert.records.ids import check_id
from mmcert.records.maps import ABSTAINED, MOST_CLASSES, UNLABELLED, write_map
from mmcert.records.votes import SampleVotes

#: Settings of the ``maps`` section.
KEYS = ("budget", "statistics")


@dataclass(frozen=True)
class MapChoice:
    """What the maps show.

    Args:
        option: An option that names elements, with a family per sample or none.
        grid: The one budget of the maps.
        alpha: Failure probability of a sample's family (of a pixel for ``binomial``, ``margin``).
    """

    option: Option
    grid: Grid
    alpha: float

    def facts(self) -> dict[str, Any]:
        """What is stated with the maps."""
        return {
            "statistics": self.option.name,
            "claim": "robust where the sample has a target, else stable",
            "budget": dict(self.grid.budgets[0]),
            "alpha": self.alpha,
            "abstained": ABSTAINED,
            "unlabelled": UNLABELLED,
        }


def choose_map(
    maps: Mapping[str, Any] | bool, options: Sequence[Option], grid: Grid, alpha: float
) -> MapChoice | None:
    """Which option and budget the maps show; None where there are none.

    ``closed_evalues`` certifies a number of pixels and not which, so no map comes from it.

    Raises:
        ConfigError: For an unknown key or modality, or an option that names no pixels.
    """
    if maps is False:
        return None
    settings: Mapping[str, Any] = {} if maps is True else maps
    unknown = sorted(set(settings) - set(KEYS))
    if unknown:
        raise ConfigError(f"maps has no setting {unknown[0]!r}; it knows {', '.join(KEYS)}.")
    naming = {
        option.name: option
        for option in options
        if option.name != "closed_evalues" and (not option.families or "sample" in option.families)
    }
    wanted = settings.get("statistics")
    if wanted is not None and wanted not in naming:
        raise ConfigError(
            f"maps.statistics={wanted}: maps need one of the evaluated statistics that say which "
            f"pixels of a sample are certified ({', '.join(naming) or 'none of them does'})."
        )
    if not naming:
        return None
    option = naming[wanted] if wanted is not None else next(iter(naming.values()))
    budget = settings.get("budget") or dict.fromkeys(grid.kinds, 0)
    return MapChoice(option, make_grid([budget], grid.kinds, list(grid.kinds)), alpha)


def write_maps(
    folder: Path,
    votes: Iterable[SampleVotes],
    histograms: Sequence[Any],
    choice: MapChoice,
    ignore_index: int,
) -> None:
    """Write one map per sample; the folder appears with all of them, or stays as it was."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    budget = choice.facts()
    facts = {key: json.dumps(value) for key, value in budget.items()}
    with tempfile.TemporaryDirectory(prefix=".maps.", dir=folder.parent) as temporary:
        new = Path(temporary) / "maps"
        new.mkdir()
        for sample, counted in zip(votes, histograms, strict=True):
            check_id(sample.id)
            image = certified_map(sample, counted, choice, ignore_index)
            write_map(new / f"{sample.id}.png", image, facts)
        if folder.exists():
            shutil.move(folder, Path(temporary) / "old")
        new.rename(folder)


def certified_map(
    sample: SampleVotes, counted: SampleHistogram, choice: MapChoice, ignore_index: int
) -> NDArray[np.uint8]:
    """The map of one sample, uint8 ``(H, W)``: class ids, 254 abstained, 255 unlabelled.

    Shows the true class where it is certified robust; without a target, the predicted class where
    it is certified stable.

    Raises:
        ConfigError: For more classes than the two special values leave room for.
    """
    classes = len(sample.counts)
    if classes > MOST_CLASSES:
        raise ConfigError(
            f"a map has room for {MOST_CLASSES} classes, not {classes}; set maps: false."
        )
    labelled = sample.target is not None and counted.robust is not None
    claim = "robust" if labelled else "stable"
    one = view(counted, claim, choice.option, choice.grid)
    certified = _certified_levels(one, choice)
    labels = np.asarray(sample.target) if labelled else claimed_label(sample)
    inside = (labels >= 0) & (labels < classes) & (labels != ignore_index)
    flat = np.where(inside, labels, 0)
    own = np.take_along_axis(sample.counts, flat[None], axis=0)[0].astype(np.int64)
    in_pairs = classes > 2 and choice.option.test == "margin"
    where = _pair_level(sample, flat, own, one.levels) if in_pairs else own
    image = np.where(certified[where], flat, ABSTAINED)
    return np.where(inside, image, UNLABELLED).astype(np.uint8)


def _certified_levels(one: View, choice: MapChoice) -> NDArray[np.bool_]:
    alpha = split_over_labels(choice.alpha, choice.option, one.selected, len(one.counted))
    P = int(one.levels.sizes.sum())
    bounds = level_bounds(choice.option, one.levels, one.N, alpha, P, one.selected)
    return np.asarray(bounds >= limits(choice.option, one.thresholds, one.N)[0])


def _pair_level(
    sample: SampleVotes, labels: NDArray[Any], own: NDArray[np.int64], levels: Levels
) -> NDArray[np.intp]:
    """The level of each pixel where levels are pairs (votes, strongest rival)."""
    rivals = sample.counts.astype(np.int64)
    np.put_along_axis(rivals, labels[None], -1, axis=0)
    assert levels.rival is not None
    width = sample.draws + 1
    keys = levels.votes * width + levels.rival
    found = np.searchsorted(keys, own * width + rivals.max(axis=0))
    return np.asarray(np.minimum(found, len(keys) - 1), dtype=np.intp)
