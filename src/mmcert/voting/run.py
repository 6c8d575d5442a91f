"""Voting from start to end: the plan, its processes, and the votes folder they fill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from mmcert.records.lock import only_one
from mmcert.records.votes import read_meta
from mmcert.voting.ballot import Ballot, device_name, make_voter
from mmcert.voting.loop import Voter, vote_units
from mmcert.voting.peers import Peers
from mmcert.voting.plan import Unit, plain_units, plan_units, share, units_from
from mmcert.voting.processes import run_processes
from mmcert.voting.progress import Batched
from mmcert.voting.sequential import SequentialVoting
from mmcert.voting.spawn import Report
from mmcert.voting.started import started_outside
from mmcert.voting.store import PARTIAL, VoteStore


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


def vote(
    ballot: Ballot,
    report: Report,
    *,
    begin: Callable[[], None] = lambda: None,
    meet_in: Path | None = None,
) -> Turnout:
    """Vote all samples that are not finished; what is on disk already is kept.

    Args:
        ballot: What to vote.
        report: Gets the events of all processes.
        begin: Called by the first process that is here, before any other reads the votes folder.
        meet_in: Where processes that were started outside find each other; the votes folder by
            default.

    Raises:
        MmcertError: As the data set or the base model raise it; what was finished stays on disk.
    """
    outside = started_outside()
    first = outside is None or outside.rank == 0

    @contextmanager
    def held() -> Iterator[None]:
        """Of processes that were started outside, the first holds the folder for all."""
        with only_one(ballot.folder / PARTIAL, "vote count") if first else nullcontext():
            if first:
                begin()
            yield

    sequential = ballot.settings.mode == "sequential"
    work = SequentialVoting(ballot) if sequential else _PlannedVoting(ballot)
    folder = meet_in or ballot.folder
    return Turnout(**run_processes(work, ballot.settings, report, folder, held()))


class _PlannedVoting:
    """A number of draws per sample that no vote changes, as one process of several sees it."""

    def __init__(self, ballot: Ballot) -> None:
        self._ballot = ballot

    def __call__(self, fabric: Fabric, peers: Peers, report: Report) -> dict[str, Any]:
        """The fields of a :class:`Turnout`, plain data."""
        ballot = self._ballot
        voter = make_voter(ballot, fabric)
        meta = read_meta(ballot.folder)
        store = VoteStore(ballot.folder, meta, ballot.fingerprint, ballot.draws)
        # One process plans for all: by the time another looked, the folder would have changed.
        plan = self._plan(voter, store, peers.world, report) if peers.rank == 0 else []
        units = units_from(peers.first(plain_units(plan)))
        began = time.monotonic()
        progress = Batched(report, peers.check)
        vote_units(share(units, peers.rank, peers.world), voter, store, progress)
        progress.flush()
        peers.wait()
        if peers.rank == 0:
            self._merge_left_over(voter, store)
        return {
            "draws": sum(unit.draws for unit in units),
            "seconds": time.monotonic() - began,
            "processes": peers.world,
            "device": device_name(fabric.device),
        }

    def _plan(self, voter: Voter, store: VoteStore, world: int, report: Report) -> list[Unit]:
        ballot, block = self._ballot, self._ballot.settings.block
        assert isinstance(block, int)
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

    def _merge_left_over(self, voter: Voter, store: VoteStore) -> None:
        """Merge samples whose last two segments were written at the same moment."""
        for index, sample_id in enumerate(self._ballot.ids):
            if store.segments(sample_id):
                sample, scheme = voter.load(index)
                store.merge(sample_id, sample.get("target"), scheme)
        store.remove_partial()
