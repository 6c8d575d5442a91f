"""The frontier of certified budgets."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcert.theory.frontier import maximal_budgets


def dominates(a, b):
    return a != b and all(a[name] >= b[name] for name in a)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=25),
    st.data(),
)
def test_the_frontier_is_what_no_other_certified_budget_dominates(sizes, data):
    budgets = [dict(zip("abc", size, strict=True)) for size in sizes]
    certified = [data.draw(st.booleans()) for _ in budgets]
    held = [budget for budget, holds in zip(budgets, certified, strict=True) if holds]
    frontier = maximal_budgets(budgets, certified)
    assert all(budget in held for budget in frontier)
    assert len({tuple(b.values()) for b in frontier}) == len(frontier)
    for budget in held:
        assert (budget in frontier) != any(dominates(other, budget) for other in held)


def test_everything_certified_has_the_corner_of_the_grid_as_its_frontier():
    grid = [{"rgb": a, "depth": b} for a, b in itertools.product(range(50), range(50))]
    assert maximal_budgets(grid, [True] * 2500) == [{"rgb": 49, "depth": 49}]
    chain = [b["rgb"] + b["depth"] <= 49 for b in grid]
    assert len(maximal_budgets(grid, chain)) == 50


def test_nothing_certified_is_an_empty_frontier():
    assert maximal_budgets([{"a": 0}, {"a": 1}], [False, False]) == []
    assert maximal_budgets([], []) == []


def test_a_modality_that_is_not_named_has_budget_zero():
    assert maximal_budgets([{"a": 1}, {"b": 1}], [True, True]) == [
        {"a": 0, "b": 1},
        {"a": 1, "b": 0},
    ]


def test_every_budget_needs_its_certificate():
    with pytest.raises(ValueError, match="2 budgets, but 1"):
        maximal_budgets([{"a": 0}, {"a": 1}], [True])
