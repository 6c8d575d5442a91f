"""``run.json``: what was run, on what, with which parts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmcert.errors import RecordError
from mmcert.records.atomic import check_schema, read_json, write_json

SCHEMA = 1
REMEDY = "give a run directory that this version of mmcert wrote, or run the command again."
PACKAGES = ("mmcert", "numpy", "scipy", "torch", "pyarrow")


@dataclass(frozen=True)
class RunDescription:
    """What was run, on what, with which parts.

    Args:
        command: The command that wrote the directory: ``certify`` or ``evaluate``.
        task: ``classification`` or ``segmentation``.
        scheme: Name of the sub-sampling scheme.
        elements: What a basic element is, per modality: the object that is certified.
        precision: Numeric precision of the base model, e.g. ``fp32``; None where it is unknown.
        seeds: Seeds by use, e.g. ``{"voting": 0}``.
        fingerprint: Fingerprint of everything that the votes depend on.
        fingerprint_of: That everything, as plain data; empty where it is unknown.
        checkpoint_sha256: SHA-256 of the checkpoint file, or None.
        checkpoint: Where that file was, or None.
        stopping: ``fixed``, ``sequential`` or ``exhaustive``.
        votes: Votes folders that were evaluated, as given; empty for the directory's own.
        votes_sha256: SHA-256 of each votes file by sample id, or empty.
        versions: Package versions.
        timings: Seconds by stage.
        draws_per_second: Base-model draws per second over all processes, or None.
        extra: Anything else that a command wants to keep, plain data.
    """

    command: str
    task: str
    scheme: str
    elements: Mapping[str, str]
    precision: str | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    fingerprint: str | None = None
    fingerprint_of: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_sha256: str | None = None
    checkpoint: str | None = None
    stopping: str = "fixed"
    votes: tuple[str, ...] = ()
    votes_sha256: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    draws_per_second: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    schema: int = field(default=SCHEMA, kw_only=True)


def fingerprint(facts: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of its keys.

    >>> fingerprint({"N": 100, "seed": 0}) == fingerprint({"seed": 0, "N": 100})
    True

    Raises:
        RecordError: Where the data are not plain (JSON).
    """
    try:
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecordError(f"a fingerprint covers plain data only: {error}.") from None
    return hashlib.sha256(text.encode()).hexdigest()


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on (those that are installed)."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_run(run_dir: str | Path, run: RunDescription) -> None:
    """Write ``run_dir/run.json`` atomically."""
    fields = dataclasses.asdict(run)
    write_json(Path(run_dir) / "run.json", {"schema": fields.pop("schema"), **fields})


def read_run(run_dir: str | Path) -> RunDescription:
    """Read ``run_dir/run.json``.

    Raises:
        RecordError: Where it is missing, broken, of another schema, or where its fingerprint is not
            the fingerprint of what it lists.
    """
    path = Path(run_dir) / "run.json"
    document = read_json(path, "the description of the run", REMEDY)
    check_schema(document, path, SCHEMA, REMEDY)
    known = {entry.name for entry in dataclasses.fields(RunDescription)}
    missing = [key for key in ("command", "task", "scheme", "elements") if key not in document]
    if missing:
        raise RecordError(f"{path}: {', '.join(missing)} missing; {REMEDY}")
    fields = {key: value for key, value in document.items() if key in known}
    fields["votes"] = tuple(fields.get("votes") or ())
    run = RunDescription(**fields)
    if run.fingerprint_of and run.fingerprint != fingerprint(run.fingerprint_of):
        raise RecordError(
            f"{path}: the fingerprint is not that of fingerprint_of; the file was changed after it "
            f"was written. {REMEDY}"
        )
    return run
