"""Classification against a reference that goes sample by sample, and the claims over a data set."""

import math
from fractions import Fraction

import numpy as np
import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.certification.options import OPTIONS
from mmcert.records.certificates import read_certificates
from mmcert.theory.attacks import Attack
from mmcert.theory.bounds import clopper_pearson_lower, upper_tail
from mmcert.theory.dataset_claims import false_claims
from mmcert.theory.difference import largest_margin
from mmcert.theory.evalues import closed_count, evalue_table
from mmcert.theory.multiplicity import holm
from mmcert.theory.published import published_margin

ALPHA = 0.01
BUDGETS = [{"rgb": a, "depth": b} for a in (0, 1, 3, 6) for b in (0, 5)]


def entries(document, statistics, claim="robust"):
    return {
        one["guarantee"]: one
        for one in document["results"]
        if one["statistics"] == statistics and one["claim"] == claim
    }


def thresholds(sample, budget):
    margin = float(sample.scheme.margin(Attack(budget)))
    return (1 + margin) / 2, margin


@pytest.fixture(scope="module")
def votes(random_votes):
    return random_votes("classification", samples=30, classes=3, draws=150, seed=3)


@pytest.mark.parametrize("name", ["binomial", "margin", "published"])
def test_certified_accuracy_is_that_of_a_sample_by_sample_reference(votes, name):
    document = evaluate(votes, votes.meta, budgets=BUDGETS, statistics={name: {}}, alpha=ALPHA)
    found = entries(document, name)
    v = false_claims(30, ALPHA, ALPHA)
    for index, budget in enumerate(BUDGETS):
        certified = 0
        for sample in votes:
            t, m = thresholds(sample, budget)
            y, N = int(sample.target), sample.draws
            counts = sample.counts
            if name == "binomial":
                certified += t <= clopper_pearson_lower(int(counts[y]), N, ALPHA)
            elif name == "margin":
                certified += m <= largest_margin(counts, y, N, ALPHA)
            else:
                certified += m <= published_margin(counts, y, N, ALPHA)
        assert found["per_sample"]["grid"][index]["certified_accuracy"] == pytest.approx(
            certified / 30
        )
        # the data-set claim: less the most that can be false ones
        assert found["dataset"]["grid"][index]["certified_accuracy"] == pytest.approx(
            max(certified - v, 0) / 30
        )
    assert found["dataset"]["over_budgets"] == found["per_sample"]["over_budgets"] == "joint"


def test_the_level_of_the_data_set_claim_can_be_fixed_in_advance(votes):
    options = {"binomial": {"per_sample_alpha": 1e-4}}
    document = evaluate(votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA)
    found = entries(document, "binomial")
    v = false_claims(30, 1e-4, ALPHA)
    certified = sum(
        clopper_pearson_lower(int(sample.counts[sample.target]), 150, 1e-4) >= 0.5
        for sample in votes
    )
    assert found["dataset"]["grid"][0]["certified_accuracy"] == pytest.approx((certified - v) / 30)
    assert found["dataset"]["reading"]["per_sample_alpha"] == 1e-4


def test_holm_and_closed_evalues_over_samples(votes):
    options = {"holm": {"test": "binomial"}, "closed_evalues": {"test": "binomial"}}
    document = evaluate(votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA)
    X = np.array([int(sample.counts[sample.target]) for sample in votes])
    for index, budget in enumerate(BUDGETS):
        t, _ = thresholds(votes[0], budget)
        tails = [
            float(sum(math.comb(150, j) * Fraction(t) ** j * (1 - Fraction(t)) ** (150 - j)
                      for j in range(x, 151)))
            for x in X
        ]  # fmt: skip
        passed = holm(tails, np.ones(30, int), ALPHA).sum()
        counted = closed_count(evalue_table(150, t, ALPHA)[X], np.ones(30, int), ALPHA)
        for name, count in (("holm", passed), ("closed_evalues", counted)):
            one = entries(document, name)["dataset"]
            assert one["grid"][index]["certified_accuracy"] == pytest.approx(count / 30)
            assert one["over_budgets"] == "each"


def test_rows_say_what_each_sample_got(votes, tmp_path):
    options = {name: {} for name in OPTIONS}
    evaluate(votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA, out=tmp_path)
    rows, _ = read_certificates(tmp_path / "certificates.parquet")
    # closed testing names no sample, so it has no row
    assert {row.statistics for row in rows} == set(OPTIONS) - {"closed_evalues"}
    for row in rows:
        sample = votes[int(row.id[1:])]
        assert row.counts == sample.counts.tolist()
        assert row.n == {"rgb": 200, "depth": 200}
        assert row.target == int(sample.target)
        if row.statistics == "holm":
            assert row.frontier is None
            assert row.lower_bound is None
        if row.statistics == "binomial":
            assert row.abstained == (row.lower_bound < 0.5)
            certified = [thresholds(sample, b)[0] <= row.lower_bound for b in BUDGETS]
            kept = [b for b, yes in zip(BUDGETS, certified, strict=True) if yes]
            for budget in kept:
                assert any(all(top[m] >= budget[m] for m in budget) for top in row.frontier)
            assert all(top in kept for top in row.frontier)


def test_stable_rate_pays_for_labels_chosen_by_the_votes(votes):
    options = {"holm": {"test": "binomial"}, "binomial": {}}
    document = evaluate(votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA)
    top = np.array([int(sample.counts.max()) for sample in votes])
    for index, budget in enumerate(BUDGETS):
        t, _ = thresholds(votes[0], budget)
        # half of alpha settles which label wins now, the other half tests that label
        sure = upper_tail(top, 150, 0.5) <= ALPHA / 2 / (2 * 30)
        tails = np.where(sure, upper_tail(top, 150, t), 1.0)
        passed = holm(tails, np.ones(30, int), ALPHA / 2).sum()
        one = entries(document, "holm", "stable")["dataset"]["grid"][index]
        assert one["stable_rate"] == pytest.approx(passed / 30)
        assert one["certified_accuracy"] is None
        bound = clopper_pearson_lower(top, 150, ALPHA / 2)
        one = entries(document, "binomial", "stable")["per_sample"]["grid"][index]
        assert one["stable_rate"] == pytest.approx((t <= bound).mean())
        assert one["abstain_rate"] == pytest.approx((bound < 0.5).mean())


def test_selection_draws_choose_and_test_draws_test(make_votes):
    """Selection says 1, the votes say 0: nothing is stable, and nothing is deployed."""
    votes = make_votes("classification", [([100, 0], 0)], selection=[[0, 7]])
    document = evaluate(votes, votes.meta, budgets=[{}], statistics={"binomial": {}})
    grids = {one["claim"]: one["grid"][0] for one in document["results"]}
    assert grids["robust"]["certified_accuracy"] in (0.0, 1.0)  # per sample, and M - v
    assert entries(document, "binomial")["per_sample"]["grid"][0]["certified_accuracy"] == 1.0
    assert grids["stable"]["stable_rate"] == 0.0
    assert grids["deployed"]["certified_accuracy"] == 0.0


def test_deployed_counts_what_is_selected_certified_and_true(make_votes):
    samples = [([100, 0], 0), ([0, 100], 0), ([50, 50], 1)]
    votes = make_votes("classification", samples, selection=[[9, 0], [0, 9], [4, 5]])
    document = evaluate(votes, votes.meta, budgets=[{}], statistics={"binomial": {}})
    rates = {
        claim: entries(document, "binomial", claim)["per_sample"]["grid"][0]
        for claim in ("robust", "stable", "deployed")
    }
    assert rates["robust"]["certified_accuracy"] == pytest.approx(1 / 3)
    assert rates["stable"]["stable_rate"] == pytest.approx(2 / 3)
    assert rates["deployed"]["certified_accuracy"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", OPTIONS)
def test_no_figure_rises_with_a_budget(votes, name):
    budgets = [{"rgb": r, "depth": r} for r in range(6)]
    document = evaluate(votes, votes.meta, budgets=budgets, statistics={name: {}}, alpha=ALPHA)
    for one in document["results"]:
        for metric in ("certified_accuracy", "stable_rate"):
            values = [point[metric] for point in one["grid"] if point[metric] is not None]
            assert values == sorted(values, reverse=True)


def test_unlabelled_samples_are_certified_stable_only(make_votes, tmp_path):
    votes = make_votes("classification", [([90, 10], None), ([5, 95], None)])
    document = evaluate(votes, votes.meta, budgets=[{}], statistics={"binomial": {}}, out=tmp_path)
    assert {one["claim"] for one in document["results"]} == {"stable"}
    rows, _ = read_certificates(tmp_path / "certificates.parquet")
    assert [(row.target, row.predicted, row.abstained) for row in rows] == [
        (None, 0, False),
        (None, 1, False),
    ]
