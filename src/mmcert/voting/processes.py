"""Processes: one per core or GPU on this machine by spawn, or those that srun or torchrun made."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing import active_children, connection, get_context
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy

from mmcert.errors import ConfigError, MmcertError
from mmcert.voting.settings import VotingSettings

#: What a process tells the one that started it: a kind and its values.
Event = tuple[str, dict[str, Any]]
Report = Callable[[Event], None]
#: ``work(fabric, report)``; rank 0's result comes back. It must be picklable.
Work = Callable[[Fabric, Report], Any]

#: Processes wait for each other only at the end, however long the others still vote.
_PATIENCE = timedelta(days=365)


def started_outside() -> ClusterEnvironment | None:
    """The environment of srun or torchrun, where one of them has made this process."""
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            found = environment()
            if found.world_size() > 1:
                return found
    return None


def asked_processes(settings: VotingSettings, outside: ClusterEnvironment | None) -> int:
    """How many ranks there must be.

    Raises:
        ConfigError: Where srun or torchrun made another number than the configuration asks for.
    """
    if outside is not None:
        world = outside.world_size()
        if settings.processes not in (None, world):
            raise ConfigError(
                f"voting.processes={settings.processes}, but {world} processes were started "
                f"outside (srun or torchrun); leave voting.processes at null there."
            )
        return world
    if settings.processes is not None:
        return settings.processes
    return torch.cuda.device_count() if torch.cuda.is_available() else _cores()


def _cores() -> int:
    """Cores that this process may use (not those of the machine)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def run_processes(work: Work, settings: VotingSettings, report: Report) -> Any:
    """Run ``work(fabric, report)`` in all processes and return what rank 0 returned.

    One process runs here; several on one machine are spawned (a launcher that re-runs the command
    line loses ranks under Hydra's multirun); those of srun or torchrun are used as they are.

    Args:
        work: Picklable; it raises :class:`MmcertError` for what a person can mend.
        settings: Processes, threads, precision.
        report: Called here with the events of all processes (outside: of this process).

    Raises:
        MmcertError: The first one that a process raised; the others are stopped.
    """
    quiet()
    outside = started_outside()
    processes = asked_processes(settings, outside)
    cuda = torch.cuda.is_available()
    if cuda and outside is None and processes > torch.cuda.device_count():
        raise ConfigError(
            f"voting.processes={processes}, but there are {torch.cuda.device_count()} GPUs."
        )
    accelerator = "cuda" if cuda else "cpu"
    precision: Any = settings.precision
    task = _Task(work, settings, processes)
    if outside is not None:
        local = _local_processes(processes)
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=processes // local,
            strategy=DDPStrategy(timeout=_PATIENCE),
            plugins=[outside],
            precision=precision,
        )
        return fabric.launch(_Here(task, report))
    if processes == 1:
        fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
        return fabric.launch(_Here(task, report))
    with _environment_restored("MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS"):
        os.environ.pop("MASTER_PORT", None)  # a free port for every launch
        fabric = Fabric(
            accelerator=accelerator,
            devices=processes,
            strategy=DDPStrategy(start_method="spawn", timeout=_PATIENCE),
            plugins=[LightningEnvironment()],
            precision=precision,
        )
        return _spawn(fabric, task, processes, report)


def _local_processes(world: int) -> int:
    """How many of the processes that were started outside are on this machine."""
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun
        return int(os.environ["LOCAL_WORLD_SIZE"])
    return max(1, world // int(os.environ.get("SLURM_NNODES", "1")))


def _spawn(fabric: Fabric, task: _Task, processes: int, report: Report) -> Any:
    others = {child.pid for child in active_children()}
    with _Pipes(processes, report) as pipes:
        try:
            return fabric.launch(_Spawned(task, pipes.writers))
        except torch.multiprocessing.ProcessRaisedException:
            pipes.close()
            if pipes.failure is not None:
                raise MmcertError(pipes.failure) from None
            raise
        except torch.multiprocessing.ProcessExitedException as error:
            raise MmcertError(
                f"a voting process died ({error}), perhaps for lack of memory; what was finished "
                f"is kept. Run the same line again, with fewer voting.processes if it repeats."
            ) from None
        except KeyboardInterrupt:
            for child in active_children():  # what they finished is on disk; do not wait for more
                if child.pid not in others:
                    child.terminate()
            raise


class _Task:
    """What each process does around ``work``: numerics, and the roll call."""

    def __init__(self, work: Work, settings: VotingSettings, processes: int) -> None:
        self._work = work
        self._settings = settings
        self._processes = processes

    def __call__(self, fabric: Fabric, report: Report) -> Any:
        one: Any = torch.ones((), device=fabric.device)
        ranks = int(fabric.all_reduce(one, reduce_op="sum"))  # type: ignore[arg-type]
        if not ranks == fabric.world_size == self._processes:
            raise ConfigError(
                f"{self._processes} processes were asked for, but {ranks} are alive; "
                f"nothing was voted."
            )
        with numerics(self._settings.threads):
            result = self._work(fabric, report)
        fabric.barrier()
        return result


class _Here:
    """The function of this process, where it is one of the ranks itself."""

    def __init__(self, task: _Task, report: Report) -> None:
        self._task = task
        self._report = report

    def __call__(self, fabric: Fabric) -> Any:
        return self._task(fabric, self._report)


class _Spawned:
    """The function of a spawned process; its events go through its own pipe."""

    def __init__(self, task: _Task, writers: list[connection.Connection]) -> None:
        self._task = task
        self._writers = writers

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        quiet()  # unpickled in the new process, before Fabric announces it

    def __call__(self, fabric: Fabric) -> Any:
        report = self._writers[fabric.global_rank].send
        try:
            return self._task(fabric, report)
        except MmcertError as error:
            report(("failure", {"message": str(error)}))
            raise


class _Pipes:
    """One pipe per process, read by a thread; a killed writer cannot block the reader."""

    def __init__(self, processes: int, report: Report) -> None:
        context = get_context("spawn")
        pairs = [context.Pipe(duplex=False) for _ in range(processes)]
        self._readers = [reader for reader, _ in pairs]
        self.writers = [writer for _, writer in pairs]
        self._report = report
        self.failure: str | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Pipes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read what is left, then end the thread."""
        for writer in self.writers:
            writer.close()
        self._thread.join()

    def _read(self) -> None:
        readers = list(self._readers)
        while readers:
            ready: list[Any] = list(connection.wait(readers))
            for reader in ready:
                try:
                    event = reader.recv()
                except (EOFError, OSError):
                    readers.remove(reader)
                    continue
                if event[0] == "failure":
                    self.failure = self.failure or event[1]["message"]
                else:
                    self._report(event)


def quiet() -> None:
    """Leave warnings of Fabric and nothing less."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


@contextlib.contextmanager
def numerics(threads: int) -> Iterator[None]:
    """Arithmetic that does not depend on the machine's mood: threads, no TF32, no autotuning."""
    before = torch.get_num_threads()
    cudnn = torch.backends.cudnn
    flags = (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic)
    matmul = torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = False, False, True
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = flags


@contextlib.contextmanager
def _environment_restored(*names: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
