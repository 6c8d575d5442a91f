"""Processes: one per core or GPU on this machine by spawn, or those that srun or torchrun made."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmcert.errors import ConfigError
from mmcert.voting.environment import RankEnvironment, own_variables
from mmcert.voting.peers import Peers
from mmcert.voting.rendezvous import meet
from mmcert.voting.settings import VotingSettings
from mmcert.voting.spawn import Event, Report, spawn
from mmcert.voting.started import Place, started_outside

#: ``work(fabric, peers, report)``; rank 0's result comes back. It must be picklable.
Work = Callable[[Fabric, Peers, Report], Any]

_LIMIT = "voting.rendezvous_minutes"


def asked_processes(settings: VotingSettings, outside: Place | None) -> int:
    """How many ranks there must be.

    Raises:
        ConfigError: Where srun or torchrun made another number than the configuration asks for.
    """
    if outside is not None:
        if settings.processes not in (None, outside.world):
            raise ConfigError(
                f"voting.processes={settings.processes}, but {outside.starter} has started "
                f"{outside.world} processes; leave voting.processes at null there."
            )
        return outside.world
    if settings.processes is not None:
        return settings.processes
    return torch.cuda.device_count() if torch.cuda.is_available() else _cores()


def _cores() -> int:
    """Cores that this process may use (not those of the machine)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def run_processes(
    work: Work,
    settings: VotingSettings,
    report: Report,
    folder: Path,
    held: AbstractContextManager[Any],
) -> Any:
    """Run ``work(fabric, peers, report)`` in all processes and return what rank 0 returned.

    One process runs here; several on one machine are spawned; those of srun, torchrun or submitit
    are used as they are.

    Args:
        work: Picklable; it raises :class:`MmcertError` for what a person can mend.
        settings: Processes, threads, precision, and how long to wait for the others.
        report: Called here with the events of all processes (outside: of this process).
        folder: Where processes that were started outside find each other.
        held: Entered here around the work, once the others are there to be told if it refuses.

    Raises:
        MmcertError: The first one that a process raised; the others are stopped.
    """
    outside = started_outside()
    processes = asked_processes(settings, outside)
    cuda = torch.cuda.is_available()
    if cuda and outside is None and processes > torch.cuda.device_count():
        raise ConfigError(
            f"voting.processes={processes}, but there are {torch.cuda.device_count()} GPUs."
        )
    task = _Task(work, settings)
    minutes = settings.rendezvous_minutes
    if outside is not None:
        with meet(outside, folder, minutes, _LIMIT) as peers, held:
            peers.wait()
            result = task(peers, partial(_for_all, report, peers.world))
            peers.wait()
        return result
    with held:
        if processes == 1:
            with own_variables(0, 1):
                return task(Peers(Place()), report)
        return spawn(task, processes, report, minutes=minutes, key=_LIMIT, what="voting")


def _for_all(report: Report, world: int, event: Event) -> None:
    """Report for processes that cannot: they draw as much as this one, about."""
    kind, values = event
    if kind in ("draws", "saved"):
        values = {"draws": world * values["draws"]}
    report((kind, values))


class _Task:
    """What each process does around ``work``: its device, and numerics."""

    def __init__(self, work: Work, settings: VotingSettings) -> None:
        self._work = work
        self._settings = settings

    def __call__(self, peers: Peers, report: Report) -> Any:
        quiet()
        precision: Any = self._settings.precision
        cuda = torch.cuda.is_available()
        fabric = Fabric(
            accelerator="cuda" if cuda else "cpu",
            devices=[device_index(peers.place)] if cuda else 1,
            precision=precision,
            plugins=[RankEnvironment(Place(rank=peers.rank))],
        )
        fabric.launch()
        with numerics(self._settings.threads):
            return self._work(fabric, peers, report)


def device_index(place: Place) -> int:
    """The GPU of a rank: its own, or the only one that its launcher lets it see."""
    return place.local_rank % max(torch.cuda.device_count(), 1)


def quiet() -> None:
    """Leave warnings of Fabric and nothing less."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@contextlib.contextmanager
def numerics(threads: int) -> Iterator[None]:
    """Arithmetic that does not depend on the machine's mood: threads, no TF32, no autotuning."""
    before = torch.get_num_threads()
    cudnn = torch.backends.cudnn
    flags = (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    matmul = torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = False, False, True
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = flags
