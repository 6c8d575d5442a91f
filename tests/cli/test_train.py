"""From a configuration to checkpoints, and everything that is refused on the way."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from rich.console import Console

from mmcert.errors import ConfigError, DataError, MmcertError, RecordError, UnsoundError
from mmcert.jobs.checkpoint import find_checkpoint, load_checkpoint, refuse_code
from mmcert.jobs.training.resume import stored_config
from mmcert.jobs.training.trainer import device_count, strategy_for
from mmcert.jobs.training.training import train


@pytest.fixture
def tiny(compose_train, tiny_overrides, tiny_roads, tmp_path):
    """``tiny(*overrides)``: a configuration whose results go to ``tmp_path / 'run'``."""

    def composed(*overrides):
        return compose_train(
            *tiny_overrides,
            f"data.root={tiny_roads}",
            f"run_dir={tmp_path / 'run'}",
            *overrides,
        )

    return composed


def command(arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "mmcert.cli.train", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_training_leaves_checkpoints_configuration_and_split(trained):
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert yaml.safe_load((trained / "config.yaml").read_text())["scheme"]["name"] == "mmcert"
    split = json.loads((trained / "split.json").read_text())
    assert [len(split[name]) for name in ("train", "val", "test")] == [6, 2, 4]


def test_a_checkpoint_is_plain_data_and_carries_the_plan_of_certification(trained):
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    record = content["mmcert"]
    assert record["schema"] == 1
    assert record["config"]["threat"]["grid"] == {"rgb": [0, 1, 2], "depth": [0, 2, 4]}
    assert record["config"]["voting"] == {"draws": 20, "mode": "fixed"}
    assert record["config"]["encoding"]["depth"] == {"name": "retained_indicator"}
    assert record["config"]["inputs"]["rgb"]["element_axes"] == [1, 2]
    assert "torch" in record["versions"]


def test_a_checkpoint_rebuilds_its_base_model(trained, tiny_roads):
    from mmcert.data.registry import build_dataset
    from mmcert.models.registry import build_model
    from mmcert.sampling.subsets import draw_subsets
    from mmcert.theory.schemes import make_scheme

    config, split, weights, digest = load_checkpoint(trained)
    model = build_model(
        config["model"]["name"],
        inputs=config["inputs"],
        classes=len(config["classes"]),
        encoding=config["encoding"],
        **config["model"]["options"],
    )
    model.load_state_dict(weights)
    dataset = build_dataset("synthetic_roads", "test", root=tiny_roads, stored_split=split)
    assert list(dataset.ids) == split["test"]
    assert len(digest) == 64
    scheme = make_scheme("mmcert", {"rgb": 32 * 96, "depth": 32 * 96}, k=config["scheme"]["k"])
    subsets = draw_subsets(scheme, seed=0, sample_id="x", stream="test", draws=range(3))
    model.eval()
    with torch.inference_mode():
        labels = model.label(model.prepare(dataset[0]), subsets)
    assert labels.shape == (3, 32, 96)
    assert labels.dtype == torch.int64


def test_a_finished_training_says_so_gives_its_score_and_is_left_alone(trained):
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    console = Console(record=True, width=500)
    score = train(stored_config(trained), trained, console=console)
    said = console.export_text()
    assert "is finished: 6 epochs" in said
    assert f"mmcert-certify checkpoint={trained}" in said
    assert f"f-score {score:.4f}" in said
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_a_run_directory_of_another_training_is_refused(trained, tiny):
    config = tiny("task.lr=0.5", f"run_dir={trained}")
    with pytest.raises(RecordError, match=r"task\.lr=0\.003, not 0\.5"):
        train(config, trained)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "scheme.k",
            {"rgb": 4000, "depth": 40},
            "k = 4000 elements cannot be retained of n = 3072",
        ),
        ("scheme.k", {"rgb": 10}, "name each of them once"),
        ("scheme.k", {"rgb": 10, "lidar": 10}, "lidar"),
        ("threat.grid", {"lidar": [0, 1]}, "unknown modality 'lidar'"),
        ("threat.grid", {"rgb": [-1]}, "at least 0"),
        ("threat.budgets", [{"rgb": 1, "lidar": 1}], "unknown modality 'lidar'"),
        ("task.name", "classification", "set task=segmentation"),
        ("model", {"name": "elementwise_fusion"}, "reads the modality 'image'"),
        ("model.options.depthh", "x", "model.options.depthh is no option"),
        ("task.speed", 1, "task.speed is no option"),
        ("task.retained_factor", [1.5, 2], "cover the counts of certification"),
        ("task.augment", {"twist": {}}, "task.augment.twist is no augmentation"),
        ("trainer.epochs", 3, "trainer.epochs is neither"),
        ("callbacks.snow", {}, "callbacks.snow is unknown"),
        ("model.name", "evil.code:Net", r"add allow_code=\[evil\]"),
        ("model.options._target_", "os.system", "names code to run"),
        ("data.root", "${oc.env:HOME}", "unresolved interpolation"),
        ("encoding", {"lidar": {"name": "zero"}}, "encoding.lidar is no modality"),
        ("data.root", "/nowhere", "does not exist"),
    ],
)
def test_what_cannot_be_trained_or_certified_is_refused_before_training(
    tiny, tmp_path, key, value, message
):
    config = tiny()
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section[name]
    section[last] = value
    with pytest.raises(MmcertError, match=message):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_threat_or_an_encoding_without_a_certificate_is_refused(tiny, tmp_path):
    with pytest.raises(UnsoundError, match="deletion of modality 'rgb' cannot be certified"):
        train(tiny("threat.kind=deletion"), tmp_path / "run")
    with pytest.raises(UnsoundError, match="sound against no threat"):
        train({**tiny(), "encoding": {"name": "input_mean"}}, tmp_path / "run")


def test_means_for_filling_are_those_of_the_training_split_and_are_stored(tiny, tmp_path):
    from mmcert.data.registry import build_dataset

    config = tiny(
        "encoding=constant_mean", "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1"
    )
    train(config, tmp_path / "run")
    stored = load_checkpoint(tmp_path / "run").config["encoding"]
    dataset = build_dataset("synthetic_roads", "train", root=config["data"]["root"])
    pixels = torch.cat([item["inputs"]["rgb"].flatten(1) for item in dataset], 1)
    assert stored["rgb"]["value"] == pytest.approx(pixels.double().mean(1).tolist(), rel=1e-6)
    assert len(stored["depth"]["value"]) == 1


def test_an_interrupted_training_goes_on_where_it_stopped(tiny, tmp_path, monkeypatch):
    from mmcert.tasks.base import AblatedTask

    config = tiny("data.batch_size=2", "data.workers=1", "trainer.precision=bf16-mixed")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(config, whole)
    step = AblatedTask.training_step

    def failing(self, batch, batch_idx):
        if self.current_epoch == 4:
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
    assert one["global_step"] == two["global_step"] > 6
    assert one["mmcert"] == two["mmcert"]
    # Order, retained counts, augmentation, optimizer: the very same training.
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    with pytest.raises(RecordError, match="does not exist"):
        find_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(RecordError, match=r"holds no checkpoints/best\.ckpt"):
        load_checkpoint(tmp_path)
    (tmp_path / "torn.ckpt").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(RecordError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path / "torn.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(RecordError, match="no checkpoint of mmcert-train"):
        load_checkpoint(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "mmcert": {"schema": 9}}, tmp_path / "newer.ckpt")
    with pytest.raises(RecordError, match="schema 9"):
        load_checkpoint(tmp_path / "newer.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, trained):
    torch.save({"state_dict": {}, "mmcert": os.system}, tmp_path / "code.ckpt")
    with pytest.raises(RecordError, match="plain data"):
        load_checkpoint(tmp_path / "code.ckpt")
    content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    for value, message in (("${oc.env:HOME}", "interpolation"), ({"_target_": "os.system"}, "run")):
        content["mmcert"]["config"]["data"]["root"] = value
        torch.save(content, tmp_path / "changed.ckpt")
        with pytest.raises(ConfigError, match=message):
            load_checkpoint(tmp_path / "changed.ckpt")


def test_plain_configurations_pass():
    refuse_code({"a": [{"b": "text"}, None], "c": 1.5}, "here")


def test_gpus_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for wanted in ("gpu", "cuda"):
        with pytest.raises(ConfigError, match=f"accelerator={wanted}: PyTorch .* finds no GPU"):
            device_count({"accelerator": wanted, "devices": "auto"})
    assert device_count({"accelerator": "auto", "devices": "auto"}) >= 1


def test_no_strategy_starts_processes_of_its_own():
    for name in ("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        assert strategy_for(name, 2) == "ddp"
        assert strategy_for(name, 1) == "auto"
    assert strategy_for("fsdp", 2) == "fsdp"
    assert strategy_for("ddp_find_unused_parameters_true", 2) == "ddp_find_unused_parameters_true"


def test_a_log_file_gets_one_line_per_epoch_with_score_pace_and_remaining_time(tiny, tmp_path):
    screen = Console(file=io.StringIO())
    train(tiny("callbacks.progress={}"), tmp_path / "run", console=screen)
    lines = [one for one in screen.file.getvalue().splitlines() if one.startswith("epoch ")]
    number, score = r"[0-9.e-]+", r"f-score [0-9.]+ \(best [0-9.]+\), "
    for epoch, line in enumerate(lines, start=1):
        validated = score if epoch % 3 == 0 else ""
        left = f", {number} m?s left" if epoch < 6 else ""
        pattern = rf"epoch {epoch} of 6: loss {number}, {validated}{number} batches/s{left}"
        assert re.fullmatch(pattern, line), line
    assert len(lines) == 6
    reached = [float(one) for one in re.findall(r"f-score ([0-9.]+)", "".join(lines))]
    assert f"(best {max(reached):.4f})" in lines[-1]
    assert "\x1b" not in screen.file.getvalue()


def test_a_training_without_a_console_says_nothing(tiny, tmp_path, capfd):
    train(tiny("callbacks.progress={}", "trainer.max_epochs=3"), tmp_path / "run")
    assert capfd.readouterr().out == ""


def test_a_corrupt_image_met_by_a_worker_of_the_loader_is_one_sentence(tiny, tiny_roads, tmp_path):
    shutil.copytree(tiny_roads, tmp_path / "data")
    image = sorted((tmp_path / "data" / "training" / "image_2").glob("*.png"))[-1]
    config = tiny(f"data.root={tmp_path / 'data'}", "data.workers=1")
    image.write_bytes(image.read_bytes()[:400])
    with pytest.raises(DataError, match="cannot be read") as error:
        train(config, tmp_path / "run")
    assert str(error.value).startswith(f"{image}: the image cannot be read")
    assert "Traceback" not in str(error.value)


@pytest.mark.slow
def test_a_corrupt_image_met_by_a_spawned_process_is_one_sentence(
    tiny_overrides, tiny_roads, tmp_path
):
    shutil.copytree(tiny_roads, tmp_path / "data")
    for image in sorted((tmp_path / "data" / "training" / "image_2").glob("*.png"))[1:]:
        image.write_bytes(image.read_bytes()[:400])
    run = command(
        [
            *tiny_overrides,
            "trainer=ddp_cpu",
            f"data.root={tmp_path / 'data'}",
            f"run_dir={tmp_path / 'run'}",
        ],
        tmp_path,
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert re.search(r"train: .*\.png: the image cannot be read", run.stderr)


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_trains_and_names_the_next_one(tmp_path, tiny_overrides, tiny_roads):
    run = command(
        [*tiny_overrides, f"data.root={tiny_roads}", f"run_dir={tmp_path / 'run'}"], tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert f"mmcert-certify checkpoint={tmp_path / 'run'}" in run.stdout
    again = command([f"run_dir={tmp_path / 'run'}"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stdout
    assert f"mmcert-certify checkpoint={tmp_path / 'run'}" in again.stdout


@pytest.mark.slow
def test_a_sweep_keeps_its_jobs_apart(tmp_path, tiny_overrides, tiny_roads):
    run = command(
        [
            "-m",
            *tiny_overrides,
            f"data.root={tiny_roads}",
            f"run_dir={tmp_path / 'sweep'}",
            "task.lr=0.001,0.01",
        ],
        tmp_path,
    )
    assert run.returncode == 0, run.stderr
    rates = [load_checkpoint(tmp_path / "sweep" / job).config["task"]["lr"] for job in "01"]
    assert rates == [0.001, 0.01]


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path, tiny_overrides, tiny_roads):
    run = command(
        [
            *tiny_overrides,
            "trainer=ddp_cpu",
            "trainer.max_epochs=2",
            "trainer.check_val_every_n_epoch=1",
            f"data.root={tiny_roads}",
            f"run_dir={tmp_path / 'run'}",
        ],
        tmp_path,
    )
    assert run.returncode == 0, run.stderr
    content = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    # 6 scenes over 2 processes in batches of 4: one step per epoch instead of two.
    assert content["global_step"] == 2
