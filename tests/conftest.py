"""One tiny trained base model for every test that needs a checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A net and data so small that training takes seconds; append ``data.root=`` and ``run_dir=``.
TINY = (
    "model.options.grid=[8,24]",
    "model.options.widths=[8,8,16,16]",
    "scheme.k={rgb: 200, depth: 40}",
    "threat.grid={rgb: [0, 1, 2], depth: [0, 2, 4]}",
    "data.batch_size=4",
    "task.validation_draws=2",
    "trainer.max_epochs=6",
    "trainer.check_val_every_n_epoch=3",
    "trainer.threads=1",
    "voting.draws=20",
    "callbacks.progress=null",
    "logger=none",
)


@pytest.fixture(scope="session")
def compose_train():
    """``compose_train(*overrides)``: the resolved training configuration as a plain dictionary."""
    from mmcert.cli.compose import compose

    return lambda *overrides: compose("train", overrides)


@pytest.fixture(scope="session")
def tiny_overrides():
    """Overrides of ``mmcert-train`` for a training of seconds on :func:`tiny_roads`."""
    return TINY


@pytest.fixture(scope="session")
def tiny_roads(tmp_path_factory) -> Path:
    """12 synthetic road scenes of 32x96 pixels: 6 for training, 2 for validation, 4 for testing."""
    from mmcert.data.roads.synthetic_roads_writer import write_synthetic_roads

    out = tmp_path_factory.mktemp("data") / "synthetic_roads"
    write_synthetic_roads(
        out, scenes=12, size=(32, 96), seed=0, validation=2 / 12, test=4 / 12, workers=1
    )
    return out


@pytest.fixture(scope="session")
def trained(tmp_path_factory, tiny_roads, compose_train) -> Path:
    """The run directory of a tiny finished training; read only."""
    from mmcert.jobs.training.training import train

    run_dir = tmp_path_factory.mktemp("training") / "tiny"
    train(compose_train(*TINY, f"data.root={tiny_roads}", f"run_dir={run_dir}"), run_dir)
    return run_dir


@pytest.fixture
def small_disk(tmp_path):
    """``small_disk(size)``: a real file system of that size (``16k``); called again, it grows."""
    folder = tmp_path / "small_disk"

    def mounted(size):
        if sys.platform != "linux" or os.geteuid() != 0:
            pytest.skip("only root of a Linux system can make a small file system")
        again = "remount," if folder.exists() else ""
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)
