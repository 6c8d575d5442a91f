"""A training that would measure nothing is refused before it begins, with the way out."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmcert.data.roads.synthetic_roads_writer import write_synthetic_roads
from mmcert.errors import ConfigError, DataError, MmcertError
from mmcert.jobs.training.best import BestCheckpoint
from mmcert.jobs.training.record import best_score
from mmcert.jobs.training.trainer import build_callbacks
from mmcert.jobs.training.training import train


@pytest.fixture
def config(compose_train, tiny_overrides, tmp_path):
    """``config(root, *overrides)``: of a training of seconds."""
    return lambda root, *overrides: compose_train(
        *tiny_overrides, f"data.root={root}", f"run_dir={tmp_path / 'run'}", *overrides
    )


@pytest.fixture(scope="module")
def roadless(tmp_path_factory):
    """Roads of which the validation split shows none."""
    root = tmp_path_factory.mktemp("roadless") / "roads"
    write_synthetic_roads(
        root, scenes=12, size=(32, 96), seed=0, validation=2 / 12, test=4 / 12, workers=1
    )
    for path in (root / "validation" / "gt_image_2").glob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[..., 2] = 0
        Image.fromarray(pixels).save(path)
    return root


def refused(config, run_dir, error=MmcertError):
    with pytest.raises(error) as caught:
        train(config, run_dir)
    assert not (run_dir / "checkpoints").exists()
    return str(caught.value)


def test_a_class_that_validation_lacks_is_named_with_the_ways_out(config, roadless, tmp_path):
    said = refused(config(roadless), tmp_path / "run", DataError)
    assert "val/f_score is undefined" in said
    assert "the 2 validation samples hold no element of the class 'road'" in said
    assert "another seed" in said
    assert "callbacks.checkpoints.monitor=val/accuracy" in said
    # by which nothing stops, nothing chooses, and nothing is searched for
    by = "+callbacks.early_stopping={monitor: val/iou}"
    accuracy = "callbacks.checkpoints.monitor=val/accuracy"
    assert "val/iou is undefined" in refused(config(roadless, f"+{accuracy}", by), tmp_path / "run")


def test_the_way_out_that_is_named_leads_out(config, roadless, tmp_path):
    overrides = ("+callbacks.checkpoints.monitor=val/accuracy", "trainer.max_epochs=3")
    score = train(config(roadless, *overrides), tmp_path / "run")
    assert 0 <= score <= 1


def test_a_validation_that_never_takes_place_is_refused(config, tiny_roads, tmp_path):
    for override, says in (
        ("trainer.check_val_every_n_epoch=7", "at most 6"),
        ("+trainer.limit_val_batches=0", r"limit_val_batches=0 leaves nothing to do"),
        ("+trainer.limit_train_batches=0", r"limit_train_batches=0 leaves nothing to do"),
        ("callbacks.checkpoints=null", "no weights to certify"),
        ("+trainer.fast_dev_run=true", "debug=smoke"),
        ("+trainer.max_steps=5", "the training has 2 epochs"),  # of two steps each
    ):
        assert says in refused(config(tiny_roads, override), tmp_path / "run", ConfigError)


def test_a_split_without_validation_is_refused_with_its_sizes(
    config, tiny_roads, tmp_path, monkeypatch
):
    from mmcert.data.datamodule import DataModule

    split = {"seed": 0, "train": ["a", "b"], "val": [], "test": ["c"]}
    monkeypatch.setattr(DataModule, "split", lambda self: split)
    said = refused(config(tiny_roads), tmp_path / "run", DataError)
    assert "no sample for validation (2 for train, 0 for val, 1 for test)" in said


def keeping(current, weights=1.0, best=None):
    """Whether a score is kept as the best one."""
    callback = BestCheckpoint("val/iou", monitor="val/f_score", mode="max", save_top_k=1)
    if best is not None:
        callback.best_k_models = {"best.ckpt": torch.tensor(best)}
        callback.kth_best_model_path = "best.ckpt"
    module = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(module.weight, weights)
    trainer = SimpleNamespace(
        lightning_module=module,
        callback_metrics={"val/iou": torch.tensor(0.25)},
        strategy=SimpleNamespace(reduce_boolean_decision=bool),
    )
    kept = callback.check_monitor_top_k(trainer, torch.tensor(current))
    return kept, callback.state_dict()["score"]


def test_nothing_that_is_not_finite_is_ever_the_best():
    assert keeping(0.5) == (True, 0.25)
    assert keeping(0.5, best=0.4) == (True, 0.25)
    assert keeping(0.5, best=0.6) == (False, None)
    for score in (math.nan, math.inf, -math.inf):
        assert keeping(score) == (False, None)
    assert keeping(0.5, weights=math.nan) == (False, None)


def test_early_stopping_takes_a_nan_as_no_better_score(tmp_path):
    (callback,) = build_callbacks(
        {"early_stopping": {"patience": 2}}, tmp_path, monitor="val/f_score", logging=False
    )
    stops = [callback._evaluate_stopping_criteria(torch.tensor(x))[0] for x in (math.nan, 0.5)]
    assert stops == [False, False]
    assert callback.best_score == 0.5


def test_a_training_whose_weights_became_nan_has_no_score(
    config, tiny_roads, tmp_path, monkeypatch
):
    """What a search is given is a number, and a command does not end with 0."""
    from mmcert.tasks.base import AblatedTask

    step = AblatedTask.training_step
    monkeypatch.setattr(
        AblatedTask, "training_step", lambda self, *batch: step(self, *batch) * math.nan
    )
    overrides = ("trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1")
    with pytest.raises(ConfigError, match=r"no validation gave a finite.*lower task\.lr"):
        train(config(tiny_roads, *overrides), tmp_path / "run")


def test_the_score_of_a_training_is_that_of_its_best_weights(trained):
    best = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    (state,) = [one for one in best["callbacks"].values() if one.get("monitor") == "val/f_score"]
    assert best_score(trained, "val/f_score") == float(state["best_model_score"])
