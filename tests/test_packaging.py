"""What is shipped works away from the repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmcert

ROOT = Path(mmcert.__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))


def run(arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from the sdist, unpacked into an empty folder."""
    folder = tmp_path_factory.mktemp("wheel")
    built = run(
        ["-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(ROOT)], folder
    )
    assert built.returncode == 0, built.stdout + built.stderr
    wheel = next((folder / "dist").glob("*.whl"))
    target = folder / "target"
    done = run(["-m", "pip", "install", "--no-deps", "--target", str(target), str(wheel)], folder)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
@pytest.mark.smoke
def test_the_wheel_built_from_the_sdist_runs_from_another_folder(installed, tmp_path):
    help_text = run(["-m", "mmcert.cli.certify", "--help"], tmp_path, PYTHONPATH=str(installed))
    assert help_text.returncode == 0, help_text.stderr
    assert "checkpoint" in help_text.stdout
    compose = (
        "import sys, mmcert; from mmcert.cli._app import conf_dir\n"
        "from hydra import compose, initialize_config_dir\n"
        "assert mmcert.__file__.startswith(sys.argv[1]), mmcert.__file__\n"
        "with initialize_config_dir(str(conf_dir()), version_base='1.3'):\n"
        "    for name in sys.argv[2:]:\n"
        "        print(name, compose('train', [f'experiment={name}']).scheme.name)\n"
    )
    composed = run(
        ["-c", compose, str(installed), *EXPERIMENTS], tmp_path, PYTHONPATH=str(installed)
    )
    assert composed.returncode == 0, composed.stderr
    assert len(composed.stdout.split()) == 2 * len(EXPERIMENTS)
    assert EXPERIMENTS
