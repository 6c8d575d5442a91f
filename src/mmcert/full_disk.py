"""A disk that is full, told to the person who has to make room.

A leaf like :mod:`mmcert.errors`: every layer may import it.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from mmcert.errors import FullDiskError

#: What a write says when it ends at a limit: of the disk, of a quota, of the size of one file.
_FULL = frozenset(
    number
    for name in ("ENOSPC", "EDQUOT", "EFBIG")
    if (number := getattr(errno, name, None)) is not None
)
_REASON = {
    "EDQUOT": "your quota on this disk is used up",
    "EFBIG": "it is larger than a file may be here (ulimit -f)",
}


def full_disk(error: BaseException, path: str | Path | None = None) -> FullDiskError | None:
    """The error for a person where ``error``, or what it came from, is about a full disk.

    PyTorch, NumPy, Arrow and Pillow wrap what the system says; the whole chain is read.

    Args:
        error: What a writer raised.
        path: The file it wrote, where that is not in the error; what was half-written is removed.

    Returns:
        None where the disk is not what is wrong.
    """
    cause = _cause(error)
    if cause is None:
        return None
    where = Path(path if path is not None else cause.filename or Path.cwd())
    name = errno.errorcode.get(cause.errno or 0, "")
    reason = _REASON.get(name) or f"the disk is full ({_room(where)})"
    return FullDiskError(
        f"{where} could not be written: {reason}. An earlier file of that name is as it was, and "
        f"nothing half-written is left. Make room there, or go on in a folder on another disk; the "
        f"same line again goes on from what is finished."
    )


def _cause(error: BaseException | None) -> OSError | None:
    """The first error about a full disk in the chain of one."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in _FULL:
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _room(path: Path) -> str:
    """How much is free where ``path`` is, or the nearest folder above it that is there."""
    folder = next((one for one in (path, *path.absolute().parents) if one.exists()), Path(os.sep))
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return "how full, the system does not say"
    return f"{_size(usage.free)} of {_size(usage.total)} free, and it needs more"


def _size(amount: int) -> str:
    """Bytes for people.

    >>> _size(0), _size(3_300_000), _size(12_000_000_000)
    ('0.0 MB', '3.3 MB', '12.0 GB')
    """
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
