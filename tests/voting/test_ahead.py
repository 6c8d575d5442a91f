import threading
import time

import pytest

from mmcert.voting.ahead import Ahead


def test_the_next_value_is_made_while_the_current_one_is_used():
    made = []
    ahead = Ahead(lambda key: made.append(key) or key)
    ahead.expect(range(10))
    assert ahead(0) == 0
    deadline = time.monotonic() + 10
    while made != [0, 1] and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert made == [0, 1], "one step ahead, and no further: memory stays flat"


def test_what_making_raises_is_raised_where_the_value_is_asked_for():
    def make(key):
        if key == 1:
            raise OSError("unreadable")
        return key

    ahead = Ahead(make)
    ahead.expect([0, 1, 2])
    assert ahead(0) == 0
    with pytest.raises(OSError, match="unreadable"):
        ahead(1)


def test_one_thread_makes_everything_one_thing_at_a_time():
    threads, running = set(), []

    def make(key):
        running.append(key)
        assert running == [key]
        threads.add(threading.get_ident())
        time.sleep(0.001)
        running.remove(key)
        return key

    ahead = Ahead(make)
    ahead.expect(range(20))
    assert [ahead(key) for key in (0, 1, 99, 2, 98, 3)] == [0, 1, 99, 2, 98, 3]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_a_new_order_replaces_the_old_one():
    ahead = Ahead(lambda key: key)
    ahead.expect([1, 2])
    ahead.expect([5, 6])
    assert [ahead(5), ahead(6), ahead(1)] == [5, 6, 1]
