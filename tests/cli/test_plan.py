"""mmcert-plan against the numbers of the method document."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mmcert
from mmcert.cli.plan import job as plan
from mmcert.errors import ConfigError

KITTI = {"rgb": 465750, "depth": 465750}
SETTINGS = {
    "n": KITTI,
    "ratio": {"rgb": 1, "depth": 2},
    "total": None,
    "floors": {"depth": 996},
    "family": None,
    "seed": 0,
    "alpha": 0.001,
    "scheme": {"name": "mmcert", "k": {"rgb": 8988, "depth": 996}, "ratio": None},
    "threat": {"kind": "modification", "grid": None, "budgets": None},
    "statistics": {},
    "voting": {"draws": 100},
}


def test_unanimous_votes_reach_what_the_method_says(tmp_path):
    made = plan(SETTINGS, tmp_path)
    reach = {
        name: [row["largest"][name]["rgb"] for row in made["reach"]["rows"]]
        for name in ("holm", "closed_evalues")
    }
    assert [row["draws"] for row in made["reach"]["rows"]] == [100, 200, 500, 1000, 10000]
    assert reach == {"holm": [16, 21, 25, 27, 28], "closed_evalues": [23, 26, 28, 28, 29]}
    assert made["reach"]["wall"] == {"rgb": 29, "depth": 58}


def test_the_document_on_disk_is_the_plan(tmp_path):
    made = plan(SETTINGS, tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text()) == made


def test_a_total_is_split_in_favour_of_the_modality_that_is_attacked_less(tmp_path):
    scheme = {"name": "mmcert", "k": None, "ratio": None}
    made = plan({**SETTINGS, "scheme": scheme, "total": 9984}, tmp_path)
    assert made["split"]["k"] == {"rgb": 8988, "depth": 996}
    assert made["settings"]["k"] == made["split"]["k"]
    assert "corner" in made["split"]["note"]


def test_ratios_of_n_are_turned_into_the_counts_of_the_sampler(tmp_path):
    scheme = {"name": "mmcert", "k": None, "ratio": {"rgb": 0.0193, "depth": 0.00214}}
    made = plan({**SETTINGS, "scheme": scheme}, tmp_path)
    assert made["settings"]["k"] == {"rgb": 8988, "depth": 996}


def test_the_schemes_are_compared_at_equal_counts(tmp_path):
    made = plan(SETTINGS, tmp_path)
    reach = {row["scheme"]: row["largest"]["holm"]["rgb"] for row in made["schemes"]}
    assert reach["mmcert"] == 16
    assert reach["randomized_ablation"] < 16
    other_way = plan({**SETTINGS, "ratio": {"rgb": 2, "depth": 1}}, tmp_path)
    reach = {row["scheme"]: row["largest"]["holm"]["rgb"] for row in other_way["schemes"]}
    assert reach["mmcert"] < reach["randomized_ablation"]


def test_each_wanted_budget_gets_the_draws_it_needs(tmp_path, capsys):
    budgets = [{"rgb": 16, "depth": 32}, {"rgb": 17, "depth": 34}, {"rgb": 40, "depth": 80}]
    threat = {"kind": "modification", "grid": None, "budgets": budgets}
    made = plan({**SETTINGS, "threat": threat}, tmp_path)
    assert [row["certifiable"]["holm"] for row in made["budgets"]] == [True, False, False]
    first, second, third = (row["draws_needed"]["holm"] for row in made["budgets"])
    assert first <= 100 < second
    assert third is None
    said = capsys.readouterr().out
    assert "no number" in said
    assert said.count("rgb 40, depth 80") == 1


def test_classification_counts_one_decision_per_sample(tmp_path):
    settings = {
        **SETTINGS,
        "n": {"image": 784, "audio": 50},
        "scheme": {"name": "mmcert", "k": {"image": 60, "audio": 5}},
        "ratio": None,
        "floors": None,
        "task": {"name": "classification"},
    }
    made = plan(settings, tmp_path)
    assert made["settings"]["family"] == 1
    assert made["settings"]["statistics"] == ["binomial", "margin"]
    assert made["settings"]["ratio"] == {"image": 1, "audio": 1}


def test_n_is_counted_in_the_data_where_it_is_not_set(tmp_path):
    root = Path(mmcert.__file__).parents[3] / "shared" / "data" / "kitti_road_sample"
    if not root.is_dir():
        pytest.skip("needs the real KITTI frame in ../shared/data/kitti_road_sample")
    data = {"name": "kitti_road", "root": str(root), "split": "all", "options": {}}
    made = plan({**SETTINGS, "n": None, "data": data}, tmp_path)
    assert made["settings"]["n"] == KITTI


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n": None}, "set n, the elements of one sample"),
        ({"scheme": {"name": "mmcert"}}, r"set scheme\.k .* or total="),
        ({"floors": {"lidar": 3}}, "lidar"),
        ({"ratio": {"rgb": 0.5}}, "whole number per modality"),
        ({"total": 10}, "does not lie between"),
        ({"scheme": {"name": "mmcert", "k": {"rgb": 10**6, "depth": 1}}}, "cannot be retained"),
        ({"voting": {"draws": 5}}, r"raise voting\.draws"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_what_to_do(tmp_path, setting, message):
    with pytest.raises(ConfigError, match=message):
        plan({**SETTINGS, **setting}, tmp_path)
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_line_plans_without_torch(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "mmcert.cli.plan"),
            "n={rgb: 30720, depth: 30720}",
            "scheme.k={rgb: 594, depth: 66}",
            "ratio={rgb: 1, depth: 2}",
            "floors={depth: 66}",
            f"run_dir={tmp_path}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not re.search(r"\| +(torch|matplotlib)$", done.stderr, re.MULTILINE)
    assert "depth keeps its floor (66)" in re.sub(r"\s+", " ", done.stdout)
    assert json.loads((tmp_path / "plan.json").read_text())["schema"] == 1
