"""Road data of one's own, from files to certificates: another camera, three classes."""

import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from mmcert.cli._app import conf_dir
from mmcert.cli.certify import job as certify
from mmcert.jobs.training.training import train

CLASSES = {"other": [0, 0, 0], "road": [128, 64, 128], "pavement": [244, 35, 232]}
SIZE = (40, 64)


@pytest.fixture
def own_roads(tmp_path):
    """10 frames: a road between pavements, on a plane 1.2 m below a camera with f = 50 pixels."""
    root = tmp_path / "own"
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for number in range(10):
        ground = rows > 16
        across = np.abs(columns - 31 - rng.integers(-4, 5)) / (rows - 14.0).clip(1)
        label = np.where(ground & (across < 1.2), 2, 0)
        label[ground & (across < 0.8)] = 1
        image = (40 + 80 * label[..., None] + rng.integers(0, 30, (*SIZE, 3))).astype(np.uint8)
        depth = np.where(ground, 1.2 * 51 / (rows - 15.5).clip(0.5) * 256, 0).astype(np.uint16)
        files = {
            "image_2": image,
            "depth_u16": depth,
            "gt_image_2": np.array(list(CLASSES.values()), np.uint8)[label],
        }
        for folder, array in files.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(root / folder / f"drive-{number}.png")
        (root / "calib").mkdir(exist_ok=True)
        (root / "calib" / f"drive-{number}.txt").write_text("P2: 50 0 31.5 0 0 51 15.5 0 0 0 1 0\n")
    return root


def composed(command, *overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose(command, [*overrides]), resolve=True)


@pytest.mark.parametrize(
    "model",
    [
        ("experiment=kitti_road_mmcert", "model.options.encoder=test_resnet"),
        ("experiment=kitti_road_published", "model.options.encoder=test_resnet"),
        ("experiment=kitti_road_mmcert", "model=rgbd_fusion"),
    ],
    ids=["roadseg", "published", "rgbd_fusion"],
)
def test_three_classes_of_another_camera_are_trained_and_certified(own_roads, tmp_path, model):
    size = ["model.options.grid=[8,16]"] if "rgbd" in model[1] else ["model.options.size=[64,64]"]
    run_dir = tmp_path / "training"
    config = composed(
        "train",
        *model,
        *size,
        f"data.root={own_roads}",
        "data.workers=0",
        f"data.options.classes={CLASSES}".replace("'", ""),
        "data.options.depth_scale=256",
        "data.options.outside=unlabelled",
        "scheme.ratio={rgb: 0.2, depth: 0.05}",
        "threat.grid={rgb: [0, 1], depth: [0]}",
        "trainer.max_epochs=2",
        "trainer.check_val_every_n_epoch=1",
        "trainer.threads=1",
        "callbacks.progress=null",
        "logger=none",
        f"run_dir={run_dir}",
    )
    train(config, run_dir)
    certify(
        composed(
            "certify",
            f"checkpoint={run_dir}",
            "voting.draws=8",
            "voting.processes=1",
            "statistics=[binomial]",
            f"run_dir={tmp_path / 'certified'}",
        ),
        tmp_path / "certified",
    )
    metrics = json.loads((tmp_path / "certified" / "metrics.json").read_text())
    assert metrics["samples"] == 2
    point = metrics["results"][0]["grid"][0]
    assert len(point["per_class"]["certified_f_score"]) == 3
    votes = np.load(next((tmp_path / "certified" / "votes").glob("drive-*.npz")))
    assert votes["counts"].shape == (3, *SIZE)
    assert (votes["counts"].sum(0) == 8).all()
