import numpy as np
import pytest

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.evalues import LEVELS, WEIGHTS, closed_counts, evalue_groups
from mmcert.theory.multiplicity import holm_thresholds
from mmcert.theory.power import (
    REFERENCE_SETTINGS,
    candidates,
    minimax_design,
    planning_histogram,
    power,
)
from mmcert.theory.schemes import IndependentSubsampling

N, ALPHA, P = 100, 0.001, 465750
BUDGETS = (0, 5, 10, 16, 17, 18, 20, 22, 23)


def test_the_power_calculation_gives_the_levels_and_weights_in_use():
    design, regret = minimax_design()
    assert design.levels == LEVELS
    assert design.weights == WEIGHTS
    assert regret < 0.0025  # a quarter of a percent of the elements, in the worst setting


def test_no_candidate_is_uniformly_better_than_the_one_in_use():
    shares = np.array([power(*setting) for setting in REFERENCE_SETTINGS])
    in_use = [design.levels for design in candidates()].index(LEVELS) + 4
    assert candidates()[in_use].weights == WEIGHTS
    assert not np.any(np.all(shares > shares[:, [in_use]] + 1e-9, axis=0))


def test_the_planning_population_depends_on_its_four_arguments_only():
    first = planning_histogram(200, 1000, 0.9)
    assert first.sum() == 1000
    assert np.array_equal(first, planning_histogram(200, 1000, 0.9))
    assert first[190:].sum() > 700


@pytest.mark.parametrize("setting", [(0, 10, 0.9), (10, 0, 0.9), (10, 10, 0.0), (10, 10, 1.5)])
def test_a_plan_that_makes_no_sense_is_refused(setting):
    with pytest.raises(ConfigError, match="power calculation"):
        planning_histogram(*setting)


@pytest.fixture(scope="module")
def kitti_image():
    """The simulated KITTI-size image of method 3.5: votes of two ground-truth classes."""
    rng = np.random.default_rng(20240617)
    confident = rng.random(P) < 0.955
    p = np.where(confident, 1 - rng.exponential(5e-4, P), rng.beta(4, 2, P)).clip(0, 1)
    votes = rng.binomial(N, p)
    road = rng.random(P) < 0.2
    scheme = IndependentSubsampling.from_counts({"rgb": P, "depth": P}, {"rgb": 8988, "depth": 996})
    thresholds = np.array(
        [float(scheme.threshold(Attack({"rgb": r, "depth": 2 * r}))) for r in BUDGETS]
    )
    return [np.bincount(votes[road == c], minlength=N + 1) for c in (False, True)], thresholds


def shares(counts):
    return dict(zip(BUDGETS, np.asarray(counts) / P, strict=True))


def test_holm_reaches_r1_16_and_nothing_at_18(kitti_image):
    (background, road), thresholds = kitti_image
    sizes = background + road
    bounds = holm_thresholds(sizes, ALPHA)
    share = shares([sizes[bounds >= t].sum() for t in thresholds])
    assert share[16] == pytest.approx(0.910, abs=0.001)
    assert share[17] == share[18] == share[20] == 0


def test_one_family_of_e_values_reaches_r1_22(kitti_image):
    families, thresholds = kitti_image
    share = shares(closed_counts(*evalue_groups(sum(families), thresholds, ALPHA), ALPHA))
    assert all(share[r] >= 0.90 for r in BUDGETS if r <= 22)
    assert share[16] == pytest.approx(0.955, abs=0.001)
    assert share[23] > 0.87


def test_two_families_at_half_alpha_reach_r1_20(kitti_image):
    families, thresholds = kitti_image
    total = sum(
        closed_counts(*evalue_groups(family, thresholds, ALPHA / 2), ALPHA / 2)
        for family in families
    )
    share = shares(total)
    assert all(share[r] >= 0.90 for r in BUDGETS if r <= 20)
    assert share[22] > 0.89
