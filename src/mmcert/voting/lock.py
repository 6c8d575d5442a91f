"""One command at a time votes into a run directory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from mmcert.errors import RecordError

try:
    import fcntl
except ImportError:  # Windows: the caller goes without
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; the system lets go of it when the process ends.

    Raises:
        RecordError: Where another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RecordError(
                    f"{folder}: another process is voting here; wait for it, or choose another "
                    f"run_dir."
                ) from None
            except OSError:  # a file system without locks
                pass
        yield
