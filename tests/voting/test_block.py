import pytest

from mmcert.errors import MmcertError
from mmcert.voting.block import LONGEST, Trial, largest_that_pays


def found(trials, *, most=1000, memory=1e9):
    tried = []

    def measure(block):
        tried.append(block)
        return trials.get(block)

    return largest_that_pays(measure, most=most, memory=memory)[0], tried


def test_a_block_that_makes_draws_no_faster_does_not_pay():
    same = {1 << i: Trial(1.0, 1) for i in range(10)}
    assert found(same) == (1, [1, 2, 4])


def test_a_slow_moment_does_not_end_the_search():
    seconds = {1: 1.0, 2: 1.1, 4: 0.6, 8: 0.59, 16: 0.59}
    assert found({b: Trial(s, 1) for b, s in seconds.items()})[0] == 4


def test_a_block_that_does_not_fit_is_the_end():
    assert found({1: Trial(1.0, 1), 2: Trial(0.5, 1)}) == (2, [1, 2, 4])


def test_a_block_that_would_not_fit_is_never_tried():
    """The system ends a process that takes too much; nobody could catch that."""
    trials = {b: Trial(1 / b, 100 * b) for b in (1, 2, 4, 8)}
    assert found(trials, memory=500) == (4, [1, 2, 4])


def test_no_block_is_larger_than_the_draws_or_longer_than_a_segment():
    trials = {1 << i: Trial(2.0**-i, 1) for i in range(10)}
    assert found(trials, most=6) == (4, [1, 2, 4])
    slow = {b: Trial(LONGEST / b**0.5, 1) for b in (1, 2, 4, 8)}
    assert max(found(slow)[1]) <= 4


def test_a_model_that_does_not_fit_at_all_says_so():
    with pytest.raises(MmcertError, match="not even one draw"):
        found({})
