"""From votes to certificates, metrics and maps: the one path of every command.

``mmcert-certify`` and ``mmcert-evaluate`` both end here, so the same votes and settings give the
same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmcert.certification.classification import SampleCounts
from mmcert.certification.formulas import METRICS
from mmcert.certification.grid import Grid, make_grid
from mmcert.certification.histograms import SampleHistogram
from mmcert.certification.maps import MapChoice, choose_map, write_maps
from mmcert.certification.options import (
    CLAIMS,
    Option,
    check_claims,
    exhaustive_option,
    parse_statistics,
)
from mmcert.certification.reading import Sample, read_samples
from mmcert.certification.results import Target, classification_results, segmentation_results
from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError, UnsoundError
from mmcert.records.certificates import Certificate, write_certificates
from mmcert.records.meta import VotesMeta
from mmcert.records.metrics_file import SCHEMA, write_metrics
from mmcert.records.votes import SampleVotes
from mmcert.theory.attacks import Attack, ThreatKind
from mmcert.theory.bounds import check_alpha
from mmcert.theory.planning import warnings_for
from mmcert.theory.schemes import SCHEMES, Scheme
from mmcert.theory.sequential import require_fixed

Say = Callable[[str], None]

#: What each image's frontier is for, unless another target is stated.
TARGET: Mapping[str, Any] = MappingProxyType({"metric": "certified_f_score", "level": 0.8})


def evaluate(
    votes: Iterable[SampleVotes],
    meta: VotesMeta,
    *,
    budgets: Sequence[Mapping[str, int]] | None = None,
    kinds: Mapping[str, str] | str = "modification",
    statistics: Mapping[str, Mapping[str, Any] | None] | None = None,
    alpha: float = 0.001,
    claims: Sequence[str] | None = None,
    out: str | Path | None = None,
    maps: Mapping[str, Any] | bool = True,
    target: Mapping[str, Any] | None = TARGET,
    say: Say | None = None,
) -> dict[str, Any]:
    """Certify votes, and write the outcome where ``out`` is given.

    One sample's votes are in memory at a time; the iterable is gone through twice where maps are
    written. Nothing is written before everything is computed; ``metrics.json`` comes last.

    Args:
        votes: Samples, e.g. :class:`mmcert.records.folders.VotesFolders`, in the order of the rows.
        meta: What they have in common.
        budgets: Attack budgets; None: an automatic grid, as far as unanimous votes can certify.
        kinds: Threat kind per modality, or one for all.
        statistics: Option -> settings; None or empty: by task.
        alpha: Failure probability.
        claims: ``robust``, ``stable``, ``deployed``; None: all that the votes allow.
        out: Run directory: ``certificates.parquet``, ``maps/``, ``metrics.json``.
        maps: Segmentation: ``{"budget": ..., "statistics": ...}`` of the certified maps; True: at
            budget 0 under the first option that names elements; False: none.
        target: Segmentation: metric and level that a sample's frontier is for; None: no frontier.
        say: Gets lines for the user (what the draws cannot certify, say).

    Returns:
        The content of ``metrics.json``.

    Raises:
        ConfigError: For settings that make no sense.
        UnsoundError: For statistics that the votes do not allow.
        RecordError: For votes that are not what they say.
    """
    check_alpha(alpha)
    options = options_for(statistics, meta)
    wanted = None if claims is None else check_claims(claims)
    if iter(votes) is votes:  # an iterator can be gone through only once
        votes = list(votes)
    samples = read_samples(votes, meta, options, wanted)
    document, rows, choice = assess(
        samples,
        meta,
        options,
        budgets=budgets,
        kinds=kinds,
        alpha=alpha,
        claims=wanted,
        maps=maps,
        target=target,
        say=say,
    )
    if out is not None:
        out = Path(out)
        if choice is not None:
            write_maps(out / "maps", votes, samples, choice, meta.ignore_index)
        elif (out / "maps").exists():  # of an earlier evaluation: they would belong to nothing
            shutil.rmtree(out / "maps")
        level = 0.0 if meta.voting == "exhaustive" else alpha
        facts = {"voting": meta.voting, "alpha": repr(level), "task": meta.task}
        write_certificates(out / "certificates.parquet", rows, facts)
        write_metrics(out / "metrics.json", document)
    return document


def assess(
    samples: Sequence[Sample],
    meta: VotesMeta,
    options: Sequence[Option],
    *,
    budgets: Sequence[Mapping[str, int]] | None = None,
    kinds: Mapping[str, str] | str = "modification",
    alpha: float = 0.001,
    claims: tuple[str, ...] | None = None,
    maps: Mapping[str, Any] | bool = True,
    target: Mapping[str, Any] | None = TARGET,
    say: Say | None = None,
) -> tuple[dict[str, Any], list[Certificate], MapChoice | None]:
    """The content of ``metrics.json``, the certificates, and what the maps show.

    Arguments as in :func:`evaluate`; nothing is read or written here.
    """
    goal = _target(target)
    schemes = list(dict.fromkeys(sample.scheme for sample in samples))
    grid = _grid(budgets, kinds, meta, alpha, say)
    _check_schemes(schemes, grid)
    claims = _claims(claims, samples)
    draws = _draws(meta, samples)
    level = 0.0 if meta.voting == "exhaustive" else alpha
    choice: MapChoice | None = None
    if meta.task == "segmentation":
        histograms = [sample for sample in samples if isinstance(sample, SampleHistogram)]
        unit = _unit(meta)
        entries, rows = segmentation_results(
            histograms, options, claims, grid, level, draws, unit, goal
        )
        choice = choose_map(maps, options, grid, level)
    else:
        counts = [sample for sample in samples if isinstance(sample, SampleCounts)]
        entries, rows = classification_results(counts, options, claims, grid, level, draws)
    if say is not None and meta.voting == "fixed":
        _warn(say, samples, options, grid, alpha, meta)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "task": meta.task,
        "scheme": meta.scheme,
        "samples": len(samples),
        "elements": {modality.name: modality.element for modality in meta.modalities},
        "thresholds": [_thresholds(scheme, grid) for scheme in schemes],
        "results": entries,
    }
    if meta.task == "segmentation" and goal is not None:
        document["target"] = {"metric": goal[0], "level": float(goal[1])}
    if choice is not None:
        document["maps"] = choice.facts()
    return document, rows, choice


def options_for(
    statistics: Mapping[str, Mapping[str, Any] | None] | None, meta: VotesMeta
) -> tuple[Option, ...]:
    """The statistics options that are asked for, where the votes allow them.

    Raises:
        ConfigError: For an unknown option or setting.
        UnsoundError: For statistics of a fixed number of draws on sequential votes, or of any
            draws on exhaustive ones.
    """
    if meta.voting == "exhaustive":
        if statistics:
            raise UnsoundError(
                f"these votes count every sub-sample, so nothing is estimated from them: they are "
                f"certified by counting, without statistics={sorted(statistics)}; leave it empty."
            )
        return (exhaustive_option(meta.task),)
    if meta.voting == "fixed":
        return parse_statistics(statistics or {}, meta.task, meta.classes)
    for name in statistics or {}:
        if name != "closed_evalues":
            require_fixed(meta.voting, name)
    asked = statistics or {"closed_evalues": {}}
    return tuple(
        replace(option, sequential=True)
        for option in parse_statistics(asked, meta.task, meta.classes)
    )


def _grid(
    budgets: Sequence[Mapping[str, int]] | None,
    kinds: Mapping[str, str] | str,
    meta: VotesMeta,
    alpha: float,
    say: Say | None,
) -> Grid:
    if budgets is None:  # by what the votes' description says, which no order of samples changes
        budgets, kinds = budgets_from(
            {"kind": kinds},
            meta.names,
            scheme=SCHEMES[meta.scheme](meta.modalities),
            draws=None if meta.voting == "exhaustive" else meta.draws,
            alpha=alpha,
            say=say,
        )
    return make_grid(budgets, kinds, meta.names)


def _check_schemes(schemes: Sequence[Scheme], grid: Grid) -> None:
    """Refuse threats that the schemes of the samples do not certify.

    Raises:
        UnsoundError: Where elements may be added or deleted while ``k`` is no constant: a ratio of
            ``n`` changes with the attack, and no sub-sample would be common (method, section 1).
    """
    schemes[0].check(Attack(dict(grid.budgets[0]), dict(grid.kinds)))
    for name, kind in grid.kinds.items():
        if kind == ThreatKind.MODIFICATION:
            continue
        counts = sorted({scheme.modality(name).k for scheme in schemes})
        if len(counts) > 1:
            raise UnsoundError(
                f"threat.kind.{name}={kind} needs the same number of retained elements for every "
                f"sample, and here it goes from {counts[0]} to {counts[-1]} (a ratio of n?); "
                f"vote with scheme.k, or certify modification."
            )


def _claims(wanted: tuple[str, ...] | None, samples: Sequence[Sample]) -> tuple[str, ...]:
    labelled = any(
        sample.robust is not None
        if isinstance(sample, SampleHistogram)
        else sample.target is not None
        for sample in samples
    )
    possible = CLAIMS if labelled else ("stable",)
    if wanted is None:
        return possible
    if not labelled and wanted != ("stable",):
        raise ConfigError(
            f"claims={list(wanted)} needs labels, and no sample has a target; use claims=[stable]."
        )
    return wanted


def _draws(meta: VotesMeta, samples: Sequence[Sample]) -> int | str:
    """The number of draws; the smallest where samples differ."""
    if meta.voting != "fixed":
        return meta.voting
    return min(sample.draws for sample in samples)


def _unit(meta: VotesMeta) -> str:
    return "pixels" if any("pixel" in m.element for m in meta.modalities) else "elements"


def _thresholds(scheme: Scheme, grid: Grid) -> dict[str, Any]:
    """The thresholds that decide, rounded up once, in the order of the grid."""
    return {
        "n": {modality.name: modality.n for modality in scheme.modalities},
        "k": {modality.name: modality.k for modality in scheme.modalities},
        "t": grid.thresholds(scheme).t.tolist(),
    }


def _target(target: Mapping[str, Any] | None) -> Target | None:
    if not target or target.get("level") is None:
        return None
    metric, level = target.get("metric", "certified_f_score"), target["level"]
    if metric not in METRICS:
        raise ConfigError(f"target.metric must be one of {', '.join(METRICS)}, not {metric!r}.")
    exact = Fraction(str(level))
    if not 0 < exact <= 1:
        raise ConfigError(f"target.level must lie in (0, 1], not {level!r}.")
    return str(metric), exact


def _warn(
    say: Say,
    samples: Sequence[Sample],
    options: Sequence[Option],
    grid: Grid,
    alpha: float,
    meta: VotesMeta,
) -> None:
    first = samples[0]
    P = len(samples)
    if isinstance(first, SampleHistogram):
        P = max(int((first.robust or first.stable).elements.sum()), 1)
    asked: dict[str, Mapping[str, Any]] = {
        option.name: {
            "method": option.method,
            "levels": option.levels,
            "weights": option.weights,
            "over_budgets": option.over_budgets,
        }
        for option in options
    }
    for sentence in warnings_for(
        first.scheme, grid.budgets, grid.kinds, N=first.draws, alpha=alpha, P=P, statistics=asked
    ):
        say(sentence)
