import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from mmcert.errors import ConfigError
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import (
    AlignedSubsampling,
    IndependentSubsampling,
    PooledSubsampling,
)

SCHEMES = [IndependentSubsampling, PooledSubsampling, AlignedSubsampling]
SMALL = ({"rgb": 12, "depth": 12}, {"rgb": 5, "depth": 2})


def draw(scheme, draws, *, seed=7, sample_id="um_000000", stream="test"):
    return draw_subsets(scheme, seed=seed, sample_id=sample_id, stream=stream, draws=draws)


def codes(subset):
    """Each draw's subset as one integer."""
    return subset.mask.numpy() @ (1 << np.arange(subset.mask.shape[1]))


def independent(codes_a, codes_b):
    """p-value of the chi-square test of independence of two sequences of subsets."""
    table = np.zeros((codes_a.max() + 1, codes_b.max() + 1), int)
    np.add.at(table, (codes_a, codes_b), 1)
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    return stats.chi2_contingency(table).pvalue


GOLDEN = {
    IndependentSubsampling: {
        "rgb": ["101010000110", "000011010011", "001110100010"],
        "depth": ["000001000100", "010000000100", "000000101000"],
    },
    PooledSubsampling: {
        "rgb": ["010101000000", "110010000001", "110100000010"],
        "depth": ["010100010001", "001101000000", "010010000001"],
    },
    AlignedSubsampling: {
        "rgb": ["000000010101", "100001001000", "100000100001"],
        "depth": ["000000010101", "100001001000", "100000100001"],
    },
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_draws_are_pinned_by_golden_values(scheme):
    subsets = draw(scheme.from_counts(*SMALL), range(3), stream="select")
    found = {
        name: ["".join(str(int(bit)) for bit in row) for row in subset.mask.tolist()]
        for name, subset in subsets.items()
    }
    assert found == GOLDEN[scheme]


def test_draws_at_the_size_of_kitti_are_pinned_by_golden_values():
    scheme = IndependentSubsampling.from_counts(
        {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996}
    )
    subsets = draw(scheme, [0, 99999], seed=1, sample_id="um_000001")
    rgb, depth = subsets["rgb"].indices, subsets["depth"].indices
    assert rgb[:, :4].tolist() == [[16, 71, 270, 300], [20, 103, 155, 168]]
    assert depth[:, :4].tolist() == [[48, 669, 854, 917], [276, 560, 824, 1440]]
    assert rgb.sum(1).tolist() == [2109494836, 2082062298]
    assert depth.sum(1).tolist() == [237014328, 232841375]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_draw_does_not_depend_on_batch_size_or_order(scheme):
    scheme = scheme.from_counts({"a": 40, "b": 40}, {"a": 9, "b": 4})
    whole = draw(scheme, range(50))
    order = np.random.default_rng(0).permutation(50).tolist()
    shuffled = draw(scheme, order)
    singles = [draw(scheme, [d]) for d in range(50)]
    for name in ("a", "b"):
        assert torch.equal(shuffled[name].mask, whole[name].mask[order])
        assert torch.equal(torch.cat([s[name].mask for s in singles]), whole[name].mask)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_draws_in_a_batch_differ_and_retain_the_schemes_own_counts(scheme):
    scheme = scheme.from_counts({"a": 500, "b": 500}, {"a": 100, "b": 30})
    subsets = draw(scheme, range(200))
    for pool in scheme.pools():
        if pool.shared:
            counts = subsets["a"].mask.sum(1)
        else:
            counts = sum(subsets[name].mask.sum(1) for name in pool.names)
        assert (counts == pool.k).all()
    for subset in subsets.values():
        assert len({row.numpy().tobytes() for row in subset.mask}) == 200


def test_indices_are_the_sorted_positions_of_the_mask():
    scheme = IndependentSubsampling.from_counts({"a": 30, "b": 30}, {"a": 7, "b": 25})
    for subset in draw(scheme, range(20)).values():
        expected = [row.nonzero()[:, 0].tolist() for row in subset.mask]
        assert subset.indices.dtype == torch.int64
        assert subset.indices.tolist() == expected


def test_a_pool_of_two_modalities_has_no_equal_indices():
    scheme = PooledSubsampling.from_counts(*SMALL)
    assert all(subset.indices is None for subset in draw(scheme, range(4)).values())


def test_the_aligned_scheme_shares_one_mask():
    subsets = draw(AlignedSubsampling.from_counts(*SMALL), range(10))
    assert torch.equal(subsets["rgb"].mask, subsets["depth"].mask)
    assert (subsets["rgb"].mask.sum(1) == 3).all()


def test_k_of_zero_and_of_n_are_the_empty_and_the_full_subset():
    scheme = IndependentSubsampling.from_counts({"a": 9, "b": 9}, {"a": 0, "b": 9})
    subsets = draw(scheme, range(5))
    assert not subsets["a"].mask.any()
    assert subsets["a"].indices.shape == (5, 0)
    assert subsets["b"].mask.all()
    assert subsets["b"].indices.tolist() == [list(range(9))] * 5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_sub_sample_of_a_scheme_is_equally_likely(scheme):
    scheme = scheme.from_counts({"a": 4, "b": 4}, {"a": 2, "b": 1})
    subsets = draw(scheme, range(30_000))
    joint = codes(subsets["a"]) * 16 + codes(subsets["b"])
    observed = np.bincount(joint)
    sub_samples = np.prod(
        [len(list(itertools.combinations(range(p.n), p.k))) for p in scheme.pools()]
    )
    assert (observed > 0).sum() == sub_samples
    assert stats.chisquare(observed[observed > 0]).pvalue > 1e-4


def test_the_pool_splits_over_modalities_hypergeometrically():
    scheme = PooledSubsampling.from_counts({"a": 30, "b": 10}, {"a": 6, "b": 3})
    counts = draw(scheme, range(30_000))["b"].mask.sum(1).numpy()
    law = stats.hypergeom(40, 10, 9).pmf(np.arange(10)) * 30_000
    observed = np.bincount(counts, minlength=10)
    # Rare splits together, so that every cell expects more than five.
    merged = np.append(observed[:6], observed[6:].sum()), np.append(law[:6], law[6:].sum())
    assert stats.chisquare(*merged).pvalue > 1e-4


def test_modalities_draws_samples_streams_and_seeds_are_independent():
    scheme = IndependentSubsampling.from_counts({"a": 5, "b": 5}, {"a": 2, "b": 2})
    size = 20_000
    base = draw(scheme, range(size))
    a = codes(base["a"])
    others = {
        "modality": codes(base["b"]),
        "next draw": np.roll(a, 1),
        "sample": codes(draw(scheme, range(size), sample_id="um_000001")["a"]),
        "stream": codes(draw(scheme, range(size), stream="select")["a"]),
        "seed": codes(draw(scheme, range(size), seed=8)["a"]),
    }
    pvalues = {name: independent(a, other) for name, other in others.items()}
    assert min(pvalues.values()) > 1e-3, pvalues


@pytest.mark.parametrize("draws", [[-1], [2**63], range(-1, 3), range(2, -2, -1)])
def test_draw_numbers_out_of_range_are_refused(draws):
    with pytest.raises(ConfigError, match="draw numbers"):
        draw(IndependentSubsampling.from_counts(*SMALL), draws)


def test_a_fractional_draw_number_is_refused():
    with pytest.raises(ConfigError, match="draw numbers"):
        draw(IndependentSubsampling.from_counts(*SMALL), [0.5])


def test_no_draws_give_empty_masks():
    subsets = draw(IndependentSubsampling.from_counts(*SMALL), [])
    assert subsets["rgb"].mask.shape == (0, 12)


def test_too_many_elements_are_refused():
    scheme = IndependentSubsampling.from_counts({"a": 2**31}, {"a": 1})
    with pytest.raises(ConfigError, match="2147483647"):
        draw(scheme, [0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_device_draws_the_same_subsets(scheme):
    scheme = scheme.from_counts({"a": 5000, "b": 5000}, {"a": 900, "b": 100})
    cpu = draw(scheme, range(64))
    cuda = draw_subsets(
        scheme, seed=7, sample_id="um_000000", stream="test", draws=range(64), device="cuda"
    )
    for name in ("a", "b"):
        assert cuda[name].mask.device.type == "cuda"
        assert torch.equal(cuda[name].mask.cpu(), cpu[name].mask)
