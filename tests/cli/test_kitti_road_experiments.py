"""The experiments of the paper on KITTI Road: their recipes, and that they run at small size."""

import os
import subprocess
import sys

import pytest
import torch
import yaml

from mmcert.cli._app import conf_dir
from mmcert.errors import ConfigError
from mmcert.jobs.checkpoint import load_checkpoint
from mmcert.jobs.training.resume import stored_config
from mmcert.jobs.training.training import train
from mmcert.reporting.rays import find_ray
from mmcert.theory.schemes import make_scheme

EXPERIMENTS = (
    "kitti_road_mmcert",
    "kitti_road_randomized_ablation",
    "kitti_road_randomized_ablation_aligned",
    "kitti_road_published",
)
N = {"rgb": 375 * 1242, "depth": 375 * 1242}
SMALL = (
    "model.options.size=[32,96]",
    "model.options.encoder=test_resnet",
    "data.batch_size=2",
    "data.workers=0",
    "data.max_samples=2",
    "scheme.ratio={rgb: 0.1, depth: 0.02}",
    "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=1",
    "trainer.threads=1",
    "callbacks.progress=null",
    "logger=none",
)


@pytest.fixture
def small(compose_train, tiny_roads, tmp_path):
    def composed(experiment, *overrides):
        return compose_train(
            f"experiment={experiment}",
            *SMALL,
            f"data.root={tiny_roads}",
            f"run_dir={tmp_path}",
            *overrides,
        )

    return composed


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_experiments_run_at_small_size(small, tmp_path, experiment):
    train(small(experiment), tmp_path)
    config = load_checkpoint(tmp_path).config
    assert config["model"]["name"] == "roadseg"
    assert config["statistics"].keys() == {"holm", "closed_evalues"}


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_all_retain_the_paper_s_pixels_and_share_its_budgets(compose_train, experiment):
    config = compose_train(f"experiment={experiment}", "run_dir=unused")
    scheme = make_scheme(config["scheme"]["name"], N, ratio=config["scheme"]["ratio"])
    # One mask for both modalities keeps half of the same total in each.
    kept = [4992, 4992] if experiment.endswith("aligned") else [8988, 996]
    assert [m.k for m in scheme.modalities] == kept
    grid = config["threat"]["grid"]
    budgets = [(r1, r2) for r1 in grid["rgb"] for r2 in grid["depth"]]
    ray = find_ray(budgets, list(grid))
    assert ray.direction == (1, 2)
    assert len(ray.budgets) == 25
    assert config["voting"]["draws"] == 100
    assert config["alpha"] == 0.001


@pytest.mark.parametrize("baseline", EXPERIMENTS[1:3])
def test_the_baselines_differ_in_their_scheme_alone(compose_train, baseline):
    ours, theirs = (
        compose_train(f"experiment={name}", "run_dir=unused") for name in (EXPERIMENTS[0], baseline)
    )
    assert ours["scheme"].pop("name") == "mmcert"
    assert theirs["scheme"].pop("name") == baseline.removeprefix("kitti_road_")
    assert ours == theirs


def test_the_published_recipe_is_as_published(compose_train):
    config = compose_train("experiment=kitti_road_published", "run_dir=unused")
    task = config["task"]
    assert (task["optimizer"], task["lr"], task["momentum"]) == ("sgd", 1e-3, 0.9)
    assert task["weight_decay"] == 5e-4
    assert (task["schedule"], task["step_epochs"], task["step_factor"]) == ("step", 25, 0.9)
    assert task["retained_ratio"] == [0, 0.05]
    assert not task["augment"]
    assert (config["data"]["batch_size"], config["trainer"]["max_epochs"]) == (2, 100)
    assert config["model"]["options"]["second"] == "normals"
    assert config["encoding"] == {"name": "zero"}


def test_every_ratio_of_the_paper_lies_in_one_grid():
    grid = yaml.safe_load((conf_dir() / "threat" / "kitti_road_ratios.yaml").read_text())["grid"]
    for q in (1, 2, 3, 4):
        assert {q * r for r in range(25)} <= set(grid["depth"])
        assert {q * r for r in range((24 if q == 1 else 40) // q + 1)} <= set(grid["rgb"])


def test_the_moving_average_is_what_is_validated_kept_and_certified(small, tmp_path):
    train(small("kitti_road_mmcert", "callbacks.ema={decay: 0.5}"), tmp_path)
    content = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    weight = "net.net.final.conv1.weight"
    average, current = content["state_dict"][weight], content["current_model_state"][weight]
    assert not torch.equal(average, current)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last.ckpt").state_dict
    assert torch.equal(kept["net.final.conv1.weight"], average)


def test_a_moving_average_that_never_moves_is_refused(small, tmp_path):
    with pytest.raises(ConfigError, match=r"callbacks\.ema\.decay"):
        train(small("kitti_road_mmcert", "callbacks.ema={decay: 1.0}"), tmp_path)


def test_a_training_with_a_moving_average_goes_on_where_it_stopped(small, tmp_path, monkeypatch):
    from mmcert.tasks.base import AblatedTask

    config = small("kitti_road_mmcert", "callbacks.ema={decay: 0.5}", "data.max_samples=5")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config, whole)
    step = AblatedTask.training_step

    def failing(self, batch, batch_idx):
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(AblatedTask, "training_step", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, broken)
    monkeypatch.setattr(AblatedTask, "training_step", step)
    train(stored_config(broken), broken)
    one, two = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, broken)
    )
    assert one["global_step"] == two["global_step"]
    assert two["averaging_state"]["n_averaged"] == one["averaging_state"]["n_averaged"]
    for part in ("state_dict", "current_model_state"):  # the average, and the weights behind it
        for name, weight in one[part].items():
            assert torch.equal(weight, two[part][name]), name


@pytest.mark.slow
def test_two_processes_train_with_a_moving_average(tmp_path, tiny_roads):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mmcert.cli.train",
            "experiment=kitti_road_mmcert",
            "trainer=ddp_cpu",
            *(one for one in SMALL if not one.startswith("data.max_samples")),
            f"data.root={tiny_roads}",
            "run_dir=two",
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    content = torch.load(tmp_path / "two" / "checkpoints" / "best.ckpt", weights_only=True)
    assert "current_model_state" in content
