"""A sweep: runs of one or several schemes that differ in one setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmcert.reporting.comparison import reference_run
from mmcert.reporting.runs import Run


@dataclass(frozen=True)
class Sweep:
    """What was swept.

    Args:
        name: The setting, as an axis says it.
        values: Its value in each run, in the order of the runs.
        logarithmic: Whether the setting is one of orders of magnitude.
    """

    name: str
    values: tuple[float, ...]
    logarithmic: bool

    @property
    def settings(self) -> list[float]:
        """The distinct values, smallest first."""
        return sorted(set(self.values))


def find_sweep(runs: Sequence[Run], key: tuple[str, ...]) -> Sweep | None:
    """The one setting in which the runs of a scheme differ; None where that is none or several.

    Args:
        runs: The runs of a report.
        key: The result whose draws and alpha count.
    """
    results = [result for run in runs if (result := run.result(key)) is not None]
    if len(results) < len(runs):
        return None
    schemes = [run.scheme.name for run in runs]
    # Baselines keep the same total as MMCert, so the total is the axis that they share.
    candidates: list[tuple[str, Sequence[float | str], bool]] = [
        ("elements retained per draw", [run.retained for run in runs], False),
        ("draws N", [result.draws for result in results], True),
        ("failure probability alpha", [result.alpha for result in results], True),
    ]
    varying = [
        one for one in candidates if len(set(zip(schemes, one[1], strict=True))) > len(set(schemes))
    ]
    if len(varying) != 1:
        return None
    name, values, logarithmic = varying[0]
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(runs) or len(set(zip(schemes, numbers, strict=True))) < len(runs):
        return None
    return Sweep(name, tuple(float(value) for value in numbers), logarithmic)


def pairs_to_compare(runs: Sequence[Run], sweep: Sweep | None) -> list[tuple[Run, Run]]:
    """Which run is compared with which: the reference with all others, or setting by setting.

    In a sweep over several schemes a baseline is compared with the run of the reference scheme that
    has its setting (the nearest, where one mask of both modalities rounds the total).
    """
    reference = reference_run(runs)
    others = [run for run in runs if run.scheme.name != reference.scheme.name]
    if sweep is None or not others:
        return [(reference, run) for run in runs if run is not reference]
    value = dict(zip((run.label for run in runs), sweep.values, strict=True))
    ours = [run for run in runs if run.scheme.name == reference.scheme.name]
    return [
        (min(ours, key=lambda one: abs(value[one.label] - value[other.label])), other)
        for other in others
    ]
