"""Segmentation against a reference that goes pixel by pixel with rational numbers."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.certification.options import OPTIONS
from mmcert.theory.attacks import Attack
from mmcert.theory.evalues import closed_count, evalue_table
from mmcert.theory.schemes import round_down

ALPHA = 0.01
BUDGETS = [{"rgb": a, "depth": b} for a in (0, 1, 2, 5, 9) for b in (0, 3, 20)]


def exact_tail(X, N, t):
    t = Fraction(t)
    return sum((math.comb(N, j) * t**j * (1 - t) ** (N - j) for j in range(X, N + 1)), Fraction(0))


def pixels(sample):
    """(label, votes) of every labelled pixel."""
    flat = sample.counts.reshape(len(sample.counts), -1)
    target = sample.target.reshape(-1)
    return [(int(y), int(flat[y, i])) for i, y in enumerate(target) if y != 255]


def naive_holm(elements, N, t, alpha):
    """Certified votes, one pixel after the other, until the first failure."""
    done = []
    left = len(elements)
    for label, votes in sorted(elements, key=lambda one: -one[1]):
        if exact_tail(votes, N, t) > Fraction(alpha) / left:
            break
        done.append(label)
        left -= 1
    return done


def naive_metrics(certified, labels):
    tp, tn = certified.count(1), certified.count(0)
    positives, negatives = labels.count(1), labels.count(0)
    fn, fp = positives - tp, negatives - tn
    need = positives > 0
    return {
        "certified_pixel_accuracy": Fraction(tp + tn, len(labels)) if labels else None,
        "certified_recall": Fraction(tp, tp + fn) if need else None,
        "certified_precision": (Fraction(tp, tp + fp) if tp + fp else Fraction(0))
        if labels
        else None,
        "certified_f_score": Fraction(2 * tp, 2 * tp + fp + fn) if need else None,
        "certified_iou": Fraction(tp, tp + fp + fn) if need else None,
    }


def entry(document, statistics, claim="robust", guarantee=None):
    found = [
        one
        for one in document["results"]
        if one["statistics"] == statistics
        and one["claim"] == claim
        and guarantee in (None, one["guarantee"])
    ]
    assert len(found) == 1
    return found[0]


def assert_mean(point, per_sample):
    for metric in per_sample[0]:
        values = [one[metric] for one in per_sample if one[metric] is not None]
        if not values:
            assert point[metric] is None
            continue
        exact = sum(values) / len(values)
        assert Fraction(point[metric]) <= exact
        assert exact - Fraction(point[metric]) < Fraction(1, 10**12)


@pytest.mark.parametrize("name", ["binomial", "bonferroni", "holm", "published"])
def test_metrics_are_those_of_a_pixel_by_pixel_reference(random_votes, name):
    votes = random_votes("segmentation")
    document = evaluate(
        votes, votes.meta, budgets=BUDGETS, statistics={name: {}}, alpha=ALPHA, claims=["robust"]
    )
    points = entry(document, name)["grid"]
    for point in points[::2]:
        results = []
        for sample in votes:
            t = float((1 + sample.scheme.margin(Attack(point["budget"]))) / 2)
            elements = pixels(sample)
            P, N = len(elements), sample.draws
            if name == "holm":
                done = naive_holm(elements, N, t, ALPHA)
            elif name == "published":
                done = naive_holm(elements, N, t, ALPHA / 2)
            else:
                level = Fraction(ALPHA) / (P if name == "bonferroni" else 1)
                done = [y for y, votes_ in elements if exact_tail(votes_, N, t) <= level]
            results.append(naive_metrics(done, [y for y, _ in elements]))
        assert_mean(point, results)


def naive_worst_case(elements, table, alpha):
    """Every metric at its smallest over all numbers of nulls per class that sums allow."""
    e = [sorted(Fraction(float(table[x])) for y, x in elements if y == c) for c in (0, 1)]
    sums = [
        [sum((Fraction(alpha) * v - 1 for v in own[:j]), Fraction(0)) for j in range(len(own) + 1)]
        for own in e
    ]
    labels = [y for y, _ in elements]
    worst = naive_metrics(labels, labels)
    for a, one in enumerate(sums[0]):
        for b, other in enumerate(sums[1]):
            if (a, b) == (0, 0) or one + other >= 0:
                continue
            found = naive_metrics([0] * (len(e[0]) - a) + [1] * (len(e[1]) - b), labels)
            worst = {
                key: None if value is None else min(value, worst[key])
                for key, value in found.items()
            }
    return worst


def test_closed_evalues_take_the_worst_null_sets_of_one_family(random_votes):
    votes = random_votes("segmentation")
    document = evaluate(
        votes,
        votes.meta,
        budgets=BUDGETS,
        statistics={"closed_evalues": {}},
        alpha=ALPHA,
        claims=["robust"],
    )
    for index, budget in enumerate(BUDGETS):
        t = float((1 + votes[0].scheme.margin(Attack(budget))) / 2)
        table = evalue_table(60, t, ALPHA)
        each = [pixels(sample) for sample in votes]
        everything = [one for sample in each for one in sample]
        for guarantee, families in (("per_sample", each), ("dataset", [everything])):
            point = entry(document, "closed_evalues", guarantee=guarantee)["grid"][index]
            assert_mean(point, [naive_worst_case(family, table, ALPHA) for family in families])


def test_closed_evalues_count_families_of_their_own(random_votes):
    votes = random_votes("segmentation")
    options = {"closed_evalues": {"families": "per_class"}}
    document = evaluate(
        votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA, claims=["robust"]
    )
    for index, budget in enumerate(BUDGETS):
        t = float((1 + votes[0].scheme.margin(Attack(budget))) / 2)
        tables = [evalue_table(60, t, level) for level in (ALPHA, ALPHA / 2)]

        def count(elements, table, alpha):
            histogram = np.bincount([x for _, x in elements], minlength=61)
            return closed_count(table, histogram, alpha)

        everything = [one for sample in votes for one in pixels(sample)]
        for guarantee, families in (
            ("per_sample", [pixels(sample) for sample in votes]),
            ("dataset", [everything]),
        ):
            point = entry(document, "closed_evalues", guarantee=guarantee)["grid"][index]
            results = []
            for elements in families:
                tn, tp = (
                    count([one for one in elements if one[0] == y], tables[1], ALPHA / 2)
                    for y in (0, 1)
                )
                labels = [y for y, _ in elements]
                result = naive_metrics([0] * tn + [1] * tp, labels)
                total = count(elements, tables[0], ALPHA)
                result["certified_pixel_accuracy"] = Fraction(total, len(labels))
                results.append(result)
            assert_mean(point, results)


def test_two_image_sizes_share_one_family_over_the_data_set(make_scheme_of, random_votes):
    votes = random_votes("segmentation", samples=2)
    sizes = [make_scheme_of(), make_scheme_of(n={"rgb": 120, "depth": 120})]
    mixed = [
        dataclasses.replace(sample, scheme=scheme)
        for sample, scheme in zip(votes, sizes, strict=True)
    ]
    options = {"holm": {"family": ["dataset"]}}
    document = evaluate(mixed, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA)
    for point in entry(document, "holm")["grid"][::3]:
        ranked = []
        for sample in mixed:
            t = float((1 + sample.scheme.margin(Attack(point["budget"]))) / 2)
            ranked += [(exact_tail(x, sample.draws, t), y) for y, x in pixels(sample)]
        ranked.sort()
        done = []
        for position, (p, y) in enumerate(ranked):
            if p > Fraction(ALPHA) / (len(ranked) - position):
                break
            done.append(y)
        assert_mean(point, [naive_metrics(done, [y for _, y in ranked])])
    assert entry(document, "holm")["reading"]["average"] == "pooled over samples"


def test_holm_stops_at_the_first_failure_at_the_published_setting(make_votes, make_scheme_of):
    """At r1 = 17 the first of the KITTI-size levels fails: nothing is certified, not .1555."""
    n = 375 * 1242
    scheme = make_scheme_of(n={"rgb": n, "depth": n}, k={"rgb": 8988, "depth": 996})
    right = np.full((375, 1242), 100)
    right[:300] = 99
    counts = np.stack([100 - right, right])
    target = np.ones((375, 1242), int)
    votes = make_votes("segmentation", [(counts, target)], schemes=[scheme])
    budgets = [{"rgb": r, "depth": 2 * r} for r in (10, 16, 17)]
    document = evaluate(
        votes, votes.meta, budgets=budgets, statistics={"holm": {}}, claims=["robust"]
    )
    accuracies = [one["certified_pixel_accuracy"] for one in entry(document, "holm")["grid"]]
    assert accuracies == [1.0, round_down(Fraction(1, 5)), 0.0]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("select", [True, False])
def test_no_figure_rises_with_a_budget(random_votes, name, classes, select):
    votes = random_votes("segmentation", classes=classes, select=select)
    budgets = [{"rgb": r, "depth": r} for r in range(8)]
    document = evaluate(votes, votes.meta, budgets=budgets, statistics={name: {}}, alpha=ALPHA)
    claims = {one["claim"] for one in document["results"]}
    assert claims >= {"robust", "stable"}
    for one in document["results"]:
        assert one["over_budgets"] == (
            "joint" if name in ("binomial", "margin", "bonferroni") else "each"
        )
        for metric in one["grid"][0]:
            values = [point[metric] for point in one["grid"]]
            if all(isinstance(value, float) for value in values):
                assert values == sorted(values, reverse=True), (one["claim"], metric)


def test_deployed_is_stable_and_true_and_never_above_either(random_votes):
    votes = random_votes("segmentation", select=True)
    document = evaluate(
        votes, votes.meta, budgets=BUDGETS, statistics={"binomial": {}}, alpha=ALPHA
    )
    grids = {one["claim"]: one["grid"] for one in document["results"]}
    for robust, stable, deployed in zip(*grids.values(), strict=True):
        assert deployed["certified_pixel_accuracy"] <= robust["certified_pixel_accuracy"]
        assert deployed["certified_pixel_accuracy"] <= stable["stable_rate"] + 1e-12


@pytest.mark.parametrize(("name", "price"), [("binomial", 2), ("bonferroni", 2), ("holm", 4)])
def test_a_label_chosen_by_the_votes_pays_for_the_choice(make_votes, name, price):
    """Bounds cost twice the tail; Holm spends half of alpha on settling which label it is."""
    counts = np.array([[[15]], [[45]]])
    tail = exact_tail(45, 60, 0.5)
    votes = make_votes("segmentation", [(counts, np.array([[1]]))])
    for alpha, stable in ((float(tail) * price * 0.95, 0.0), (float(tail) * price * 1.05, 1.0)):
        document = evaluate(votes, votes.meta, budgets=[{}], statistics={name: {}}, alpha=alpha)
        assert entry(document, name)["grid"][0]["certified_recall"] == 1.0
        point = entry(document, name, "stable")["grid"][0]
        assert (point["stable_rate"], point["abstain_rate"]) == (stable, 1.0 - stable)


def test_labels_chosen_by_the_votes_are_settled_before_holm_and_closed_testing(random_votes):
    """Elements that Bonferroni at alpha/2 does not settle keep their place in the family."""
    votes = random_votes("segmentation", samples=1, unlabelled=False, draws=100, seed=5)
    top = votes[0].counts.max(axis=0).reshape(-1)
    options = {"holm": {}, "closed_evalues": {"family": "sample"}}
    document = evaluate(
        votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA, claims=["stable"]
    )
    half, P = ALPHA / 2, len(top)
    sure = np.array([exact_tail(int(x), 100, 0.5) <= Fraction(half) / (2 * P) for x in top])
    assert 0 < sure.sum() < P
    for index, budget in enumerate(BUDGETS):
        t = float((1 + votes[0].scheme.margin(Attack(budget))) / 2)
        elements = [(0, int(x) if kept else 0) for x, kept in zip(top, sure, strict=True)]
        passed = len(naive_holm(elements, 100, t, half))
        histogram = np.bincount([x for _, x in elements], minlength=101)
        counted = closed_count(evalue_table(100, t, half), histogram, half)
        for name, count in (("holm", passed), ("closed_evalues", counted)):
            point = entry(document, name, "stable")["grid"][index]
            assert point["stable_rate"] == pytest.approx(count / P)


def test_closed_evalues_say_nothing_of_which_pixels(random_votes, tmp_path):
    votes = random_votes("segmentation")
    document = evaluate(
        votes, votes.meta, budgets=[{}], statistics={"closed_evalues": {}}, out=tmp_path
    )
    assert "maps" not in document
    assert not (tmp_path / "maps").exists()
    stable = entry(document, "closed_evalues", "stable", "per_sample")
    assert stable["grid"][0]["abstain_rate"] is None
    # labels that the votes chose themselves make no families: no deployed number
    assert "deployed" not in {one["claim"] for one in document["results"]}


def test_joint_closed_evalues_certify_no_more_than_each(random_votes):
    votes = random_votes("segmentation", draws=200)
    grids = {}
    for over in ("each", "joint"):
        options = {"closed_evalues": {"over_budgets": over}}
        document = evaluate(votes, votes.meta, budgets=BUDGETS, statistics=options, alpha=ALPHA)
        one = entry(document, "closed_evalues", "robust", "dataset")
        assert one["over_budgets"] == over
        grids[over] = [point["certified_pixel_accuracy"] for point in one["grid"]]
    assert all(j <= e for j, e in zip(grids["joint"], grids["each"], strict=True))
    assert sum(grids["joint"]) > 0


def test_margin_certifies_more_than_binomial_with_many_classes(random_votes):
    votes = random_votes("segmentation", classes=6, draws=400)
    document = evaluate(
        votes,
        votes.meta,
        budgets=BUDGETS,
        statistics={"bonferroni": {"test": "binomial"}, "margin": {}, "binomial": {}},
        claims=["robust"],
    )
    better = entry(document, "margin")["grid"]
    plain = entry(document, "binomial")["grid"]
    assert sum(p["certified_pixel_accuracy"] for p in better) > sum(
        p["certified_pixel_accuracy"] for p in plain
    )
    assert len(better[0]["per_class"]["certified_iou"]) == 6


def test_the_frontier_is_for_a_stated_target_and_joint_statistics_only(random_votes, tmp_path):
    from mmcert.records.certificates import read_certificates

    votes = random_votes("segmentation", draws=300, unlabelled=False)
    evaluate(
        votes,
        votes.meta,
        budgets=BUDGETS,
        statistics={"holm": {}, "bonferroni": {}},
        alpha=ALPHA,
        out=tmp_path,
        target={"metric": "certified_pixel_accuracy", "level": 0.5},
    )
    rows, facts = read_certificates(tmp_path / "certificates.parquet")
    assert facts["voting"] == "fixed"
    assert [(row.id, row.statistics) for row in rows[:2]] == [("s0", "holm"), ("s0", "bonferroni")]
    for row in rows:
        assert (row.frontier is None) == (row.statistics == "holm")
        assert np.array(row.hist).sum() == 42
    assert any(row.frontier for row in rows)


def test_closed_evalues_reach_where_holm_ends_on_a_kitti_size_image(make_votes, make_scheme_of):
    """The prototype of the method (section 3.5): N = 100, alpha = .001, r2 = 2 r1."""
    rng = np.random.default_rng(0)
    n, shape = 375 * 1242, (375, 1242)
    p = np.clip(1 - rng.exponential(5e-4, shape), 0, 1)
    hard = rng.random(shape) < 0.045
    p[hard] = rng.beta(4, 2, int(hard.sum()))
    target = (rng.random(shape) < 0.2).astype(np.uint8)
    right = rng.binomial(100, p)
    counts = np.where(target == 1, np.stack([100 - right, right]), np.stack([right, 100 - right]))
    scheme = make_scheme_of(n={"rgb": n, "depth": n}, k={"rgb": 8988, "depth": 996})
    votes = make_votes("segmentation", [(counts, target)], schemes=[scheme])
    document = evaluate(
        votes,
        votes.meta,
        budgets=[{"rgb": r, "depth": 2 * r} for r in (16, 18, 20, 22)],
        statistics={"holm": {}, "closed_evalues": {"family": "sample"}},
        claims=["robust"],
    )
    holm, closed = (
        {point["budget"]["rgb"]: point for point in entry(document, name)["grid"]}
        for name in ("holm", "closed_evalues")
    )
    assert holm[16]["certified_pixel_accuracy"] == pytest.approx(0.910, abs=0.003)
    assert holm[18]["certified_pixel_accuracy"] == 0
    assert min(closed[r]["certified_pixel_accuracy"] for r in (16, 18, 20, 22)) > 0.9
    assert min(closed[r]["certified_recall"] for r in (16, 18, 20)) > 0.9
