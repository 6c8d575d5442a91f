"""The search over retained counts: where it goes, and when it stops."""

import math

import pytest

from mmcert.jobs.plan_search import Search, coordinates, retained


def hill(top):
    """A smooth score with its top at the given counts."""

    def score(counts):
        return -sum(math.log(c / t) ** 2 for c, t in zip(counts, top, strict=True))

    return score


@pytest.mark.parametrize("top", [(1500, 180), (500, 400), (3000, 20)])
def test_the_best_counts_are_found_within_the_finest_step(top):
    search = Search((9000, 1000), (465750, 465750), hill(top))
    assert search.run()
    assert search.best is not None
    assert all(
        abs(math.log2(found / wanted)) < 0.3 for found, wanted in zip(search.best, top, strict=True)
    )
    assert len(search.scores) < 70


def test_small_counts_move_by_single_elements():
    search = Search((3, 3), (108, 108), hill((2, 2)))
    assert search.run()
    assert search.best == (2, 2)


def test_no_point_is_asked_for_twice():
    asked = []
    search = Search((64,), (100,), lambda counts: asked.append(counts) or -abs(counts[0] - 20))
    assert search.run()
    assert len(asked) == len(set(asked))


def test_the_best_so_far_stands_when_the_time_is_over():
    left = iter([0.1, 0.5])
    search = Search((64,), (100,), lambda counts: next(left, None))
    assert not search.run()
    assert search.best == (32,)


def test_wishes_are_tried_too():
    search = Search((64,), (100,), lambda counts: 1.0 if counts == (7,) else 0.0)
    search.start_from((7,))
    assert search.run()
    assert search.best == (7,)


def test_of_equal_counts_the_one_that_shows_less_is_the_best():
    search = Search((8,), (100,), lambda counts: 0.5)
    assert search.run()
    assert search.best == (1,)


@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation", "randomized_ablation_aligned"])
def test_a_point_of_the_search_is_a_scheme(scheme):
    n, k = {"image": 30, "audio": 30}, {"image": 6, "audio": 4}
    start, most = coordinates(scheme, k, n)
    assert retained(scheme, most, n) == n
    assert sum(retained(scheme, start, n).values()) == 10
