"""Why each scheme is better where it is: the text must follow from n, k and the budgets."""

import re

import pytest

from mmcert.reporting.comparison import compare, explain
from mmcert.reporting.loading import load_runs
from mmcert.reporting.report import build_report
from mmcert.theory.attacks import Attack
from mmcert.theory.schemes import IndependentSubsampling, PooledSubsampling

N = {"rgb": 465750, "depth": 465750}
K = {"rgb": 8988, "depth": 996}
METRIC = "certified_f_score"


def comparison_of(pair):
    runs = load_runs(pair)
    key = next(r.key for r in runs[0].results if r.statistics == "holm" and r.claim == "robust")
    return runs, compare(runs[0], runs[1], key, METRIC)


def test_at_the_kitti_setting_the_rule_of_equal_n_is_exact_on_the_published_budgets():
    ours, theirs = IndependentSubsampling.from_counts(N, K), PooledSubsampling.from_counts(N, K)
    for r1 in range(0, 25, 3):
        for r2 in range(0, 49, 3):
            attack = Attack({"rgb": r1, "depth": r2})
            rule = (K["rgb"] - K["depth"]) * (r1 - r2) < 0
            assert (ours.delta(attack) < theirs.delta(attack)) == rule


def test_the_deltas_of_the_design_document_come_out():
    ours, theirs = IndependentSubsampling.from_counts(N, K), PooledSubsampling.from_counts(N, K)
    deltas = [
        round(float(scheme.delta(Attack({"rgb": r1, "depth": r2}))), 3)
        for r1, r2 in ((10, 20), (10, 5))
        for scheme in (ours, theirs)
    ]
    assert deltas == [0.212, 0.276, 0.186, 0.149]


def test_the_explanation_states_the_rule_and_both_directions(pair):
    _, comparison = comparison_of(pair)
    text = " ".join(explain(comparison))
    assert "(k_rgb \N{MINUS SIGN} k_depth)(r_rgb \N{MINUS SIGN} r_depth) < 0" in text
    assert "the attack takes more of depth" in text
    assert "concentrates on rgb" in text
    counted = re.search(r"fewer votes at (\d+) of the (\d+) attacked budgets .* at (\d+) \(", text)
    fewer = sum(cell.our_threshold < cell.their_threshold for cell in comparison.cells)
    more = sum(cell.our_threshold > cell.their_threshold for cell in comparison.cells)
    assert counted
    assert [int(group) for group in counted.groups()] == [fewer, len(comparison.cells) - 1, more]


def test_the_conclusion_says_so_where_the_baseline_wins(pair):
    report = build_report([pair[1], pair[0]], ray={"rgb": 1})
    comparison = report.comparisons[report.main][0]
    on_ray = set(report.ray.budgets)
    behind = [cell for cell in comparison.behind if cell.budget in on_ray]
    either = [c for c in comparison.cells if c.budget in on_ray and max(c.ours, c.theirs) > 0]
    assert len(behind) >= 4
    assert f"Randomized ablation at {len(behind)} of the {len(either)} budgets" in report.closing()


def test_mmcert_is_the_reference_in_whatever_order_the_runs_are_named(pair):
    for order in (pair, pair[::-1]):
        report = build_report(order)
        assert report.comparisons[report.main][0].reference.scheme.name == "mmcert"


def test_one_run_alone_says_what_it_certifies_and_compares_nothing(pair):
    report = build_report(pair[:1])
    assert report.closing().startswith("MMCert: certified F-score of at least 0.")
    assert report.comparisons[report.main] == ()


def test_equal_retained_counts_gain_nothing_and_the_report_says_so(tmp_path, segmentation_run):
    even = {"rgb": 110, "depth": 110}
    runs = [
        segmentation_run(tmp_path / name, name, k=even, statistics=("holm",))
        for name in ("mmcert", "randomized_ablation")
    ]
    _, comparison = comparison_of(runs)
    assert "gains nothing over one pool" in explain(comparison)[0]


@pytest.mark.parametrize("scheme", ["randomized_ablation_aligned", "mmcert"])
def test_the_rule_is_stated_for_the_pooled_baseline_only(tmp_path, segmentation_run, pair, scheme):
    other = segmentation_run(tmp_path / "other", scheme, seed=3, statistics=("holm",))
    _, comparison = comparison_of([pair[0], other])
    assert "smaller than that of" not in " ".join(explain(comparison))
