"""Leave one speaker out: how counts are chosen and the table is read off."""

import json
import runpy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import mmcert
from mmcert.cli._app import conf_dir

ROOT = Path(mmcert.__file__).resolve().parents[2]
AVMNIST = ROOT.parent / "shared" / "data" / "avmnist"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "leave_one_speaker_out.py"))


def certified(folder, k, accuracy, budgets=((0, 0), (4, 1))):
    """A run directory with certified accuracies, another statistics and family beside them."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"scheme": {"k": k}}))

    def result(statistics, guarantee, value):
        grid = [
            {"budget": {"image": r, "audio": s}, "certified_accuracy": value} for r, s in budgets
        ]
        head = {"statistics": statistics, "claim": "robust", "guarantee": guarantee}
        return {**head, "grid": grid}

    results = [
        result("binomial", "per_sample", 0.1),
        result("margin", "dataset", 0.2),
        result("margin", "per_sample", accuracy),
    ]
    (folder / "metrics.json").write_text(json.dumps({"results": results}))
    return folder


def test_of_the_counts_that_certify_most_at_the_target_the_largest_are_chosen(script, tmp_path):
    for number, (image, audio, accuracy) in enumerate(
        [(20, 2, 0.5), (20, 3, 0.62), (30, 3, 0.63), (30, 4, 0.615), (40, 4, 0.6)]
    ):
        certified(tmp_path / str(number), {"image": image, "audio": audio}, accuracy)
    candidates = script["choose"](tmp_path)
    assert candidates[30, 3] == 0.63
    assert len(candidates) == 5
    assert script["best_counts"](candidates) == (30, 4)  # as good, and the ensemble sees more


def test_a_tie_of_two_labels_is_no_right_label(script, tmp_path):
    rows = [("margin", 1, 1), ("margin", 2, 1), ("margin", None, 1), ("binomial", 1, 1)]
    names = ("statistics", "predicted", "target")
    table = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(table, tmp_path / "certificates.parquet")
    assert script["ensemble_accuracy"](tmp_path) == pytest.approx(1 / 3)


def test_the_table_has_mean_and_range_rounded_down(script):
    def row(speaker, value):
        budgets = {f"{r},{s}": value for r, s in script["BUDGETS"]}
        counts = {"k": [30, 3], "validation": "zoe"}
        return {"speaker": speaker, "certified": budgets, "ensemble_accuracy": 0.9, **counts}

    lines = script["markdown"]([row("anna", 0.5), row("bert", 0.6999)]).splitlines()
    assert "| anna | zoe | (30, 3) | 0.900 | 0.500 |" in lines[2]
    assert "| 0.900 | 0.599 |" in lines[4]
    assert "0.500 to 0.699" in lines[5]


def test_the_sweep_tests_every_speaker_of_the_set_on_another_validation_voice():
    sections = yaml.safe_load((conf_dir() / "sweep" / "avmnist_speakers.yaml").read_text())
    folds = yaml.safe_load(f"[{sections['hydra']['sweeper']['params']['data.options']}]")
    speakers = ["george", "jackson", "nicolas", "theo", "yweweler"]
    assert [one["test_speaker"] for one in folds] == speakers
    assert [one["validation_speaker"] for one in folds] == [*speakers[1:], speakers[0]]


def test_counts_are_chosen_on_validation_with_the_slack_of_the_certificates():
    config = yaml.safe_load((conf_dir() / "sweep" / "avmnist_retained.yaml").read_text())
    assert config["data"]["split"] == "val"
    from scipy.stats import norm

    # Each of the two bounds of the margin test gets half of alpha.
    slack = norm.isf(config["alpha"] / 2) / config["voting"]["draws"] ** 0.5
    assert slack == pytest.approx(norm.isf(0.001 / 2) / 10_000**0.5, rel=0.05)
