import random

import pytest

from mmcert.voting.plan import (
    Segment,
    exact_cover,
    missing_segments,
    plan_units,
    segments_of,
    share,
)

DRAWS = {"test": 50, "select": 7}
TEN = {name: {"test": 10} for name in "abc"}


def counted_once(segments, draws):
    seen = sorted((s.stream, d) for s in segments for d in range(s.start, s.stop))
    return seen == sorted((stream, d) for stream, n in draws.items() for d in range(n))


@pytest.mark.parametrize("length", [1, 4, 13, 57, 1000])
def test_segments_count_every_draw_once_and_start_at_block_boundaries(length):
    segments = segments_of(DRAWS, block=4, length=length)
    assert counted_once(segments, DRAWS)
    assert all(s.start % 4 == 0 for s in segments)


def test_whatever_was_finished_before_a_kill_the_rest_is_planned_and_only_the_rest():
    chance = random.Random(0)
    for _ in range(200):
        block = chance.choice([1, 3, 4, 8])
        first = segments_of(DRAWS, block, chance.randint(1, 60))
        done = chance.sample(first, chance.randint(0, len(first)))
        left = missing_segments(DRAWS, done, block, chance.randint(1, 60))
        assert counted_once([*done, *left], DRAWS)
        assert all(s.start % block == 0 for s in left)


def test_overlapping_segments_of_two_interrupted_runs_are_counted_once():
    chance = random.Random(1)
    for _ in range(200):
        pool = segments_of(DRAWS, 4, chance.randint(1, 60))
        others = segments_of(DRAWS, 4, chance.randint(1, 60))
        pool += chance.sample(others, chance.randint(0, len(others)))
        chance.shuffle(pool)
        cover = exact_cover(DRAWS, list(dict.fromkeys(pool)))
        assert cover is not None
        assert counted_once(cover, DRAWS)


def test_no_cover_where_a_draw_is_missing():
    assert exact_cover({"test": 8}, [Segment("test", 0, 4)]) is None
    assert exact_cover({"test": 8}, [Segment("test", 0, 4), Segment("test", 5, 8)]) is None


def test_finished_samples_are_left_alone_and_the_processes_share_the_rest():
    done = {"a": None, "b": [Segment("test", 0, 4)]}
    units = plan_units("abc", done, draws=TEN, block=4, length=4)
    assert {u.sample_id for u in units} == {"b", "c"}
    shares = [share(units, rank, 3) for rank in range(3)]
    assert sorted(u.segments for part in shares for u in part) == sorted(u.segments for u in units)


def test_a_sample_whose_merge_was_interrupted_is_merged():
    done = {"a": [Segment("test", 0, 8), Segment("test", 8, 10)]}
    assert plan_units("a", done, draws=TEN, block=4, length=4)[0].segments == ()
