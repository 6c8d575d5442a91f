"""Commands that name no run directory never share one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from mmcert.cli.compose import compose
from mmcert.cli.folders import new_folder
from mmcert.errors import ConfigError


def test_every_one_of_many_gets_a_folder_of_its_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(new_folder, [str(tmp_path / "plan" / "2026")] * 8))
    names = {"2026", *(f"2026_{number}" for number in range(2, 9))}
    assert {os.path.basename(path) for path in made} == names
    assert {path.name for path in (tmp_path / "plan").iterdir()} == names


def test_a_folder_that_cannot_be_made_is_told_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"choose another run_dir=, or paths\.outputs="):
        new_folder(str(tmp_path / "file" / "2026"))
    with pytest.raises(ConfigError, match=r"choose another run_dir=, or paths\.outputs="):
        new_folder(str(tmp_path / "file" / "deeper" / "2026"))


def test_composing_a_configuration_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert compose("plan")["run_dir"].startswith("outputs/plan/20")
    assert not list(tmp_path.iterdir())


#: A command whose clock stands still: all of them start in the same second.
PLAN = """
from omegaconf import OmegaConf
from mmcert.cli.plan import main

register = OmegaConf.register_new_resolver
register("now", lambda _: "2026", use_cache=True)
OmegaConf.register_new_resolver = (
    lambda name, *rest, **more: None if name == "now" else register(name, *rest, **more)
)
main()
"""


def planning(*arguments, cwd):
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            PLAN,
            *arguments,
            "n={rgb: 100, depth: 100}",
            "scheme.k={rgb: 10, depth: 10}",
        ],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_runs_and_sweeps_that_start_in_the_same_second_are_kept_apart(tmp_path):
    sweep = ("-m", "alpha=0.1,0.01")
    for process in [planning(*how, cwd=tmp_path) for how in ((), (), sweep, sweep)]:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    plans = sorted(
        path.relative_to(tmp_path / "outputs" / "plan")
        for path in (tmp_path / "outputs").rglob("plan.json")
    )
    folders = {path.parts[0] for path in plans}
    assert folders == {"2026", "2026_2", "2026_3", "2026_4"}
    assert len(plans) == 6  # two runs, two sweeps of two jobs
    sizes = sorted(sum(path.parts[0] == folder for path in plans) for folder in folders)
    assert sizes == [1, 1, 2, 2]


def test_a_run_directory_that_is_named_is_used_as_it_is(tmp_path):
    for _ in range(2):
        process = planning("run_dir=here", cwd=tmp_path)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
