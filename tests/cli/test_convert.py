"""Public RoadSeg checkpoints become ours, tensor by tensor, and can be certified."""

import json
import os
import subprocess
import sys

import pytest
import torch

from mmcert.cli._app import conf_dir
from mmcert.errors import ConfigError, RecordError
from mmcert.jobs.checkpoint import load_checkpoint
from mmcert.jobs.conversion import convert
from mmcert.jobs.workload import build
from mmcert.models.registry import build_model
from mmcert.models.roadseg_net import RoadSegNet


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A random RoadSeg-18 as the public code saves it, and its state dict."""
    torch.manual_seed(0)
    state = RoadSegNet(2, "resnet18").state_dict()
    path = tmp_path_factory.mktemp("public") / "MMCert_net_RoadSeg.pth"
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    return path, state


@pytest.fixture
def config(tiny_roads, tmp_path):
    """``config(source, *overrides)``: the resolved configuration of ``mmcert-convert``."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    def composed(source, *overrides):
        given = [
            f"source={source}",
            f"data.root={tiny_roads}",
            "model.options.size=[32,96]",
            f"run_dir={tmp_path / 'run'}",
            *overrides,
        ]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return OmegaConf.to_container(compose("convert", given), resolve=True)

    return composed


def saved(tmp_path, state):
    path = tmp_path / "other.pth"
    torch.save(state, path)
    return path


def test_a_public_checkpoint_comes_through_one_to_one(public, config, tmp_path):
    path, state = public
    said = convert(config(path), tmp_path / "run")
    assert "nobody but its author knows" in said
    stored = load_checkpoint(tmp_path / "run")
    model = build_model(
        stored.config["model"]["name"],
        inputs=stored.config["inputs"],
        classes=len(stored.config["classes"]),
        encoding=stored.config["encoding"],
        **stored.config["model"]["options"],
    ).eval()
    model.load_state_dict(stored.state_dict)
    theirs = RoadSegNet(2, "resnet18").eval()
    theirs.load_state_dict(state)
    x = torch.rand(2, 1, 3, 32, 96)
    with torch.inference_mode():
        assert torch.allclose(model.net(*x), theirs(*x), atol=1e-5)  # another memory layout
    assert stored.config["model"]["options"]["second"] == "normals"
    assert stored.config["encoding"] == {"rgb": {"name": "zero"}, "depth": {"name": "zero"}}
    assert stored.config["scheme"]["ratio"] == {"rgb": 0.0193, "depth": 0.00214}


def test_names_without_the_prefix_and_nested_state_dicts_are_read_too(public, config, tmp_path):
    _, state = public
    path = saved(tmp_path, {"epoch": 3, "state_dict": state})
    convert(config(path), tmp_path / "run")
    weights = load_checkpoint(tmp_path / "run").state_dict
    assert weights.keys() == {f"net.{name}" for name in state}


def test_every_name_that_does_not_match_is_listed(public, config, tmp_path):
    _, state = public
    broken = dict(state)
    broken["conv9_9.weight"] = broken.pop("conv1_1.conv1.weight")
    broken["final.conv1.bias"] = torch.zeros(7)
    with pytest.raises(RecordError) as error:
        convert(config(saved(tmp_path, broken)), tmp_path / "run")
    message = str(error.value)
    assert "1 missing: conv1_1.conv1.weight" in message
    assert "1 unknown: conv9_9.weight" in message
    assert "final.conv1.bias (7,) instead of (2,)" in message
    assert not (tmp_path / "run").exists()


def test_another_encoder_is_recognised_by_its_names(public, config, tmp_path):
    path, _ = public
    with pytest.raises(RecordError, match=r"set model\.options\.encoder=resnet18"):
        convert(config(path, "model.options.encoder=resnet34"), tmp_path / "run")


def test_another_number_of_classes_is_refused(public, config, tmp_path):
    path, _ = public
    classes = "data.options.classes={a: [255,0,0], b: [255,0,255], c: [0,0,0]}"
    with pytest.raises(RecordError, match=r"final\.bn1\.bias \(2,\) instead of \(3,\)"):
        convert(config(path, classes), tmp_path / "run")


def test_files_that_are_no_state_dict_are_refused(public, config, tmp_path):
    _, state = public
    with pytest.raises(RecordError, match="does not exist"):
        convert(config(tmp_path / "none.pth"), tmp_path / "run")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(RecordError, match="cannot be read"):
        convert(config(tmp_path / "text.pth"), tmp_path / "run")
    with pytest.raises(RecordError, match="is a folder"):
        convert(config(tmp_path), tmp_path / "run")
    with pytest.raises(RecordError, match=r"net is no tensor\. Give the state dict"):
        convert(config(saved(tmp_path, {"net": state})), tmp_path / "run")
    with pytest.raises(RecordError, match="epoch is no tensor"):
        convert(config(saved(tmp_path, {"epoch": 3})), tmp_path / "run")
    with pytest.raises(RecordError, match="cannot be read as a checkpoint of plain data"):
        convert(config(saved(tmp_path, RoadSegNet(2, "test_resnet"))), tmp_path / "run")
    broken = saved(tmp_path, state | {"final.conv1.bias": torch.full((2,), torch.nan)})
    with pytest.raises(RecordError, match=r"final\.conv1\.bias hold NaN"):
        convert(config(broken), tmp_path / "run")


def test_another_model_is_refused(public, config, tmp_path):
    with pytest.raises(ConfigError, match="public checkpoints are of roadseg"):
        convert(config(public[0], "model.name=rgbd_fusion"), tmp_path / "run")


def test_a_known_split_is_kept_and_a_wrong_one_refused(public, config, tmp_path, tiny_roads):
    from mmcert.data.registry import build_dataset

    ids = build_dataset("synthetic_roads", "all", root=tiny_roads).ids
    split = {"train": list(ids[:5]), "val": [], "test": list(ids[5:])}
    (tmp_path / "split.json").write_text(json.dumps(split))
    said = convert(config(public[0], f"split={tmp_path / 'split.json'}"), tmp_path / "run")
    assert "nobody but its author" not in said
    assert load_checkpoint(tmp_path / "run").split == {"seed": 0, **split}
    (tmp_path / "split.json").write_text(json.dumps(split | {"val": ["um_999999"]}))
    with pytest.raises(RecordError, match="um_999999"):
        convert(config(public[0], f"split={tmp_path / 'split.json'}"), tmp_path / "other")


def test_a_checkpoint_that_began_with_imagenet_weights_fetches_none_to_be_certified(
    public, config, tmp_path, monkeypatch
):
    import torchvision

    make = torchvision.models.get_model

    def without_a_network(name, weights=None):
        if weights is not None:
            raise OSError("no network")
        return make(name, weights=None)

    monkeypatch.setattr("torchvision.models.get_model", without_a_network)
    source = config(public[0], "model.options.pretrained=true")
    convert(source, tmp_path / "run")
    stored = load_checkpoint(tmp_path / "run")
    assert stored.config["model"]["options"]["pretrained"]
    workload = {
        "checkpoint": str(tmp_path / "run"),
        "sha256": stored.sha256,
        "data": stored.config["data"],
        "data_seed": 0,
        "stored_split": stored.split,
        "allow_code": [],
    }
    _, model = build(workload)
    assert torch.equal(model.net.final.conv1.bias, public[1]["final.conv1.bias"])


def test_the_same_conversion_again_says_the_same_and_another_one_is_refused(
    public, config, tmp_path
):
    first = convert(config(public[0]), tmp_path / "run")
    target = tmp_path / "run" / "checkpoints" / "best.ckpt"
    written = target.stat().st_mtime_ns
    assert convert(config(public[0]), tmp_path / "run") == first
    assert target.stat().st_mtime_ns == written
    other = {**public[1], "final.conv1.bias": public[1]["final.conv1.bias"] + 1}
    for another in (config(saved(tmp_path, other)), config(public[0], "seed=1")):
        with pytest.raises(RecordError, match="is not the conversion of this file"):
            convert(another, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.smoke
def test_a_converted_checkpoint_is_certified(public, tiny_roads, tmp_path):
    def command(name, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", f"mmcert.cli.{name}", *arguments],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    said = command(
        "convert",
        f"source={public[0]}",
        f"data.root={tiny_roads}",
        "model.options.size=[32,96]",
        "run_dir=converted",
    )
    assert "mmcert-certify checkpoint=" in said
    command(
        "certify",
        "checkpoint=converted",
        "data.max_samples=1",
        "voting.draws=8",
        "voting.processes=1",
        "threat.grid={rgb: [0], depth: [0]}",
        "run_dir=certified",
    )
    metrics = json.loads((tmp_path / "certified" / "metrics.json").read_text())
    assert metrics["samples"] == 1
    assert metrics["results"]
