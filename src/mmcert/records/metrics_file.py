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
    tables = [document.get("thresholds") or []]
    tables += [entry["grid"] for entry in document["results"]]
    # Long tables are left out of the indented text, marked, and put back one entry per line.
    marks = [f"table {index}" for index in range(len(tables))]
    results = [
        {**entry, "grid": mark} for entry, mark in zip(document["results"], marks[1:], strict=True)
    ]
    bare = {**document, "results": results}
    if "thresholds" in document:
        bare["thresholds"] = marks[0]
    text = json.dumps(bare, indent=2, allow_nan=False, ensure_ascii=False)
    for mark, table in zip(marks, tables, strict=True):
        before, found, after = text.partition(f'"{mark}"')
        if found:
            text = before + _lines(table, before) + after
    return (text + "\n").encode()


def _lines(table: list[Any], before: str) -> str:
    indent = len(before.rsplit("\n", 1)[-1]) - len(before.rsplit("\n", 1)[-1].lstrip())
    if not table:
        return "[]"
    lines = ",\n".join(
        " " * (indent + 2) + json.dumps(entry, allow_nan=False, ensure_ascii=False)
        for entry in table
    )
    return f"[\n{lines}\n{' ' * indent}]"


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
