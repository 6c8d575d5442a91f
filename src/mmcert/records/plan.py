"""``plan.json`` of a plan that was chosen on validation votes: read, checked, and identified."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmcert.errors import RecordError
from mmcert.records.atomic import check_schema, read_json

SCHEMA = 1
#: What tells these plans from those that are made before any vote.
KIND = "validation"
REMEDY = "make one: mmcert-plan checkpoint=... 'target.budget={...}'."
#: key -> the keys that it must hold.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "checkpoint": ("path", "sha256"),
    "chosen_on": ("split", "ids", "draws", "data"),
    "target": ("budget", "metric", "statistics", "guarantee", "kinds"),
    "certify": ("budgets", "statistics", "alpha", "split", "samples"),
    "interval": ("coverage",),
    "chosen": ("scheme", "k", "draws", "curve"),
    "best": (),
}


def find_plan(path: str | Path) -> Path:
    """The file that ``plan=`` names: itself, or ``plan.json`` in a run directory."""
    path = Path(path)
    return path / "plan.json" if path.is_dir() else path


def read_plan(path: str | Path) -> tuple[dict[str, Any], str]:
    """A plan that was chosen on validation votes, and the SHA-256 of its file.

    Args:
        path: The file, or the run directory of ``mmcert-plan``.

    Raises:
        RecordError: Where it is missing, broken, of another schema, or made without votes.
    """
    file = find_plan(path)
    document = read_json(file, "the plan", REMEDY)
    check_schema(document, file, SCHEMA, REMEDY)
    if document.get("kind") != KIND:
        raise RecordError(f"{file}: this plan was made before any vote and chooses no k; {REMEDY}")
    for key, inner in NEEDED.items():
        section = document.get(key)
        missing = (
            key
            if not isinstance(section, dict)
            else next((f"{key}.{name}" for name in inner if name not in section), None)
        )
        if missing is not None:
            raise RecordError(f"{file}: {missing} is missing; {REMEDY}")
    return document, hashlib.sha256(file.read_bytes()).hexdigest()
