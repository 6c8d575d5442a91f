"""A training goes on where its surroundings changed and its samples did not; and never mixes."""

import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from mmcert.errors import FullDiskError, RecordError
from mmcert.jobs.training.resume import stored_config
from mmcert.jobs.training.training import train
from mmcert.records.lock import only_one
from mmcert.tasks.base import AblatedTask


@pytest.fixture
def broken(compose_train, tiny_overrides, tiny_roads, tmp_path, monkeypatch):
    """``broken(*overrides)``: run_dir of a training on data of its own, cut off in epoch 4."""

    def cut_off(*overrides):
        shutil.copytree(tiny_roads, tmp_path / "roads")
        run_dir = tmp_path / "run"
        config = compose_train(
            *tiny_overrides, f"data.root={tmp_path / 'roads'}", f"run_dir={run_dir}", *overrides
        )
        step = AblatedTask.training_step

        def failing(self, batch, batch_idx):
            if self.current_epoch == 4:
                raise RuntimeError("power cut")
            return step(self, batch, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(AblatedTask, "training_step", failing)
            with pytest.raises(RuntimeError, match="power cut"):
                train(config, run_dir)
        return run_dir

    return cut_off


def weights(run_dir, name="last"):
    return torch.load(run_dir / "checkpoints" / f"{name}.ckpt", weights_only=True)


def test_a_training_goes_on_where_its_data_were_moved_to(broken, trained, tmp_path):
    run_dir = broken()
    (tmp_path / "roads").rename(tmp_path / "elsewhere")
    config = stored_config(run_dir)
    config["data"] |= {"root": str(tmp_path / "elsewhere"), "workers": 1}
    (tmp_path / "elsewhere" / "training" / "image_2" / "._um_000000.png").touch()
    train(config, run_dir)
    one, two = weights(run_dir), weights(trained)  # without an interruption, elsewhere
    assert one["global_step"] == two["global_step"]
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name
    assert stored_config(run_dir)["data"]["root"] == str(tmp_path / "elsewhere")


def test_other_samples_are_refused_whatever_they_are_called(broken, tmp_path):
    run_dir = broken()
    config = stored_config(run_dir)
    changed = next((tmp_path / "roads" / "training" / "image_2").glob("*.png"))
    honest = changed.read_bytes()
    Image.fromarray(255 - np.array(Image.open(changed))).save(changed)
    with pytest.raises(RecordError, match="same names with other content"):
        train(config, run_dir)
    changed.write_bytes(honest)
    (tmp_path / "roads" / "manifest.json").unlink()  # which would notice before us
    for folder in ("image_2", "depth_u16", "calib"):
        for path in (tmp_path / "roads" / "training" / folder).glob("um_000000.*"):
            path.unlink()
    for path in (tmp_path / "roads" / "training" / "gt_image_2").glob("um_road_000000.png"):
        path.unlink()
    with pytest.raises(RecordError, match="has other sample ids"):
        train(config, run_dir)


def test_the_best_of_a_moved_run_directory_stays_the_best(broken, tmp_path, monkeypatch):
    run_dir = broken()
    best = weights(run_dir, "best")
    run_dir.rename(tmp_path / "moved")
    monkeypatch.setattr(  # every score from here on is worse
        "mmcert.metrics.scores.LabelScores.compute",
        lambda self: {"f_score": torch.tensor(0.0), "accuracy": torch.tensor(0.0)},
    )
    score = train(stored_config(tmp_path / "moved"), tmp_path / "moved")
    after = weights(tmp_path / "moved", "best")
    assert score > 0
    assert after["epoch"] == best["epoch"]


def test_a_training_that_early_stopping_ended_is_finished(
    compose_train, tiny_overrides, tiny_roads, tmp_path
):
    config = compose_train(
        *tiny_overrides,
        f"data.root={tiny_roads}",
        f"run_dir={tmp_path / 'run'}",
        "+callbacks.early_stopping={patience: 1, min_delta: 1}",
        "trainer.check_val_every_n_epoch=1",
    )
    score = train(config, tmp_path / "run")
    before = weights(tmp_path / "run")
    assert before["epoch"] < 5
    assert train(config, tmp_path / "run") == score
    assert weights(tmp_path / "run")["epoch"] == before["epoch"]


def test_two_trainings_do_not_share_a_run_directory(trained):
    refusals = []

    def second():
        try:
            train(stored_config(trained), trained)
        except RecordError as error:
            refusals.append(str(error))

    with only_one(trained, "mmcert-train"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refusals) == 1
    assert "another mmcert-train is at work here" in refusals[0]


def test_a_full_disk_costs_a_training_no_epoch_that_it_had_kept(
    compose_train, tiny_overrides, tiny_roads, trained, tmp_path, monkeypatch
):
    import mmcert.jobs.training.checkpoint_io as checkpoint_io

    config = compose_train(
        *tiny_overrides, f"data.root={tiny_roads}", f"run_dir={tmp_path / 'run'}"
    )
    save, saved = torch.save, []

    def filling(content, stream):
        """The disk fills up in the middle of the fourth checkpoint."""
        saved.append(content["epoch"])
        if len(saved) == 4:
            stream.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, stream)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_io.torch, "save", filling)
        with pytest.raises(FullDiskError, match=r"last\.ckpt could not be written"):
            train(config, tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    assert weights(tmp_path / "run")["epoch"] == saved[-1] - 1
    train(config, tmp_path / "run")
    one, two = weights(tmp_path / "run"), weights(trained)
    for name, weight in one["state_dict"].items():
        assert torch.equal(weight, two["state_dict"][name]), name
