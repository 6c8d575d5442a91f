"""Errors of other processes, as if they had been raised here.

A worker of a loader and a spawned process send their traceback as text. What a person can mend is
in its last lines.
"""

from __future__ import annotations

import builtins
import re

import mmcert.errors
from mmcert.errors import MmcertError

_TRACEBACK = "Traceback (most recent call last):\n"
_ERRNO = re.compile(r"\[Errno (\d+)\] ([^:]*)(?:: '(.*?)')?(?: -> '.*')?")


def as_here(error: BaseException) -> BaseException | None:
    r"""The error that another process raised, or None where ``error`` is not of another one.

    >>> text = "Caught it.\nOriginal Traceback (most recent call last):\n  File 1\n"
    >>> as_here(RuntimeError(text + "KeyError: 'a'")) is None
    True
    >>> as_here(RuntimeError(text + "mmcert.errors.DataError: a.png: torn"))
    DataError('a.png: torn')
    """
    text = str(error)
    if _TRACEBACK not in text:
        return None
    lines = text.rsplit(_TRACEBACK, 1)[1].splitlines()
    while lines and (not lines[0].strip() or lines[0].startswith(" ")):
        del lines[0]
    name, _, message = "\n".join(lines).strip().partition(": ")
    known = getattr(mmcert.errors, name.rsplit(".", 1)[-1], None)
    if name.startswith("mmcert.errors.") and known is not None and issubclass(known, MmcertError):
        raised: BaseException = known(message)
        return raised
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, MemoryError):
        return MemoryError(message)
    if isinstance(kind, type) and issubclass(kind, OSError) and (found := _ERRNO.match(message)):
        return OSError(int(found[1]), found[2], found[3])
    return None
