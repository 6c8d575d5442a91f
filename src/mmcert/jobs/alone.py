"""A job holds its run directory: two of them would mix their files in silence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from mmcert.records.lock import only_one

P = ParamSpec("P")
R = TypeVar("R")
Job = Callable[Concatenate[Any, Any, P], R]


def alone(job: Job[P, R]) -> Job[P, R]:
    """Let ``job(config, run_dir, ...)`` run only where no other job works in ``run_dir``.

    Raises:
        RecordError: Naming the other process, before the job has looked at anything.
    """

    @functools.wraps(job)
    def held(config: Any, run_dir: Any, *args: P.args, **options: P.kwargs) -> R:
        with only_one(Path(run_dir), f"mmcert-{job.__name__}"):
            return job(config, run_dir, *args, **options)

    return held


def alone_with_ranks(job: Job[P, R]) -> Job[P, R]:
    """Like :func:`alone`, for a job that srun or torchrun may start in several processes.

    The first of them holds the directory for all; they see each other through the roll call.
    """

    @functools.wraps(job)
    def held(config: Any, run_dir: Any, *args: P.args, **options: P.kwargs) -> R:
        from mmcert.voting.started import started_outside

        outside = started_outside()
        follows = outside is not None and outside.rank > 0
        held = only_one(Path(run_dir), f"mmcert-{job.__name__}")
        with nullcontext() if follows else held:
            return job(config, run_dir, *args, **options)

    return held
