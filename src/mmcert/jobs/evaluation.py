"""Votes on disk become certificates and metrics; no model, no data, no torch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from mmcert.certification.evaluate import TARGET
from mmcert.certification.evaluate import evaluate as certify_votes
from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError
from mmcert.jobs.alone import alone
from mmcert.jobs.sources import SourceRun, check_untouched, check_votes_allow, source_run
from mmcert.records.atomic import atomic_write
from mmcert.records.folders import VotesFolders, find_votes
from mmcert.records.run import RunDescription, package_versions, read_run, write_run
from mmcert.records.votes import votes_sha256
from mmcert.reporting.summary import print_summary
from mmcert.saying import Pace, animated, busy, say

DEFAULT_ALPHA = 0.001


@alone
def evaluate(
    config: Mapping[str, Any], run_dir: str | Path, *, console: Console | None = None
) -> dict[str, Any]:
    """Certify votes that are on disk.

    Args:
        config: Plain configuration, the keys of ``conf/evaluate.yaml``.
        run_dir: Where everything goes.
        console: Where a person reads; None: nowhere.

    Returns:
        The content of ``metrics.json``.
    """
    console = console or Console(quiet=True)
    run_dir = Path(run_dir)

    def note(line: str) -> None:
        say(console, f"Note: {line}", "yellow")

    refuse_foreign(run_dir)
    began = time.perf_counter()
    public = public_file(config["votes"])
    if public is not None:
        folders: tuple[Path, ...] = (import_public(public, config, run_dir, console),)
    else:
        folders = find_votes(config["votes"])
    votes = VotesFolders(folders)
    source = source_run(folders)
    check_untouched(votes, source)
    settings = effective(config, source, votes.meta.voting)
    budgets, kinds = None, settings["threat"].get("kind") or "modification"
    if settings["threat"].get("grid") is not None or settings["threat"].get("budgets") is not None:
        budgets, kinds = budgets_from(settings["threat"], votes.meta.names, say=note)
    check_votes_allow(votes, source, kinds, note)
    with busy(console, f"evaluating {len(votes)} samples"):
        metrics = certify_votes(
            votes,
            votes.meta,
            budgets=budgets,
            kinds=kinds,
            statistics=settings["statistics"],
            alpha=settings["alpha"],
            claims=settings["claims"],
            out=run_dir,
            maps=settings["maps"],
            target=settings["target"] or TARGET,
            say=note,
        )
    write_description(run_dir, settings, votes, source, time.perf_counter() - began)
    print_summary(console, run_dir)
    return metrics


def public_file(votes: Any) -> Path | None:
    """The votes file of the public MMCert code (``*.pth``) that ``votes=`` names, or None."""
    named = votes[0] if isinstance(votes, list) and len(votes) == 1 else votes
    return Path(named) if isinstance(named, str) and named.endswith(".pth") else None


def import_public(path: Path, config: Mapping[str, Any], run_dir: Path, console: Console) -> Path:
    """Count the votes of the public code into ``run_dir/votes``; needs torch.

    Raises:
        RecordError: For a file of another layout.
        ConfigError: Where ``scheme.name`` and ``scheme.k`` do not say what was retained.
    """
    from mmcert.voting.public_votes import WHAT_DIFFERS, import_public_votes

    scheme = config.get("scheme") or {}
    pace = Pace(console, "counting", "images", 0)

    def counted(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        pace.total = total
        pace(done)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not animated(console)) as progress:
        task = progress.add_task(f"counting {path.name}", total=None)
        import_public_votes(
            path,
            run_dir / "votes",
            scheme=scheme.get("name") or "mmcert",
            k=scheme.get("k") or {},
            classes=config.get("classes") or 2,
            progress=counted,
        )
    say(console, WHAT_DIFFERS)
    return run_dir / "votes"


def effective(
    config: Mapping[str, Any], source: SourceRun | None, voting: str = "fixed"
) -> dict[str, Any]:
    """The settings of this evaluation: the command line, else the run of the votes, else defaults.

    A grid given on the command line replaces the run's list of budgets, and the reverse.

    Raises:
        ConfigError: Where alpha is no number.
    """
    stored: Mapping[str, Any] = source.config if source is not None else {}
    threat = _over(stored.get("threat"), config.get("threat"))
    given = {
        key for key in ("grid", "budgets") if (config.get("threat") or {}).get(key) is not None
    }
    if given:
        threat |= dict.fromkeys({"grid", "budgets"} - given)
    alpha = _first(config.get("alpha"), stored.get("alpha"), DEFAULT_ALPHA)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise ConfigError(f"alpha must be a number, not {alpha!r}.")
    statistics = config.get("statistics") or {}
    if not statistics:
        # A run that counts everything, or stops by its votes, has no use for the others.
        usable = {"fixed": None, "sequential": {"closed_evalues"}, "exhaustive": set()}[voting]
        kept = dict(stored.get("statistics") or {})
        statistics = {name: kept[name] for name in kept if usable is None or name in usable}
    maps, stored_maps = config.get("maps"), stored.get("maps")
    if maps is not False:
        maps = stored_maps if stored_maps is False else _over(stored_maps, maps)
    return {
        "alpha": float(alpha),
        "threat": threat,
        "statistics": statistics,
        "claims": _first(config.get("claims"), stored.get("claims")),
        "maps": True if maps is None or maps == {} else maps,
        "target": _over(stored.get("target"), config.get("target")) or None,
    }


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _over(stored: Any, given: Any) -> dict[str, Any]:
    """``stored`` with every key of ``given`` that is set."""
    base = dict(stored) if isinstance(stored, Mapping) else {}
    change = given if isinstance(given, Mapping) else {}
    return {**base, **{key: value for key, value in change.items() if value is not None}}


def refuse_foreign(run_dir: Path) -> None:
    """Refuse to write into the directory of another command's run.

    Raises:
        ConfigError: Where a run of ``mmcert-certify`` is there.
    """
    if (run_dir / "run.json").is_file() and read_run(run_dir).command != "evaluate":
        raise ConfigError(
            f"run_dir={run_dir} holds a run of mmcert-certify with its own certificates; choose "
            f"another run_dir for this evaluation."
        )


def write_description(
    run_dir: Path,
    settings: Mapping[str, Any],
    votes: VotesFolders,
    source: SourceRun | None,
    seconds: float,
) -> None:
    """Write ``config.yaml`` and ``run.json``: what was evaluated, and where the votes came from."""
    meta = votes.meta
    folders = tuple(str(folder) for folder in votes.folders)
    run = RunDescription(
        command="evaluate",
        task=meta.task,
        scheme=meta.scheme,
        elements={modality.name: modality.element for modality in meta.modalities},
        fingerprint=meta.fingerprint,
    )
    if source is not None:
        run = dataclasses.replace(source.description, command="evaluate", extra={})
    hashes = {}
    if len(votes.folders) == 1:
        hashes = {sample_id: votes_sha256(votes.folders[0], sample_id) for sample_id in votes.ids}
    run = dataclasses.replace(
        run,
        stopping=meta.voting,
        votes=folders,
        votes_sha256=hashes,
        versions=package_versions(),
        timings={**run.timings, "evaluation": seconds},
    )
    with atomic_write(run_dir / "config.yaml") as stream:
        text = yaml.safe_dump({"votes": list(folders), **settings}, sort_keys=False)
        stream.write(text.encode())
    write_run(run_dir, run)
