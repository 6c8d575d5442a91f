"""The jobs as functions: what a notebook or another scheduler calls."""

import json
import subprocess
import sys

import pytest

from mmcert import jobs
from mmcert.cli.compose import compose
from mmcert.errors import ConfigError


def test_votes_and_certificates_without_a_command_line(trained, tmp_path, capsys):
    """A training run_dir is all that certify needs, and its run_dir all that evaluate needs."""
    metrics = jobs.certify(
        {"checkpoint": str(trained), "voting": {"draws": 8, "processes": 1}}, str(tmp_path / "run")
    )
    again = jobs.evaluate({"votes": str(tmp_path / "run"), "alpha": 0.05}, tmp_path / "again")
    assert metrics == json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert {result["alpha"] for result in again["results"]} == {0.05}
    assert capsys.readouterr().out == "", "jobs speak only where they are given a console"


def test_a_job_speaks_to_the_console_that_it_is_given(trained, tmp_path):
    from io import StringIO

    from rich.console import Console

    said = StringIO()
    config = compose("certify", [f"checkpoint={trained}", "voting.draws=8", "voting.processes=1"])
    jobs.certify(config, tmp_path, console=Console(file=said, width=200))
    assert "Everything is in" in said.getvalue()


def test_compose_needs_no_hydra_of_its_own_and_leaves_none_behind():
    from hydra.core.global_hydra import GlobalHydra

    assert compose("plan", ["alpha=.01"])["alpha"] == 0.01
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("command", "overrides", "said"),
    [
        ("trian", [], "no command 'trian'"),
        ("evaluate", [], "votes"),
        ("certify", ["chekpoint=a"], "chekpoint"),
    ],
)
def test_compose_says_what_is_wrong(command, overrides, said):
    with pytest.raises(ConfigError, match=said):
        compose(command, overrides)


@pytest.mark.slow
def test_jobs_that_need_no_torch_import_none_and_no_job_imports_hydra():
    code = (
        "import sys; from mmcert.jobs import evaluate, plan, report, prepare; "
        "assert 'torch' not in sys.modules; from mmcert.jobs import train, certify, convert; "
        "assert 'hydra' not in sys.modules and 'omegaconf' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
