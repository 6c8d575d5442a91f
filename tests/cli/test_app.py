"""Errors of a command are one message for a person, and the exit status is not 0."""

import subprocess
import sys

import pytest


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
