"""Errors of a command are one message for a person, and the exit status is not 0."""

import subprocess
import sys

import pytest
import yaml

from mmcert.cli._app import conf_dir


def evaluate(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "mmcert.cli.evaluate", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("votes=nowhere",), "nowhere: no votes here"),
        ((), "set votes=; mmcert-evaluate --help shows how"),
        (("votes=x", "nokey=1"), "Could not override 'nokey'"),
        (("votes=x", "run_dir=/proc/x"), "choose another run_dir="),
    ],
)
def test_a_mistake_gets_one_message_and_no_traceback(arguments, says, tmp_path):
    done = evaluate(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.startswith("evaluate: ")
    assert "Traceback" not in done.stderr
    assert "HYDRA_FULL_ERROR" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_sweep_runs_its_other_jobs_before_it_fails(tmp_path):
    done = evaluate("-m", "votes=nowhere", "seed=0,1", "run_dir=sweep", cwd=tmp_path)
    assert done.returncode == 1
    assert "#1 : votes=nowhere seed=1" in done.stdout
    assert "nowhere: no votes here" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local"])
def test_every_key_of_a_launcher_of_jobs_is_there(launcher):
    plugin = pytest.importorskip(
        "hydra_plugins.hydra_submitit_launcher.config", reason="pip install 'mmcert[cluster]'"
    )
    kinds = {"submitit_slurm": plugin.SlurmQueueConf, "submitit_local": plugin.LocalQueueConf}
    ours = yaml.safe_load((conf_dir() / "hydra" / "launcher" / f"{launcher}.yaml").read_text())
    assert ours.keys() == kinds[launcher].__dataclass_fields__.keys()
    assert ours["_target_"] == kinds[launcher]._target_
