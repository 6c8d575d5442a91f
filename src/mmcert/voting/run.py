"""Voting from start to end: the plan, its processes, and the votes folder they fill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmcert.errors import DataError
from mmcert.records.votes import read_meta
from mmcert.voting.draws import make_sampler
from mmcert.voting.lock import only_one
from mmcert.voting.loop import Voter, vote_units
from mmcert.voting.plan import STREAMS, Unit, plan_units, share
from mmcert.voting.processes import Report, run_processes, started_outside
from mmcert.voting.progress import Batched
from mmcert.voting.protocol import BaseModel, VotingDataset
from mmcert.voting.settings import SchemeSpec, VotingSettings
from mmcert.voting.store import PARTIAL, VoteStore

#: Makes data set and base model (on the CPU) in each process; a picklable function.
Build = Callable[[Mapping[str, Any]], tuple[VotingDataset, BaseModel]]


@dataclass(frozen=True)
class Ballot:
    """What each voting process needs, as plain data: spawned processes get it by pickle.

    Args:
        build: Makes the data set and the base model from ``config``.
        config: Plain data.
        ids: The samples; the data set must have exactly these, in this order.
        scheme: What a draw retains.
        settings: How to vote; the block is a number.
        draws: Per sample its draws per stream (numbers differ where all sub-samples vote).
        seed: Of the draws.
        folder: The ``votes`` folder, with its ``meta.json``.
        fingerprint: Of the run.
    """

    build: Build
    config: Mapping[str, Any]
    ids: tuple[str, ...]
    scheme: SchemeSpec
    settings: VotingSettings
    draws: Mapping[str, Mapping[str, int]]
    seed: int
    folder: Path
    fingerprint: str


def draws_of_all(ids: Iterable[str], settings: VotingSettings) -> dict[str, dict[str, int]]:
    """The same number of random draws for every sample."""
    per_stream = dict(zip(STREAMS, (settings.draws, settings.selection_draws), strict=True))
    return {sample_id: dict(per_stream) for sample_id in ids}


@dataclass(frozen=True)
class Turnout:
    """What a run of voting took.

    Args:
        draws: Counted in it, over all processes.
        seconds: From the first to the last.
        processes: That shared them.
        device: Name of the device.
    """

    draws: int
    seconds: float
    processes: int
    device: str


def vote(ballot: Ballot, report: Report) -> Turnout:
    """Vote all samples that are not finished; what is on disk already is kept.

    Raises:
        MmcertError: As the data set or the base model raise it; what was finished stays on disk.
    """
    # Processes that were started outside see each other through the process group.
    held = nullcontext() if started_outside() else only_one(ballot.folder / PARTIAL)
    with held:
        turnout = run_processes(_FixedVoting(ballot), ballot.settings, report)
    return Turnout(**turnout)


class _FixedVoting:
    """``N`` draws per sample, as one process of several sees it."""

    def __init__(self, ballot: Ballot) -> None:
        self._ballot = ballot

    def __call__(self, fabric: Fabric, report: Report) -> dict[str, Any]:
        """The fields of a :class:`Turnout` (Fabric hands plain data back, no frozen dataclass)."""
        ballot = self._ballot
        dataset, voter = make_voter(ballot, fabric)
        meta = read_meta(ballot.folder)
        store = VoteStore(ballot.folder, meta, ballot.fingerprint, ballot.draws)
        # One process plans for all: by the time another looked, the folder would have changed.
        units: list[Unit] = fabric.broadcast(
            self._plan(voter, store, fabric.world_size, report) if fabric.is_global_zero else []
        )
        began = time.monotonic()
        progress = Batched(report)
        vote_units(share(units, fabric.global_rank, fabric.world_size), voter, store, progress)
        progress.flush()
        fabric.barrier()
        if fabric.is_global_zero:
            self._merge_left_over(dataset, voter, store)
        return {
            "draws": sum(unit.draws for unit in units),
            "seconds": time.monotonic() - began,
            "processes": fabric.world_size,
            "device": device_name(fabric.device),
        }

    def _plan(self, voter: Voter, store: VoteStore, world: int, report: Report) -> list[Unit]:
        ballot, block = self._ballot, self._ballot.settings.block
        assert block is not None
        done = store.progress_so_far(ballot.ids)

        def units(length: int) -> list[Unit]:
            return plan_units(ballot.ids, done, draws=ballot.draws, block=block, length=length)

        per_sample = {i: sum(wanted.values()) for i, wanted in ballot.draws.items()}
        whole = units(max(per_sample.values()))
        left = sum(unit.draws for unit in whole)
        if left == 0:
            return whole
        first = next(i for i, name in enumerate(ballot.ids) if done[name] is not None)
        seconds_per_draw = voter.seconds_per_block(first) / block
        cost = {
            "samples": len(ballot.ids),
            "draws": max(per_sample.values()),
            "total": sum(per_sample.values()),
            "seconds_per_draw": seconds_per_draw,
            "left": left,
            "processes": world,
            "block": block,
        }
        report(("cost", cost))
        length = int(ballot.settings.segment_seconds / max(seconds_per_draw, 1e-9))
        if world > 1:  # every process gets several units, so that all end at about the same time
            length = min(length, -(-left // (4 * world)))
        return units(max(block, length))

    def _merge_left_over(self, dataset: VotingDataset, voter: Voter, store: VoteStore) -> None:
        """Merge samples whose last two segments were written at the same moment."""
        for index, sample_id in enumerate(self._ballot.ids):
            if store.segments(sample_id):
                sample, scheme = voter.load(index)
                store.merge(sample_id, sample.get("target"), scheme)
        store.remove_partial()


def make_voter(ballot: Ballot, fabric: Fabric) -> tuple[VotingDataset, Voter]:
    """The data set and the voter of one process, on its device.

    Raises:
        DataError: Where the data set has other samples than the ballot.
    """
    dataset, model = ballot.build(ballot.config)
    if tuple(dataset.ids) != ballot.ids:
        raise DataError("the data set changed while the voting processes started; run it again.")
    settings = ballot.settings
    if isinstance(model, torch.nn.Module):
        model.eval().requires_grad_(False).to(fabric.device)
        if settings.channels_last:
            model.to(memory_format=torch.channels_last)
    assert settings.block is not None
    voter = Voter(
        dataset,
        model,
        ballot.scheme,
        sampler=make_sampler(settings.mode, ballot.seed),
        block=settings.block,
        device=fabric.device,
        autocast=fabric.autocast,
    )
    return dataset, voter


def device_name(device: torch.device) -> str:
    """What votes: the name of the GPU, or the instruction set of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
