"""One job at a time works in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mmcert.errors import RecordError
from mmcert.full_disk import full_disk

try:
    import fcntl
except ImportError:  # Windows: the caller goes without
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
#: Names the locks that this process holds for whatever it starts, which may work there with it.
_HELD = "MMCERT_LOCKS_HELD"


@contextlib.contextmanager
def only_one(
    folder: Path, what: str = "job", *, file: Path | None = None, remedy: str = "run_dir"
) -> Iterator[None]:
    """Hold ``folder`` for this process and those it starts; the system lets go when it ends.

    The lock file says who holds it and is removed at the end; one that a killed process left holds
    nobody up. Where the file system knows no locks, nothing is held.

    Args:
        folder: Where one may work at a time; made where it is missing.
        what: The work, for the message of whoever comes second.
        file: The lock file, by default ``folder/.lock``.
        remedy: The setting that names another folder.

    Raises:
        RecordError: Where another process holds it, naming that; or the folder cannot be written.
        FullDiskError: Where not even the lock fits on the disk.
    """
    path = (folder / LOCK if file is None else file).absolute()
    held = _held()
    if any(where == str(path) and holder != os.getpid() for holder, where in held):
        yield  # started by the process that holds it, as Lightning starts the ranks of ddp
        return
    made = not path.parent.exists()
    stream = _acquire(path, folder, what, remedy)
    mine = (os.getpid(), str(path))
    os.environ[_HELD] = json.dumps([*held, mine])
    try:
        yield
    finally:
        os.environ[_HELD] = json.dumps([one for one in _held() if one != mine])
        with contextlib.suppress(OSError):  # while it is held: nobody else can have made it anew
            path.unlink()
        stream.close()
        if made:
            with contextlib.suppress(OSError):  # nothing was written: leave nothing behind
                path.parent.rmdir()


def _acquire(path: Path, folder: Path, what: str, remedy: str) -> IO[str]:
    """The open lock file, held."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - held until the job ends
        except OSError as error:
            raise full_disk(error, path) or RecordError(
                f"{folder}: cannot be written to ({error.strerror}); choose another {remedy}."
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(stream)
            stream.close()
            raise RecordError(
                f"{folder}: another {what} is at work here{holder}; wait for it, or choose another "
                f"{remedy}."
            ) from None
        except OSError:  # a file system without locks
            pass
        if _is_still(stream, path):
            break
        stream.close()  # its holder removed the file between our two calls
    with contextlib.suppress(OSError):  # a full disk; the lock holds without its text
        stream.truncate(0)
        stream.write(json.dumps(_signature()))
        stream.flush()
    return stream


def _held() -> list[tuple[int, str]]:
    """The locks that this process or one above it holds: whose, and where."""
    return [(holder, where) for holder, where in json.loads(os.environ.get(_HELD, "[]"))]


def _is_still(stream: IO[str], path: Path) -> bool:
    """Whether the open file is the one that has the name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _signature() -> dict[str, object]:
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    return {"process": os.getpid(), "machine": socket.gethostname(), "since": began}


def _holder(stream: IO[str]) -> str:
    """Who holds the lock, in parentheses; nothing where the file does not say."""
    try:
        stream.seek(0)
        said = json.loads(stream.read())
        return f" (process {said['process']} on {said['machine']}, since {said['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
