import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.theory.modality import InputSpec
from mmcert.voting.identity import differences, voting_facts
from mmcert.voting.settings import SchemeSpec, VotingSettings

SPECS = {"image": InputSpec((1, None, None), (1, 2), "pixel")}


def test_null_means_the_default():
    settings = VotingSettings.from_config({"draws": 5, "threads": None, "block": None})
    assert settings == VotingSettings(5)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({}, "voting.draws"),
        ({"draws": 0}, "voting.draws"),
        ({"draws": 2.5}, "voting.draws"),
        ({"draws": 5, "block": 0}, "voting.block"),
        ({"draws": 5, "block": "large"}, r"voting\.block.*or auto"),
        ({"draws": 5, "compile": 1}, "voting.compile"),
        ({"draws": 5, "precision": "16"}, "voting.precision"),
        ({"draws": 5, "mode": "often"}, "voting.mode"),
        ({"draws": 5, "drawz": 5}, "drawz"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(section, key):
    with pytest.raises(ConfigError, match=key):
        VotingSettings.from_config(section)


def test_k_above_n_names_the_sample_and_the_modality():
    spec = SchemeSpec("mmcert", k={"image": 13})
    sample = {"id": "um_7", "inputs": {"image": torch.zeros(1, 3, 4)}}
    with pytest.raises(ConfigError, match=r"um_7.*image.*k = 13"):
        spec.for_sample(sample, SPECS)


def test_a_ratio_takes_the_elements_of_each_sample():
    spec = SchemeSpec("mmcert", ratio={"image": 0.5})
    for rows, k in ((3, 6), (5, 10)):
        sample = {"id": "a", "inputs": {"image": torch.zeros(1, rows, 4)}}
        scheme = spec.for_sample(sample, SPECS)
        assert (scheme.modality("image").n, scheme.modality("image").k) == (4 * rows, k)


def test_the_fingerprint_covers_what_votes_depend_on_and_not_the_processes():
    def facts(settings=None, **changed):
        given = {
            "checkpoint_sha256": "00",
            "scheme": SchemeSpec("mmcert", k={"image": 3}),
            "encoding": {"image": {"name": "zero"}},
            "data": {"name": "d"},
            "ids": ("a", "b"),
            "seed": 0,
            "settings": VotingSettings(**{"draws": 5, "block": 2} | (settings or {})),
            "device": "cpu",
        }
        return voting_facts(**given | changed)

    same = facts()
    assert differences(same, facts({"processes": 2, "segment_seconds": 1.0})) == {}
    for settings in (
        {"draws": 6},
        {"selection_draws": 1},
        {"block": 3},
        {"precision": "bf16-mixed"},
        {"channels_last": True},
        {"threads": 2},
        {"compile": True},
        {"mode": "exhaustive"},
    ):
        assert len(differences(same, facts(settings))) == 1
    for changed in (
        {"checkpoint_sha256": "01"},
        {"scheme": SchemeSpec("mmcert", k={"image": 4})},
        {"encoding": {"image": {"name": "doubling"}}},
        {"ids": ("a", "c")},
        {"seed": 1},
        {"data": {"name": "e"}},
        {"device": "cuda"},
    ):
        assert len(differences(same, facts(**changed))) == 1
