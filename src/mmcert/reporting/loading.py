"""Run directories from disk. Whoever wrote the folder, nothing in it is executed or followed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mmcert.errors import ConfigError, RecordError
from mmcert.records.certificates import Certificate, read_certificates
from mmcert.records.ids import check_id
from mmcert.records.meta import VotesMeta, read_meta
from mmcert.records.metrics_file import read_metrics
from mmcert.records.patterns import matches
from mmcert.records.run import RunDescription, read_run
from mmcert.records.votes import sample_ids
from mmcert.reporting.runs import Run, parse_results
from mmcert.reporting.wording import scheme_name
from mmcert.theory.schemes import SCHEMES, Scheme, make_scheme

HINT = "give the run_dir of mmcert-certify or mmcert-evaluate."


def load_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs of a report, with labels that tell them apart.

    Args:
        folders: Run directories, or glob patterns of such.

    Raises:
        ConfigError: Where no folder is named, or one twice.
        RecordError: Where a folder is no finished run directory.
    """
    paths = [path for folder in folders for path in matching(folder)]
    if not paths:
        raise ConfigError("runs= names no run directory; give at least one, e.g. runs=[outputs/a].")
    resolved = [path.resolve() for path in paths]
    for path, real in zip(paths, resolved, strict=True):
        if resolved.count(real) > 1:
            raise ConfigError(f"runs= names {path} twice; name each run directory once.")
    return _labelled([load_run(path) for path in paths])


def matching(folder: str | Path) -> list[Path]:
    """The run directories that a pattern matches, finished or not, the jobs of a sweep by number.

    Args:
        folder: A folder, or a glob pattern; what else lies beside the runs is passed over.

    Raises:
        RecordError: Where no run directory matches.
    """
    named = matches(folder)
    if named == [Path(folder)]:
        return named
    found = [
        path
        for path in named
        if any((path / file).is_file() for file in ("metrics.json", "run.json"))
    ]
    if not found:
        raise RecordError(f"{folder}: no run directory matches; {HINT}")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def load_run(path: Path) -> Run:
    """One run directory.

    Raises:
        RecordError: Naming the file that is missing or wrong, and what to do.
    """
    if not path.is_dir():
        raise RecordError(f"{path}: no such folder; {HINT}")
    if not (path / "metrics.json").is_file():
        raise RecordError(f"{path}: no metrics.json, so this is no finished run directory; {HINT}")
    metrics = read_metrics(path / "metrics.json")
    certificates, _ = read_certificates(path / "certificates.parquet")
    for row in certificates:
        check_id(row.id, str(path / "certificates.parquet"))
    description = read_run(path) if (path / "run.json").is_file() else None
    votes = _votes_folders(path, description)
    meta = read_meta(votes[0]) if votes else None
    scheme, sizes_vary = _common_scheme(metrics, certificates, description, meta, path)
    names = [modality.name for modality in scheme.modalities]
    results = parse_results(metrics, names, path / "metrics.json")
    rows = {row.id: row for row in certificates}
    # Statistics that name no sample (one number for the data set) leave no row.
    ids = tuple(sorted(rows or {i for folder in votes for i in sample_ids(folder)}))
    labelled = any(
        result.claim != "stable" and result.reading.get("samples", len(ids)) == len(ids)
        for result in results
    )
    return Run(
        path=path,
        label=scheme_name(scheme.name),
        task=str(metrics["task"]),
        scheme=scheme,
        classes=_classes(certificates, meta),
        ids=ids,
        truth={row.id: _truth(row, labelled) for row in certificates},
        results=results,
        certificates=tuple(certificates),
        class_names=meta.class_names if meta else (),
        sizes_vary=sizes_vary,
        description=description,
        config=_config(path, votes),
        votes=votes,
    )


def _votes_folders(path: Path, description: RunDescription | None) -> tuple[Path, ...]:
    """The votes that the run counted; none where they are no longer there."""
    named = [Path(entry) for entry in description.votes] if description else []
    candidates = [path / "votes", *named, *(entry / "votes" for entry in named)]
    return tuple(folder for folder in candidates if (folder / "meta.json").is_file())


def _common_scheme(
    metrics: Mapping[str, Any],
    certificates: Sequence[Certificate],
    description: RunDescription | None,
    meta: VotesMeta | None,
    path: Path,
) -> tuple[Scheme, bool]:
    """The scheme at the most common ``n`` and ``k``, and whether samples differ in them."""
    sizes = Counter((tuple(row.n.items()), tuple(row.k.items())) for row in certificates)
    if not sizes and meta is None:
        raise RecordError(
            f"{path}: neither a row in certificates.parquet nor votes, so n and k are unknown; "
            f"{HINT}"
        )
    if not sizes and meta is not None:
        return SCHEMES[meta.scheme](meta.modalities), False
    (n, k), _ = sizes.most_common(1)[0]
    elements: dict[str, str] = dict(description.elements) if description else {}
    if meta:
        elements |= {m.name: m.element for m in meta.modalities}
    order = [m.name for m in meta.modalities] if meta else [name for name, _ in n]
    counts, retained = dict(n), dict(k)
    try:
        scheme = make_scheme(
            str(metrics["scheme"]),
            {name: counts[name] for name in order},
            k={name: retained[name] for name in order},
            elements=elements,
        )
    except (ConfigError, KeyError) as error:
        raise RecordError(
            f"{path}: metrics.json and certificates.parquet do not describe one scheme ({error}); "
            f"run mmcert-evaluate on the votes again."
        ) from None
    return scheme, len(sizes) > 1


def _classes(certificates: Sequence[Certificate], meta: VotesMeta | None) -> int | None:
    if meta:
        return meta.classes
    if not certificates:
        return None
    row = certificates[0]
    votes = row.hist if row.hist is not None else row.counts
    return None if votes is None else len(votes)


def _truth(row: Certificate, labelled: bool) -> tuple[int, ...] | None:
    """What two runs over the same data must agree in; without labels only the size."""
    if row.hist is None:
        return None if row.target is None else (row.target,)
    sizes = tuple(sum(level) for level in row.hist)
    return sizes if labelled else (sum(sizes),)


def _config(path: Path, votes: Sequence[Path]) -> dict[str, Any]:
    """The run's configuration; the data section of the run that voted where it has none."""
    config = _read_config(path / "config.yaml")
    for folder in votes:
        if not config.get("data"):
            config["data"] = _read_config(folder.parent / "config.yaml").get("data")
    return config


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: not a readable configuration ({error}); {HINT}") from None
    if not isinstance(config, dict):
        raise RecordError(f"{path}: the configuration must be a mapping; {HINT}")
    return config


def _labelled(runs: list[Run]) -> list[Run]:
    """Labels by scheme; where one repeats, with what differs between its runs."""
    labels = [run.label for run in runs]
    result = []
    for run in runs:
        twins = [other for other in runs if other.label == run.label]
        label = run.label
        if len(twins) > 1:
            details = [
                detail(run)
                for detail in (_retained_text, _draws_text, _alpha_text)
                if len({detail(twin) for twin in twins}) > 1
            ]
            label = f"{run.label} ({', '.join(details)})" if details else run.label
        result.append(replace(run, label=label))
    labels = [run.label for run in result]
    named = [
        replace(run, label=f"{run.label} [{run.path.name}]") if labels.count(run.label) > 1 else run
        for run in result
    ]
    labels = [run.label for run in named]
    return [
        replace(run, label=f"{run.label} #{index + 1}") if labels.count(run.label) > 1 else run
        for index, run in enumerate(named)
    ]


def _retained_text(run: Run) -> str:
    return "k " + "/".join(str(modality.k) for modality in run.scheme.modalities)


def _draws_text(run: Run) -> str:
    return "N " + "/".join(sorted({str(result.draws) for result in run.results}))


def _alpha_text(run: Run) -> str:
    return "alpha " + "/".join(sorted({f"{result.alpha:g}" for result in run.results}))
