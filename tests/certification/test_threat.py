"""Budgets: a product, a list, or as far as unanimous votes can certify."""

import pytest

from mmcert.certification.threat import MOST_BUDGETS, budgets_from
from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.bounds import clopper_pearson_lower

NAMES = ["rgb", "depth"]


def test_a_grid_is_a_product_and_names_every_modality():
    budgets, kinds = budgets_from({"grid": {"depth": [0, 10], "rgb": [0, 5]}}, NAMES)
    assert budgets == [
        {"rgb": 0, "depth": 0},
        {"rgb": 5, "depth": 0},
        {"rgb": 0, "depth": 10},
        {"rgb": 5, "depth": 10},
    ]
    assert kinds == {"rgb": "modification", "depth": "modification"}
    assert budgets_from({"grid": {"rgb": 3}}, NAMES)[0] == [{"rgb": 3, "depth": 0}]


def test_a_list_wins_over_a_grid_and_says_so_in_one_line():
    lines = []
    threat = {
        "grid": {"rgb": [0]},
        "budgets": [{"rgb": 5}, {"rgb": 5, "depth": 0}],
        "kind": "edits",
    }
    budgets, kinds = budgets_from(threat, NAMES, say=lines.append)
    assert budgets == [{"rgb": 5, "depth": 0}]  # the same budget twice is one budget
    assert kinds == {"rgb": "edits", "depth": "edits"}
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("threat", "message"),
    [
        ({"grid": {"lidar": [1]}}, "threat.grid names lidar, but the modalities are rgb, depth"),
        ({"budgets": [{"lidar": 1}]}, "lidar"),
        ({"kind": {"lidar": "edits"}, "budgets": [{}]}, "threat.kind names lidar"),
        ({"kind": "swap", "budgets": [{}]}, "swap"),
        ({"grid": {"rgb": []}}, "threat.grid.rgb"),
        ({"grid": {"rgb": "0,5"}}, "threat.grid.rgb"),
        ({"grid": [1, 2]}, "threat.grid"),
        ({"grid": {"rgb": [-1]}}, "at least 0"),
        ({"budgets": {"rgb": 1}}, "must be a list"),
        ({"budgets": [5]}, "maps each modality"),
        ({"budgets": []}, "no budget"),
        ({"radius": 3}, "threat has no setting 'radius'"),
        ({}, "set threat.grid or threat.budgets"),
        (None, "set threat.grid or threat.budgets"),
    ],
)
def test_a_threat_that_makes_no_sense_gets_a_clear_error(threat, message):
    with pytest.raises(ConfigError, match=message):
        budgets_from(threat, NAMES)


@pytest.mark.parametrize("name", ["mmcert", "randomized_ablation", "randomized_ablation_aligned"])
def test_an_automatic_grid_ends_where_unanimous_votes_do(make_scheme_of, name):
    scheme = make_scheme_of(name)
    budgets, _ = budgets_from({}, NAMES, scheme=scheme, draws=100, alpha=0.001)
    best = clopper_pearson_lower(100, 100, 0.001)
    for modality in NAMES:
        levels = sorted({budget[modality] for budget in budgets})
        assert levels[0] == 0
        assert 1 < len(levels) <= 11
        top = scheme.threshold(Attack({modality: levels[-1]}))
        beyond = scheme.threshold(Attack({modality: levels[-1] + 1}))
        assert top <= best < beyond


def test_an_unused_modality_stays_at_0(make_scheme_of):
    scheme = make_scheme_of(k={"rgb": 12, "depth": 0})
    budgets, _ = budgets_from(None, NAMES, scheme=scheme, draws=100, alpha=0.001)
    assert {budget["depth"] for budget in budgets} == {0}


def test_many_modalities_get_fewer_levels_each():
    from mmcert.theory.schemes import make_scheme

    names = ["a", "b", "c", "d"]
    scheme = make_scheme("mmcert", dict.fromkeys(names, 500), k=dict.fromkeys(names, 3))
    budgets, _ = budgets_from(None, names, scheme=scheme, draws=1000, alpha=0.001)
    assert 100 < len(budgets) <= MOST_BUDGETS


def test_too_few_draws_leave_the_budget_0_alone(make_scheme_of):
    budgets, _ = budgets_from(None, NAMES, scheme=make_scheme_of(), draws=1, alpha=0.001)
    assert budgets == [{"rgb": 0, "depth": 0}]
