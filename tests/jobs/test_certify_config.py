import pytest

from mmcert.errors import ConfigError
from mmcert.jobs.certify_config import merged_config, refuse_model_overrides

STORED = {
    "data": {
        "name": "roads",
        "root": "a",
        "split": "test",
        "workers": 2,
        "max_samples": 4,
        "options": {"x": 1},
    },
    "model": {"name": "net"},
    "encoding": {"name": "zero"},
    "scheme": {"name": "mmcert", "k": {"rgb": 3, "depth": 2}, "ratio": None},
    "threat": {"kind": "modification", "grid": {"rgb": [0, 1]}, "budgets": None},
    "statistics": {"holm": {}},
    "voting": {"mode": "fixed", "draws": 100},
    "alpha": 0.001,
    "seed": 3,
}


def test_a_checkpoint_certifies_itself():
    config = merged_config(STORED, {"voting": {"draws": None}, "alpha": None, "seed": None})
    assert config["scheme"] == STORED["scheme"]
    assert config["voting"]["draws"] == 100
    assert (config["alpha"], config["seed"], config["data_seed"]) == (0.001, 3, 3)


def test_the_command_line_wins_and_the_split_keeps_its_seed():
    given = {
        "voting": {"draws": 7, "block": None},
        "alpha": 0.05,
        "seed": 9,
        "statistics": {"closed_evalues": {}},
        "data": {"root": "b", "options": {"y": 2}},
    }
    config = merged_config(STORED, given)
    assert config["voting"] == {"mode": "fixed", "draws": 7}
    assert (config["alpha"], config["seed"], config["data_seed"]) == (0.05, 9, 3)
    assert config["statistics"] == {"closed_evalues": {}}
    assert config["data"]["root"] == "b"
    assert config["data"]["options"] == {"x": 1, "y": 2}


def test_a_limit_of_samples_was_for_the_training():
    assert "max_samples" not in merged_config(STORED, {})["data"]
    assert merged_config(STORED, {"data": {"max_samples": 7}})["data"]["max_samples"] == 7


def test_options_of_another_data_set_are_not_mixed_with_the_stored_ones():
    config = merged_config(STORED, {"data": {"name": "kitti", "root": "k", "options": {"y": 2}}})
    assert config["data"]["options"] == {"y": 2}


def test_a_ratio_replaces_stored_counts_and_a_list_of_budgets_the_stored_grid():
    given = {"scheme": {"ratio": {"rgb": 0.1}}, "threat": {"budgets": [{"rgb": 2}]}}
    config = merged_config(STORED, given)
    assert config["scheme"] == {"name": "mmcert", "k": None, "ratio": {"rgb": 0.1}}
    assert config["threat"] == {"kind": "modification", "grid": None, "budgets": [{"rgb": 2}]}


def test_another_scheme_keeps_the_stored_counts():
    config = merged_config(STORED, {"scheme": {"name": "randomized_ablation", "k": None}})
    assert config["scheme"]["k"] == STORED["scheme"]["k"]


@pytest.mark.parametrize(
    "argument", ["model=other", "+model.name=x", "encoding.rgb.name=doubling", "~encoding"]
)
def test_another_model_or_encoding_is_refused(argument):
    with pytest.raises(ConfigError, match="belongs to the checkpoint"):
        refuse_model_overrides(["seed=1", argument])
    with pytest.raises(ConfigError, match="belongs to the checkpoint"):
        merged_config(STORED, {"model": {"name": "other"}})


def test_other_arguments_that_begin_alike_are_not():
    refuse_model_overrides(["checkpoint=model=1.ckpt", "modelling=1", "data.root=encoding"])
