"""Who started this process: a person, or srun, torchrun or submitit as one of several.

An *allocation* of Slurm (``salloc``, the shell of an ``sbatch`` script, a notebook on a node) sets
``SLURM_NTASKS`` and often ``SLURM_PROCID`` for one single process; only the variables of a job
*step*, which ``srun`` makes, say that there are more. A few are inherited: an ``sbatch`` that is
called inside a step hands the step's variables on to its script. So who the parent is decides, too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Variables of process launchers. A process that is no rank of theirs must not believe left-overs.
LEFT_OVERS = (
    *("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"),
)
_STEP_DAEMON = re.compile(r"slurmstepd: \[(\d+)(?:\+\d+)?\.(\w+)")


@dataclass(frozen=True)
class Place:
    """One process's place among the processes of a job.

    Args:
        rank: Its number, from 0.
        world: How many there are.
        local_rank: Its number among those on its machine.
        starter: What started them, for people.
        launch: Names this start among all others in a folder, e.g. by number of job and step.
        hosts: Names under which the machine of rank 0 may be reached, the likeliest first.
        logs: Where to look when a process is missing.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    starter: str = "this command"
    launch: str = ""
    hosts: tuple[str, ...] = ()
    logs: str = ""


def started_outside(environment: Mapping[str, str] | None = None) -> Place | None:
    """The place of this process, where srun, torchrun or submitit has made it as one of several.

    Args:
        environment: The variables to go by; those of this process by default.
    """
    found = os.environ if environment is None else environment
    for starter in (_torchrun, _submitit, _srun):
        place = starter(found)
        if place is not None and place.world > 1:
            return place
    return None


def _torchrun(environment: Mapping[str, str]) -> Place | None:
    numbers = _numbers(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "TORCHELASTIC_RUN_ID" not in environment or numbers is None:
        return None
    rank, world, local_rank = numbers
    run = environment["TORCHELASTIC_RUN_ID"]
    restart = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Place(
        rank,
        world,
        local_rank,
        starter=f"torchrun (run {run})",
        launch=f"torchrun-{run}-{restart}",
        hosts=_named(environment.get("MASTER_ADDR")),
        logs="what torchrun printed (torchrun --redirects=3 --log-dir=FOLDER keeps it per rank)",
    )


def _submitit(environment: Mapping[str, str]) -> Place | None:
    """Its local executor; under Slurm it uses srun."""
    names = ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID")
    numbers = _numbers(environment, *names)
    if environment.get("SUBMITIT_EXECUTOR") != "local" or numbers is None:
        return None
    rank, world, local_rank = numbers
    job = environment.get("SUBMITIT_LOCAL_JOB_ID", "")
    return Place(
        rank,
        world,
        local_rank,
        starter=f"submitit (local job {job})",
        launch=f"submitit-{job}",
        logs=f"{environment.get('SUBMITIT_FOLDER', '.submitit')}, one log per rank",
    )


def _srun(environment: Mapping[str, str]) -> Place | None:
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    numbers = _numbers(environment, *names)
    step = environment.get("SLURM_STEP_ID", environment.get("SLURM_STEPID"))
    if numbers is None or step is None:
        return None
    rank, world, local_rank = numbers
    if environment.get("SLURM_NTASKS", str(world)) != str(world):
        return None  # the step's variables are those of another job
    if not _is_of_step(environment):
        return None
    job = environment.get("SLURM_JOB_ID", "")
    restart = environment.get("SLURM_RESTART_COUNT", "0")
    nodes = environment.get("SLURM_STEP_NODELIST", environment.get("SLURM_NODELIST", ""))
    return Place(
        rank,
        world,
        local_rank,
        starter=f"srun (step {job}.{step} on {nodes or 'unknown nodes'})",
        launch=f"slurm-{job}-{step}-{restart}",
        hosts=_named(environment.get("MASTER_ADDR"), first_node(nodes)),
        logs=f"scontrol show step {job}.{step}, and the output of each rank (srun --label)",
    )


def _is_of_step(environment: Mapping[str, str]) -> bool:
    """Whether the daemon that made the task is that of the step; True where nobody can say."""
    try:
        parent = _parent_of(int(environment["SLURM_TASK_PID"]))
        title = Path(f"/proc/{parent}/cmdline").read_bytes().decode(errors="replace")
    except (KeyError, ValueError, IndexError, OSError):  # in a container, on no Linux
        return True
    made_by = _STEP_DAEMON.search(title)
    if made_by is None:
        return True
    job, step = made_by.groups()
    return step not in ("batch", "interactive", "extern") and job == environment["SLURM_JOB_ID"]


def _parent_of(process: int) -> int:
    # "pid (name) state parent ...", and a name may hold anything
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _numbers(environment: Mapping[str, str], *names: str) -> tuple[int, int, int] | None:
    """Rank, world and local rank, where they are there and make sense."""
    texts = [environment.get(name, "") for name in names]
    if not all(text.isdecimal() for text in texts):
        return None
    rank, world, local_rank = map(int, texts)
    return (rank, world, local_rank) if rank < world else None


def _named(*hosts: str | None) -> tuple[str, ...]:
    return tuple(host for host in hosts if host)


def first_node(nodes: str) -> str:
    """The first name of a list of nodes as Slurm writes it.

    >>> first_node("gpu[07-09,12],login1"), first_node("one,two"), first_node("n[3]-ib")
    ('gpu07', 'one', 'n3-ib')
    """
    match = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes)
    assert match is not None  # every part may be empty
    return "".join(part or "" for part in match.groups())
