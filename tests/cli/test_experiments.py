"""The experiments that come with the package: they run, and compare like with like."""

from itertools import product
from pathlib import Path

import pytest

import mmcert
from mmcert.cli._app import conf_dir
from mmcert.jobs.checkpoint import load_checkpoint
from mmcert.jobs.training.training import train
from mmcert.reporting.rays import find_ray
from mmcert.theory.attacks import Attack
from mmcert.theory.schemes import make_scheme
from mmcert.theory.splits import best_split

AVMNIST = Path(mmcert.__file__).parents[3] / "shared" / "data" / "avmnist"
PAIRS = {
    "synthetic_roads": {"rgb": 96 * 320, "depth": 96 * 320},
    "avmnist": {"image": 784, "audio": 50},
    "avmnist_speakers": {"image": 784, "audio": 50},
    "synthetic_speech": {"video": 108, "audio": 108},
    "ravdess": {"video": 108, "audio": 108},
}


@pytest.fixture
def pair(compose_train, request):
    """The configurations of an experiment for MMCert and for the baseline."""
    return [
        compose_train(f"experiment={request.param}_{scheme}", "run_dir=unused")
        for scheme in ("mmcert", "randomized_ablation")
    ]


@pytest.mark.parametrize("pair", PAIRS, indirect=True)
def test_the_baseline_differs_in_its_scheme_alone(pair):
    ours, baseline = pair
    assert ours["scheme"].pop("name") == "mmcert"
    assert baseline["scheme"].pop("name") == "randomized_ablation"
    assert ours == baseline


@pytest.mark.parametrize(
    ("pair", "direction"),
    [
        ("synthetic_roads", (4, 1)),
        ("avmnist", (2, 1)),
        ("avmnist_speakers", (2, 1)),
        ("synthetic_speech", (1, 1)),
        ("ravdess", (1, 1)),
    ],
    indirect=["pair"],
)
def test_the_grid_is_laid_out_along_the_stated_ray(pair, direction):
    grid = pair[0]["threat"]["grid"]
    ray = find_ray([tuple(budget) for budget in product(*grid.values())], list(grid))
    assert ray.direction == direction
    assert len(ray.budgets) > 4


def test_the_grid_shows_where_each_scheme_is_the_better_one(compose_train):
    config = compose_train("experiment=synthetic_roads_mmcert", "run_dir=unused")
    n, k = PAIRS["synthetic_roads"], config["scheme"]["k"]
    ours, pooled = (make_scheme(name, n, k=k) for name in ("mmcert", "randomized_ablation"))
    better = {
        budget: ours.delta(Attack({"rgb": budget[0], "depth": budget[1]}))
        < pooled.delta(Attack({"rgb": budget[0], "depth": budget[1]}))
        for budget in product(*config["threat"]["grid"].values())
    }
    assert all(better[4 * r, r] for r in range(2, 25, 2))
    assert not better[0, 28]


def test_the_planner_chose_the_counts_of_the_road_experiments(compose_train):
    config = compose_train("experiment=synthetic_roads_mmcert", "run_dir=unused")
    chosen = best_split(
        PAIRS["synthetic_roads"],
        total=660,
        ratio={"rgb": 4, "depth": 1},
        floors={"rgb": 66},  # a tenth of the total; the net reads little from fewer
        N=config["voting"]["draws"],
        alpha=config["alpha"],
        P=96 * 320,
        statistics="holm",
    )
    assert config["scheme"]["k"] == chosen


@pytest.mark.parametrize("name", ["mmcert", "randomized_ablation", "full_size"])
def test_the_road_experiments_run(compose_train, tiny_roads, tmp_path, name):
    config = compose_train(
        f"experiment=synthetic_roads_{name}",
        "debug=smoke",
        "trainer.threads=1",
        "callbacks.progress=null",
        f"data.root={tiny_roads}",
        f"run_dir={tmp_path}",
    )
    train(config, tmp_path)
    assert load_checkpoint(tmp_path).config["statistics"].keys() == {"holm", "closed_evalues"}


@pytest.mark.skipif(not AVMNIST.is_dir(), reason="needs the AV-MNIST files in ../shared/data")
@pytest.mark.parametrize("name", ["mmcert", "randomized_ablation", "speakers_mmcert"])
def test_the_avmnist_experiments_run(compose_train, tmp_path, name):
    config = compose_train(
        f"experiment=avmnist_{name}",
        "debug=smoke",
        "trainer.threads=1",
        "callbacks.progress=null",
        f"data.root={AVMNIST}",
        f"run_dir={tmp_path}",
    )
    train(config, tmp_path)
    assert load_checkpoint(tmp_path).config["statistics"].keys() == {"binomial", "margin"}


@pytest.mark.parametrize(
    "name",
    [
        "synthetic_speech_mmcert",
        "synthetic_speech_randomized_ablation",
        "synthetic_speech_many_counts",
        "ravdess_mmcert",
        "ravdess_randomized_ablation",
        "ravdess_audio",
        "ravdess_published",
    ],
)
def test_the_speech_experiments_run(compose_train, tiny_speech, tmp_path, name):
    config = compose_train(
        f"experiment={name}",
        "debug=smoke",
        "trainer.threads=1",
        "callbacks.progress=null",
        "data.workers=0",
        f"data.root={tiny_speech}",
        f"run_dir={tmp_path}",
    )
    if name == "ravdess_published":  # the small clips have fewer MFCC frames
        config["scheme"]["k"] = {"video": 5, "audio": 9}
    train(config, tmp_path)
    stored = load_checkpoint(tmp_path).config
    assert stored["statistics"].keys() == {"binomial", "margin"}
    assert stored["inputs"].keys() == set(stored["scheme"]["k"])


def test_every_group_file_composes(compose_train):
    for group in ("encoding", "scheme", "voting", "trainer", "logger", "callbacks", "threat"):
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            config = compose_train(f"{group}={file.stem}", "run_dir=unused")
            assert config[group], file
