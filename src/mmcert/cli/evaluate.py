"""``mmcert-evaluate``: votes become certificates and metrics; no model, no data, no torch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcert.cli._app import run_app
from mmcert.errors import ConfigError, RecordError

if TYPE_CHECKING:
    from rich.console import Console

    from mmcert.records.folders import VotesFolders
    from mmcert.records.run import RunDescription

DEFAULT_ALPHA = 0.001


def main() -> None:
    """Entry point of the command."""
    run_app("evaluate", evaluate_votes)


def evaluate_votes(config: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Certify votes that are on disk.

    Args:
        config: Plain configuration of ``evaluate.yaml`` and the command line.
        run_dir: Where everything goes.

    Returns:
        The content of ``metrics.json``.
    """
    from rich.console import Console

    from mmcert.certification.evaluate import TARGET, evaluate
    from mmcert.certification.threat import budgets_from
    from mmcert.cli._summary import print_summary
    from mmcert.records.folders import VotesFolders, find_votes

    console = Console()

    def say(line: str) -> None:
        console.print(f"Note: {line}", style="yellow", highlight=False)

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
        budgets, kinds = budgets_from(settings["threat"], votes.meta.names, say=say)
    check_votes_allow(votes, source, kinds, say)
    with console.status(f"evaluating {len(votes)} samples"):
        metrics = evaluate(
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
            say=say,
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
    from rich.progress import Progress

    from mmcert.voting.public_votes import WHAT_DIFFERS, import_public_votes

    scheme = config.get("scheme") or {}
    with Progress(console=console) as progress:
        task = progress.add_task(f"counting {path.name}", total=None)
        import_public_votes(
            path,
            run_dir / "votes",
            scheme=scheme.get("name") or "mmcert",
            k=scheme.get("k") or {},
            classes=config.get("classes") or 2,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    console.print(WHAT_DIFFERS, highlight=False)
    return run_dir / "votes"


@dataclasses.dataclass(frozen=True)
class SourceRun:
    """The run that made the votes.

    Args:
        folder: Its directory.
        description: Its ``run.json``.
        config: Its ``config.yaml``, or empty.
    """

    folder: Path
    description: RunDescription
    config: Mapping[str, Any]


def source_run(folders: tuple[Path, ...]) -> SourceRun | None:
    """The run directory around the votes; of several folders, the first one's.

    Raises:
        RecordError: Where its files are broken.
    """
    import yaml

    from mmcert.records.run import read_run

    folder = folders[0].parent
    if folders[0].name != "votes" or not (folder / "run.json").is_file():
        return None
    config: Any = {}
    path = folder / "config.yaml"
    if path.is_file():
        try:
            config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecordError(f"{path}: not readable ({error}); certify again.") from None
        if not isinstance(config, dict):
            raise RecordError(f"{path}: must hold a mapping; certify again.")
    return SourceRun(folder, read_run(folder), config)


def check_untouched(votes: VotesFolders, source: SourceRun | None) -> None:
    """Refuse votes that are not those that the run's ``run.json`` lists, and unfinished runs.

    Raises:
        RecordError: Naming the sample.
    """
    from mmcert.records.votes import votes_sha256

    if source is None or len(votes.folders) > 1:
        return
    stored = source.description.votes_sha256
    planned = (source.description.fingerprint_of.get("samples") or {}).get("count", 0)
    if not stored and len(votes.ids) < planned:
        raise RecordError(
            f"{votes.folders[0]}: {len(votes.ids)} of the {planned} samples of this run have all "
            f"their votes; finish the run with the line of mmcert-certify that began it."
        )
    if missing := sorted(stored.keys() - set(votes.ids)):
        raise RecordError(
            f"{votes.folders[0]}: votes that run.json lists are missing ({len(missing)} in all, "
            f"e.g. {missing[0]}.npz); a figure without them would be chosen after the votes. "
            f"Restore them, or certify again."
        )
    for sample_id in votes.ids:
        if sample_id in stored and votes_sha256(votes.folders[0], sample_id) != stored[sample_id]:
            raise RecordError(
                f"{votes.folders[0]}/{sample_id}.npz: not the file that the run wrote (its SHA-256 "
                f"differs from run.json); restore it, or certify again."
            )


def check_votes_allow(
    votes: VotesFolders,
    source: SourceRun | None,
    kinds: Mapping[str, str] | str,
    say: Callable[[str], None],
) -> None:
    """Refuse threat kinds that the encoding of the base model's input does not allow.

    Raises:
        UnsoundError: With the reason.
    """
    from mmcert.theory.encodings import check_encoding

    names = votes.meta.names
    encoding = source.config.get("encoding") if source is not None else None
    if not isinstance(encoding, Mapping):
        asked = {kinds} if isinstance(kinds, str) else set(kinds.values())
        if asked - {"modification"}:
            say(
                "the votes do not say how the base model saw its input; certificates against "
                "addition, deletion and edits hold only if that was the retained values in their "
                "order and nothing else, with the same k for inputs of any size."
            )
        return
    if "name" in encoding:
        encodings = dict.fromkeys(names, str(encoding["name"]))
    else:
        encodings = {name: str((encoding.get(name) or {}).get("name")) for name in names}
    scheme = source.config.get("scheme") if source is not None else None
    ratio = isinstance(scheme, Mapping) and scheme.get("ratio") is not None
    check_encoding(encodings, kinds, ratio)


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
    from mmcert.records.run import read_run

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
    import yaml

    from mmcert.records.atomic import atomic_write
    from mmcert.records.run import RunDescription, package_versions, write_run
    from mmcert.records.votes import votes_sha256

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


if __name__ == "__main__":
    main()
