"""mmcert-certify on a tiny trained checkpoint: what it leaves, resumes, and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mmcert.certification.verifier.verify import verify
from mmcert.cli._app import conf_dir
from mmcert.cli.certify import job as certify
from mmcert.data.roads.synthetic_roads_writer import write_synthetic_roads
from mmcert.errors import ConfigError, MmcertError, RecordError, UnsoundError
from mmcert.jobs import evaluate
from mmcert.jobs.certification import check_same_kind
from mmcert.jobs.training.training import train
from mmcert.records.folders import VotesFolders
from mmcert.records.run import read_run

K = "scheme.k={rgb: 60, depth: 20}"
GRID = "threat.grid={rgb: [0, 2, 4], depth: [0, 4]}"


def configured(name, *overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(name, overrides=list(overrides))
        del config.run_dir  # of Hydra alone: it holds the time
        return OmegaConf.to_container(config, resolve=True)


@pytest.fixture(scope="module")
def roads(tmp_path_factory):
    root = tmp_path_factory.mktemp("roads")
    write_synthetic_roads(
        root, scenes=10, size=(32, 96), seed=0, validation=0.2, test=0.2, workers=1
    )
    return root


@pytest.fixture(scope="module")
def checkpoint(roads, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("training")
    config = configured(
        "train",
        f"data.root={roads}",
        K,
        GRID,
        "trainer.max_epochs=1",
        "trainer.check_val_every_n_epoch=1",
        "task.validation_draws=1",
        "voting.draws=20",
    )
    train(config, run_dir)
    return run_dir


@pytest.fixture
def run(checkpoint, tmp_path):
    """Certify in this process; keyword ``into`` names the run directory below tmp_path."""

    def call(*overrides, into="run", checkpoint=checkpoint):
        run_dir = tmp_path / into
        run_dir.mkdir(exist_ok=True)  # as Hydra does
        config = configured("certify", f"checkpoint={checkpoint}", "voting.processes=1", *overrides)
        certify(config, run_dir)
        return run_dir

    return call


def votes_of(run_dir):
    return {path.name: path.read_bytes() for path in (run_dir / "votes").glob("*.npz")}


def test_a_checkpoint_certifies_its_own_test_split(run, roads, checkpoint):
    run_dir = run()
    split = json.loads((checkpoint / "split.json").read_text())
    votes = VotesFolders([run_dir / "votes"])
    assert list(votes.ids) == sorted(split["test"])
    for sample in votes:
        assert sample.draws == 20
        assert (sample.counts.sum(0) == 20).all()
        assert sample.scheme.modality("rgb").k == 60
    description = read_run(run_dir)
    assert description.elements["rgb"] == "pixel (all channels)"
    assert description.draws_per_second > 0
    assert set(description.votes_sha256) == set(votes.ids)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert len(metrics["results"][0]["grid"]) == 6
    assert {path.name for path in run_dir.iterdir()} == {
        "config.yaml",
        "run.json",
        "votes",
        "certificates.parquet",
        "maps",
        "metrics.json",
    }


def test_votes_that_were_changed_after_the_run_are_not_signed_anew(run):
    run_dir = run("voting.draws=8")
    path = next((run_dir / "votes").glob("*.npz"))
    honest = path.read_bytes()
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    arrays["counts"] = arrays["counts"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(RecordError, match=path.name):
        run("voting.draws=8")
    path.unlink()
    run("voting.draws=8")
    assert path.read_bytes() == honest


def test_a_finished_run_is_evaluated_again_without_a_single_vote(run):
    run_dir = run()
    votes, metrics = votes_of(run_dir), (run_dir / "metrics.json").read_bytes()
    stamps = {path: path.stat().st_mtime_ns for path in (run_dir / "votes").glob("*.npz")}
    run()
    assert votes_of(run_dir) == votes
    assert (run_dir / "metrics.json").read_bytes() == metrics
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("voting.draws=30", r"draws: 20 there, 30 now.*sequential"),
        ("seed=7", "seed: 0 there, 7 now"),
        ("scheme.k={rgb: 61, depth: 20}", r"scheme\.k\.rgb: 60 there, 61 now"),
        ("data.max_samples=1", r"samples\.count: 2 there, 1 now"),
        ("scheme=randomized_ablation", "scheme.name"),
    ],
)
def test_votes_of_another_kind_are_not_added_to_a_run(run, override, reason):
    run_dir = run()
    before = votes_of(run_dir)
    with pytest.raises(RecordError, match=reason):
        run(override)
    assert votes_of(run_dir) == before


def test_statistics_and_alpha_may_change_on_the_same_votes(run):
    run_dir = run()
    votes = votes_of(run_dir)
    run("alpha=0.05", "+statistics.bonferroni={}")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {r["statistics"] for r in metrics["results"]} == {"bonferroni"}
    assert metrics["results"][0]["alpha"] == 0.05
    assert votes_of(run_dir) == votes


def test_another_precision_is_another_base_model(run):
    run_dir = run("voting.precision=bf16-mixed")
    assert read_run(run_dir).precision == "bf16-mixed"
    with pytest.raises(RecordError, match="precision: 'bf16-mixed' there, '32-true' now"):
        run()


def test_a_block_of_auto_is_found_once_recorded_and_kept(run, capsys, monkeypatch):
    run_dir = run("voting.block=auto")
    assert "voting.block=auto:" in capsys.readouterr().out
    block = read_run(run_dir).fingerprint_of["block"]
    assert f"block: {block}\n" in (run_dir / "config.yaml").read_text()
    votes = votes_of(run_dir)
    monkeypatch.setattr("mmcert.jobs.certification.find_block", None)  # is not asked again
    run("voting.block=auto")
    assert votes_of(run_dir) == votes
    run(f"voting.block={block}")
    with pytest.raises(RecordError, match=f"block: {block} there, {block + 1} now"):
        run(f"voting.block={block + 1}")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_code_votes_as_the_plain_one_but_for_rounding(run):
    plain, compiled = run(into="plain"), run("voting.compile=true", into="compiled")
    assert read_run(compiled).fingerprint_of["compile"] is True
    for one, other in zip(
        VotesFolders([plain / "votes"]), VotesFolders([compiled / "votes"]), strict=True
    ):
        moved = np.abs(one.counts.astype(int) - other.counts.astype(int)).sum()
        assert moved / one.counts.sum() < 1e-3


def test_selection_draws_are_other_draws_and_counted_apart(run):
    run_dir = run("voting.selection_draws=20")
    for sample in VotesFolders([run_dir / "votes"]):
        assert sample.selection_draws == 20
        assert not np.array_equal(sample.selection_counts, sample.counts)


def test_another_root_with_other_samples_gets_a_split_of_its_own_and_says_so(run, tmp_path, capsys):
    other = tmp_path / "other"
    write_synthetic_roads(other, scenes=7, size=(32, 96), seed=5, validation=0.2, test=0.3)
    run(f"data.root={other}")
    assert "computed anew" in " ".join(capsys.readouterr().out.split())


def test_data_without_labels_gets_stable_claims_and_maps(run, roads, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(roads, bare)
    for folder in bare.rglob("gt_image_2"):
        shutil.rmtree(folder)
    run_dir = run(f"data.root={bare}", "data.split=all", "data.max_samples=2")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert metrics["samples"] == 2
    assert {result["claim"] for result in metrics["results"]} == {"stable"}
    assert len(list((run_dir / "maps").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("overrides", "error", "reason"),
    [
        (["scheme.k={rgb: 9999, depth: 2}"], ConfigError, r"rgb.*k = 9999"),
        (["scheme.k={rgb: 9, sonar: 2}"], ConfigError, "sonar"),
        (["threat.grid={sonar: [1]}"], ConfigError, "sonar"),
        (["threat.kind=deletion"], UnsoundError, "deletion of modality 'rgb'"),
        (["voting.precision=16"], ConfigError, "voting.precision"),
        (["+statistics.holmes={}"], ConfigError, "holmes"),
        (["data.split=exam"], ConfigError, "exam"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(run, tmp_path, overrides, error, reason):
    with pytest.raises(error, match=reason):
        run(*overrides)
    assert not list((tmp_path / "run").iterdir())


def test_a_run_directory_of_another_schema_is_refused_by_name(run):
    run_dir = run()
    document = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(document | {"schema": 99}))
    with pytest.raises(RecordError, match=r"run\.json.*99"):
        run()


def test_data_of_another_task_or_other_classes_are_refused():
    stored = {"task": {"name": "segmentation"}, "classes": ["a", "b"], "inputs": {"rgb": {}}}
    fitting = {"name": "x", "task": "segmentation", "classes": ("a", "b"), "inputs": {"rgb": 1}}
    check_same_kind(stored, SimpleNamespace(**fitting), "best.ckpt")
    for changed in (
        {"task": "classification"},
        {"classes": ("a", "c")},
        {"inputs": {"rgb": 1, "depth": 1}},
    ):
        with pytest.raises(RecordError, match=r"best\.ckpt.*'x'"):
            check_same_kind(stored, SimpleNamespace(**fitting | changed), "best.ckpt")


def test_a_base_model_gone_nan_stops_with_the_name_of_the_sample(run, checkpoint, tmp_path):
    content = torch.load(checkpoint / "checkpoints" / "best.ckpt", weights_only=True)
    for value in content["state_dict"].values():
        if value.is_floating_point():
            value.fill_(float("nan"))
    torch.save(content, tmp_path / "nan.ckpt")
    with pytest.raises(MmcertError, match=r"sample 'u\w+_\d+'.*NaN") as caught:
        run(checkpoint=tmp_path / "nan.ckpt")
    assert "sample" in str(caught.value)
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert not votes_of(tmp_path / "run")


SHARDED = ("data.split=train", "voting.draws=8")


def test_shards_are_one_run_whoever_counts_them_and_in_which_order(run, tmp_path):
    whole = run(*SHARDED, into="whole")
    parts = [run(*SHARDED, f"shard={i}/3", into=f"part{i}") for i in (3, 1, 2)]
    assert [len(votes_of(part)) for part in parts] == [2, 2, 2]
    together = evaluate({"votes": [str(part) for part in parts]}, tmp_path / "together")
    assert together == json.loads((whole / "metrics.json").read_text())
    for folder in (*parts, tmp_path / "together"):
        assert verify(folder).all_hold
    with pytest.raises(RecordError, match=r"4 of the 6 samples .* Name all shards"):
        evaluate({"votes": [str(part) for part in parts[:2]]}, tmp_path / "fewer")


def test_a_shard_keeps_its_run_directory_and_has_samples(run):
    run_dir = run(*SHARDED, "shard=0/3")
    before = votes_of(run_dir)
    assert votes_of(run(*SHARDED, "shard=3/3")) == before  # the same part
    for other in ("shard=1/3", "shard=null"):
        with pytest.raises(RecordError, match="holds shard 0/3 of this run, not"):
            run(*SHARDED, other)
    with pytest.raises(ConfigError, match="holds no sample: there are only 6"):
        run(*SHARDED, "shard=7/8", into="empty")
    for wrong in ("4/3", "1", "1/0", "a/b"):
        with pytest.raises(ConfigError, match="must be i/n"):
            run(*SHARDED, f"shard={wrong}", into="wrong")
    assert votes_of(run_dir) == before


def command(checkpoint, run_dir, *overrides):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "mmcert.cli.certify"),
            *(f"checkpoint={checkpoint}", f"run_dir={run_dir}", *overrides),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A test run in the background of a shell ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(pattern, run_dir, process):
    deadline = time.monotonic() + 240
    while not list(run_dir.glob(pattern)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.smoke
def test_two_killed_processes_resume_and_agree_with_one(run, checkpoint, tmp_path):
    long = ["voting.draws=400", "voting.block=4", "voting.segment_seconds=0.05"]
    one = run(*long, into="one")
    two = tmp_path / "two"
    process = command(checkpoint, two, *long, "voting.processes=2")
    wait_for("votes/.partial/*/*.npz", two, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(1)
    assert not (two / "metrics.json").exists()
    process = command(checkpoint, two, *long, "voting.processes=2")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "of them left" in out
    assert votes_of(two) == votes_of(one)
    assert (two / "metrics.json").read_bytes() == (one / "metrics.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupted_run_prints_the_line_that_resumes_it(checkpoint, tmp_path, processes):
    run_dir = tmp_path / "run"
    process = command(
        checkpoint,
        run_dir,
        "voting.draws=4000",
        "voting.block=4",
        "voting.segment_seconds=0.05",
        f"voting.processes={processes}",
    )
    wait_for("votes/.partial/*/*.npz", run_dir, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    last = err.strip().splitlines()[-1].strip()
    assert last.startswith(f"mmcert-certify checkpoint={checkpoint} run_dir={run_dir}")
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_sweep_votes_with_two_processes_in_every_job(checkpoint, tmp_path):
    process = command(
        checkpoint, tmp_path / "sweep", "seed=1,2", "voting.processes=2", "voting.draws=8", "-m"
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    for job in ("0", "1"):
        description = read_run(tmp_path / "sweep" / job)
        assert description.extra["processes"] == 2
        assert description.seeds["voting"] == int(job) + 1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("submitit") is None, reason="pip install 'mmcert[cluster]'")
def test_two_tasks_of_a_job_of_submitit_are_two_ranks_of_one_run(run, checkpoint, tmp_path):
    one = run("voting.draws=8", "seed=1", into="one")
    sweep = tmp_path / "sweep"
    process = command(
        *(checkpoint, sweep, "seed=0,1", "voting.draws=8"),
        *("hydra/launcher=submitit_local", "hydra.launcher.tasks_per_node=2"),
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert [read_run(sweep / job).extra["processes"] for job in "01"] == [2, 2]
    assert votes_of(sweep / "1") == votes_of(one)


SEQUENTIAL = ["voting=sequential", "voting.budget={rgb: 2, depth: 4}", "target.level=0.3"]


def test_sequential_votes_stop_early_and_say_so_in_every_record(run, capsys):
    run_dir = run(*SEQUENTIAL, "voting.draws=200", "voting.block=4")
    assert "% saved" in capsys.readouterr().out
    votes = VotesFolders([run_dir / "votes"])
    assert votes.meta.voting == "sequential"
    for sample in votes:
        assert sample.draws < 200
        assert (sample.counts.sum(0) == sample.draws).all()
    assert read_run(run_dir).stopping == "sequential"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {result["draws"] for result in metrics["results"]} == {"sequential"}
    assert {result["statistics"] for result in metrics["results"]} == {"closed_evalues"}
    with pytest.raises(RecordError, match="mode: 'sequential' there, 'fixed' now"):
        run("voting.draws=200", "voting.block=4")


def test_statistics_for_a_fixed_number_of_draws_are_refused_for_sequential_votes(run):
    with pytest.raises(UnsoundError, match="holm"):
        run(*SEQUENTIAL, "+statistics.holm={}")
    with pytest.raises(ConfigError, match=r"voting\.budget"):
        run("voting=sequential")


def test_more_sub_samples_than_can_be_enumerated_are_refused(run):
    with pytest.raises(ConfigError, match=r"sub-samples, more than voting\.limit"):
        run("voting=exhaustive")
    with pytest.raises(UnsoundError, match="holm"):
        run("voting=exhaustive", "+statistics.holm={}")


@pytest.mark.slow
def test_all_sub_samples_are_counted_once_and_certified_without_doubt(run, checkpoint):
    run_dir = run("voting=exhaustive", "scheme.k={rgb: 1, depth: 0}", "data.max_samples=1")
    votes = VotesFolders([run_dir / "votes"])
    assert votes.meta.voting == "exhaustive"
    assert len(votes.meta.enumeration) == 64
    (sample,) = list(votes)
    assert sample.draws == 32 * 96
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {result["draws"] for result in metrics["results"]} == {"exhaustive"}


@pytest.mark.slow
def test_a_killed_sequential_run_resumes_and_stops_where_it_would_have(run, checkpoint, tmp_path):
    options = [
        *("voting=sequential", "voting.budget={rgb: 4, depth: 4}", "target.level=0.999"),
        *("voting.draws=3000", "voting.block=4", "voting.segment_seconds=0.1"),
        *("voting.look_every=40", "voting.selection_draws=8"),
    ]
    one = run(*options, into="one")
    two = tmp_path / "two"
    process = command(checkpoint, two, *options, "voting.processes=2")
    wait_for("votes/.partial/*/test*.npz", two, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    time.sleep(1)
    process = command(checkpoint, two, *options, "voting.processes=2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert votes_of(two) == votes_of(one)
