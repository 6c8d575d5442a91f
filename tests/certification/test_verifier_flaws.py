"""Flaws that this field has shipped, put into the code that writes the numbers, are caught."""

import dataclasses
import math

import numpy as np
import pytest

from mmcert.certification import (
    averages,
    counting,
    evaluate,
    formulas,
    grid,
    levels,
    one_family,
    segmentation,
)
from mmcert.certification.verifier.verify import verify


def assert_caught(make_run, votes, **settings):
    run, _ = make_run(votes, **settings)
    assert not verify(run).all_hold


@pytest.fixture
def images(random_votes):
    return random_votes("segmentation", draws=200)


def test_holm_that_counts_passes_after_the_first_failure(make_run, make_votes, monkeypatch):
    """400 unanimous pixels fail at alpha/401; the one below them would pass at alpha."""

    def never_stops(sizes, alpha):
        left = np.maximum(np.cumsum(sizes), 1)
        return levels.rejected_thresholds(np.arange(len(sizes)), len(sizes) - 1, alpha / left)

    road = np.full((1, 401), 20)
    road[0, -1] = 19
    votes = make_votes("segmentation", [(np.stack([20 - road, road]), np.ones((1, 401), int))])
    monkeypatch.setattr(levels, "holm_thresholds", never_stops)
    budgets = [{"rgb": r} for r in range(8)]
    assert_caught(make_run, votes, budgets=budgets, statistics={"holm": {}})


def test_one_element_too_many(make_run, images, monkeypatch):
    exact = counting.closed_counts
    for home in (counting, one_family):
        monkeypatch.setattr(home, "closed_counts", lambda *given: exact(*given) + 1)
    for families in ("one", "per_class"):
        assert_caught(make_run, images, statistics={"closed_evalues": {"families": families}})


def test_a_metric_at_one_null_too_few(make_run, images, monkeypatch):
    exact = one_family.worst_figures

    def one_less(*given):
        return [(np.maximum(J_pos - 1, 0), J_neg) for J_pos, J_neg in exact(*given)]

    monkeypatch.setattr(one_family, "worst_figures", one_less)
    assert_caught(make_run, images, statistics={"closed_evalues": {}})


def test_a_level_that_is_not_divided_by_the_family(make_run, images, monkeypatch):
    def undivided(N, P, alpha):
        return levels.rejected_thresholds(np.arange(N + 1), N, np.full(N + 1, alpha))

    monkeypatch.setattr(levels, "bonferroni_thresholds", undivided)
    assert_caught(make_run, images, statistics={"bonferroni": {}})


def test_labels_chosen_by_the_votes_that_pay_nothing(make_run, images, monkeypatch):
    monkeypatch.setattr(levels, "split_over_labels", lambda alpha, *rest: alpha)
    monkeypatch.setattr(counting, "split_over_labels", lambda alpha, *rest: alpha)
    assert_caught(make_run, images, statistics={"binomial": {}}, claims=("stable",))


def test_thresholds_that_are_rounded_to_the_nearest_float(make_run, images, monkeypatch):
    monkeypatch.setattr(grid, "round_up", float)
    assert_caught(make_run, images, statistics={"binomial": {}})


def test_figures_that_are_rounded_up(make_run, images, monkeypatch):
    def up(numerator, denominator):
        return math.nextafter(numerator / denominator, 2)

    monkeypatch.setattr(averages, "quotient_down", up)
    monkeypatch.setattr(formulas, "round_down", lambda value: math.nextafter(float(value), 2))
    assert_caught(make_run, images, statistics={"binomial": {}})


def test_an_absent_class_that_counts_as_found(make_run, random_votes, monkeypatch):
    votes = random_votes("segmentation", draws=200)
    ground = np.zeros_like(votes[0].target)
    votes[0] = dataclasses.replace(votes[0], target=ground)
    exact = segmentation.metric_ratios

    def found(counted, metric, label):
        ratios = exact(counted, metric, label)
        absent = ~ratios.defined
        ratios.numerators[absent] = ratios.denominators[absent] = 1
        return dataclasses.replace(ratios, defined=ratios.defined | absent)

    monkeypatch.setattr(segmentation, "metric_ratios", found)
    assert_caught(make_run, votes, statistics={"binomial": {}})


def test_claims_of_each_budget_sold_as_joint(make_run, images):
    run, document = make_run(images, statistics={"closed_evalues": {}})
    for entry in document["results"]:
        entry["over_budgets"] = "joint"
    evaluate.write_metrics(run / "metrics.json", document)
    assert not verify(run).all_hold
