"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mmcert.errors import RecordError
from mmcert.full_disk import full_disk


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` that replaces it once the block ends without error.

    Data reach the disk before the name does, so a killed process or a power cut leaves the old file
    or the new one. Temporary names start with a dot; readers skip them.

    Args:
        path: The file to write; its folder is made where it is missing.

    Raises:
        FullDiskError: Where the disk is full; the old file is there, the new one is removed.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except OSError as error:
        raise full_disk(error, path) or error from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files that only their owner can read; results are as readable as any file.
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        full = full_disk(error, path)
        if full is not None:
            raise full from error
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: str | Path, document: Any) -> None:
    """Write ``document`` as indented JSON, atomically. NaN and infinities are refused."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with atomic_write(path) as stream:
        stream.write(text.encode())


def read_json(path: str | Path, what: str, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: The file.
        what: What the file is, for messages.
        remedy: What to do where it is missing or broken.

    Raises:
        RecordError: Where the file is missing, unreadable, no JSON, or no object.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RecordError(f"{path}: {what} is missing; {remedy}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise RecordError(f"{path}: {what} cannot be read ({error}); {remedy}") from None
    if not isinstance(document, dict):
        raise RecordError(f"{path}: {what} must hold a JSON object; {remedy}")
    return document


def check_schema(document: dict[str, Any], path: str | Path, newest: int, remedy: str) -> None:
    """Refuse a document of another schema version; a missing one reads as schema 1.

    Raises:
        RecordError: Naming both versions.
    """
    schema = document.get("schema", 1)
    if isinstance(schema, bool) or not isinstance(schema, int) or schema != newest:
        raise RecordError(
            f"{path}: this is schema {schema!r}, this version of mmcert reads schema {newest}; "
            f"{remedy}"
        )
