"""When sequential voting stops, on votes made by hand."""

import numpy as np
import pytest

from mmcert.certification.evaluate import evaluate
from mmcert.records.votes import SampleVotes, VotesMeta
from mmcert.theory.schemes import SCHEMES
from mmcert.voting.sequential import best_case, decided, reached
from mmcert.voting.settings import StoppingRule

SCHEME = SCHEMES["mmcert"].from_counts({"a": 100, "b": 50}, {"a": 5, "b": 3})
CLIP = VotesMeta("classification", "mmcert", SCHEME.modalities, 1000, 3, voting="sequential")
IMAGE = VotesMeta("segmentation", "mmcert", SCHEME.modalities, 1000, 2, voting="sequential")


def rule(metric="certified_accuracy", level=1.0, **statistics):
    budget = {"a": 2, "b": 1}
    return StoppingRule(budget, {}, metric, level, 0.001, statistics, 10)


def clip(*counts, target=0, **more):
    counts = np.array(counts)
    label = None if target is None else np.array(target)
    return SampleVotes("c", counts, label, int(counts.sum()), SCHEME, **more)


def image(votes_for_truth, draws, target):
    own = np.asarray(votes_for_truth)
    counts = np.where(np.arange(2)[:, None, None] == target, own, draws - own)
    return SampleVotes("i", counts, target, draws, SCHEME)


def test_a_clip_stops_as_soon_as_its_martingale_certifies_the_target():
    stops = [reached(clip(n, 0, 0), CLIP, rule()) for n in range(1, 60)]
    assert stops == sorted(stops)
    first = stops.index(True) + 1
    assert 20 <= first <= 40  # fixed-N binomial needs at least 20 unanimous votes here
    assert not decided(clip(first - 1, 0, 0), CLIP, rule(), left=1000)
    assert decided(clip(first, 0, 0), CLIP, rule(), left=1000)


def test_a_clip_whose_label_cannot_win_any_more_stops_without_a_claim():
    lost = clip(100, 700, 0)
    assert decided(lost, CLIP, rule(), left=200)
    assert not reached(best_case(lost, 200), CLIP, rule())
    assert not decided(lost, CLIP, rule(), left=10_000)


def test_without_a_label_the_leading_one_may_be_certified_stable():
    assert reached(clip(0, 90, 0, target=None), CLIP, rule())
    assert not reached(clip(30, 60, 0, target=None), CLIP, rule())


def test_the_label_of_selection_draws_is_the_one_that_counts():
    chosen = {"selection_counts": np.array([0, 1, 9]), "selection_draws": 10}
    assert not reached(clip(90, 0, 0, target=None, **chosen), CLIP, rule())
    assert reached(clip(0, 0, 90, target=None, **chosen), CLIP, rule())
    assert best_case(clip(9, 0, 0, target=None, **chosen), 5).counts.tolist() == [9, 0, 5]


def test_an_image_stops_at_its_f_score():
    target = np.zeros((10, 20), int)
    target[5:] = 1
    sure = np.full(target.shape, 60)
    sure[:, :2] = 20  # a tenth of the pixels is wrong
    wanted = rule("certified_f_score", 0.85, family="sample")
    assert reached(image(sure, 60, target), IMAGE, wanted)
    assert not reached(
        image(sure, 60, target), IMAGE, rule("certified_f_score", 0.97, family="sample")
    )
    assert not reached(image(sure // 6, 10, target), IMAGE, wanted)


def test_unlabelled_pixels_do_not_keep_an_image_from_stopping():
    target = np.full((4, 5), 255)
    target[0] = 1
    votes = image(np.full(target.shape, 80), 80, np.where(target == 255, 0, target))
    votes = SampleVotes("i", votes.counts, target, 80, SCHEME)
    assert reached(votes, IMAGE, rule("certified_f_score", 0.9, family="sample"))
    assert best_case(votes, 3).counts.sum(0).min() == 83


@pytest.mark.slow
def test_stopping_by_the_votes_claims_falsely_no_more_often_than_alpha():
    """At the worst-case null (p_y = t exactly) 400 clips that look after every 10 draws."""
    alpha = 0.05
    wanted = StoppingRule({"a": 2, "b": 1}, {}, "certified_accuracy", 1.0, alpha, {}, 10)
    document = evaluate(
        [clip(10, 0)], two_classes(), budgets=[wanted.budget], alpha=alpha, maps=False
    )
    t = document["thresholds"][0]["t"][0]
    chance = np.random.default_rng(0)
    false = 0
    for _ in range(400):
        votes = np.cumsum(chance.random(300) < t)
        for draws in range(10, 301, 10):
            own = int(votes[draws - 1])
            if reached(clip(own, draws - own), two_classes(), wanted):
                false += 1
                break
    assert false <= 32  # P(Bin(400, .05) > 32) < .005


def two_classes():
    return VotesMeta("classification", "mmcert", SCHEME.modalities, 300, 2, voting="sequential")
