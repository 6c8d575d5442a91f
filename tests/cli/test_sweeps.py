"""The paper's studies as one command each: sweep= on the command line, a pattern for the report."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir

from mmcert.certification.evaluate import evaluate
from mmcert.cli._app import conf_dir
from mmcert.records.meta import VotesMeta, write_meta
from mmcert.records.votes import SampleVotes, write_sample
from mmcert.theory.schemes import make_scheme

SCHEMES = ("mmcert", "randomized_ablation", "randomized_ablation_aligned")
COMMAND = {
    "alpha": "evaluate",
    "kitti_road_ratios": "report",
    "speech_ratios": "report",
    "avmnist_speakers": "train",
}
SWEEPS = sorted(file.stem for file in (conf_dir() / "sweep").glob("*.yaml"))


def command(name, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", f"mmcert.cli.{name}", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("sweep", SWEEPS)
def test_every_sweep_composes_with_its_command_and_needs_no_switch(sweep):
    command = COMMAND.get(sweep, "certify")
    needed = ["experiment=avmnist_speakers_mmcert"] if command == "train" else []
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(command, [f"sweep={sweep}", *needed], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert config.hydra.sweeper.params


def swept(name, key):
    sections = yaml.safe_load((conf_dir() / "sweep" / f"{name}.yaml").read_text())
    return yaml.safe_load(f"[{sections['hydra']['sweeper']['params'][key]}]")


def test_the_sweeps_hold_the_counts_and_ratios_of_the_paper():
    rgb = swept("kitti_road_retained_rgb", "scheme.k")
    depth = swept("kitti_road_retained_depth", "scheme.k")
    assert [k["rgb"] for k in rgb] == [2500, 7500, 9000]
    assert [k["depth"] for k in depth] == [500, 1000, 1500]
    for k in (*rgb, *depth):  # one mask of both modalities keeps exactly the same total
        assert sum(k.values()) % 2 == 0
    rays = [(one["rgb"], one["depth"]) for one in swept("kitti_road_ratios", "ray")]
    assert sorted(rays) == sorted({(1, q) for q in range(1, 5)} | {(q, 1) for q in range(1, 5)})


def test_the_grids_of_the_speech_experiments_hold_every_ratio_that_is_reported():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        grid = compose("train", ["experiment=synthetic_speech_mmcert"]).threat.grid
    for ray in swept("speech_ratios", "ray"):
        steps = [
            s for s in range(1, 17) if all(s * step in grid[name] for name, step in ray.items())
        ]
        assert len(steps) >= 4


def test_every_split_of_a_speech_sweep_keeps_the_same_total():
    assert {sum(k.values()) for k in swept("speech_splits", "scheme.k")} == {6}


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    """One scene, voted under each scheme."""
    root = tmp_path_factory.mktemp("votes")
    for name in SCHEMES:
        scheme = make_scheme(name, {"rgb": 400, "depth": 400}, k={"rgb": 30, "depth": 10})
        meta = VotesMeta("segmentation", name, scheme.modalities, 500, 2)
        write_meta(root / name / "votes", meta)
        target = np.arange(400).reshape(20, 20) % 2
        counts = np.where(np.stack([target == c for c in (0, 1)]), 480, 20)
        sample = SampleVotes("um_000000", counts, target, 500, scheme)
        write_sample(root / name / "votes", sample, meta)
        budgets = [{"rgb": r1, "depth": r2} for r1 in range(5) for r2 in range(5)]
        evaluate([sample], meta, budgets=budgets, statistics={"holm": {}}, out=root / name)
    return root


@pytest.mark.slow
@pytest.mark.smoke
def test_alpha_and_ratios_are_two_commands_each_with_all_schemes(votes, tmp_path):
    named = ",".join(str(votes / name) for name in SCHEMES)
    grid = "threat.grid={rgb: [0,1,2,3,4], depth: [0,1,2,3,4]}"
    alphas = "alpha=0.001,0.01"  # two of the four
    arguments = ("sweep=alpha", alphas, f"votes={named}", grid, "run_dir=alpha")
    done = command("evaluate", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(list((tmp_path / "alpha").glob("*/metrics.json"))) == 6
    done = command("report", "runs=alpha/*", "run_dir=alpha", cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert (tmp_path / "alpha" / "figures" / "sweep_holm_per_sample.png").is_file()
    rays = "ray={rgb: 1, depth: 1},{rgb: 4, depth: 1}"  # two of the seven
    arguments = ("sweep=kitti_road_ratios", rays, f"runs={votes}/*", "run_dir=ratios")
    done = command("report", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(list((tmp_path / "ratios").glob("*/figures/metrics_holm_per_sample.png"))) == 2


@pytest.mark.slow
def test_a_search_needs_no_switch_either(tmp_path):
    # Without data every job fails by itself: what counts is that there are six of them.
    done = command(
        "train",
        "experiment=synthetic_roads_mmcert",
        "hparams_search=learning_rate",
        "data.root=missing",
        "run_dir=search",
        cwd=tmp_path,
    )
    assert "Launching 6 jobs" in done.stdout + done.stderr
