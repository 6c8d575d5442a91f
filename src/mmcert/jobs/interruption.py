"""Ctrl-C, SIGTERM and a cluster's warning end a job at once, wherever it waits; it can go on later.

Votes are written in segments and trainings after each epoch, so there is nothing to save when the
signal comes, and a job that does not use up its notice loses no more than one that is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

#: Seconds after a signal in which a job must have ended by itself; C code may wait for ever.
_LIMIT = 20.0


class Interrupted(KeyboardInterrupt):
    """A signal has ended the job.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Signals raise :class:`Interrupted` inside, and end the process where that does not help.

    SIGUSR1 is one of them in a job of Slurm (``--signal=USR1@120``). A handler that somebody has
    set before, submitit's for instance, stays; so does a signal that is ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if "SLURM_JOB_ID" in os.environ:
        numbers.append(signal.SIGUSR1)
    free = (signal.SIG_DFL, signal.default_int_handler)
    ours = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) in free}
    _owner[0] = os.getpid()
    for number in ours:
        signal.signal(number, _interrupt)
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    over = threading.Event()
    before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_force, args=(woken, frozenset(ours), over), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt as error:
        # On its way a library may have put another in the place of ours.
        raise error if isinstance(error, Interrupted) else _last_or(error) from None
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        waker.close()
        for number, handler in ours.items():
            signal.signal(number, handler)
        _last.clear()


_last: list[Interrupted] = []
_owner = [0]


def _last_or(error: KeyboardInterrupt) -> KeyboardInterrupt:
    return _last[-1] if _last else error


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    if os.getpid() != _owner[0]:  # a loader's worker has inherited this, and has nothing to tell
        os._exit(128 + number)
    _last.append(Interrupted(number))
    raise _last[-1]


def _force(woken: socket.socket, ours: frozenset[int], over: threading.Event) -> None:
    """End the process where a signal has not ended the job."""
    with woken:
        while numbers := woken.recv(64):
            caught = [number for number in numbers if number in ours]
            if caught and not over.wait(_LIMIT):
                os._exit(128 + caught[0])


def requeue(error: KeyboardInterrupt, say: Callable[[str], None]) -> None:
    """Put the job of Slurm whose first process this is back into the queue, if it should go on.

    It should after SIGUSR1, the warning that a job asks for, and where Slurm pre-empts it; not
    where a person has cancelled it.

    Args:
        error: What has ended the job.
        say: Gets what is done, before it is: Slurm ends this process for it.
    """
    job = os.environ.get("SLURM_JOB_ID")
    number = getattr(error, "number", signal.SIGINT)
    if job is None or number == signal.SIGINT or os.environ.get("SLURM_PROCID", "0") != "0":
        return
    if "SUBMITIT_EXECUTOR" in os.environ:  # which requeues its jobs itself
        return
    if number == signal.SIGTERM and not _is_preempted(job):
        return
    say(f"Job {job} goes back into the queue, and on from there.")
    done = _scontrol("requeue", job)
    if done.returncode != 0:
        say(f"It could not ({done.stderr.strip()}); submit it again, with sbatch --requeue.")


def _is_preempted(job: str) -> bool:
    return "PreemptTime=" in (text := _scontrol("show", "job", "--oneliner", job).stdout) and (
        "PreemptTime=None" not in text
    )


def _scontrol(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, timeout=15, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(arguments, 1, "", str(error))


def exit_status(error: KeyboardInterrupt) -> int:
    """What a shell expects of a command that a signal has ended."""
    number = getattr(error, "number", signal.SIGINT)
    sys.stdout.flush()
    return 128 + int(number)
