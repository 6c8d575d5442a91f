"""``mmcert-verify``: one line per kind of check, the failures by name, and an exit code."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.cli.verify import main
from mmcert.records.meta import VotesMeta
from mmcert.records.run import RunDescription, write_run
from mmcert.records.votes import SampleVotes, votes_sha256, write_meta, write_sample
from mmcert.theory.schemes import make_scheme


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    run = tmp_path_factory.mktemp("verify") / "run"
    scheme = make_scheme("mmcert", {"rgb": 200}, k={"rgb": 12}, elements={"rgb": "pixel"})
    meta = VotesMeta("segmentation", "mmcert", scheme.modalities, draws=100, classes=2)
    rng = np.random.default_rng(0)
    samples = []
    write_meta(run / "votes", meta)
    for name in ("a", "b"):
        road = rng.integers(0, 2, (5, 6))
        right = rng.binomial(100, 0.8, (5, 6))
        counts = np.where(road == 1, np.stack([100 - right, right]), np.stack([right, 100 - right]))
        samples.append(SampleVotes(name, counts, road, 100, scheme))
        write_sample(run / "votes", samples[-1], meta)
    evaluate(samples, meta, budgets=[{"rgb": 0}, {"rgb": 2}], out=run)
    hashes = {one.id: votes_sha256(run / "votes", one.id) for one in samples}
    elements = {"rgb": "pixel"}
    write_run(
        run, RunDescription("evaluate", "segmentation", "mmcert", elements, votes_sha256=hashes)
    )
    (run / "config.yaml").write_text("alpha: 0.001\n")
    return run


@pytest.fixture
def run(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def test_a_run_that_holds_gives_exit_code_0(run, capsys):
    assert main([str(run)]) == 0
    said = capsys.readouterr().out
    for kind in ("votes files", "thresholds", "metrics", "certificates", "maps"):
        assert sum(line.strip().startswith(kind) for line in said.splitlines()) >= 1
    assert "not checked: checkpoint" in said
    assert "all that was checked holds" in said
    assert "FAIL" not in said


def test_one_run_of_two_that_does_not_hold_gives_exit_code_1(run, tmp_path, capsys):
    other = shutil.copytree(run, tmp_path / "other")
    metrics = json.loads((other / "metrics.json").read_text())
    metrics["results"][0]["grid"][1]["certified_iou"] = 0.99
    (other / "metrics.json").write_text(json.dumps(metrics))
    assert main([str(run), str(other)]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 runs hold" in said
    (line,) = (line for line in said.splitlines() if "FAILED metrics" in line)
    assert "certified_iou claimed 0.99, derived 0." in line
    assert "{'rgb': 2}" in line


def test_a_folder_that_is_no_run_gives_exit_code_1(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "run.json" in capsys.readouterr().out


def test_no_run_at_all_is_a_wrong_command_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "RUN" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_as_a_user_calls_it(run):
    began = time.perf_counter()
    help_text = subprocess.run(
        [sys.executable, "-m", "mmcert.cli.verify", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "exit code" in help_text
    assert time.perf_counter() - began < 2
    command = [sys.executable, "-m", "mmcert.cli.verify", str(run)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (run / "votes" / "a.npz").unlink()
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "a.npz is missing" in broken.stdout
    code = "import sys, mmcert.cli.verify, mmcert.certification.verifier.verify as v; "
    code += f"v.verify({str(run)!r}); print(sorted(m for m in sys.modules if 'torch' in m or "
    code += "m.startswith(('mmcert.theory', 'mmcert.records', 'hydra'))))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"
