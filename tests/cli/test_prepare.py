import os
import signal
import subprocess
import sys

import pytest

from mmcert.cli.prepare import job as prepare
from mmcert.data.workspace import run_tasks
from mmcert.errors import ConfigError, DataError, FullDiskError

CONFIG = {
    "dataset": "synthetic_roads",
    "source": None,
    "check": False,
    "workers": 1,
    "scenes": 4,
    "size": [32, 96],
    "validation": 0.25,
    "test": 0.25,
    "seed": 0,
    "classes": None,
    "depth_scale": 1000,
}


def run(config, tmp_path):
    folder = tmp_path / "outputs" / "prepare" / "now"
    folder.mkdir(parents=True, exist_ok=True)
    prepare({**CONFIG, "out": str(tmp_path / "roads"), **config}, folder)
    assert not folder.exists()


def test_it_ends_with_where_the_data_is_and_the_next_command(tmp_path, capsys):
    run({}, tmp_path)
    printed = capsys.readouterr().out
    assert "4 synthetic road scenes of 32x96" in printed
    assert f"mmcert-train experiment=synthetic_roads_mmcert data.root={tmp_path}/roads" in printed
    run({"check": True}, tmp_path)
    assert "nothing is wrong" in capsys.readouterr().out


def test_a_check_of_a_broken_folder_is_an_error_with_a_numbered_list(tmp_path):
    run({}, tmp_path)
    for path in (tmp_path / "roads" / "training" / "calib").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"4 problems in 4 frames(.|\n)*  1\. .*(.|\n)*  4\. "):
        run({"check": True}, tmp_path)


def test_a_check_of_avmnist_names_what_is_missing(tmp_path):
    with pytest.raises(DataError, match="no images here"):
        run({"dataset": "avmnist", "check": True}, tmp_path)


def test_synthetic_speech_is_written_in_its_own_size_and_then_to_be_prepared(tmp_path, capsys):
    pytest.importorskip("av", reason="PyAV, of the extra 'video', is not installed")
    speech = {"dataset": "synthetic_speech", "out": str(tmp_path / "s"), "clips": 1}
    run({**speech, "size": None}, tmp_path)
    printed = capsys.readouterr().out
    assert "1 clips of 1 synthetic actors" in printed
    assert "240x320 pixels" in printed
    assert f"dataset=ravdess source={tmp_path}/s out={tmp_path}/s_prepared\n" in printed
    run({**speech, "check": True}, tmp_path)
    assert "1 movies and 1 sound files" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="clips=0 must be an integer from 1 to 1440"):
        run({**speech, "clips": 0}, tmp_path)


def test_a_full_disk_is_an_error_that_says_how_to_go_on(tmp_path, monkeypatch):
    from mmcert.data.roads import synthetic_roads_writer as writer

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "write_png", full)
    says = r"the disk is full.*same line again goes on.*What is finished stays in .*roads\.partial"
    with pytest.raises(FullDiskError, match=says):
        run({}, tmp_path)
    assert not (tmp_path / "roads").exists()


def test_what_cannot_be_prepared_says_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="choose one of synthetic_roads, kitti_road, avmnist"):
        run({"dataset": "cityscapes"}, tmp_path)
    with pytest.raises(ConfigError, match=r"needs source=.*data_road_velodyne"):
        run({"dataset": "kitti_road"}, tmp_path)
    with pytest.raises(ConfigError, match="check=true"):
        run({"dataset": "avmnist"}, tmp_path)
    with pytest.raises(ConfigError, match="workers=0"):
        run({"workers": 0}, tmp_path)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"check": "maybe"}, "check=maybe"),
        ({"check": 1}, "check=1"),
        ({"seed": "abc"}, "seed=abc"),
        ({"scenes": "abc"}, "scenes=abc"),
        ({"size": 5}, r"size=\[5\]"),
        ({"validation": "x"}, "validation=x"),
        ({"dataset": "kitti_road", "check": True, "depth_scale": 0}, "depth_scale=0"),
        ({"dataset": "kitti_road", "check": True, "depth_scale": "abc"}, "depth_scale=abc"),
        ({"dataset": "kitti_road", "check": True, "classes": [1, 2]}, r"classes=\[1, 2\] must be"),
        (
            {"dataset": "kitti_road", "check": True, "classes": {"a": 5, "b": [1, 2, 3]}},
            r"classes\.a=\[5\] must be a colour",
        ),
    ],
)
def test_a_value_of_another_type_names_its_key(tmp_path, config, says):
    with pytest.raises(ConfigError, match=says):
        run(config, tmp_path)


def test_folders_whose_names_are_numbers_are_folders_and_the_current_one_is_refused(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run({"out": 2024}, tmp_path)
    assert "2024 holds 4 synthetic" in capsys.readouterr().out
    for out in (".", "..", "/"):
        with pytest.raises(DataError, match=r"must name a folder to make"):
            run({"out": out}, tmp_path)
    with pytest.raises(DataError, match="7: no folder data_road"):
        run({"dataset": "kitti_road", "source": 7}, tmp_path)


def _dies(number):
    if number:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_the_system_killed_is_an_error_that_says_how_to_go_on():
    with pytest.raises(DataError, match=r"\(scenes\) was killed.*memory.*workers= below 2"):
        run_tasks(_dies, [(0,), (1,), (2,)], workers=2, unit="scenes")


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_writes_a_data_set_and_refuses_to_overwrite_another(tmp_path):
    line = [sys.executable, "-m", "mmcert.cli.prepare", "dataset=synthetic_roads", "out=roads"]
    line += ["scenes=6", "size=[32,96]", "workers=2", "validation=0.2", "test=0.2"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "6 scenes at" in done.stderr
    assert "mmcert-train" in done.stdout
    assert len(list((tmp_path / "roads").rglob("image_2/*.png"))) == 6
    assert not (tmp_path / "outputs").exists() or not any((tmp_path / "outputs").iterdir())
    again = subprocess.run(
        [*line, "seed=5"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode != 0
    assert "seed: 0 there, 5 asked for" in again.stderr
    assert "Traceback" not in again.stderr
