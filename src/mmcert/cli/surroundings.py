"""What a command makes of the process that it runs in: its streams and what draws its figures."""

from __future__ import annotations

import os
import sys
from typing import Any


def settle() -> None:
    """Make this process one in which a command can run; before any import that might look.

    Figures are drawn into files, so a notebook's or a desktop's ``MPLBACKEND`` means nothing here
    (matplotlib refuses at its import what is not installed, and torchmetrics imports it). What the
    output cannot show (a code page, ``LANG=C``) is written as an escape instead of ending a run
    after its work is done; lines reach a log file when they are written.
    """
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # not where a notebook or a test has put its own
            reconfigure(errors="backslashreplace", line_buffering=True)
    encoding = getattr(sys.stdout, "encoding", None)
    if encoding:  # processes that are spawned write to the same place
        os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"
