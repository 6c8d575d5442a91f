"""A run directory as the report sees it: one scheme, its results, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmcert.errors import RecordError
from mmcert.records.certificates import Certificate
from mmcert.records.run import RunDescription
from mmcert.theory.attacks import Attack
from mmcert.theory.schemes import Scheme

Budget = tuple[int, ...]  # r_i in the order of Run.names
_FIELDS = frozenset(
    ("statistics", "claim", "guarantee", "family", "over_budgets", "alpha", "draws", "threat")
)


@dataclass(frozen=True)
class Result:
    """One entry of ``results`` in metrics.json: one statistics option, over a grid of budgets.

    Args:
        statistics: The option, e.g. ``holm``.
        claim: ``robust``, ``stable`` or ``deployed``.
        guarantee: ``per_element``, ``per_sample`` or ``dataset``.
        family: ``sample`` or ``dataset``.
        over_budgets: ``joint`` or ``each``.
        alpha: Failure probability.
        draws: N, or ``sequential`` or ``exhaustive``.
        threat: Threat kind per modality.
        values: Metric values (None: undefined) per budget.
        metrics: Names of the metrics, in the order of the file.
        reading: How the figures are to be read: promise, average, samples left out.
        variant: Further text fields that tell it from another result with the same statistics.
    """

    statistics: str
    claim: str
    guarantee: str
    family: str
    over_budgets: str
    alpha: float
    draws: int | str
    threat: Mapping[str, str]
    values: Mapping[Budget, Mapping[str, float | None]]
    metrics: tuple[str, ...]
    reading: Mapping[str, Any] = field(default_factory=dict)
    variant: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """What must agree for two results to be drawn on the same axes."""
        own = (self.statistics, self.claim, self.guarantee, self.family, self.over_budgets)
        return own + self.variant

    @property
    def slug(self) -> str:
        """Its part of a file name."""
        parts = [self.statistics, self.guarantee]
        if self.claim != "robust":
            parts.append(self.claim)
        if self.over_budgets == "joint":
            parts.append("joint")
        parts += self.variant
        return "_".join("".join(c if c.isalnum() or c in "-_" else "-" for c in p) for p in parts)

    def value(self, budget: Budget, metric: str) -> float | None:
        """The metric at that budget; None where undefined or not evaluated."""
        return self.values.get(budget, {}).get(metric)


@dataclass(frozen=True)
class Run:
    """One run directory.

    Args:
        path: The folder.
        label: What a legend calls it; unique among the runs of a report.
        task: ``segmentation`` or ``classification``.
        scheme: The scheme with ``n`` and ``k`` of its most common sample size.
        classes: Number of classes.
        ids: Ids of the certified samples, sorted.
        truth: What is known of each sample's labels: elements per class, or the class, or None.
        results: One per statistics option and claim.
        certificates: Rows of certificates.parquet.
        class_names: Names of the classes, or empty.
        sizes_vary: Whether ``n`` or ``k`` differ between samples.
        description: run.json; None where there is none.
        config: config.yaml (empty where there is none).
        votes: Votes folders of the run that exist.
    """

    path: Path
    label: str
    task: str
    scheme: Scheme
    classes: int | None
    ids: tuple[str, ...]
    truth: Mapping[str, tuple[int, ...] | None]
    results: tuple[Result, ...]
    certificates: tuple[Certificate, ...] = ()
    class_names: tuple[str, ...] = ()
    sizes_vary: bool = False
    description: RunDescription | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    votes: tuple[Path, ...] = ()

    @property
    def samples(self) -> int:
        """Number of certified samples."""
        return len(self.ids)

    @property
    def data_seed(self) -> int | None:
        """The seed that split or wrote the data, where the run says."""
        seeds = self.description.seeds if self.description else {}
        return seeds.get("data", seeds.get("split"))

    @property
    def names(self) -> tuple[str, ...]:
        """Modalities, in the order of their budgets."""
        return tuple(modality.name for modality in self.scheme.modalities)

    @property
    def retained(self) -> int:
        """Elements that the base model sees per draw, over all modalities."""
        return sum(pool.k * (len(pool.names) if pool.shared else 1) for pool in self.scheme.pools())

    def result(self, key: tuple[str, ...]) -> Result | None:
        """The result of that key."""
        return next((result for result in self.results if result.key == key), None)

    def attack(self, budget: Budget, result: Result) -> Attack:
        """The attack of that budget under the threat of ``result``."""
        return Attack(dict(zip(self.names, budget, strict=True)), dict(result.threat))


def parse_results(
    metrics: Mapping[str, Any], names: Sequence[str], where: Path
) -> tuple[Result, ...]:
    """The results of a metrics.json document (schema 1).

    Raises:
        RecordError: Where a key is missing, or a budget names an unknown modality.
    """
    results = []
    for index, entry in enumerate(metrics["results"]):
        try:
            values: dict[Budget, dict[str, float | None]] = {}
            order: dict[str, None] = {}
            for point in entry["grid"]:
                budget = point["budget"]
                unknown = sorted(set(budget) - set(names))
                if unknown:
                    raise RecordError(
                        f"{where}: results[{index}] has a budget for '{unknown[0]}', which is not "
                        f"a modality of this run ({', '.join(names)}); evaluate the votes again."
                    )
                numbers = {
                    key: None if value is None else float(value)
                    for key, value in point.items()
                    if value is None or (isinstance(value, int | float) and key != "budget")
                }
                order.update(dict.fromkeys(numbers))
                values[tuple(int(budget.get(name, 0)) for name in names)] = numbers
            threat = entry.get("threat") or {}
            results.append(
                Result(
                    statistics=str(entry["statistics"]),
                    claim=str(entry["claim"]),
                    guarantee=str(entry["guarantee"]),
                    family=str(entry["family"]),
                    over_budgets=str(entry["over_budgets"]),
                    alpha=float(entry["alpha"]),
                    draws=entry["draws"],
                    threat={name: str(threat.get(name, "modification")) for name in names},
                    values=values,
                    metrics=tuple(name for name in order if _ever_defined(values, name)),
                    reading=dict(entry.get("reading") or {}),
                    variant=tuple(
                        value
                        for name, value in sorted(entry.items())
                        if name not in _FIELDS and isinstance(value, str)
                    ),
                )
            )
        except KeyError as error:
            raise RecordError(
                f"{where}: results[{index}] lacks {error}; evaluate the votes again "
                f"(mmcert-evaluate votes=...)."
            ) from None
    return tuple(results)


def _ever_defined(values: Mapping[Budget, Mapping[str, float | None]], metric: str) -> bool:
    return any(point.get(metric) is not None for point in values.values())
