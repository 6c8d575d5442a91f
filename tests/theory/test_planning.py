"""Planning: what unanimous votes can certify, and the split that serves a ratio of budgets."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.bounds import upper_tail
from mmcert.theory.evalues import closed_counts, evalue_groups, harmonic_alpha
from mmcert.theory.planning import (
    STATISTICS,
    certifiable,
    draws_needed,
    largest_budget,
    unanimous_margin,
    warnings_for,
)
from mmcert.theory.schemes import IndependentSubsampling, PooledSubsampling, round_up
from mmcert.theory.splits import best_split, smallest_margin_split, split_note

KITTI = IndependentSubsampling.from_counts(
    {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996}
)
RAY = {"rgb": 1, "depth": 2}
P = 465750


@pytest.mark.parametrize(
    ("statistics", "reach"),
    [("holm", [16, 21, 25, 27, 28]), ("closed_evalues", [23, 26, 28, 28, 29])],
)
def test_the_largest_budgets_of_the_kitti_setting(statistics, reach):
    found = [
        largest_budget(KITTI, RAY, N, 0.001, P, statistics) for N in (100, 200, 500, 1000, 10000)
    ]
    assert found == reach


def test_claims_joint_over_budgets_reach_less_far():
    joint = {"over_budgets": "joint"}
    reach = largest_budget(KITTI, RAY, 100, 0.001, P, "closed_evalues", options=joint)
    assert reach is not None
    level = harmonic_alpha(0.001, P)
    votes = np.zeros(101, dtype=np.int64)
    votes[100] = P
    budgets = [{"rgb": r, "depth": 2 * r} for r in (reach, reach + 1)]
    t = [round_up(KITTI.threshold(Attack(budget))) for budget in budgets]
    assert closed_counts(*evalue_groups(votes, t, level, joint=True), level).tolist() == [P, 0]
    assert reach < largest_budget(KITTI, RAY, 100, 0.001, P, "closed_evalues")


def test_no_number_of_draws_passes_the_wall_at_delta_one_half():
    assert draws_needed(KITTI, Attack({"rgb": 29, "depth": 58}), 0.001, P, "holm") == 10345
    assert draws_needed(KITTI, Attack({"rgb": 30, "depth": 60}), 0.001, P, "holm") is None


@pytest.mark.parametrize("statistics", STATISTICS)
def test_the_draws_needed_are_the_fewest_that_reach_the_budget(statistics):
    for r in (0, 4, 10, 20, 28):
        attack = Attack({"rgb": r, "depth": 2 * r})
        N = draws_needed(KITTI, attack, 0.001, P, statistics)
        assert largest_budget(KITTI, RAY, N, 0.001, P, statistics) >= r
        fewer = largest_budget(KITTI, RAY, N - 1, 0.001, P, statistics)
        assert fewer is None or fewer < r


def test_too_few_draws_cannot_even_certify_no_attack():
    assert largest_budget(KITTI, RAY, 9, 0.001, 1, "binomial") is None
    assert largest_budget(KITTI, RAY, 10, 0.001, 1, "binomial") == 0


def test_the_reach_is_the_decision_of_the_test_itself():
    reach = unanimous_margin(200, 0.001, P, "holm")
    for r in range(30):
        attack = Attack({"rgb": r, "depth": 2 * r})
        rejected = upper_tail(200, 200, round_up(KITTI.threshold(attack))) <= 0.001 / P
        assert rejected == (KITTI.margin(attack) <= reach)


@pytest.mark.parametrize("kind", ["modification", "addition", "deletion", "edits"])
@pytest.mark.parametrize("scheme_type", [IndependentSubsampling, PooledSubsampling])
def test_the_reach_of_every_kind_is_the_last_certifiable_budget(kind, scheme_type):
    scheme = scheme_type.from_counts({"a": 40, "b": 30}, {"a": 2, "b": 1})
    c = largest_budget(scheme, {"a": 1, "b": 2}, 100, 0.001, 1, "binomial", kind)
    budgets = [{"a": r, "b": 2 * r} for r in range(80)]
    holds = certifiable(scheme, budgets, kind, N=100, alpha=0.001, P=1, statistics="binomial")
    assert holds == [r <= c for r in range(80)]


def test_attacking_what_is_not_retained_is_free_and_the_search_still_ends():
    scheme = IndependentSubsampling.from_counts({"a": 40, "b": 30}, {"a": 2, "b": 0})
    assert largest_budget(scheme, {"b": 1}, 100, 0.001, 1, "binomial") >= 30


def test_a_run_that_cannot_certify_its_grid_says_so_and_what_to_do():
    budgets = [{"rgb": r, "depth": 2 * r} for r in (0, 10, 17, 30)]
    both = {"holm": None, "closed_evalues": {}, "published": None}
    sentences = warnings_for(
        KITTI, budgets, "modification", N=100, alpha=0.001, P=P, statistics=both
    )
    assert [s.split(":")[0] for s in sentences] == ["holm", "closed_evalues"]
    assert "2 of 4 budgets cannot be certified even by unanimous votes" in sentences[0]
    assert "rgb 17, depth 34, needs at least 109 draws" in sentences[0]
    assert "rgb 30, depth 60, is out of reach of any number of draws" in sentences[1]
    assert not warnings_for(
        KITTI, budgets[:2], "modification", N=100, alpha=0.001, P=P, statistics=both
    )


def enumerated(n, total, floors, attack):
    margins = {}
    for k in itertools.product(*(range(floors[m], n[m] + 1) for m in n)):
        if sum(k) == total:
            counts = dict(zip(n, k, strict=True))
            margins[k] = IndependentSubsampling.from_counts(n, counts).margin(attack)
    return min(margins.values())


@pytest.mark.parametrize(
    "kinds",
    [
        "modification",
        "addition",
        "deletion",
        "edits",
        {"a": "addition", "b": "deletion"},
        {"a": "edits", "b": "addition", "c": "deletion"},
    ],
    ids=str,
)
def test_the_split_has_the_smallest_margin_of_all_splits(kinds):
    for n, floors in [
        ({"a": 9, "b": 7}, {"a": 1, "b": 0}),
        ({"a": 8, "b": 8, "c": 5}, {"a": 0, "b": 1, "c": 1}),
    ]:
        named = kinds if isinstance(kinds, str) else {m: k for m, k in kinds.items() if m in n}
        for total, r in itertools.product((3, 6, 11), [(1, 2, 1), (2, 1, 0), (1, 1, 1), (0, 3, 1)]):
            attack = Attack(dict(zip(n, r, strict=False)), named)
            split, margin = smallest_margin_split(n, total, floors, attack)
            assert sum(split.values()) == total
            assert margin == IndependentSubsampling.from_counts(n, split).margin(attack)
            assert margin == enumerated(n, total, floors, attack), (total, r, split)


def test_the_best_split_reaches_as_far_as_any_split_does():
    n, total, ratio = {"a": 30, "b": 25}, 6, {"a": 1, "b": 2}
    floors = {"a": 1, "b": 1}
    settings = {"N": 400, "alpha": 0.001, "P": 1, "statistics": "binomial"}
    split = best_split(n, total, ratio, floors, **settings)

    def reach(k):
        return largest_budget(IndependentSubsampling.from_counts(n, k), ratio, **settings)

    assert reach(split) == max(reach({"a": a, "b": total - a}) for a in range(1, total))
    assert split == {"a": 5, "b": 1}
    assert split_note(split, floors).startswith("the best split is a corner: b keeps its floor (1)")


def test_a_modality_retained_almost_whole_moves_the_optimum_off_the_corner():
    n, nothing = {"a": 20, "b": 20}, {"a": 0, "b": 0}
    attack = Attack({"a": 1, "b": 1})
    split, margin = smallest_margin_split(n, 8, nothing, attack)
    assert split == {"a": 4, "b": 4}
    assert margin == enumerated(n, 8, nothing, attack) == 2 * (1 - Fraction(16 * 16, 20 * 20))
    assert "lies between the floors" in split_note(split, {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"total": 60}, "does not lie between"),
        ({"total": 1}, "does not lie between"),
        ({"floors": {"a": 31}}, "floor of 'a' must lie in 0..30"),
        ({"floors": {"c": 1}}, r"floors names \['c'\]"),
        ({"ratio": {"a": 0}}, "ratio of budgets needs"),
        ({"ratio": {"c": 1}}, r"ratio names \['c'\]"),
        ({"N": 9}, "raise voting.draws"),
        ({"P": 0}, "at least 1 element"),
        ({"statistics": "published"}, "the planner knows"),
    ],
)
def test_plans_that_make_no_sense_are_refused(change, message):
    plan = {
        "n": {"a": 30, "b": 25},
        "total": 6,
        "ratio": {"a": 1, "b": 2},
        "floors": {"a": 1, "b": 1},
        "N": 400,
        "alpha": 0.001,
        "P": 1,
        "statistics": "binomial",
    }
    with pytest.raises(ConfigError, match=message):
        best_split(**{**plan, **change})
