"""``certificates.parquet``: one row per sample and statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmcert.errors import RecordError
from mmcert.records.atomic import atomic_write

SCHEMA = 1
REMEDY = "run mmcert-evaluate on the votes to write the certificates again."

_COUNTS = pa.map_(pa.string(), pa.int64())
COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("statistics", pa.string(), nullable=False),
        pa.field("target", pa.int32()),
        pa.field("predicted", pa.int32()),
        pa.field("abstained", pa.bool_(), nullable=False),
        pa.field("draws", pa.int64(), nullable=False),
        pa.field("n", _COUNTS, nullable=False),
        pa.field("k", _COUNTS, nullable=False),
        pa.field("counts", pa.list_(pa.int64())),
        pa.field("lower_bound", pa.float64()),
        pa.field("frontier", pa.list_(_COUNTS)),
        pa.field("hist", pa.list_(pa.list_(pa.int64()))),
    ]
)


@dataclass(frozen=True)
class Certificate:
    """What one statistics option says about one sample.

    The row speaks of the true label where the sample has a target (*robust*), else of the predicted
    one (*stable*).

    Args:
        id: Sample id.
        statistics: Statistics option.
        target: True class; None for segmentation and for unlabelled samples.
        predicted: Predicted class; None for segmentation, and where two classes tie.
        abstained: Not certified even at budget 0 (segmentation: no element of the sample is).
        draws: Votes per element.
        n: Elements per modality.
        k: Retained elements per modality.
        counts: Votes per class (classification).
        lower_bound: Lower bound that is compared with the threshold (``margin``: with the margin),
            rounded down; None where the option has no bound of its own for a sample.
        frontier: Maximal certified budgets in the grid's box, or None where no budget may be quoted
            because the option's claims hold for each budget on its own.
        hist: ``[class][votes for the true class]``: elements (segmentation).
    """

    id: str
    statistics: str
    target: int | None
    predicted: int | None
    abstained: bool
    draws: int
    n: Mapping[str, int]
    k: Mapping[str, int]
    counts: list[int] | None = None
    lower_bound: float | None = None
    frontier: list[dict[str, int]] | None = None
    hist: list[list[int]] | None = None


def write_certificates(
    path: str | Path, rows: Iterable[Certificate], facts: Mapping[str, str] | None = None
) -> None:
    """Write the rows atomically.

    Args:
        path: The parquet file.
        rows: Certificates, in the order in which they are stored.
        facts: What holds for all rows (e.g. voting, alpha), kept as the file's metadata.
    """
    columns: dict[str, list[Any]] = {field.name: [] for field in COLUMNS}
    for row in rows:
        for name in columns:
            value = getattr(row, name)
            if name in ("n", "k"):
                value = list(value.items())
            elif name == "frontier" and value is not None:
                value = [list(budget.items()) for budget in value]
            columns[name].append(value)
    metadata = {"mmcert.schema": str(SCHEMA), **(facts or {})}
    table = pa.table(columns, schema=COLUMNS.with_metadata(metadata))
    with atomic_write(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_certificates(path: str | Path) -> tuple[list[Certificate], dict[str, str]]:
    """Read the rows and the facts that hold for all of them.

    Raises:
        RecordError: Where the file is missing, corrupt, of another schema, or lacks a column.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise RecordError(f"{path}: no certificates here; {REMEDY}") from None
    except (OSError, pa.ArrowException) as error:
        raise RecordError(f"{path}: corrupt or no parquet file ({error}); {REMEDY}") from None
    facts = {
        key.decode(): value.decode()
        for key, value in (table.schema.metadata or {}).items()
        if not key.startswith(b"ARROW:")
    }
    if facts.pop("mmcert.schema", str(SCHEMA)) != str(SCHEMA):
        raise RecordError(f"{path}: another schema than {SCHEMA}; {REMEDY}")
    absent = [field.name for field in COLUMNS if field.name not in table.column_names]
    if absent:
        raise RecordError(f"{path}: columns {', '.join(absent)} missing; {REMEDY}")
    try:
        table = table.select(COLUMNS.names).cast(COLUMNS)
    except (pa.ArrowException, ValueError) as error:
        raise RecordError(f"{path}: columns of other types ({error}); {REMEDY}") from None
    rows = []
    for entry in table.to_pylist():
        entry["n"], entry["k"] = dict(entry["n"]), dict(entry["k"])
        if entry["frontier"] is not None:
            entry["frontier"] = [dict(budget) for budget in entry["frontier"]]
        rows.append(Certificate(**entry))
    return rows, facts
