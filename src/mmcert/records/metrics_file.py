"""``metrics.json``: certified metrics over a grid of budgets, with what each result promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmcert.errors import RecordError
from mmcert.records.atomic import atomic_write, check_schema, read_json

SCHEMA = 1
REMEDY = "run mmcert-evaluate on the votes to write it again."
RESULT_KEYS = (
    "statistics",
    "claim",
    "guarantee",
    "family",
    "over_budgets",
    "alpha",
    "draws",
    "threat",
    "grid",
)


def metrics_bytes(document: dict[str, Any]) -> bytes:
    """The bytes of a ``metrics.json``: indented, with one grid point per line.

    The same document gives the same bytes; NaN and infinities are refused.
    """
    bare = {**document, "results": [{**entry, "grid": []} for entry in document["results"]]}
    pieces = json.dumps(bare, indent=2, allow_nan=False, ensure_ascii=False).split('"grid": []')
    grids = [entry["grid"] for entry in document["results"]]
    if len(pieces) != len(grids) + 1:
        raise ValueError("a result holds text that looks like an empty grid")
    text = pieces[0]
    for grid, piece in zip(grids, pieces[1:], strict=True):
        lines = ",\n".join(
            "        " + json.dumps(point, allow_nan=False, ensure_ascii=False) for point in grid
        )
        text += f'"grid": [\n{lines}\n      ]{piece}' if grid else f'"grid": []{piece}'
    return (text + "\n").encode()


def write_metrics(path: str | Path, document: dict[str, Any]) -> None:
    """Write ``metrics.json`` atomically."""
    content = metrics_bytes(document)
    with atomic_write(path) as stream:
        stream.write(content)


def read_metrics(path: str | Path) -> dict[str, Any]:
    """Read a ``metrics.json``.

    Raises:
        RecordError: Where it is missing, broken, of another schema, or lacks a key.
    """
    document = read_json(path, "the metrics", REMEDY)
    check_schema(document, path, SCHEMA, REMEDY)
    missing = [key for key in ("task", "scheme", "samples", "results") if key not in document]
    if missing:
        raise RecordError(f"{path}: {', '.join(missing)} missing; {REMEDY}")
    if not isinstance(document["results"], list):
        raise RecordError(f"{path}: results must be a list; {REMEDY}")
    for index, entry in enumerate(document["results"]):
        absent = [key for key in RESULT_KEYS if not isinstance(entry, dict) or key not in entry]
        if absent:
            raise RecordError(f"{path}: results[{index}] lacks {', '.join(absent)}; {REMEDY}")
    return document
