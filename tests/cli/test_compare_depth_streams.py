"""The comparison of depth streams: how its table is read off, and that its commands run."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import mmcert
from mmcert.models.registry import encoding_by_modality

SCRIPT = Path(mmcert.__file__).resolve().parents[2] / "scripts" / "compare_depth_streams.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def certified(folder, scores):
    """A run directory with certified F-scores by r1 for both statistics, and what is not read."""
    size = {"n": {"rgb": 465750, "depth": 465750}, "k": {"rgb": 8988, "depth": 996}}
    folder.mkdir(parents=True)
    results = []
    for name, family in (
        ("holm", "sample"),
        ("closed_evalues", "sample"),
        ("closed_evalues", "dataset"),
    ):
        shown = scores if (name, family) != ("closed_evalues", "sample") else [9.0] * len(scores)
        results.append(
            {
                "statistics": name,
                "claim": "robust",
                "family": family,
                "alpha": 0.001,
                "draws": 100,
                "grid": [
                    {"budget": {"rgb": r, "depth": 2 * r}, "certified_f_score": value}
                    for r, value in enumerate(shown)
                ],
            }
        )
    document = {"results": results, "thresholds": [size]}
    (folder / "metrics.json").write_text(json.dumps(document))
    return folder


def test_the_table_has_means_crossovers_and_reach(script, tmp_path):
    runs = {
        "RGB only": [
            certified(tmp_path / "r0", [0.5, 0.5, 0.5, 0.4]),
            certified(tmp_path / "r1", [0.5, 0.5, 0.5, 0.4]),
        ],
        "interpolation": [
            certified(tmp_path / "i0", [0.9, 0.7, 0.5, 0.0]),
            certified(tmp_path / "i1", [0.7, 0.5, 0.3, None]),
        ],
        "normals": [
            certified(tmp_path / "n0", [0.4, 0.6, 0.1, 0.0]),
            certified(tmp_path / "n1", [0.4, 0.6, 0.1, 0.0]),
        ],
    }
    table = script["tabulate"](runs)
    # method.md, 3.10: N = 100; e-values at alpha, here at alpha/2 for each of two classes.
    assert table["holm"]["normals"]["unanimous_reach"] == 16
    assert 16 < table["closed_evalues"]["normals"]["unanimous_reach"] <= 23
    for rows in table.values():
        assert rows["interpolation"]["mean"] == pytest.approx([0.8, 0.6, 0.4, 0.0])
        assert rows["interpolation"]["least"] == [0.7, 0.5, 0.3, 0.0]
        assert rows["interpolation"]["crossover"] == 1
        assert rows["interpolation"]["crossover_of_seeds"] == [2, 1]
        assert rows["interpolation"]["reach"] == 2
        assert rows["normals"]["crossover"] is None
        assert rows["RGB only"]["reach"] == 3


def test_every_stream_composes(script, compose_train):
    for stream, overrides in script["STREAMS"].items():
        config = compose_train(
            "experiment=synthetic_roads_full_size",
            "run_dir=unused",
            *overrides,
        )
        encodings = encoding_by_modality(config["encoding"], ("rgb", "depth"))
        assert encodings["rgb"] == {"name": "retained_indicator"}, stream  # the same RGB for all
        assert config["scheme"]["ratio"]["rgb"] == 0.0193
        assert config["scheme"]["ratio"]["depth"] == (0 if stream == "RGB only" else 0.00214)
        assert (config["model"]["options"]["second"] == "normals") == (stream == "normals")


@pytest.mark.slow
def test_the_comparison_runs_through_the_real_commands(tmp_path, tiny_roads):
    arguments = ["--data", tiny_roads, "--out", tmp_path, "--seeds", "0", "--epochs", "5"]
    arguments += ["--jobs", "2"]
    arguments += ["--draws", "8", "--largest", "1", "--every", "1"]
    arguments += ["--streams", "RGB only", "ground height"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "| ground height |" in (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "table.json").read_text()).keys() == {"holm", "closed_evalues"}
