"""mmcert-report as a person calls it."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.cli.report import job as report
from mmcert.errors import ConfigError, RecordError
from mmcert.records.meta import VotesMeta, write_meta
from mmcert.records.votes import SampleVotes, write_sample
from mmcert.theory.schemes import make_scheme

SETTINGS = {
    "ray": None,
    "metric": None,
    "sample": None,
    "map_budget": None,
    "allow_differences": False,
    "logger": {"name": "none"},
}


def write_run(folder, scheme, right):
    """Ten digits with given shares of right votes; the run directory that certify would leave."""
    made = make_scheme(scheme, {"image": 784, "audio": 50}, k={"image": 60, "audio": 5})
    meta = VotesMeta("classification", scheme, made.modalities, 1000, 10)
    write_meta(folder / "votes", meta)
    samples = []
    for target in range(10):
        votes = round(1000 * (right - 0.02 * target))
        counts = np.zeros(10, np.int64)
        counts[target], counts[(target + 1) % 10] = votes, 1000 - votes
        samples.append(SampleVotes(f"digit_{target}", counts, np.array(target), 1000, made))
        write_sample(folder / "votes", samples[-1], meta)
    grid = [{"image": r1, "audio": r2} for r1 in (0, 2, 4) for r2 in (0, 1, 2)]
    evaluate(samples, meta, budgets=grid, statistics={"binomial": {}}, out=folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return [
        str(write_run(root / "mmcert", "mmcert", 0.95)),
        str(write_run(root / "baseline", "randomized_ablation", 0.97)),
    ]


def test_the_command_writes_the_report_and_tells_where_and_what(tmp_path, runs, capsys):
    index = report({**SETTINGS, "runs": runs}, tmp_path)
    said = capsys.readouterr().out
    assert index == tmp_path / "report" / "index.html"
    assert str(index) in said.replace("\n", "")
    assert "Certified accuracy" in said
    assert re.search(r"Along r_audio = 1/2 r_image,.*Randomized\s+ablation", said, re.DOTALL)


def test_one_run_directory_may_be_named_without_a_list(tmp_path, runs):
    assert report({**SETTINGS, "runs": runs[0]}, tmp_path).is_file()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"runs": []}, "names no run directory"),
        ({"runs": 7}, "give a list of run directories"),
        ({"ray": 3}, "whole number per modality"),
        ({"ray": {"lidar": 1}}, "unknown modality 'lidar'"),
        ({"metric": "certified_luck"}, "the runs share certified_accuracy"),
        ({"logger": {"name": "csv"}}, "logger=none and logger=wandb"),
        ({"logger": {"name": "wandb", "mode": "maybe", "project": "x"}}, "online or offline"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(tmp_path, runs, setting, message):
    with pytest.raises(ConfigError, match=message):
        report({**SETTINGS, "runs": runs[:1], **setting}, tmp_path)


def test_a_folder_that_is_no_run_is_refused_and_nothing_is_written(tmp_path, runs):
    out = tmp_path / "out"
    with pytest.raises(RecordError, match="no such folder"):
        report({**SETTINGS, "runs": [*runs, str(tmp_path / "missing")]}, out)
    assert not out.exists()


def test_naming_a_run_twice_is_refused(tmp_path, runs):
    with pytest.raises(ConfigError, match="twice"):
        report({**SETTINGS, "runs": [runs[0], runs[0]]}, tmp_path)


@pytest.mark.slow
def test_wandb_offline_needs_no_account(tmp_path, runs, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = {"name": "wandb", "mode": "offline", "project": "mmcert"}
    report({**SETTINGS, "runs": runs, "logger": logger}, tmp_path)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_line_reports_without_torch_and_helps_at_once(tmp_path, runs):
    command = [sys.executable, "-X", "importtime", "-m", "mmcert.cli.report"]
    begin = time.monotonic()
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 10  # 2 s on a quiet machine; tests share theirs
    assert "runs: ???" in done.stdout
    assert not re.search(r"\| +(torch|matplotlib|wandb)$", done.stderr, re.MULTILINE)
    joined = ",".join(runs)
    done = subprocess.run(
        [*command, f"runs=[{joined}]", f"run_dir={tmp_path}"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not re.search(r"\| +(torch|wandb)$", done.stderr, re.MULTILINE)
    assert "Report:" in done.stdout
    assert (tmp_path / "report" / "index.html").is_file()
    failed = subprocess.run(
        [sys.executable, "-m", "mmcert.cli.report", f"runs=[{tmp_path}]", f"run_dir={tmp_path}/x"],
        capture_output=True,
        text=True,
    )
    assert failed.returncode != 0
    assert "no metrics.json" in failed.stderr
    assert "Traceback" not in failed.stderr
