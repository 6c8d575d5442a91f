"""A plan on validation votes, from a checkpoint to a certification that follows it."""

import gzip
import hashlib
import json
import re
import shutil
import struct
import wave
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from mmcert import jobs
from mmcert.certification.verifier.verify import verify
from mmcert.cli.compose import compose
from mmcert.errors import ConfigError, RecordError, UnsoundError
from mmcert.jobs.training.training import train
from mmcert.reporting.html import render
from mmcert.reporting.loading import load_run
from mmcert.reporting.planned import outcome_table
from mmcert.reporting.report import build_report

TARGET = {"rgb": 2, "depth": 4}
#: A tiny net is equally bad at all k, so the search begins where it is soon at its end.
START = {"rgb": 3, "depth": 2}
SETTINGS = (
    "plan.minutes=3",
    "plan.draws=20",
    "voting.processes=1",
    "scheme.k={rgb: 3, depth: 2}",
    "plan.schemes=[randomized_ablation]",
)


def plan(checkpoint, run_dir, *overrides, said=None):
    config = compose(
        "plan",
        [f"checkpoint={checkpoint}", "target.budget={rgb: 2, depth: 4}", *SETTINGS, *overrides],
    )
    return jobs.plan(config, run_dir, console=Console(file=said or StringIO(), width=150))


def certify(plan, run_dir, *overrides):
    return jobs.certify(
        compose("certify", [f"plan={plan}", "voting.processes=1", *overrides]), run_dir
    )


@pytest.fixture(scope="module")
def planned(trained, tmp_path_factory):
    """The run directory of a plan of a tiny checkpoint, its content, and what was said."""
    out, said = tmp_path_factory.mktemp("plan"), StringIO()
    return out, plan(trained, out, said=said), said.getvalue()


@pytest.fixture(scope="module")
def followed(planned, tmp_path_factory):
    """The run directory of the certification that follows the plan."""
    run_dir = tmp_path_factory.mktemp("certified")
    certify(planned[0] / "plan.json", run_dir)
    return run_dir


def test_a_plan_has_every_scheme_with_its_own_best_k(planned):
    out, made, said = planned
    assert json.loads((out / "plan.json").read_text()) == made
    assert set(made["best"]) == {"mmcert", "randomized_ablation"}
    for scheme, entry in made["best"].items():
        values = [c["at_target"]["value"] for c in made["candidates"] if c["scheme"] == scheme]
        assert entry["at_target"]["value"] == max(values)
    assert made["candidates"][0]["k"] == made["reference"] == START
    assert (out / "figures" / "plan.png").stat().st_size > 10_000
    assert "mmcert-certify plan=" in said


def test_a_plan_looks_at_the_validation_split_alone(planned, trained):
    split = json.loads((trained / "split.json").read_text())
    out, made, _ = planned
    assert set(made["chosen_on"]["ids"]) == set(split["val"])
    voted = {path.stem for path in (out / "validation").rglob("votes/*.npz")}
    assert voted == set(split["val"])


def test_as_many_draws_as_were_voted_predict_what_evaluation_says(planned, tmp_path):
    """The validation votes are run directories: evaluated, they give the prediction itself."""
    out, made, _ = planned
    entry = made["chosen"]
    folder = "-".join(["mmcert", *(f"{name}_{k}" for name, k in entry["k"].items())])
    metrics = jobs.evaluate(
        {"votes": str(out / "validation" / folder), "threat": {"budgets": [TARGET]}}, tmp_path
    )
    found = next(
        result
        for result in metrics["results"]
        if (result["statistics"], result["guarantee"], result["claim"])
        == ("closed_evalues", "per_sample", "robust")
    )
    assert found["draws"] == entry["draws"] == 20
    assert found["grid"][0]["certified_f_score"] == entry["at_target"]["value"]


def test_a_search_that_begins_beyond_the_wall_comes_back_from_it(trained, tmp_path):
    """Neither the k of the checkpoint nor its half could certify the target with any votes."""
    made = plan(
        trained, tmp_path, "scheme.k={rgb: 2000, depth: 400}", "plan.draws=8", "plan.samples=1"
    )
    assert made["candidates"][0]["k"] == {"rgb": 2000, "depth": 400}
    assert made["candidates"][0]["delta"] > 0.5
    assert made["chosen"]["delta"] < 0.2


def test_a_plan_goes_on_from_the_votes_that_are_there(planned, trained):
    out, made, _ = planned
    files = {path: path.stat().st_mtime_ns for path in out.rglob("votes/*.npz")}
    again = plan(trained, out)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert again["chosen"] == made["chosen"]


def test_the_certification_says_on_what_its_k_was_chosen(planned, followed):
    out, made, _ = planned
    run = json.loads((followed / "run.json").read_text())
    meta = json.loads((followed / "votes" / "meta.json").read_text())
    assert {name: m["k"] for name, m in meta["modalities"].items()} == made["chosen"]["k"]
    assert meta["draws"] == made["chosen"]["draws"]
    said = run["extra"]["plan"]
    assert said["k_chosen_on"] == "val"
    assert said["sha256"] == hashlib.sha256((out / "plan.json").read_bytes()).hexdigest()
    assert (followed / "plan.json").read_bytes() == (out / "plan.json").read_bytes()
    results = json.loads((followed / "metrics.json").read_text())["results"]
    assert [point["budget"] for point in results[0]["grid"]] == made["certify"]["budgets"]
    assert verify(followed).all_hold


def test_the_report_shows_the_plan_beside_the_outcome(planned, followed):
    text = re.sub(r"<[^>]+>", " ", render(build_report([followed]), []))
    assert "Plan and outcome" in text
    assert "none of which is certified here" in text
    shown = outcome_table(load_run(followed))
    assert [row["target"] for row in shown["rows"]].count(True) == 1
    assert len(shown["rows"]) == len(planned[1]["chosen"]["curve"])


def test_the_report_refuses_another_plan_than_the_one_that_was_followed(followed, tmp_path):
    shutil.copytree(followed, tmp_path / "run")
    content = (followed / "plan.json").read_text()
    changed = content.replace('"coverage": 0.9', '"coverage": 0.8')
    (tmp_path / "run" / "plan.json").write_text(changed)
    with pytest.raises(RecordError, match=r"not the plan that run\.json names"):
        outcome_table(load_run(tmp_path / "run"))


def test_a_baseline_is_certified_with_its_own_best_k(planned, tmp_path):
    out, made, _ = planned
    certify(out, tmp_path, "scheme=randomized_ablation", "voting.draws=12")
    meta = json.loads((tmp_path / "votes" / "meta.json").read_text())
    assert meta["scheme"] == "randomized_ablation"
    assert {n: m["k"] for n, m in meta["modalities"].items()} == (
        made["best"]["randomized_ablation"]["k"]
    )


@pytest.mark.parametrize("split", ["val", "all"])
def test_samples_that_chose_k_are_not_certified_with_it(planned, tmp_path, split):
    with pytest.raises(UnsoundError, match="k was chosen on the split 'val'"):
        certify(planned[0], tmp_path / "run", f"data.split={split}")
    assert not (tmp_path / "run").exists()


def test_a_plan_of_another_checkpoint_is_refused(planned, trained, tmp_path):
    last = trained / "checkpoints" / "last.ckpt"
    with pytest.raises(RecordError, match="for another checkpoint"):
        certify(planned[0], tmp_path, f"checkpoint={last}")


def test_a_certification_that_followed_no_plan_does_not_get_one_later(planned, trained, tmp_path):
    made = planned[1]
    k = "{" + ", ".join(f"{name}: {count}" for name, count in made["chosen"]["k"].items()) + "}"
    alone = ["voting.processes=1", "voting.draws=20", f"scheme.k={k}", f"checkpoint={trained}"]
    jobs.certify(compose("certify", alone), tmp_path)
    with pytest.raises(RecordError, match="did not follow"):
        certify(planned[0], tmp_path)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("scheme.k={rgb: 1, depth: 1}", ConfigError, "scheme.k is what the plan decides"),
        ("scheme=randomized_ablation_aligned", ConfigError, "the plan has mmcert, randomized"),
    ],
)
def test_what_the_plan_decides_is_not_set_beside_it(planned, tmp_path, setting, error, message):
    with pytest.raises(error, match=message):
        certify(planned[0], tmp_path, setting)


def test_a_plan_before_any_vote_chooses_nothing(tmp_path):
    jobs.plan(
        compose("plan", ["n={rgb: 3072, depth: 3072}", "scheme.k={rgb: 60, depth: 8}"]), tmp_path
    )
    with pytest.raises(RecordError, match="made before any vote"):
        certify(tmp_path, tmp_path / "run")


def test_a_certification_needs_a_checkpoint_or_a_plan(tmp_path):
    with pytest.raises(ConfigError, match="set checkpoint="):
        jobs.certify(compose("certify", []), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["target.budget=null"], r"set target\.budget"),
        (["target.budget={lidar: 2}"], "lidar"),
        (["target.budget={rgb: 0, depth: 0}"], "attack at least one element"),
        (["plan.split=test"], "must not be chosen on samples that are certified"),
        (["data.split=all"], "must not be chosen on samples that are certified"),
        (["plan.minutes=0"], r"plan\.minutes=0"),
        (["plan.schemes=[regions]"], r"plan\.schemes"),
        (["target.statistics=margin"], r"target\.statistics=margin"),
    ],
)
def test_settings_of_a_plan_that_make_no_sense_are_refused(trained, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan(trained, tmp_path / "plan", *settings)
    assert not (tmp_path / "plan" / "plan.json").exists()


def test_a_target_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="set checkpoint="):
        jobs.plan(compose("plan", ["target.budget={rgb: 2}"]), tmp_path)


def write_idx(path, array):
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture(scope="module")
def digits(tmp_path_factory, compose_train):
    """A tiny finished training on drawn digits with sounds: the image alone says which it is."""
    root = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    labels = (np.arange(1800) % 10).astype(np.uint8)
    images = rng.integers(0, 40, (1800, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label : 2 * label + 4] = 255
    write_idx(root / "labels-idx1-ubyte.gz", labels)
    write_idx(root / "images-idx3-ubyte.gz", images)
    (root / "recordings").mkdir()
    for digit in range(10):
        for speaker in ("anna", "bert", "zoe"):
            write_wav(root / "recordings" / f"{digit}_{speaker}_0.wav", rng.integers(-99, 99, 3000))
    run_dir = tmp_path_factory.mktemp("training") / "digits"
    settings = [
        "experiment=avmnist_mmcert",
        *(f"data.root={root}", f"run_dir={run_dir}", "task.augment=null"),
        *("trainer.max_epochs=8", "trainer.check_val_every_n_epoch=8", "trainer.threads=1"),
        *("callbacks.progress=null", "logger=none", "voting.draws=200"),
    ]
    train(compose_train(*settings), run_dir)
    return run_dir


def test_a_plan_for_classification_keeps_more_of_what_it_fears_less(digits, tmp_path):
    config = compose(
        "plan",
        [
            *(f"checkpoint={digits}", "target.budget={image: 8, audio: 8}", "plan.minutes=3"),
            *("voting.processes=1", "plan.schemes=[randomized_ablation]", "plan.samples=12"),
        ],
    )
    made = jobs.plan(config, tmp_path / "plan")
    assert made["target"]["metric"] == "certified_accuracy"
    assert made["target"]["statistics"] == "margin"
    start = next(c for c in made["candidates"] if c["k"] == made["reference"])
    chosen = made["chosen"]
    assert chosen["at_target"]["value"] > start["at_target"]["value"]
    assert chosen["k"]["audio"] < start["k"]["audio"], "8 of 50 chunks of a useless sound"
    assert 0 <= chosen["at_target"]["low"] <= chosen["at_target"]["value"]
    metrics = certify(tmp_path / "plan", tmp_path / "run", "data.max_samples=12")
    assert metrics["samples"] == 12
