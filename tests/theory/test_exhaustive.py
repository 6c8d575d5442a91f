import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from mmcert.errors import RecordError
from mmcert.theory.attacks import Attack
from mmcert.theory.exhaustive import exhaustively_certified, lead, sub_samples, votes_needed
from mmcert.theory.schemes import (
    AlignedSubsampling,
    IndependentSubsampling,
    PooledSubsampling,
)


def subsets(pools):
    return set(itertools.product(*(itertools.combinations(pool, k) for pool, k in pools)))


def worst_case_lead(X_y, X_l, S, after, common):
    """The attacker relabels: what was lost voted y, what is new votes l. Sizes only."""
    lost = S - common
    kept_y = X_y - min(X_y, lost)
    kept_l = X_l - max(0, lost - X_y)
    return kept_y - (kept_l + after - common)


CASES = [
    ({"a": 4}, {"a": 2}),
    ({"a": 5}, {"a": 1}),
    ({"a": 4, "b": 3}, {"a": 2, "b": 1}),
    ({"a": 3, "b": 3}, {"a": 1, "b": 1}),
    ({"a": 2, "b": 2, "c": 3}, {"a": 1, "b": 1, "c": 2}),
    ({"a": 3, "b": 4}, {"a": 3, "b": 0}),
]


@pytest.mark.parametrize("kind", ["modification", "addition", "deletion"])
@pytest.mark.parametrize(("n", "k"), CASES)
def test_the_integer_condition_is_what_enumerating_sub_samples_says(n, k, kind):
    scheme = IndependentSubsampling.from_counts(n, k)
    before = subsets([([(name, i) for i in range(n[name])], k[name]) for name in n])
    S = sub_samples(scheme)
    assert len(before) == S
    for budget in itertools.product(*(range(min(3, n[name]) + 1) for name in n)):
        r = dict(zip(n, budget, strict=True))
        pools = []
        for name in n:
            old = [(name, i) for i in range(n[name])]
            if kind == "addition":
                new = old + [(name, "new", i) for i in range(r[name])]
            elif kind == "deletion":
                new = old[r[name] :]
            else:
                new = old[r[name] :] + [(name, "new", i) for i in range(r[name])]
            pools.append((new, k[name]))
        attack = Attack(r, kind)
        if any(len(pool) < size for pool, size in pools):
            assert votes_needed(scheme, attack) == S
            continue
        after = subsets([(sorted(pool, key=str), size) for pool, size in pools])
        key = {frozenset(itertools.chain(*sub)) for sub in after}
        common = len(key & {frozenset(itertools.chain(*sub)) for sub in before})
        needed = (S - common) + (len(after) - common)
        assert votes_needed(scheme, attack) == min(needed, S)
        # Sound and tight: y still leads after the worst relabelling iff its lead exceeds `needed`.
        for X_y in range(S + 1):
            X_l = S - X_y
            survives = worst_case_lead(X_y, X_l, S, len(after), common) > 0
            certified = bool(exhaustively_certified([X_y, X_l], 0, scheme, attack))
            assert certified == survives


@pytest.mark.parametrize(
    "scheme",
    [
        PooledSubsampling.from_counts({"a": 4, "b": 3}, {"a": 2, "b": 1}),
        AlignedSubsampling.from_counts({"a": 5, "b": 5}, {"a": 2, "b": 2}),
        IndependentSubsampling.from_counts({"a": 9, "b": 6}, {"a": 2, "b": 2}),
    ],
)
def test_votes_needed_are_the_exact_margin_times_the_number_of_sub_samples(scheme):
    S = sub_samples(scheme)
    for r in itertools.product(range(4), range(4)):
        attack = Attack(dict(zip("ab", r, strict=True)))
        assert Fraction(votes_needed(scheme, attack), S) == scheme.margin(attack)


def test_three_classes_are_decided_by_the_rival_with_most_votes():
    scheme = IndependentSubsampling.from_counts({"a": 10}, {"a": 1})
    attack = Attack({"a": 2})  # needs a lead of more than 4
    votes = np.array([[7, 7, 6], [2, 3, 1], [1, 0, 3]])
    got = exhaustively_certified(votes, np.zeros(3, dtype=int), scheme, attack)
    assert got.tolist() == [True, False, False]
    assert lead(votes, np.array([0, 1, 2])).tolist() == [5, -4, -3]


def test_a_map_of_pixels_is_certified_pixel_by_pixel():
    scheme = IndependentSubsampling.from_counts({"a": 6}, {"a": 2})
    S = math.comb(6, 2)
    rng = np.random.default_rng(0)
    own = rng.integers(0, S + 1, (5, 7))
    votes = np.stack([own, S - own])
    target = rng.integers(0, 2, (5, 7))
    got = exhaustively_certified(votes, target, scheme, Attack({"a": 1}))
    for index in np.ndindex(5, 7):
        alone = exhaustively_certified(
            votes[(slice(None), *index)], target[index], scheme, Attack({"a": 1})
        )
        assert bool(alone) == got[index]


def test_without_an_attack_a_tie_is_not_a_win():
    scheme = IndependentSubsampling.from_counts({"a": 4}, {"a": 1})
    assert not exhaustively_certified([2, 2], 0, scheme, Attack({"a": 0}))
    assert exhaustively_certified([3, 1], 0, scheme, Attack({"a": 0}))


def test_sampled_counts_are_refused():
    scheme = IndependentSubsampling.from_counts({"a": 10}, {"a": 2})
    with pytest.raises(RecordError, match="all 45 sub-samples"):
        exhaustively_certified([90, 10], 0, scheme, Attack({"a": 1}))


@pytest.mark.parametrize(("counts", "y"), [([10], 0), ([5, 5], 2), ([5, 5], -1)])
def test_labels_and_shapes_that_make_no_sense_are_refused(counts, y):
    with pytest.raises(RecordError):
        lead(counts, y)
