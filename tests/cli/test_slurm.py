"""On a real Slurm: two nodes on this machine, started by scripts/slurm_cluster.sh."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "slurm_cluster.sh"
NEEDED = ("munged", "slurmctld", "slurmd", "srun", "sbatch")
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
MISSING = [name for name in NEEDED if shutil.which(name, path=PATH) is None]
MISSING += [name for name in ("submitit",) if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING),
        reason=f"no Slurm here ({', '.join(MISSING)}): apt-get install slurm-wlm munge; "
        "pip install 'mmcert[cluster]'",
    ),
]


class Cluster:
    """Commands that talk to the cluster."""

    def __init__(self, folder):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        self.env = inherited | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": PATH,
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *line, cwd=None, env=None):
        return subprocess.run(
            [str(part) for part in line],
            cwd=cwd,
            env=self.env | (env or {}),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def submit(self, *line, cwd):
        done = self.run("sbatch", "--parsable", *line, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def state(self, job):
        shown = self.run("scontrol", "show", "job", "--oneliner", job).stdout
        return dict(part.split("=", 1) for part in shown.split() if "=" in part)

    def wait(self, job, wanted=("COMPLETED",), seconds=400):
        until = time.monotonic() + seconds
        while (state := self.state(job))["JobState"] not in wanted:
            assert time.monotonic() < until, state
            assert state["JobState"] not in {"FAILED", "CANCELLED", "TIMEOUT"} - set(wanted), state
            time.sleep(0.5)
        return state


@pytest.fixture(scope="module")
def cluster():
    # Sockets have short names, and slurmctld wants every folder above readable: not pytest's.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name) / "cluster"
        os.chmod(name, 0o755)
        started = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True)
        if started.returncode != 0:
            subprocess.run([SCRIPT, "stop", folder], check=False)
            pytest.fail(f"the cluster did not start: {started.stderr}")
        yield Cluster(folder)
        subprocess.run([SCRIPT, "stop", folder], check=True)


def votes_of(run_dir):
    return {path.name: path.read_bytes() for path in (run_dir / "votes").glob("*.npz")}


@pytest.fixture(scope="module")
def whole(cluster, trained, tmp_path_factory):
    """The votes of all samples, without any Slurm."""
    run_dir = tmp_path_factory.mktemp("whole")
    line = ("mmcert-certify", f"checkpoint={trained}", "voting.processes=1", f"run_dir={run_dir}")
    done = cluster.run(*line)
    assert done.returncode == 0, done.stderr
    return run_dir


def test_a_sweep_is_one_job_per_point_with_two_tasks_in_one_run_directory(
    cluster, trained, whole, tmp_path
):
    done = cluster.run(
        *("mmcert-certify", "hydra/launcher=submitit_slurm", "hydra.launcher.tasks_per_node=2"),
        *(f"checkpoint={trained}", "seed=0,1", f"run_dir={tmp_path}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [json.loads((tmp_path / job / "run.json").read_text()) for job in "01"]
    assert [run["seeds"]["voting"] for run in runs] == [0, 1]
    assert [run["extra"]["processes"] for run in runs] == [2, 2]
    assert votes_of(tmp_path / "0") == votes_of(whole)
    logs = {path.parent.name for path in tmp_path.glob(".submitit/*/*_log.out")}
    assert len(logs) == 2  # jobs


def test_an_array_of_shards_is_evaluated_as_one_run(cluster, trained, whole, tmp_path):
    scripts = ROOT / "scripts" / "slurm"
    array = cluster.submit(
        *("--array=0-2", scripts / "certify_array.sbatch", tmp_path / "votes"),
        *(f"checkpoint={trained}", "voting.processes=1"),
        cwd=tmp_path,
    )
    job = cluster.submit(
        f"--dependency=afterok:{array}", scripts / "evaluate.sbatch", tmp_path / "votes",
        cwd=tmp_path,
    )  # fmt: skip
    cluster.wait(job)
    together = tmp_path / "votes" / "all" / "metrics.json"
    assert together.read_bytes() == (whole / "metrics.json").read_bytes()
    parts = [votes_of(tmp_path / "votes" / part) for part in "012"]
    assert sorted(name for part in parts for name in part) == sorted(votes_of(whole))
    assert {name: data for part in parts for name, data in part.items()} == votes_of(whole)


def long_training(tiny_overrides, tiny_roads, run_dir):
    return (*tiny_overrides, f"data.root={tiny_roads}", f"run_dir={run_dir}",
            "data.batch_size=1", "trainer.max_epochs=150",
            "trainer.check_val_every_n_epoch=50")  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(cluster, tiny_overrides, tiny_roads, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed")
    done = cluster.run("mmcert-train", *long_training(tiny_overrides, tiny_roads, run_dir))
    assert done.returncode == 0, done.stderr
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("by", ["the warning", "a job of higher priority"])
def test_a_training_that_must_make_room_goes_on_as_if_it_had_not(
    cluster, undisturbed, tiny_overrides, tiny_roads, tmp_path, by
):
    line = long_training(tiny_overrides, tiny_roads, tmp_path / "run")
    job = cluster.submit(
        "--output=train.out", ROOT / "scripts" / "slurm" / "train.sbatch", *line, cwd=tmp_path
    )
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    until = time.monotonic() + 300
    while not last.is_file():
        assert time.monotonic() < until, (tmp_path / "train.out").read_text()
        time.sleep(0.1)
    if by == "the warning":
        assert cluster.run("scancel", "--signal=USR1", job).returncode == 0
    else:
        urgent = cluster.run("srun", "--partition=urgent", "--nodes=2", "--exclusive", "true")
        assert urgent.returncode == 0, urgent.stderr
    state = cluster.wait(job)
    assert state["Restarts"] == "1"
    said = (tmp_path / "train.out").read_text()
    assert f"Job {job} goes back into the queue" in said
    assert "Traceback" not in said
    content = torch.load(last, weights_only=True)
    assert content["epoch"] == undisturbed["epoch"] == 149
    for name, weight in undisturbed["state_dict"].items():
        assert torch.equal(weight, content["state_dict"][name]), name


def test_an_allocation_alone_makes_no_ranks(cluster, trained, whole, tmp_path):
    """salloc and sbatch set SLURM_NTASKS for one process: nobody else will come."""
    script = tmp_path / "job.sh"
    line = f"mmcert-certify checkpoint={trained} run_dir={tmp_path / 'batch'} voting.processes=2"
    script.write_text(f"#!/bin/bash\n{line}\n")
    job = cluster.submit("--ntasks=2", "--output=batch.out", script, cwd=tmp_path)
    cluster.wait(job)
    assert votes_of(tmp_path / "batch") == votes_of(whole)
    command = line.replace("/batch", "/salloc").split()
    done = cluster.run("salloc", "--ntasks=2", *command)
    assert done.returncode == 0, done.stderr
    assert votes_of(tmp_path / "salloc") == votes_of(whole)


def test_tasks_on_two_nodes_train_and_vote_together_and_a_missing_one_is_named(
    cluster, trained, whole, tiny_overrides, tiny_roads, tmp_path
):
    run_dir = tmp_path / "votes"
    spread = ("srun", "--nodes=2", "--ntasks=3")
    done = cluster.run(*spread, "mmcert-certify", f"checkpoint={trained}", f"run_dir={run_dir}")
    assert done.returncode == 0, done.stderr
    assert json.loads((run_dir / "run.json").read_text())["extra"]["processes"] == 3
    assert votes_of(run_dir) == votes_of(whole)
    done = cluster.run(
        *(*spread, "mmcert-train", *tiny_overrides, f"data.root={tiny_roads}"),
        *("trainer.devices=auto", f"run_dir={tmp_path / 'training'}"),
    )
    assert done.returncode == 0, done.stderr
    late = (
        f"[ $SLURM_PROCID = 1 ] || exec mmcert-certify checkpoint={trained} "
        f"voting.rendezvous_minutes=0.7 run_dir={tmp_path / 'late'}"
    )
    done = cluster.run(*spread, "bash", "-c", late)
    assert done.returncode != 0
    assert "rank 1 did not come" in done.stderr
    assert "Traceback" not in done.stderr
