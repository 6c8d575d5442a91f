"""One certification run: its checks, its description on disk, its votes, its certificates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from mmcert.certification.evaluate import evaluate
from mmcert.certification.options import Option, parse_statistics
from mmcert.certification.threat import budgets_from
from mmcert.errors import ConfigError, RecordError
from mmcert.jobs.alone import alone_with_ranks
from mmcert.jobs.certify_config import merged_config
from mmcert.jobs.checkpoint import find_checkpoint, load_checkpoint
from mmcert.jobs.earlier_run import earlier_run
from mmcert.jobs.planned import with_plan
from mmcert.jobs.seed import check_seed
from mmcert.jobs.shard import parse_shard, shard_of
from mmcert.jobs.stopping import stopping_rule
from mmcert.jobs.workload import build, build_data
from mmcert.records.atomic import atomic_write
from mmcert.records.folders import VotesFolders
from mmcert.records.run import RunDescription, fingerprint, package_versions, read_run, write_run
from mmcert.records.votes import VotesMeta, sample_ids, votes_sha256, write_meta
from mmcert.reporting.summary import print_summary
from mmcert.saying import busy, duration, say
from mmcert.theory.attacks import Attack
from mmcert.theory.encodings import check_encoding
from mmcert.theory.planning import warnings_for
from mmcert.voting.ballot import Ballot, draws_of_all
from mmcert.voting.block import find_block
from mmcert.voting.exhaustive import check_limit, enumeration_hash
from mmcert.voting.identity import voting_facts
from mmcert.voting.processes import Report, asked_processes
from mmcert.voting.progress import VotingProgress
from mmcert.voting.rendezvous import meet
from mmcert.voting.run import Turnout, vote
from mmcert.voting.settings import SchemeSpec, StoppingRule, VotingSettings
from mmcert.voting.started import Place, started_outside

if TYPE_CHECKING:
    from mmcert.data.base import MultiModalDataset


@alone_with_ranks
def certify(
    config: Mapping[str, Any], run_dir: str | Path, *, console: Console | None = None
) -> dict[str, Any] | None:
    """Vote over random sub-samples with a checkpoint, certify, evaluate.

    Args:
        config: Plain configuration, the keys of ``conf/certify.yaml``; null means "as in the
            checkpoint".
        run_dir: Where everything goes; what is there of the same run is kept.
        console: Where a person reads; None: nowhere.

    Returns:
        The content of ``metrics.json``; None in all but the first of several processes that were
        started outside.

    Raises:
        MmcertError: For whatever does not fit together, before anything is voted.
    """
    check_seed(config.get("seed"))
    outside = started_outside()
    first = outside is None or outside.rank == 0
    certification = Certification(dict(config), Path(run_dir), console or Console(quiet=True))
    certification.vote(show=first)
    return certification.evaluate() if first else None


class Certification:
    """A checkpoint, the samples it votes on, and the run directory of the outcome.

    The constructor makes every check that needs no work, and writes nothing.

    Args:
        given: Plain configuration of ``certify.yaml`` and the command line.
        run_dir: Where everything goes.
        console: Where a person reads.

    Raises:
        MmcertError: For whatever does not fit together.
    """

    def __init__(self, given: dict[str, Any], run_dir: Path, console: Console) -> None:
        self._run_dir = run_dir
        self._votes = run_dir / "votes"
        self._console = console
        given, self._plan = with_plan(given)
        stored, split, _, sha256 = load_checkpoint(given["checkpoint"])
        self._config = config = merged_config(stored, given)
        self._checkpoint = find_checkpoint(given["checkpoint"]).resolve()
        self._sha256 = sha256
        self._workload = {
            "checkpoint": str(Path(given["checkpoint"]).resolve()),
            "sha256": sha256,
            "data": config["data"],
            "data_seed": config["data_seed"],
            "stored_split": split,
            "allow_code": list(given.get("allow_code") or ()),
        }
        whole = build_data(self._workload)
        if self._plan is not None:
            self._plan.check(sha256, whole.split, whole.ids)
        check_same_kind(stored, whole, str(given["checkpoint"]))
        # All shards are one run: the same facts and fingerprint, each with its own samples.
        self._shard = config["shard"]
        self._workload["shard"] = self._shard
        self._dataset = shard_of(whole, self._shard)
        shard = parse_shard(self._shard)
        self._shard_name = None if shard is None else f"{shard[0]}/{shard[1]}"
        self._spec = SchemeSpec.from_config(config["scheme"])
        self._first = whole[0]
        self._scheme = self._spec.for_sample(self._first, whole.inputs)
        settings = VotingSettings.from_config(config["voting"])
        self._enumeration: str | None = None
        if settings.mode == "exhaustive":
            self._draws = self._all_sub_samples(whole, settings.limit)
            total = self._draws[whole.ids[0]]["test"]
            settings = dataclasses.replace(settings, draws=total, selection_draws=0)
        else:
            self._draws = draws_of_all(self._dataset.ids, settings)
        self._budgets, self._kinds = budgets_from(
            config["threat"],
            [m.name for m in self._scheme.modalities],
            scheme=self._scheme,
            draws=None if settings.mode == "exhaustive" else settings.draws,
            alpha=config["alpha"],
            say=self._say,
        )
        self._options: tuple[Option, ...] = ()
        if settings.mode != "exhaustive":
            self._options = parse_statistics(
                config["statistics"], self._dataset.task, len(self._dataset.classes)
            )
        encodings = encoding_names(config["encoding"], list(self._dataset.inputs))
        self._scheme.check(Attack(dict.fromkeys(encodings, 0), self._kinds))
        check_encoding(encodings, self._kinds, self._spec.ratio is not None)
        _, model = build(self._workload)
        self._settings = self._with_block(settings, model.default_block)
        self._rule: StoppingRule | None = None
        if settings.mode == "sequential":
            self._rule = stopping_rule(
                config,
                self._settings,
                task=self._dataset.task,
                names=[m.name for m in self._scheme.modalities],
                kinds=self._kinds,
            )
        self._facts = voting_facts(
            checkpoint_sha256=sha256,
            scheme=self._spec,
            encoding=config["encoding"],
            data={key: config["data"].get(key) for key in ("name", "options")},
            ids=whole.ids,
            seed=config["seed"],
            settings=self._settings,
            device=device_kind(),
            rule=self._rule,
        )
        self._fingerprint = fingerprint(self._facts)
        self._earlier = earlier_run(run_dir, self._facts, self._shard_name, self._plan)

    def _say(self, line: str) -> None:
        say(self._console, line)

    def _with_block(self, settings: VotingSettings, default: int) -> VotingSettings:
        """The settings with a number of draws per forward pass; ``auto`` is measured only once.

        Raises:
            ConfigError: For ``auto`` where runs must have the same block and cannot agree on one.
        """
        if settings.block != "auto":
            return dataclasses.replace(settings, block=settings.block or default)
        if self._config.get("shard") is not None:
            raise ConfigError(
                "voting.block=auto may find another block for every shard, and they would not be "
                "one run; set voting.block to a number."
            )
        place = started_outside()
        if place is None:
            block = self._found_block(settings, None)
        else:  # the first process finds it for all, in a meeting before that of the votes
            named = dataclasses.replace(place, launch=f"{place.launch}-block")
            limit = settings.rendezvous_minutes
            with meet(named, self._run_dir, limit, "voting.rendezvous_minutes") as peers:
                block = peers.first(self._found_block(settings, place) if place.rank == 0 else 0)
                peers.wait()
        self._config["voting"]["block"] = block
        return dataclasses.replace(settings, block=block)

    def _found_block(self, settings: VotingSettings, place: Place | None) -> int:
        """The block of the run that is in the run directory, or a measured one."""
        if (self._run_dir / "run.json").exists():
            return int(read_run(self._run_dir).fingerprint_of["block"])
        block, trials = find_block(self._ballot(settings, ""), asked_processes(settings, place))
        tried = ", ".join(f"{b}: {duration(t.seconds)}" for b, t in trials.items())
        self._say(f"voting.block=auto: {block} draws per forward pass (per draw, {tried}).")
        return block

    def _all_sub_samples(self, whole: MultiModalDataset, limit: int) -> dict[str, dict[str, int]]:
        """How many sub-samples each sample has; sets the hash of their enumeration."""
        schemes = {}
        for index, sample_id in enumerate(whole.ids):
            schemes[sample_id] = self._spec.for_sample(whole[index], whole.inputs)
        draws = {name: {"test": check_limit(s, limit, name)} for name, s in schemes.items()}
        self._enumeration = enumeration_hash(schemes.values())
        return draws

    def describe(self) -> None:
        """Write ``config.yaml``, ``run.json`` and ``votes/meta.json``, and say what is special."""
        data, split = self._config["data"], self._dataset.split
        if split != "all" and self._workload["stored_split"] and not self._dataset.split_is_stored:
            self._say(
                f"The samples in {data['root']} are not those of the checkpoint's split: the split "
                f"'{split}' was computed anew."
            )
        for warning in self._out_of_reach():
            say(self._console, f"Warning: {warning}", "yellow")
        self._run_dir.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._run_dir / "config.yaml") as file:
            file.write(yaml.safe_dump(self._config, sort_keys=False).encode())
        if self._plan is not None:
            self._plan.keep(self._run_dir)
        if self._earlier is None:
            self._write_run(None)
        write_meta(self._votes, self._meta())

    def _out_of_reach(self) -> list[str]:
        """What the grid asks and unanimous votes could not certify."""
        if self._settings.mode != "fixed":
            return []
        target = self._first.get("target")
        elements = len(self._dataset.ids) if target is None or target.ndim == 0 else target.numel()
        return warnings_for(
            self._scheme,
            self._budgets,
            self._kinds,
            N=self._settings.draws,
            alpha=self._config["alpha"],
            P=elements,
            statistics={
                option.name: {
                    "method": option.method,
                    "levels": option.levels,
                    "weights": option.weights,
                    "over_budgets": option.over_budgets,
                }
                for option in self._options
            },
        )

    def _meta(self) -> VotesMeta:
        dataset = self._dataset
        return VotesMeta(
            task=dataset.task,
            scheme=self._spec.name,
            modalities=self._scheme.modalities,
            draws=self._settings.draws,
            classes=len(dataset.classes),
            class_names=tuple(dataset.classes),
            voting=self._settings.mode,
            enumeration=self._enumeration,
            fingerprint=self._fingerprint,
        )

    def _write_run(self, turnout: Turnout | None) -> None:
        earlier = self._earlier
        timings = dict(earlier.timings) if earlier else {}
        rate = earlier.draws_per_second if earlier else None
        extra = dict(earlier.extra) if earlier else {}
        if turnout is not None and turnout.draws:
            timings["voting"] = timings.get("voting", 0.0) + turnout.seconds
            rate = turnout.draws / turnout.seconds
            extra = {"processes": turnout.processes, "device": turnout.device}
        if self._shard_name is not None:
            extra["shard"] = self._shard_name
        if self._plan is not None:
            extra["plan"] = self._plan.facts()
        finished = sample_ids(self._votes) if self._votes.exists() else ()
        run = RunDescription(
            command="certify",
            task=self._dataset.task,
            scheme=self._spec.name,
            elements={m.name: m.element for m in self._scheme.modalities},
            precision=self._settings.precision,
            seeds={"voting": self._config["seed"], "data": self._config["data_seed"]},
            fingerprint=self._fingerprint,
            fingerprint_of=self._facts,
            checkpoint_sha256=self._sha256,
            checkpoint=str(self._checkpoint),
            stopping=self._settings.mode,
            votes_sha256={i: votes_sha256(self._votes, i) for i in finished} if turnout else {},
            versions=package_versions(),
            timings=timings,
            draws_per_second=rate,
            extra=extra,
        )
        write_run(self._run_dir, run)

    def _ballot(
        self, settings: VotingSettings, identity: str, rule: StoppingRule | None = None
    ) -> Ballot:
        return Ballot(
            build,
            self._workload,
            tuple(self._dataset.ids),
            self._spec,
            settings,
            self._draws,
            self._config["seed"],
            self._votes,
            identity,
            rule,
        )

    def vote(self, *, show: bool, listen: Report | None = None) -> None:
        """Vote what is not on disk yet.

        Args:
            show: Whether this process shows the progress.
            listen: Gets the events instead of the progress that would be shown; what it raises ends
                the voting of one process, and what was finished stays on disk.
        """
        ballot = self._ballot(self._settings, self._fingerprint, self._rule)
        if not show:
            vote(ballot, lambda event: None, meet_in=self._run_dir)
            return
        if listen is not None:
            self._write_run(vote(ballot, listen, begin=self.describe, meet_in=self._run_dir))
            return
        with VotingProgress(self._console) as progress:
            turnout = vote(ballot, progress, begin=self.describe, meet_in=self._run_dir)
        self._write_run(turnout)

    def evaluate(self) -> dict[str, Any]:
        """Certificates, metrics and maps of the votes; printed, and the content of metrics.json."""
        votes = VotesFolders([self._votes])
        if self._settings.mode == "sequential":
            used, most = sum(s.draws for s in votes), self._settings.draws * len(votes)
            self._say(
                f"The votes stopped after {used} of at most {most} draws: "
                f"{100 * (most - used) // most} % saved."
            )
        with busy(self._console, f"certifying {len(votes)} samples"):
            metrics = evaluate(
                votes,
                votes.meta,
                budgets=self._budgets,
                kinds=self._kinds,
                statistics=self._config["statistics"],
                alpha=self._config["alpha"],
                claims=self._config["claims"],
                out=self._run_dir,
                maps=self._config["maps"],
                target=self._config["target"],
            )
        print_summary(self._console, self._run_dir)
        return metrics


def check_same_kind(stored: Mapping[str, Any], dataset: MultiModalDataset, where: str) -> None:
    """Refuse a data set that the checkpoint was not trained for.

    Raises:
        RecordError: For another task, other classes or other modalities.
    """
    for what, ours, theirs in (
        ("the task", stored["task"]["name"], dataset.task),
        ("the classes", list(stored["classes"]), list(dataset.classes)),
        ("the modalities", sorted(stored["inputs"]), sorted(dataset.inputs)),
    ):
        if ours != theirs:
            raise RecordError(
                f"{where}: {what} of the checkpoint {'are' if what[-1] == 's' else 'is'} {ours}, "
                f"of the data set '{dataset.name}' {theirs}; choose the data it was trained for."
            )


def encoding_names(encoding: Mapping[str, Any], modalities: list[str]) -> dict[str, str]:
    """The name of each modality's encoding; one section may serve them all."""
    if "name" in encoding:
        return dict.fromkeys(modalities, encoding["name"])
    return {name: encoding[name]["name"] for name in modalities}


def device_kind() -> str:
    """``cuda`` or ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
