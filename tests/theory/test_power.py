import numpy as np
import pytest

from mmcert.errors import ConfigError
from mmcert.theory.attacks import Attack
from mmcert.theory.evalues import LEVELS, WEIGHTS, closed_counts, evalue_groups
from mmcert.theory.multiplicity import holm_thresholds
from mmcert.theory.one_family import worst_figures
from mmcert.theory.power import (
    REFERENCE_SETTINGS,
    candidates,
    families_power,
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


def test_one_family_for_every_metric_is_the_default_by_power():
    """Least regret in the worst setting: rare classes lose by it less than common ones gain."""
    gains = np.array(
        [
            np.subtract(*families_power(*setting, positives=positives))
            for setting in REFERENCE_SETTINGS
            for positives in (0.05, 0.2, 0.5)
        ]
    )
    assert gains.min() > -gains.max()
    assert gains.mean() > 0


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


def certified(background, road, J_neg, J_pos):
    """F-score, IoU, recall and precision of the image with so many nulls of each class."""
    tp, fp = road - J_pos, J_neg
    return np.array(
        [2 * tp / (2 * tp + fp + J_pos), tp / (road + fp), tp / road, tp / np.maximum(tp + fp, 1)]
    )


@pytest.mark.parametrize("draws", [100, 1000])
def test_one_family_loses_almost_no_f_iou_or_precision_to_families_per_class(draws):
    """The simulated image of method 3.5, at every r1.

    Recall alone is better off with families per class, which spend nothing on the other class. In
    the last step before the wall (r1 = 28 of 28) a thousand draws lose a hundredth.
    """
    rng = np.random.default_rng(20240617)
    confident = rng.random(P) < 0.955
    p = np.where(confident, 1 - rng.exponential(5e-4, P), rng.beta(4, 2, P)).clip(0, 1)
    votes, road = rng.binomial(draws, p), rng.random(P) < 0.2
    hist = [np.bincount(votes[road == c], minlength=draws + 1) for c in (False, True)]
    sizes = [int(own.sum()) for own in hist]
    scheme = IndependentSubsampling.from_counts({"rgb": P, "depth": P}, {"rgb": 8988, "depth": 996})
    budgets = range(30)
    t = np.array([float(scheme.threshold(Attack({"rgb": r, "depth": 2 * r}))) for r in budgets])
    e, (neg, pos) = (
        evalue_groups(hist[0], t, ALPHA)[0],
        [evalue_groups(h, t, ALPHA)[1] for h in hist],
    )

    def figure(index):
        def terms(J_pos, J_neg):
            tp = sizes[1] - J_pos
            below = (2 * tp + J_pos + J_neg, sizes[1] + J_neg, sizes[1] + 0 * tp, tp + J_neg)[index]
            return (2 * tp if index == 0 else tp), below

        return terms

    pairs = worst_figures(e, pos, neg, ALPHA, [figure(i) for i in range(4)])
    one = np.stack([certified(*sizes, J_neg, J_pos)[i] for i, (J_pos, J_neg) in enumerate(pairs)])
    split = [
        size - closed_counts(*evalue_groups(own, t, ALPHA / 2), ALPHA / 2)
        for size, own in zip(sizes, hist, strict=True)
    ]
    per_class = certified(*sizes, *split)
    f_iou_precision = [0, 1, 3]
    assert (one[f_iou_precision, :28] >= per_class[f_iou_precision, :28] - 0.003).all()
    assert (one[f_iou_precision] >= per_class[f_iou_precision] - 0.011).all()
    if draws == 100:
        assert (one[0, [20, 23]] >= per_class[0, [20, 23]] + 0.02).all()
