"""Failures that can be expected of a machine, told in a sentence: file, reason, what to do."""

from __future__ import annotations

import errno
import platform
from pathlib import Path

import mmcert
from mmcert.full_disk import full_disk
from mmcert.jobs.elsewhere import as_here

#: Error numbers of the system -> reason and remedy.
_REASONS: tuple[tuple[tuple[int, ...], str, str], ...] = (
    (
        (errno.EACCES, errno.EPERM),
        "you may not read or write it",
        "Give yourself the right to (ls -ld shows who has it), or choose another folder",
    ),
    (
        (errno.EROFS,),
        "it lies on a file system that cannot be written to",
        "Choose another folder",
    ),
    (
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY),
        "a file is where a folder is needed, or a folder where a file is",
        "Move it away, or choose another folder",
    ),
    ((errno.ENOENT,), "it is not there", "See whether it was moved, or a disk is not mounted"),
    ((errno.ENAMETOOLONG,), "its name is too long for the file system", "Choose a shorter one"),
    (
        (errno.EMFILE, errno.ENFILE),
        "too many files are open",
        "Raise the limit (ulimit -n 4096), or use fewer processes",
    ),
    (
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO),
        "the disk or network drive does not answer as it should",
        "See to it (dmesg, or who runs it)",
    ),
    ((errno.ENOMEM,), "memory ran out", "Use fewer processes, or smaller batches"),
    ((errno.EPIPE,), "nobody reads the output any more", "Send it to a file"),
)
_MEMORY = (
    "memory ran out ({}). Use a smaller data.batch_size (training) or voting.block (certifying), "
    "fewer processes, or a machine with more"
)
#: Words in the message of a RuntimeError of torch -> what to say; ``{}`` is its first line.
_TORCH: tuple[tuple[str, str], ...] = (
    ("out of memory", _MEMORY),
    ("can't allocate memory", _MEMORY),
    ("not enough memory", _MEMORY),
    (
        "shared memory",
        "the workers of the loader ran out of shared memory ({}). Use data.workers=0, or give the "
        "container more (--shm-size)",
    ),
    (
        "DataLoader worker",
        "a worker of the loader was ended from outside ({}), most likely because memory ran out. "
        "Use fewer data.workers",
    ),
    (
        "PytorchStreamWriter",
        "a checkpoint could not be written ({}). Is the disk full? Free space",
    ),
    ("CUDA error", "the GPU failed ({}). See nvidia-smi, and whether another process uses it"),
    ("CUDA driver", "the GPU cannot be used ({}). See nvidia-smi, or use trainer.accelerator=cpu"),
)


def explained(error: BaseException, folder: Path | None = None) -> str | None:
    """What to tell a person, without the line that goes on; None for an error nobody foresaw.

    Args:
        error: What ended a command.
        folder: Where it was writing; named where the system does not say which file it was.

    >>> explained(OSError(30, "Read-only file system", "runs/a"))
    'runs/a: it lies on a file system that cannot be written to. Choose another folder.'
    >>> explained(KeyError("a")) is None
    True
    """
    error = as_here(error) or error
    if (full := full_disk(error)) is not None:
        return str(full)
    if type(error).__module__.startswith("wandb."):
        return (
            f"Weights & Biases: {_first_line(error)}. Log in (wandb login, or WANDB_API_KEY), or "
            f"use logger.mode=offline."
        )
    if isinstance(error, MemoryError):
        return _MEMORY.format(_first_line(error) or "MemoryError") + "."
    if isinstance(error, OSError):
        return _of_the_system(error, folder)
    if isinstance(error, RuntimeError):
        for words, sentence in _TORCH:
            if words in str(error):
                return sentence.format(_first_line(error)) + "."
    return None


def _of_the_system(error: OSError, folder: Path | None) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    for numbers, reason, remedy in _REASONS:
        if error.errno in numbers:
            # A write to an open file fails without its name.
            inside = f"{folder}: " if folder is not None and error.errno != errno.EPIPE else ""
            return f"{where or inside}{reason}. {remedy}."
    if "cache" in str(error):
        return (
            f"{_first_line(error)}. Give the library a cache that can be written to: MPLCONFIGDIR "
            f"for matplotlib, TORCH_HOME for torch, HF_HOME for timm."
        )
    cause = error.strerror or _first_line(error)
    return (
        f"{where}{cause}. See to it, or choose other files; where it is a download, see whether "
        f"the network can be reached."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def unforeseen() -> str:
    """What stands below the traceback of an error that nobody foresaw."""
    return (
        f"This is a fault of mmcert, not of yours. Please report it to its authors, with "
        f"everything from 'Traceback' on, the command line, and: mmcert {mmcert.__version__}, "
        f"Python {platform.python_version()}, {platform.platform()}."
    )
