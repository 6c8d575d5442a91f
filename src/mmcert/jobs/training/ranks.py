"""The processes of a training: here, spawned, or those that srun, torchrun or submitit made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from mmcert.errors import ConfigError, MmcertError
from mmcert.jobs.training.trainer import device_count, strategy_for, uses_cuda
from mmcert.voting.environment import own_variables
from mmcert.voting.peers import PeerError, Peers
from mmcert.voting.rendezvous import meet
from mmcert.voting.spawn import Report, spawn
from mmcert.voting.started import Place, started_outside

_LIMIT = "trainer.rendezvous_minutes"
#: Seconds in which the roll call says why a collective operation has failed.
_REASON = 10.0


def run_ranks(
    work: Callable[[Peers, Report], Any],
    trainer: Mapping[str, Any],
    run_dir: Path,
    report: Report,
) -> Any:
    """Run ``work(peers, report)`` in all processes of a training; what rank 0 returned.

    Args:
        work: Picklable.
        trainer: The ``trainer`` section.
        run_dir: Where processes that were started outside find each other.
        report: Called here with the events of all processes (outside: of this process).

    Raises:
        ConfigError: Where others were started than the section asks for.
        MmcertError: The first one that a process raised; the others are stopped.
    """
    minutes = float(trainer.get("rendezvous_minutes") or 5.0)
    outside = started_outside()
    asked = asked_ranks(trainer, outside)
    if outside is not None:
        with meet(outside, run_dir, minutes, _LIMIT) as peers:
            return work(peers, report)
    if asked == 1:
        with own_variables(0, 1):
            return work(Peers(Place()), report)
    return spawn(work, asked, report, minutes=minutes, key=_LIMIT, what="training")


def asked_ranks(trainer: Mapping[str, Any], outside: Place | None) -> int:
    """How many processes a ``trainer`` section asks for.

    Raises:
        ConfigError: Where srun or torchrun made another number, or nobody made those elsewhere.
    """
    devices, nodes = device_count(trainer), int(trainer.get("num_nodes") or 1)
    if outside is None:
        if nodes > 1:
            raise ConfigError(
                f"trainer.num_nodes={nodes}, but nothing has started processes on other machines; "
                f"use srun or torchrun, or set trainer.num_nodes=1."
            )
        gpus = torch.cuda.device_count()
        if uses_cuda(trainer) and devices > gpus:
            raise ConfigError(f"trainer.devices={devices}, but there are {gpus} GPUs.")
        return devices
    if trainer.get("devices") != "auto" and devices * nodes != outside.world:
        raise ConfigError(
            f"trainer.devices={devices} and trainer.num_nodes={nodes} ask for {devices * nodes} "
            f"processes, but {outside.starter} has started {outside.world}: let their product be "
            f"that number (trainer.devices={outside.world} where all are on one machine)."
        )
    return outside.world


@contextlib.contextmanager
def process_group(peers: Peers, trainer: Mapping[str, Any]) -> Iterator[None]:
    """What the collective operations of a training need; left when it ends.

    Joined here, through the roll call: Lightning would wait for whatever ``MASTER_ADDR`` says.

    Raises:
        PeerError: Instead of the error of an operation that failed because another process did.
    """
    if strategy_for(str(trainer.get("strategy", "auto")), peers.world) == "auto":
        yield
        return
    distributed = torch.distributed
    patience = timedelta(minutes=30)
    port = 0
    if peers.rank == 0:
        store = distributed.TCPStore("127.0.0.1", 0, None, True, patience, wait_for_workers=False)
        port = store.port
    port = peers.first(port)
    if peers.rank != 0:
        store = distributed.TCPStore(peers.host, port, None, False, timedelta(minutes=5))
        store.set_timeout(patience)
    try:
        distributed.init_process_group(
            "nccl" if uses_cuda(trainer) else "gloo",
            store=store,
            rank=peers.rank,
            world_size=peers.world,
            timeout=patience,
        )
        yield
    except MmcertError:
        raise
    except Exception:
        reason = peers.failure(_REASON)
        if reason is None:
            raise
        raise PeerError(reason) from None
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
