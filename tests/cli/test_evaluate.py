"""``mmcert-evaluate``: the settings of the run, the command line over them, and its own run_dir."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from mmcert.certification.verifier.verify import verify
from mmcert.cli.evaluate import job as evaluate_votes
from mmcert.errors import ConfigError, RecordError, UnsoundError
from mmcert.jobs import report
from mmcert.records.meta import VotesMeta
from mmcert.records.metrics_file import read_metrics
from mmcert.records.run import RunDescription, fingerprint, read_run, write_run
from mmcert.records.votes import SampleVotes, votes_sha256, write_meta, write_sample
from mmcert.theory.modality import Modality
from mmcert.theory.schemes import SCHEMES

CONFIG = {
    "alpha": 0.01,
    "threat": {"kind": "modification", "grid": {"rgb": [0, 3]}, "budgets": None},
    "statistics": {"bonferroni": {}},
    "encoding": {"name": "retained_indicator"},
    "scheme": {"name": "mmcert", "k": {"rgb": 12}, "ratio": None},
}
NOTHING = {
    "alpha": None,
    "threat": {"kind": None, "grid": None, "budgets": None},
    "statistics": {},
    "claims": None,
    "maps": {"budget": None, "statistics": None},
    "target": {"metric": None, "level": None},
}


@pytest.fixture
def run_of_votes(tmp_path):
    """A run directory as mmcert-certify leaves it, without its certificates."""
    run = tmp_path / "run"
    modalities = (Modality("rgb", 200, 12, "pixel"),)
    meta = VotesMeta("segmentation", "mmcert", modalities, draws=100, classes=2)
    write_meta(run / "votes", meta)
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        target = rng.integers(0, 2, (5, 6))
        right = rng.binomial(100, 0.97, (5, 6))
        counts = np.where(
            target == 1, np.stack([100 - right, right]), np.stack([right, 100 - right])
        )
        sample = SampleVotes(name, counts, target, 100, SCHEMES["mmcert"](modalities))
        write_sample(run / "votes", sample, meta)
    hashes = {name: votes_sha256(run / "votes", name) for name in ("a", "b")}
    write_run(
        run,
        RunDescription(
            "certify",
            "segmentation",
            "mmcert",
            {"rgb": "pixel"},
            precision="32-true",
            checkpoint_sha256="c0ffee",
            votes_sha256=hashes,
        ),
    )
    (run / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return run


def evaluate(run, out, **changes):
    return evaluate_votes({**NOTHING, "votes": str(run), **changes}, out)


def test_settings_come_from_the_run_of_the_votes(run_of_votes, tmp_path):
    out = tmp_path / "out"
    document = evaluate(run_of_votes, out)
    assert {one["statistics"] for one in document["results"]} == {"bonferroni"}
    assert {one["alpha"] for one in document["results"]} == {0.01}
    assert [point["budget"] for point in document["results"][0]["grid"]] == [{"rgb": 0}, {"rgb": 3}]
    assert read_metrics(out / "metrics.json") == json.loads(json.dumps(document))
    run = read_run(out)
    assert (run.command, run.checkpoint_sha256, run.precision) == ("evaluate", "c0ffee", "32-true")
    assert run.votes == (str(run_of_votes / "votes"),)
    assert yaml.safe_load((out / "config.yaml").read_text())["alpha"] == 0.01


def test_the_command_line_wins_over_the_run(run_of_votes, tmp_path):
    document = evaluate(
        run_of_votes,
        tmp_path / "out",
        alpha=0.002,
        statistics={"holm": {}},
        threat={"kind": None, "grid": None, "budgets": [{"rgb": 1}]},
    )
    (robust,) = (one for one in document["results"] if one["claim"] == "robust")
    assert (robust["statistics"], robust["alpha"]) == ("holm", 0.002)
    assert [point["budget"] for point in robust["grid"]] == [{"rgb": 1}]


def test_a_bare_votes_folder_gets_an_automatic_grid(run_of_votes, tmp_path):
    bare = (run_of_votes / "votes").rename(tmp_path / "handed_in")
    document = evaluate(bare, tmp_path / "out")
    assert {one["alpha"] for one in document["results"]} == {0.001}
    assert {one["statistics"] for one in document["results"]} == {"holm", "closed_evalues"}
    budgets = [point["budget"]["rgb"] for point in document["results"][0]["grid"]]
    assert budgets[0] == 0
    assert len(budgets) > 3


def test_the_maps_and_the_target_come_from_the_run_too(run_of_votes, tmp_path):
    config = {**CONFIG, "maps": {"budget": {"rgb": 3}}, "target": {"level": 0.5}}
    (run_of_votes / "config.yaml").write_text(yaml.safe_dump(config))
    document = evaluate(run_of_votes, tmp_path / "out")
    assert document["maps"]["budget"] == {"rgb": 3}
    assert document["target"] == {"metric": "certified_f_score", "level": 0.5}
    assert "maps" not in evaluate(run_of_votes, tmp_path / "none", maps=False)


def test_shards_give_what_the_whole_gives(run_of_votes, tmp_path):
    whole = evaluate(run_of_votes, tmp_path / "whole", alpha=0.001)
    shard = tmp_path / "shard"
    meta = json.loads((run_of_votes / "votes" / "meta.json").read_text())
    shard.mkdir()
    (shard / "meta.json").write_text(json.dumps(meta))
    (run_of_votes / "votes" / "b.npz").rename(shard / "b.npz")
    parts = evaluate_votes(
        {**NOTHING, "votes": [str(run_of_votes), str(shard)], "alpha": 0.001}, tmp_path / "parts"
    )
    assert parts == whole


def test_votes_that_were_moved_may_not_have_been_changed(run_of_votes, tmp_path):
    shard = tmp_path / "shard"
    shard.mkdir()
    shutil.copy(run_of_votes / "votes" / "meta.json", shard)
    with np.load(run_of_votes / "votes" / "b.npz") as arrays:
        content = {name: arrays[name] for name in arrays.files}
    (run_of_votes / "votes" / "b.npz").unlink()
    np.savez(shard / "b.npz", **{**content, "counts": content["counts"][::-1]})
    with pytest.raises(RecordError, match=r"shard/b\.npz.*SHA-256"):
        evaluate_votes({**NOTHING, "votes": [str(run_of_votes), str(shard)]}, tmp_path / "parts")


def test_the_run_of_another_command_is_not_overwritten(run_of_votes):
    before = (run_of_votes / "run.json").read_bytes()
    with pytest.raises(ConfigError, match="choose another run_dir"):
        evaluate(run_of_votes, run_of_votes)
    assert (run_of_votes / "run.json").read_bytes() == before


def test_votes_changed_after_the_run_are_refused(run_of_votes, tmp_path):
    path = run_of_votes / "votes" / "a.npz"
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    content["counts"] = content["counts"][::-1]
    np.savez(path, **content)
    with pytest.raises(RecordError, match=r"a\.npz.*SHA-256"):
        evaluate(run_of_votes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_votes_that_the_run_lists_and_that_are_gone_are_refused(run_of_votes, tmp_path):
    (run_of_votes / "votes" / "b.npz").unlink()
    with pytest.raises(RecordError, match=r"b\.npz.*chosen after the votes"):
        evaluate(run_of_votes, tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_a_run_that_was_interrupted_is_not_certified_in_part(run_of_votes, tmp_path):
    facts = {"samples": {"count": 100}}
    description = dataclasses.replace(
        read_run(run_of_votes),
        votes_sha256={},
        fingerprint_of=facts,
        fingerprint=fingerprint(facts),
    )
    write_run(run_of_votes, description)
    with pytest.raises(RecordError, match="of the 100 samples"):
        evaluate(run_of_votes, tmp_path / "out")


def test_a_threat_that_the_encoding_does_not_allow_is_refused(run_of_votes, tmp_path):
    with pytest.raises(UnsoundError, match="position"):
        evaluate(
            run_of_votes,
            tmp_path / "out",
            threat={"kind": "deletion", "grid": None, "budgets": None},
        )


def test_elements_that_can_only_be_modified_refuse_other_threats(run_of_votes, tmp_path):
    (run_of_votes / "config.yaml").unlink()  # nothing says what the encoding was
    path = run_of_votes / "votes" / "meta.json"
    meta = json.loads(path.read_text())
    meta["modalities"]["rgb"]["modification_only"] = "pixels lie on a grid"
    path.write_text(json.dumps(meta))
    with pytest.raises(UnsoundError, match=r"deletion of modality 'rgb'.*pixels lie on a grid"):
        evaluate(
            run_of_votes,
            tmp_path / "out",
            threat={"kind": "deletion", "grid": {"rgb": [0]}, "budgets": None},
        )
    assert not (tmp_path / "out").exists()


def test_votes_of_unknown_encoding_get_a_word_of_warning(run_of_votes, tmp_path, capsys):
    (run_of_votes / "config.yaml").unlink()
    evaluate(
        run_of_votes, tmp_path / "out", threat={"kind": "deletion", "grid": None, "budgets": None}
    )
    assert "do not say how the base model saw its input" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_run_of_another_schema_is_refused(run_of_votes, tmp_path):
    path = run_of_votes / "run.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 7'))
    with pytest.raises(RecordError, match="schema 7"):
        evaluate(run_of_votes, tmp_path / "out")


def test_statistics_of_a_fixed_number_are_not_inherited_by_other_votes(run_of_votes, tmp_path):
    path = run_of_votes / "votes" / "meta.json"
    path.write_text(path.read_text().replace('"fixed"', '"sequential"'))
    document = evaluate(run_of_votes, tmp_path / "out")
    assert {one["statistics"] for one in document["results"]} == {"closed_evalues"}
    with pytest.raises(UnsoundError, match="fixed"):
        evaluate(run_of_votes, tmp_path / "other", statistics={"holm": {}})


def test_alpha_must_be_a_number(run_of_votes, tmp_path):
    with pytest.raises(ConfigError, match="alpha"):
        evaluate(run_of_votes, tmp_path / "out", alpha="small")


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "mmcert.cli.evaluate", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.smoke
def test_the_command_certifies_votes_and_sweeps(run_of_votes, tmp_path):
    done = command(
        f"votes={run_of_votes}",
        "run_dir=single",
        "statistics=[holm,closed_evalues]",
        "threat=modification",
        "maps=false",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "Everything is in" in done.stdout.replace("\n", " ")
    document = read_metrics(tmp_path / "single" / "metrics.json")
    assert {one["statistics"] for one in document["results"]} == {"holm", "closed_evalues"}
    swept = command(
        "-m", f"votes={run_of_votes}", "run_dir=sweep", "alpha=0.01,0.001", cwd=tmp_path
    )
    assert swept.returncode == 0, swept.stderr
    alphas = [
        read_metrics(tmp_path / "sweep" / job / "metrics.json")["results"][0]["alpha"]
        for job in ("0", "1")
    ]
    assert alphas == [0.01, 0.001]
    unset = command("run_dir=failed", cwd=tmp_path)
    assert unset.returncode == 1
    assert "evaluate: set votes=;" in unset.stderr
    failed = command(f"votes={tmp_path}/nowhere", "run_dir=failed", cwd=tmp_path)
    assert failed.returncode != 0
    assert "no votes here" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not (tmp_path / "failed").exists()


@pytest.mark.slow
def test_every_statistics_option_and_threat_composes(run_of_votes, tmp_path):
    options = "binomial,margin,bonferroni,holm,closed_evalues,published"
    done = command(f"votes={run_of_votes}", "run_dir=all", f"statistics=[{options}]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read_metrics(tmp_path / "all" / "metrics.json")
    assert {one["statistics"] for one in document["results"]} == set(options.split(","))
    auto = command(f"votes={run_of_votes}", "run_dir=auto", "statistics=auto", cwd=tmp_path)
    assert auto.returncode == 0, auto.stderr
    refused = command(f"votes={run_of_votes}", "run_dir=edits", "threat=edits", cwd=tmp_path)
    assert refused.returncode != 0
    assert "retained_indicator" in refused.stderr


@pytest.mark.parametrize("task", ["segmentation", "classification"])
@pytest.mark.parametrize("unlabelled", [None, 255])
def test_without_any_label_there_are_stable_claims_maps_and_a_report(tmp_path, task, unlabelled):
    """A target that labels nothing is no target, and a run of such samples is a run."""
    modalities = (Modality("rgb", 200, 12, "pixel"),)
    meta = VotesMeta(task, "mmcert", modalities, draws=100, classes=2)
    shape = (5, 6) if task == "segmentation" else ()
    write_meta(tmp_path / "votes", meta)
    for index, name in enumerate("ab"):
        right = np.random.default_rng(index).binomial(100, 0.97, shape)
        target = None if unlabelled is None or index else np.full(shape, unlabelled)
        counts = np.stack([100 - right, right])
        sample = SampleVotes(name, counts, target, 100, SCHEMES["mmcert"](modalities))
        write_sample(tmp_path / "votes", sample, meta)
    document = evaluate(tmp_path / "votes", tmp_path / "out")
    assert {one["claim"] for one in document["results"]} == {"stable"}
    assert document["results"][0]["grid"][0]["stable_rate"] > 0.5
    assert verify(tmp_path / "out").all_hold
    if task == "segmentation":
        certified = np.asarray(Image.open(tmp_path / "out" / "maps" / "a.png"))
        assert set(np.unique(certified)) <= {1, 254}
        assert (certified == 1).any()
    assert report({"runs": [str(tmp_path / "out")]}, tmp_path / "report").is_file()


def test_asking_a_labelled_claim_of_samples_without_labels_names_the_way_out(tmp_path):
    modalities = (Modality("rgb", 200, 12, "pixel"),)
    meta = VotesMeta("segmentation", "mmcert", modalities, draws=10, classes=2)
    write_meta(tmp_path / "votes", meta)
    counts = np.stack([np.zeros((2, 2), int), np.full((2, 2), 10)])
    target = np.full((2, 2), 255)
    sample = SampleVotes("a", counts, target, 10, SCHEMES["mmcert"](modalities))
    write_sample(tmp_path / "votes", sample, meta)
    with pytest.raises(ConfigError, match=r"use claims=\[stable\]"):
        evaluate(tmp_path / "votes", tmp_path / "out", claims=["robust"])
