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


def _write_speech(root, *, emotions=(1, 3), n=24, whole=False, crop=32, repetitions=2):
    """A folder as ``mmcert-prepare dataset=ravdess`` leaves it, of drawn elements.

    Six actors, each emotion as often; a bright bar and a tone tell it.

    Args:
        root: Folder to make.
        emotions: Their numbers in file names.
        n: Elements of each modality; where ``whole``, up to 3 more.
        whole: Whether clips differ in length.
        crop: Rows and columns of a frame.
        repetitions: Clips of each actor and emotion.
    """
    import json

    import numpy as np

    from mmcert.data.speech.windows import CHUNK, RATE
    from mmcert.data.workspace import SCHEMA

    draw = np.random.default_rng(0)
    for name in ("video", "audio"):
        (root / name).mkdir(parents=True)
    for actor in range(1, 7):
        for emotion in emotions:
            for repetition in range(1, repetitions + 1):
                length = n + int(draw.integers(4)) if whole else n
                frames = draw.integers(60, 120, (length, 3, crop, crop), np.uint8)
                row = (emotion - 1) * crop // 8
                frames[:, :, row : row + crop // 8] = 230
                time = np.arange(length * CHUNK) / RATE
                sound = 0.2 * np.sin(2 * np.pi * 200 * emotion * time)
                sound += 0.01 * draw.standard_normal(sound.shape)
                clip = f"01-{emotion:02d}-01-01-{repetition:02d}-{actor:02d}.npy"
                np.save(root / "video" / clip, frames)
                chunks = np.rint(sound * 32767).astype(np.int16).reshape(length, CHUNK)
                np.save(root / "audio" / clip, chunks)
    counts = dict.fromkeys(("video", "audio"), None if whole else n)
    window = "whole" if whole else n * CHUNK / RATE
    settings = {"modalities": ["video", "audio"], "window": window, "crop": crop}
    manifest = {"schema": SCHEMA, "settings": settings, "elements": counts}
    (root / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture(scope="session")
def tiny_speech(tmp_path_factory) -> Path:
    """24 clips of 6 actors with two emotions, 24 frames (32x32) and 24 chunks each; read only."""
    return _write_speech(tmp_path_factory.mktemp("data") / "speech")


@pytest.fixture(scope="session")
def whole_speech(tmp_path_factory) -> Path:
    """The same with whole clips: 12 to 15 elements of each modality; read only."""
    return _write_speech(tmp_path_factory.mktemp("data") / "whole_speech", n=12, whole=True)
