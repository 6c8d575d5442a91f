"""Speech, from prepared elements to certificates: every threat kind, by the commands' own jobs."""

import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mmcert.cli._app import conf_dir
from mmcert.cli.verify import main as verify
from mmcert.errors import UnsoundError
from mmcert.jobs.certification import certify
from mmcert.jobs.training.training import train

TINY = (
    "model.options.features=16",
    "model.options.hidden=32",
    "task.ablations=4",
    "task.validation_draws=4",
    "trainer.max_epochs=12",
    "trainer.check_val_every_n_epoch=6",
    "trainer.threads=1",
    "callbacks.progress=null",
    "logger=none",
    "data.batch_size=8",
)


def certified(checkpoint, run_dir, *overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("certify", [f"checkpoint={checkpoint}", "voting.processes=1", *overrides])
    run_dir.mkdir()
    return certify(OmegaConf.to_container(config, resolve=True), run_dir)


@pytest.fixture(scope="module")
def ordered(tmp_path_factory, whole_speech, compose_train):
    """A training without positions on whole clips, each with an n of its own; read only."""
    run_dir = tmp_path_factory.mktemp("training") / "ordered"
    config = compose_train(
        "experiment=synthetic_speech_mmcert",
        *TINY,
        "encoding=compact",
        "threat.kind=edits",
        "threat.grid={video: [0, 1], audio: [0, 1, 2]}",
        "scheme.k={video: 2, audio: 2}",
        f"data.root={whole_speech}",
        f"run_dir={run_dir}",
    )
    train(config, run_dir)
    return run_dir


@pytest.mark.parametrize("kind", ["modification", "addition", "deletion", "edits"])
def test_every_threat_is_certified_by_command_and_verified(ordered, tmp_path, kind, capsys):
    """All sub-samples vote: the certificates are exact, and another code re-derives them."""
    run_dir = tmp_path / kind
    metrics = certified(
        ordered,
        run_dir,
        f"threat.kind={kind}",
        "voting=exhaustive",
        "scheme.k={video: 1, audio: 1}",
    )
    result = metrics["results"][0]
    assert result["threat"] == {"video": kind, "audio": kind}
    at = {tuple(point["budget"].values()): point["certified_accuracy"] for point in result["grid"]}
    assert at[0, 0] == 1.0
    assert at[1, 1] > 0.5
    counts = set()
    for file in (run_dir / "votes").glob("*.npz"):
        with np.load(file, allow_pickle=False) as votes:
            counts.add(int(votes["counts"].sum()))
    assert counts <= {n * m for n in range(12, 16) for m in range(12, 16)}
    assert len(counts) > 1, "the clips differ in length"
    assert verify([str(run_dir)]) == 0


def test_random_draws_certify_without_positions_too(ordered, tmp_path):
    metrics = certified(ordered, tmp_path / "run", "threat.kind=deletion", "voting.draws=500")
    names = {result["statistics"] for result in metrics["results"]}
    assert names == {"binomial", "margin"}
    assert verify([str(tmp_path / "run")]) == 0


def test_positions_and_windows_are_refused_for_additions(
    compose_train, tmp_path, tiny_speech, whole_speech
):
    base = ("experiment=synthetic_speech_mmcert", f"run_dir={tmp_path}", "threat.kind=addition")
    with pytest.raises(UnsoundError, match=r"encoding\.video\.name=compact"):
        train(compose_train(*base, f"data.root={whole_speech}"), tmp_path)
    with pytest.raises(UnsoundError, match="window=whole"):
        train(compose_train(*base, f"data.root={tiny_speech}", "encoding=compact"), tmp_path)


def test_one_training_serves_totals_splits_and_both_schemes(tmp_path, tiny_speech, compose_train):
    training = tmp_path / "training"
    config = compose_train(
        "experiment=synthetic_speech_mmcert",
        *TINY,
        "trainer.max_epochs=40",
        "trainer.check_val_every_n_epoch=20",
        "task.retained={range: [0.25, 2], empty: 0.1}",
        "threat.grid={video: [0, 1], audio: [0, 1]}",
        f"data.root={tiny_speech}",
        f"run_dir={training}",
    )
    train(config, training)
    for number, overrides in enumerate(
        (
            ["scheme.k={video: 1, audio: 2}"],
            ["scheme.k={video: 4, audio: 1}"],
            ["scheme.k={video: 0, audio: 4}"],
            ["scheme=randomized_ablation", "scheme.k={video: 2, audio: 2}"],
        )
    ):
        run_dir = tmp_path / str(number)
        certified(training, run_dir, "voting.draws=300", *overrides)
        results = json.loads((run_dir / "metrics.json").read_text())["results"]
        assert results[0]["grid"][0]["certified_accuracy"] == 1.0, overrides
