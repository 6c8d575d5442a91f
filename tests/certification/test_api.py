"""The pure API says what the files say."""

import subprocess
import sys
import time

import numpy as np
import pytest

import mmcert
from mmcert import Attack, IndependentSubsampling, PooledSubsampling, certify
from mmcert.certification.evaluate import evaluate
from mmcert.certification.options import OPTIONS
from mmcert.errors import ConfigError, RecordError, UnsoundError
from mmcert.theory.difference import largest_margin

SCHEME = IndependentSubsampling.from_counts({"rgb": 200, "depth": 200}, {"rgb": 12, "depth": 3})


# published: the API judges each element by itself, evaluate an image with Holm
@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "published"])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("labelled", [True, False])
def test_an_image_gets_the_same_from_the_api_and_from_evaluate(
    random_votes, name, classes, labelled
):
    votes = random_votes("segmentation", samples=1, classes=classes, draws=150, unlabelled=False)
    budgets = [{"rgb": r, "depth": r} for r in (0, 2, 4)]
    claim = "robust" if labelled else "stable"
    settings = {"method": "two_bounds"} if name == "margin" else {}
    document = evaluate(
        votes, votes.meta, budgets=budgets, statistics={name: settings}, claims=[claim]
    )
    result = certify(
        votes[0].counts,
        votes[0].scheme,
        [Attack(budget) for budget in budgets],
        labels=votes[0].target if labelled else None,
        statistics=name,
        options=settings,
    )
    key = "certified_pixel_accuracy" if labelled else "stable_rate"
    values = [point[key] for point in document["results"][0]["grid"]]
    assert values == pytest.approx((result.at_least / 42).tolist())
    assert values[0] > 0
    assert result.claim == claim
    assert (result.certified is None) == (name == "closed_evalues")
    if result.certified is not None:
        assert result.certified.shape == (3, 6, 7)
    assert result.joint_over_attacks == (document["results"][0]["over_budgets"] == "joint")


def test_one_input_is_certified_by_the_sharper_margin_test():
    counts = [80, 10, 6, 4]
    result = certify(counts, SCHEME, Attack({"rgb": 2}), labels=0, statistics="margin")
    assert float(result.lower_bound) == largest_margin(counts, 0, 100, 0.001)
    assert result.certified.shape == ()


def test_all_sub_samples_counted_give_certainty():
    scheme = IndependentSubsampling.from_counts({"a": 5}, {"a": 2})
    attacks = [Attack({"a": r}) for r in (0, 1)]
    result = certify([9, 1], scheme, attacks, labels=0, statistics="exhaustive")
    assert result.certified.tolist() == [True, False]
    assert result.alpha == 0
    assert certify([10, 0], scheme, attacks[1], statistics="exhaustive").certified
    with pytest.raises(RecordError, match="all 10 sub-samples"):
        certify([90, 10], scheme, attacks[0], labels=0, statistics="exhaustive")


def test_selection_votes_choose_the_label_and_cost_nothing():
    votes = [[45, 60], [15, 0]]  # P(Bin(60, 1/2) >= 45) = 6.7e-5
    free = certify(votes, SCHEME, Attack({}), 1e-4, selection_votes=[[5, 0], [0, 5]])
    assert free.labels.tolist() == [0, 1]
    assert free.certified.tolist() == [True, False]
    paid = certify(votes, SCHEME, Attack({}), 1e-4)
    assert paid.labels.tolist() == [0, 0]
    assert paid.certified.tolist() == [False, True]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.9, 0.1], SCHEME, Attack({})), RecordError, "integers"),
        (([10], SCHEME, Attack({})), RecordError, "shape"),
        (([11, -1], SCHEME, Attack({})), RecordError, "negative"),
        (([[5, 6], [5, 5]], SCHEME, Attack({})), RecordError, "same number of votes"),
        (([0, 0], SCHEME, Attack({})), RecordError, "at least 1"),
        (([5, 5], SCHEME, []), ConfigError, "no attack"),
        (([5, 5], SCHEME, Attack({"lidar": 1})), ConfigError, "lidar"),
        (([5, 5], SCHEME, Attack({}), 0.9), ConfigError, "alpha"),
    ],
)
def test_what_cannot_be_gets_a_clear_error(arguments, error, message):
    with pytest.raises(error, match=message):
        certify(*arguments)


def test_labels_that_cannot_be_get_a_clear_error():
    for labels, message in ((2, "0..1"), (-1, "0..1"), ([0], "shape"), (0.0, "integers")):
        with pytest.raises(RecordError, match=message):
            certify([5, 5], SCHEME, Attack({}), labels=labels)
    with pytest.raises(ConfigError, match="not both"):
        certify([5, 5], SCHEME, Attack({}), labels=0, selection_votes=[1, 0])
    with pytest.raises(RecordError, match="selection_votes have shape"):
        certify([5, 5], SCHEME, Attack({}), selection_votes=[[1], [0]])
    with pytest.raises(ConfigError, match="unknown statistics"):
        certify([5, 5], SCHEME, Attack({}), labels=0, statistics="best")
    scheme = mmcert.AlignedSubsampling.from_counts({"a": 4, "b": 4}, {"a": 1, "b": 1})
    with pytest.raises(UnsoundError):
        certify([5, 5], scheme, Attack({"a": 1}, "deletion"), labels=0)


def test_the_scheme_decides_which_budget_is_cheap():
    pooled = PooledSubsampling.from_counts({"rgb": 200, "depth": 200}, {"rgb": 12, "depth": 3})
    votes, attack = np.array([2, 998]), Attack({"depth": 12})
    ours = certify(votes, SCHEME, attack, labels=1)
    theirs = certify(votes, pooled, attack, labels=1)
    assert ours.threshold < theirs.threshold


def test_import_mmcert_is_light_and_lists_its_names():
    code = (
        "import sys, mmcert\n"
        "assert not {'torch', 'scipy', 'numpy', 'pyarrow'} & set(sys.modules), 'heavy'\n"
        "assert {'certify', 'Attack', 'draw_subsets'} <= set(dir(mmcert))\n"
        "from mmcert import certify, evaluate\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="nothing"):
        _ = mmcert.nothing


def test_a_million_draws_take_no_million_bounds():
    began = time.perf_counter()
    one = certify([970_000, 30_000], SCHEME, Attack({"rgb": 1}), labels=0)
    assert 0.969 < float(one.lower_bound) < 0.97
    assert one.certified
    assert time.perf_counter() - began < 5
