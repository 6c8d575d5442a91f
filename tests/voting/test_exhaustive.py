import itertools
import math

import numpy as np
import pytest

from mmcert.errors import ConfigError
from mmcert.theory.schemes import SCHEMES
from mmcert.voting.exhaustive import (
    check_limit,
    colex_positions,
    enumeration_hash,
    numbered_subsets,
)


@pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (5, 0), (5, 5), (7, 3), (9, 2)])
def test_every_subset_has_one_number(n, k):
    found = colex_positions(n, k, np.arange(math.comb(n, k)))
    expected = sorted(itertools.combinations(range(n), k), key=lambda c: c[::-1])
    assert [tuple(row) for row in found] == expected


@pytest.mark.parametrize("name", list(SCHEMES))
def test_the_enumeration_holds_every_sub_sample_of_a_scheme_once(name):
    scheme = SCHEMES[name].from_counts({"a": 5, "b": 5}, {"a": 2, "b": 2})
    total = check_limit(scheme, 1000, "x")
    subsets = numbered_subsets(scheme, range(total))
    rows = np.concatenate([subset.mask.numpy() for subset in subsets.values()], axis=1)
    assert len({row.tobytes() for row in rows}) == total
    for subset in subsets.values():
        if subset.indices is not None:
            picked = subset.mask.gather(1, subset.indices)
            assert picked.all()
            assert picked.shape[1] == subset.mask[0].sum()


def test_numbers_beyond_the_last_start_again_so_that_a_block_can_be_padded():
    scheme = SCHEMES["mmcert"].from_counts({"a": 4, "b": 3}, {"a": 2, "b": 1})
    subsets = numbered_subsets(scheme, range(16, 20))
    again = numbered_subsets(scheme, [16, 17, 0, 1])
    assert all((subsets[name].mask == again[name].mask).all() for name in subsets)


def test_too_many_sub_samples_are_refused_with_the_number():
    scheme = SCHEMES["mmcert"].from_counts({"a": 30}, {"a": 10})
    with pytest.raises(ConfigError, match=r"'clip1' has 3.005e\+07 sub-samples.*voting.limit=1000"):
        check_limit(scheme, 1000, "clip1")
    with pytest.raises(ConfigError, match="more than 1e300"):
        check_limit(SCHEMES["mmcert"].from_counts({"a": 4000}, {"a": 2000}), 1000, "clip1")


def test_the_hash_names_the_enumeration():
    small = SCHEMES["mmcert"].from_counts({"a": 4, "b": 3}, {"a": 2, "b": 1})
    large = SCHEMES["mmcert"].from_counts({"a": 5, "b": 3}, {"a": 2, "b": 1})
    pooled = SCHEMES["randomized_ablation"].from_counts({"a": 4, "b": 3}, {"a": 2, "b": 1})
    hashes = [enumeration_hash([s]) for s in (small, large, pooled)]
    assert len(set(hashes)) == 3
    assert enumeration_hash([small, large, small]) == enumeration_hash([large, small])
    # A golden value: the order is part of the format.
    assert hashes[0] == GOLDEN


GOLDEN = "af4ce6475d9fab7b95e4ebd39aa9a7c169529a91c087a4626bbdf9917dde96a1"
