"""Who started this process: a step's variables say it, never an allocation's, nor left-overs."""

import os
import subprocess
import sys

import pytest

from mmcert.voting.started import LEFT_OVERS, started_outside

ALLOCATION = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "2",
    "SLURM_TASKS_PER_NODE": "2",
    "SLURM_NODELIST": "one",
}
BATCH = ALLOCATION | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
STEP = BATCH | {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
    "SLURM_PROCID": "1",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "head",
}
SUBMITIT = {
    "SUBMITIT_EXECUTOR": "local",
    "SUBMITIT_LOCAL_NTASKS": "2",
    "SUBMITIT_LOCAL_GLOBALID": "1",
    "SUBMITIT_LOCAL_LOCALID": "1",
    "SUBMITIT_LOCAL_JOB_ID": "99",
}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "2"},
        ALLOCATION,
        BATCH,
        dict.fromkeys(LEFT_OVERS, "1"),
        {"RANK": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1"},
        STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        STEP | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"},  # an sbatch from inside another step
        STEP | {"SLURM_PROCID": "two"},
        STEP | {"SLURM_PROCID": "5"},
        TORCHRUN | {"WORLD_SIZE": "1", "RANK": "0"},
        SUBMITIT | {"SUBMITIT_LOCAL_NTASKS": "1", "SUBMITIT_LOCAL_GLOBALID": "0"},
        SUBMITIT | {"SUBMITIT_EXECUTOR": "slurm"},
    ],
)
def test_one_process_alone_waits_for_nobody(environment):
    assert started_outside(environment) is None


@pytest.mark.parametrize(
    ("environment", "rank", "world", "hosts"),
    [
        (STEP, 1, 2, ("gpu03",)),
        (STEP | {"MASTER_ADDR": "ib0.gpu03"}, 1, 2, ("ib0.gpu03", "gpu03")),
        (TORCHRUN, 3, 4, ("head",)),
        (BATCH | TORCHRUN, 3, 4, ("head",)),
        (STEP | SUBMITIT, 1, 2, ()),
    ],
)
def test_one_of_several_knows_its_place(environment, rank, world, hosts):
    place = started_outside(environment)
    assert (place.rank, place.world, place.hosts) == (rank, world, hosts)


def test_two_starts_have_two_names():
    names = {
        started_outside(environment).launch
        for environment in (
            STEP,
            STEP | {"SLURM_STEP_ID": "1"},
            STEP | {"SLURM_RESTART_COUNT": "1"},
            TORCHRUN,
            TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1"},
            SUBMITIT,
        )
    }
    assert len(names) == 6


@pytest.mark.skipif(not os.path.exists("/proc"), reason="asks /proc who the parent is")
@pytest.mark.parametrize(("title", "is_step"), [("7.0", True), ("7.batch", False), ("8.0", False)])
def test_the_daemon_that_made_the_task_decides_where_variables_were_inherited(title, is_step):
    # A shell that is called like the daemon of a step, and its child as the task.
    code = f"exec -a 'slurmstepd: [{title}]' bash -c 'sleep 60 & echo $!; wait'"
    with subprocess.Popen(["bash", "-c", code], stdout=subprocess.PIPE, text=True) as daemon:
        task = daemon.stdout.readline().strip()
        try:
            assert (started_outside(STEP | {"SLURM_TASK_PID": task}) is not None) == is_step
        finally:
            os.kill(int(task), 9)
            daemon.kill()


def test_fabric_and_lightning_are_told_the_same_whatever_is_left_over():
    code = (
        "from mmcert.voting.environment import RankEnvironment, own_variables\n"
        "from mmcert.voting.started import Place\n"
        "from lightning_fabric import Fabric\n"
        "import os\n"
        "fabric = Fabric(accelerator='cpu', plugins=[RankEnvironment(Place())])\n"
        "assert fabric.is_global_zero and fabric.world_size == 1\n"
        "from lightning_fabric.utilities.rank_zero import rank_zero_only\n"
        "assert rank_zero_only.rank == 0\n"
        "with own_variables(1, 2):\n"
        "    assert 'MASTER_ADDR' not in os.environ and os.environ['RANK'] == '1'\n"
        "assert os.environ['MASTER_ADDR'] == '192.0.2.1' and os.environ['RANK'] == '3'\n"
    )
    left_over = dict.fromkeys(LEFT_OVERS, "3") | {"MASTER_ADDR": "192.0.2.1"} | ALLOCATION
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **left_over})
