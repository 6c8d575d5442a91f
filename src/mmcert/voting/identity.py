"""What the votes of a run depend on, and what differs between two runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmcert.voting.settings import SchemeSpec, StoppingRule, VotingSettings


def voting_facts(
    *,
    checkpoint_sha256: str,
    scheme: SchemeSpec,
    encoding: Mapping[str, Any],
    data: Mapping[str, Any],
    ids: Sequence[str],
    seed: int,
    settings: VotingSettings,
    device: str,
    rule: StoppingRule | None = None,
) -> dict[str, Any]:
    """Everything that a vote depends on, as plain data for ``records.run.fingerprint``.

    The number of processes is not among it: they share the same draws in the same blocks.

    Args:
        checkpoint_sha256: Of the base model's file.
        scheme: What a draw retains.
        encoding: Of a sub-sample for the base model, per modality.
        data: Name and options of the data set (not where it lies).
        ids: Samples, in order.
        seed: Of the draws.
        settings: Draws, block, precision, layout, threads; the block is a number here.
        device: Kind of device, e.g. ``cpu``; another rounds otherwise.
        rule: When a sample had enough draws (sequential voting).
    """
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    facts = {
        "checkpoint_sha256": checkpoint_sha256,
        "scheme": scheme.plain(),
        "encoding": dict(encoding),
        "data": dict(data),
        "samples": {"count": len(ids), "sha256_of_ids": digest},
        "seed": seed,
        "mode": settings.mode,
        "draws": settings.draws,
        "selection_draws": settings.selection_draws,
        "block": settings.block,
        "precision": settings.precision,
        "layout": "channels_last" if settings.channels_last else "contiguous",
        "threads": settings.threads,
        "device": device,
    }
    if settings.compile:  # absent where it is off, so that earlier runs keep their fingerprint
        facts["compile"] = True
    if rule is not None:
        facts["stopping_rule"] = rule.plain()
    return facts


def differences(
    there: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """The keys, dotted, that differ between two descriptions, with both values.

    >>> differences({"scheme": {"k": 1}, "seed": 0}, {"scheme": {"k": 2}, "seed": 0})
    {'scheme.k': (1, 2)}
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(set(there) | set(asked)):
        one, other = there.get(key), asked.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found |= differences(one, other, f"{prefix}{key}.")
        elif one != other:
            found[prefix + key] = (one, other)
    return found
