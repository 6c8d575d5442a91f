"""Ranks on this machine, started by spawn and watched: all end together, and none is left behind.

A launcher that runs the command line again loses ranks under Hydra's multirun, and Lightning's own
waits for ever for what variables of the environment say; this one reads none of them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from mmcert.errors import FullDiskError, MmcertError
from mmcert.full_disk import full_disk
from mmcert.voting.environment import own_variables
from mmcert.voting.hub import Hub
from mmcert.voting.peers import PeerError, Peers, connect
from mmcert.voting.started import Place

#: What a process tells the one that started it: a kind and its values.
Event = tuple[str, dict[str, Any]]
Report = Callable[[Event], None]
#: ``work(peers, report)`` of one rank; what rank 0 returns comes back. All of it must be picklable.
Work = Callable[[Peers, Report], Any]

#: Seconds that processes have to end by themselves before they are killed.
_GRACE = 5.0


def spawn(work: Work, world: int, report: Report, *, minutes: float, key: str, what: str) -> Any:
    """Run ``work`` in ``world`` new processes on this machine and return what rank 0 returned.

    Args:
        work: Picklable; it raises :class:`MmcertError` for what a person can mend.
        world: How many.
        report: Called here with the events of all.
        minutes: Until all of them must have started.
        key: The configuration key of that limit, for the message.
        what: What they do, for messages: "voting", "training".

    Raises:
        MmcertError: The first one that a process raised, or which of them died; the others are
            stopped.
        RuntimeError: Any other error of a process, with its traceback.
    """
    hub = Hub(Place(world=world), minutes, key, local=True)
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = []
    readers: list[connection.Connection] = []
    try:
        with own_variables(0, world):  # libraries read them when they are imported there
            for rank in range(world):
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
                reader, writer = context.Pipe(duplex=False)
                readers.append(reader)
                place = Place(rank, world, rank)
                process = context.Process(
                    target=_rank, args=(work, place, hub.port, hub.token, writer), daemon=False
                )
                process.start()
                writer.close()
                processes.append(process)
        return _watch(processes, readers, report, what)
    finally:
        hub.close()
        _end(processes)
        for reader in readers:
            reader.close()


def _watch(
    processes: list[BaseProcess],
    readers: list[connection.Connection],
    report: Report,
    what: str,
) -> Any:
    """Pass events on until all have ended; what rank 0 returned."""
    result: Any = None
    open_readers = list(readers)
    failures: list[tuple[bool, BaseException]] = []
    running = list(processes)
    while open_readers or running:
        sentinels = [process.sentinel for process in running]
        ready = connection.wait([*open_readers, *sentinels], timeout=1.0)
        for reader in [reader for reader in open_readers if reader in ready]:
            try:
                kind, values = reader.recv()
            except (EOFError, OSError):
                open_readers.remove(reader)
                continue
            if kind == "result":
                result = values["value"]
            elif kind == "failure":
                # A process that was told of another's end says less than that other one.
                kinds = {"full": FullDiskError, "known": MmcertError, "unknown": RuntimeError}
                failures.append((values["told"], kinds[values["kind"]](values["message"])))
            else:
                report((kind, values))
        for process in [process for process in running if process.sentinel in ready]:
            running.remove(process)
            process.join()
            if process.exitcode and process.exitcode < 0:
                if process.exitcode == -signal.SIGTERM:
                    time.sleep(1.0)  # one for all processes has its own explanation, in this one
                failures.insert(0, (False, MmcertError(_died(process, processes, what))))
        own = [error for told, error in failures if not told]
        if own or (failures and not running):
            raise own[0] if own else failures[0][1]
    for rank, process in enumerate(processes):
        if process.exitcode:
            raise MmcertError(
                f"{what} process {rank} of {len(processes)} ended with status {process.exitcode} "
                f"and said nothing; look above for what it printed."
            )
    return result


def _died(process: BaseProcess, processes: list[BaseProcess], what: str) -> str:
    assert process.exitcode is not None
    try:
        name = signal.Signals(-process.exitcode).name
    except ValueError:
        name = f"signal {-process.exitcode}"
    why = ", perhaps for lack of memory" if name == "SIGKILL" else ""
    return (
        f"a {what} process died: rank {processes.index(process)} of {len(processes)} (process "
        f"{process.pid}) was ended by {name}{why}; what was finished is kept. Run the same line "
        f"again, with fewer processes if it repeats."
    )


def _end(processes: list[BaseProcess]) -> None:
    """Stop what still runs; their results are on disk, and nothing waits for more."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    until = time.monotonic() + _GRACE
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _rank(work: Work, place: Place, port: int, token: str, writer: connection.Connection) -> None:
    """The life of one rank."""
    # Ctrl-C reaches all processes of a terminal; the command that started them ends them.
    # So does a cluster's warning.
    for number in (signal.SIGINT, getattr(signal, "SIGUSR1", None)):
        if number is not None:
            signal.signal(number, signal.SIG_IGN)

    def report(event: Event) -> None:
        with contextlib.suppress(BrokenPipeError):  # the reader is gone, which `peers` will notice
            writer.send(event)

    try:
        with connect("127.0.0.1", port, token, place) as peers:
            peers.wait()
            value = work(peers, report)
            peers.wait()
    except MmcertError as error:
        report(("failure", _expected(error)))
        sys.exit(1)
    except KeyboardInterrupt:  # what a library makes of being stopped
        sys.exit(128 + signal.SIGINT)
    except ConnectionRefusedError:  # nobody is left to tell
        sys.exit(1)
    except Exception as error:
        full = full_disk(error)
        report(("failure", _unexpected() if full is None else _expected(full)))
        sys.exit(1)
    if place.rank == 0:
        report(("result", {"value": value}))


def _expected(error: MmcertError) -> dict[str, Any]:
    kind = "full" if isinstance(error, FullDiskError) else "known"
    return {"message": str(error), "kind": kind, "told": isinstance(error, PeerError)}


def _unexpected() -> dict[str, Any]:
    text = traceback.format_exc()
    return {"message": f"in a process of this run:\n{text}", "kind": "unknown", "told": False}
