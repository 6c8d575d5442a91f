"""Validation votes at one scheme and k, as a run directory that outlives the plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mmcert.certification.options import Option
from mmcert.certification.reading import Sample, read_samples
from mmcert.records.folders import VotesFolders
from mmcert.records.meta import VotesMeta
from mmcert.records.run import read_run


class VotingStoppedError(Exception):
    """The time limit came while votes were counted; what was finished is on disk."""


@dataclass(frozen=True)
class Counted:
    """Validation votes at one scheme and k.

    Args:
        samples: With their votes.
        meta: What they have in common.
        draws_per_second: Of one process while voting.
        processes: That voted.
        seconds: From start to end, with all that is not voting; 0 where the votes were there.
    """

    samples: list[Sample]
    meta: VotesMeta
    draws_per_second: float | None
    processes: int
    seconds: float


class ValidationVotes:
    """Votes on a validation split, each scheme and k in a folder of its own.

    Args:
        given: Configuration of a certification, without scheme and k; ``data.split`` is the
            validation split.
        folder: Where the run directories go.
    """

    def __init__(self, given: Mapping[str, Any], folder: Path) -> None:
        self._given = dict(given)
        self._folder = folder

    def folder(self, scheme: str, k: Mapping[str, int]) -> Path:
        """The run directory of a scheme and k."""
        return self._folder / "-".join([scheme, *(f"{name}_{count}" for name, count in k.items())])

    def count(
        self,
        scheme: str,
        k: Mapping[str, int],
        option: Option,
        *,
        draws: int,
        samples: int,
        processes: int | None,
        until: float,
        show: Callable[[int, int], None],
    ) -> Counted:
        """Vote, as far as the votes are not on disk.

        Args:
            scheme: Name of the scheme.
            k: Retained elements.
            option: Statistics that will read the votes.
            draws: Per sample.
            samples: At most so many, the first of the split.
            processes: That vote; None: one per core, or one per GPU.
            until: ``time.monotonic()`` at which one process stops between two blocks.
            show: Gets draws that are counted and all of them.

        Raises:
            VotingStoppedError: At ``until``.
            MmcertError: As a certification raises it.
        """
        from mmcert.jobs.certification import Certification

        began = time.monotonic()
        given = self._given
        run_dir = self.folder(scheme, k)
        certification = Certification(
            {
                **given,
                "data": {**given["data"], "max_samples": samples},
                "scheme": {"name": scheme, "k": dict(k)},
                "voting": {**given["voting"], "draws": draws, "processes": processes},
            },
            run_dir,
            Console(quiet=True),
        )
        done = [0, draws * samples]

        def listen(event: tuple[str, dict[str, Any]]) -> None:
            kind, values = event
            if kind == "cost":
                done[0] = values["total"] - values["left"]
                done[1] = values["total"]
            elif kind == "draws":
                done[0] += values["draws"]
            show(done[0], done[1])
            # Only events of this process arrive where raising stops the votes.
            if processes == 1 and kind == "draws" and time.monotonic() > until:
                raise VotingStoppedError

        certification.vote(show=True, listen=listen)
        votes = VotesFolders([run_dir / "votes"])
        read = read_samples(votes, votes.meta, [option], ("robust",))
        run = read_run(run_dir)
        used = int(run.extra.get("processes") or 1)
        rate = None if run.draws_per_second is None else run.draws_per_second / used
        return Counted(read, votes.meta, rate, used, time.monotonic() - began)
