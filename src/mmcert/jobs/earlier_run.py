"""What a run directory holds already: the same certification, to go on with, or another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.errors import RecordError
from mmcert.jobs.planned import PlannedRun
from mmcert.records.run import RunDescription, fingerprint, read_run
from mmcert.records.votes import sample_ids, votes_sha256
from mmcert.voting.identity import differences


def earlier_run(
    run_dir: Path, facts: Mapping[str, Any], shard: str | None, plan: PlannedRun | None
) -> RunDescription | None:
    """What an interrupted or finished run of the same votes left in the run directory.

    Args:
        run_dir: The run directory.
        facts: What the votes depend on (:func:`mmcert.voting.identity.voting_facts`).
        shard: The part of the samples that is voted on, or None.
        plan: The plan that is followed, or None.

    Raises:
        RecordError: Where another run, another shard, or changed votes are there, naming what
            differs.
    """
    votes = run_dir / "votes"
    if not (run_dir / "run.json").exists():
        if votes.exists():
            raise RecordError(
                f"{run_dir} holds votes without a run.json, so nobody knows of what; "
                f"choose another run_dir."
            )
        return None
    earlier = read_run(run_dir)
    if earlier.fingerprint != fingerprint(facts):
        _refuse(run_dir, earlier, facts)
    there = earlier.extra.get("shard")
    if there != shard:
        raise RecordError(
            f"{run_dir} holds {_part(there)} of this run, not {_part(shard)}; give every shard a "
            f"run_dir of its own, and mmcert-evaluate all of them."
        )
    _check_untouched(votes, earlier)
    if plan is not None:
        plan.check_followed(run_dir, earlier.extra)
    return earlier


def _refuse(run_dir: Path, earlier: RunDescription, facts: Mapping[str, Any]) -> None:
    found = differences(earlier.fingerprint_of, facts)
    listed = "; ".join(f"{key}: {one!r} there, {two!r} now" for key, (one, two) in found.items())
    advice = "choose another run_dir, or repeat the settings of that run"
    if set(found) == {"draws"}:
        advice = (
            "draws added to votes that were looked at would need sequential statistics; choose "
            "another run_dir for other draws"
        )
    raise RecordError(f"{run_dir} holds another run ({listed}); {advice}.")


def _check_untouched(votes: Path, earlier: RunDescription) -> None:
    """Refuse votes that were changed after the run recorded them: it must not sign them anew."""
    for sample_id in sample_ids(votes) if votes.exists() else ():
        stored = earlier.votes_sha256.get(sample_id)
        if stored is not None and votes_sha256(votes, sample_id) != stored:
            raise RecordError(
                f"{votes}/{sample_id}.npz: not the file that the run wrote (its SHA-256 "
                f"differs from run.json); remove it to have it voted again."
            )


def _part(shard: str | None) -> str:
    return "all samples" if shard is None else f"shard {shard}"
