"""What each voting process is given, and the voter it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from mmcert.errors import DataError
from mmcert.voting.compiled import Compiled
from mmcert.voting.draws import make_sampler
from mmcert.voting.loop import Voter
from mmcert.voting.plan import STREAMS
from mmcert.voting.protocol import BaseModel, VotingDataset
from mmcert.voting.settings import SchemeSpec, StoppingRule, VotingSettings

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
        rule: When a sample has had enough draws (sequential voting only).
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
    rule: StoppingRule | None = None


def draws_of_all(ids: Iterable[str], settings: VotingSettings) -> dict[str, dict[str, int]]:
    """The same number of random draws for every sample."""
    per_stream = dict(zip(STREAMS, (settings.draws, settings.selection_draws), strict=True))
    return {sample_id: dict(per_stream) for sample_id in ids}


def make_voter(ballot: Ballot, fabric: Fabric) -> Voter:
    """The voter of one process, on its device.

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
    assert isinstance(settings.block, int)
    return Voter(
        dataset,
        Compiled(model) if settings.compile else model,
        ballot.scheme,
        sampler=make_sampler(settings.mode, ballot.seed),
        block=settings.block,
        device=fabric.device,
        autocast=fabric.autocast,
    )


def device_name(device: torch.device) -> str:
    """What votes: the name of the GPU, or the instruction set of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"
