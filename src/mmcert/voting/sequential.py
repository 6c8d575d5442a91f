"""Sequential voting: each sample is voted until its target is reached, or out of reach.

The votes decide their own number, so they are certified by test martingales, valid at any stopping
time (method, section 3.8), and never by statistics for a fixed ``N``. The draws of a sample are
counted in their order by one process; a process takes whole samples.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from lightning_fabric import Fabric

from mmcert.certification.evaluate import evaluate
from mmcert.records.votes import SampleVotes, VotesMeta, read_meta
from mmcert.voting.ballot import Ballot, device_name, make_voter
from mmcert.voting.loop import Progress, Voter
from mmcert.voting.peers import Peers
from mmcert.voting.plan import STREAMS, Segment, Unit
from mmcert.voting.progress import Batched
from mmcert.voting.settings import StoppingRule
from mmcert.voting.spawn import Report
from mmcert.voting.store import VoteStore

TEST, SELECT = STREAMS


class SequentialVoting:
    """Votes until each sample's target is decided, as one process of several sees it."""

    def __init__(self, ballot: Ballot) -> None:
        self._ballot = ballot

    def __call__(self, fabric: Fabric, peers: Peers, report: Report) -> dict[str, Any]:
        """The fields of a ``Turnout``."""
        ballot = self._ballot
        voter = make_voter(ballot, fabric)
        meta = read_meta(ballot.folder)
        store = VoteStore(ballot.folder, meta, ballot.fingerprint, ballot.draws)
        plan = self._left(voter, store, peers.world, report) if peers.rank == 0 else []
        left: list[int] = peers.first(plan)
        began = time.monotonic()
        progress = Batched(report, peers.check)
        counted = 0
        mine = left[peers.rank :: peers.world]
        voter.expect_samples(mine)
        for index in mine:
            counted += self._vote_sample(index, voter, store, meta, progress, report)
        progress.flush()
        total = sum(peers.gather(counted))
        if peers.rank == 0:
            store.remove_partial()
        return {
            "draws": total,
            "seconds": time.monotonic() - began,
            "processes": peers.world,
            "device": device_name(fabric.device),
        }

    def _left(self, voter: Voter, store: VoteStore, world: int, report: Report) -> list[int]:
        """The samples that are not finished, and the cost if none of them stops early."""
        ballot, block = self._ballot, self._ballot.settings.block
        assert isinstance(block, int)
        done = store.progress_so_far(ballot.ids)
        left = [index for index, name in enumerate(ballot.ids) if done[name] is not None]
        if left:
            draws = sum(ballot.draws[ballot.ids[0]].values())
            on_disk = sum(s.draws for segments in done.values() for s in segments or ())
            cost = {
                "samples": len(ballot.ids),
                "draws": draws,
                "total": draws * len(ballot.ids),
                "seconds_per_draw": voter.seconds_per_block(left[0]) / block,
                "left": draws * len(left) - on_disk,
                "processes": world,
                "block": block,
                "at_most": True,
            }
            report(("cost", cost))
        return left

    def _vote_sample(
        self,
        index: int,
        voter: Voter,
        store: VoteStore,
        meta: VotesMeta,
        progress: Progress,
        report: Report,
    ) -> int:
        """Vote one sample to its end; how many draws were counted now."""
        ballot, rule = self._ballot, self._ballot.rule
        assert rule is not None
        sample, scheme = voter.load(index)
        sample_id, target = sample["id"], sample.get("target")
        counts, position = self._resume(sample_id, store)
        counted = 0
        selected = ballot.draws[sample_id][SELECT]
        if selected and SELECT not in counts:
            segment = Segment(SELECT, 0, selected)
            counts[SELECT] = voter.count(index, [segment], progress)[SELECT]
            store.write_segment(sample_id, segment, counts[SELECT])
            counted += selected
        most = ballot.draws[sample_id][TEST]
        voter.expect_draws([Unit(index, sample_id, (Segment(TEST, position, most),))])
        flushed, last = position, time.monotonic()
        waiting: Any = 0
        while position < most:
            segment = Segment(TEST, position, min(position + rule.every, most))
            new = voter.count(index, [segment], progress)[TEST]
            counts[TEST] = counts[TEST] + new if TEST in counts else new
            waiting = waiting + new
            position = segment.stop
            counted += segment.draws
            votes = SampleVotes(
                sample_id,
                counts[TEST],
                None if target is None else np.asarray(target),
                position,
                scheme,
                counts.get(SELECT),
                selected or None,
            )
            if decided(votes, meta, rule, most - position):
                break
            if time.monotonic() - last > ballot.settings.segment_seconds:
                store.write_segment(sample_id, Segment(TEST, flushed, position), waiting)
                waiting, flushed, last = 0, position, time.monotonic()
        store.write_sample(sample_id, counts, target, scheme, draws=position)
        report(("saved", {"draws": most - position}))
        return counted

    def _resume(self, sample_id: str, store: VoteStore) -> tuple[dict[str, np.ndarray], int]:
        """The counts on disk and the end of the prefix of test draws that they cover."""
        used: list[Segment] = []
        position = 0
        for segment in store.segments(sample_id):
            if segment.stream == SELECT:
                used.append(segment)
            elif segment.start == position:
                used.append(segment)
                position = segment.stop
        return store.read_segments(sample_id, used), position


def decided(votes: SampleVotes, meta: VotesMeta, rule: StoppingRule, left: int) -> bool:
    """Whether the target is reached, or would be missed even if all draws left agreed.

    Stopping without a claim is always allowed, so the second may be as blunt as it likes.
    """
    if reached(votes, meta, rule):
        return True
    return left > 0 and not reached(best_case(votes, left), meta, rule)


def reached(votes: SampleVotes, meta: VotesMeta, rule: StoppingRule) -> bool:
    """Whether these votes certify the target, by the martingales that will certify the run."""
    claim = "stable" if votes.target is None else "robust"
    metric = "stable_rate" if votes.target is None else rule.metric
    document = evaluate(
        [votes],
        meta,
        budgets=[rule.budget],
        kinds=rule.kinds,
        statistics={"closed_evalues": dict(rule.statistics)},
        alpha=rule.alpha,
        claims=(claim,),
        maps=False,
    )
    for result in document["results"]:
        if result["guarantee"] == "per_sample" and result["claim"] == claim:
            value = result["grid"][0].get(metric)
            return value is not None and value >= rule.level
    return False


def best_case(votes: SampleVotes, left: int) -> SampleVotes:
    """The votes after ``left`` more draws that all agree with the label of each element."""
    source = votes.counts if votes.selection_counts is None else votes.selection_counts
    label = source.argmax(0) if votes.target is None else np.asarray(votes.target)
    label = np.where(label < len(votes.counts), label, 0)  # no claim about unlabelled elements
    counts = votes.counts.astype(np.int64)
    own = np.take_along_axis(counts, label[None], axis=0)
    np.put_along_axis(counts, label[None], own + left, axis=0)
    return SampleVotes(
        votes.id,
        counts,
        votes.target,
        votes.draws + left,
        votes.scheme,
        votes.selection_counts,
        votes.selection_draws,
    )
