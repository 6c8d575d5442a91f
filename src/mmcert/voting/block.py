"""``voting.block=auto``: the largest block that fits into memory and still pays."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmcert.errors import MmcertError
from mmcert.voting.ballot import Ballot, make_voter
from mmcert.voting.environment import RankEnvironment
from mmcert.voting.processes import numerics
from mmcert.voting.started import Place

#: A block twice as large pays if a draw takes this much less time.
GAIN = 0.03
#: Share of the memory at hand that a block may be expected to take.
SHARE = 0.7
#: Seconds of one block beyond which no larger one is tried: a killed run would lose too much.
LONGEST = 30.0


@dataclass(frozen=True)
class Trial:
    """What one size of block took.

    Args:
        seconds: Per draw.
        memory: Bytes that the block needed.
    """

    seconds: float
    memory: int


def largest_that_pays(
    measure: Callable[[int], Trial | None], *, most: int, memory: float
) -> tuple[int, dict[int, Trial]]:
    """The largest block, out of 1, 2, 4, ..., that fits and is faster than every smaller one.

    Two sizes in a row that do not pay end the search.

    Args:
        measure: Tries a block; None where it does not fit.
        most: Largest block that is of use: the draws of a sample.
        memory: Bytes at hand; a block that is expected to need more is not tried.

    Returns:
        The block, and every trial.

    Raises:
        MmcertError: Where not even one draw at a time fits.

    >>> seconds = {1: 1.0, 2: .6, 4: .59, 8: .5, 16: .5, 32: .5, 64: .1}
    >>> largest_that_pays(lambda b: Trial(seconds[b], b), most=100, memory=1e9)[0]
    8
    """
    trials: dict[int, Trial] = {}
    block, chosen, in_vain = 1, 0, 0
    while block <= most and in_vain < 2:
        before = trials.get(block // 2)
        if before is not None and (
            2 * before.memory > memory or before.seconds * block > 2 * LONGEST
        ):
            break
        trial = measure(block)
        if trial is None:
            break
        trials[block] = trial
        if not chosen or trial.seconds <= (1 - GAIN) * trials[chosen].seconds:
            chosen, in_vain = block, 0
        else:
            in_vain += 1
        block *= 2
    if not chosen:
        raise MmcertError("voting.block=auto: not even one draw at a time fits into the memory.")
    return chosen, trials


def find_block(ballot: Ballot, processes: int) -> tuple[int, dict[int, Trial]]:
    """:func:`largest_that_pays` of a run, measured on its first sample in this process.

    Args:
        ballot: Of the run; its block is not used.
        processes: That will share the memory of a CPU.

    Raises:
        MmcertError: As the data set or the base model raise it.
    """
    cuda = torch.cuda.is_available()
    accelerator, precision = "cuda" if cuda else "cpu", ballot.settings.precision
    plugins: Any = [RankEnvironment(Place())]
    fabric = Fabric(
        accelerator=accelerator,
        devices=1,
        precision=precision,  # type: ignore[arg-type]
        plugins=plugins,
    )
    with numerics(ballot.settings.threads):
        one = dataclasses.replace(ballot.settings, block=1)
        voter = make_voter(dataclasses.replace(ballot, settings=one), fabric)
        voter.seconds_per_block(0)  # what is loaded once does not count
        start = _in_use(fabric.device)

        def measure(block: int) -> Trial | None:
            voter.block = block
            try:
                first = voter.seconds_per_block(0)
                times = [first] + [voter.seconds_of(0) for _ in range(2 if first < 5 else 0)]
            except (MmcertError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                return None
            peak = _peak(fabric.device)
            return Trial(statistics.median(times) / block, max(0, peak - start))

        most = max(ballot.draws[ballot.ids[0]].values())
        return largest_that_pays(measure, most=most, memory=_at_hand(fabric.device, processes))


def _out_of_memory(error: BaseException) -> bool:
    chain = (error, error.__cause__)
    return any(
        isinstance(e, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(e)
        for e in chain
    )


def _in_use(device: torch.device) -> int:
    """Bytes that are taken now, at their highest so far on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _peak(device)


def _peak(device: torch.device) -> int:
    """The most bytes that were ever taken."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows: nothing is known, and nothing is refused
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _at_hand(device: torch.device, processes: int) -> float:
    """Bytes that the blocks of one process may take."""
    if device.type == "cuda":
        return float("inf")  # a GPU says itself what does not fit, and goes on
    free = float("inf")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")  # the limit of a container or a Slurm job
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii")
        if limit != "max":
            free = min(free, int(limit) - int(used))
    except (OSError, StopIteration, ValueError):
        pass
    return SHARE * free / processes
