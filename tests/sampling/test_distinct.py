import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from mmcert.sampling import distinct, distinct_compiled, streams


def keys_of(size, key=5):
    return streams.draw_keys(np.array([key], np.uint64), np.arange(size))


def torch_masks(keys, n, k):
    """The device's way of drawing, on the CPU."""
    mask, indices, complete = distinct.uniform_masks_torch(
        torch.from_numpy(keys.view(np.int64)), n, k
    )
    assert complete
    return mask, indices


SIZES = [(1, 0), (1, 1), (7, 0), (7, 7), (7, 3), (7, 4), (8, 4), (50, 5), (50, 49), (784, 60)]


@pytest.mark.parametrize(("n", "k"), SIZES)
def test_numpy_torch_and_a_plain_python_loop_draw_the_same_subsets(n, k, reference):
    keys = keys_of(40)
    mask, indices = distinct.uniform_masks(keys, n, np.full(40, k))
    assert [row.tolist() for row in indices] == [reference.subset(int(q), n, k) for q in keys]
    assert [np.flatnonzero(row).tolist() for row in mask] == indices.tolist()
    other_mask, other_indices = torch_masks(keys, n, np.full(40, k))
    assert np.array_equal(other_mask.numpy(), mask)
    assert np.array_equal(other_indices.numpy(), indices)


@pytest.mark.parametrize(("n", "k"), [(465750, 8988), (465750, 996), (30720, 15361), (9000, 4500)])
def test_image_sizes_retain_exactly_k_and_agree_with_torch(n, k):
    keys = keys_of(3)
    mask, indices = distinct.uniform_masks(keys, n, np.full(3, k))
    assert mask.sum(axis=1).tolist() == [k] * 3
    assert all(np.array_equal(np.flatnonzero(m), i) for m, i in zip(mask, indices, strict=True))
    other_mask, other_indices = torch_masks(keys, n, np.full(3, k))
    assert np.array_equal(other_mask.numpy(), mask)
    assert np.array_equal(other_indices.numpy(), indices)


@pytest.mark.parametrize(("n", "k"), [(1, 0), (7, 3), (8, 4), (50, 5), (784, 60), (8000, 4000)])
def test_compiled_code_draws_the_same_subsets(n, k, monkeypatch):
    keys = keys_of(distinct_compiled.FEWEST)
    sizes = np.full(len(keys), k)
    fill = distinct_compiled.compiled()
    assert fill is not None
    called = []
    monkeypatch.setattr(
        distinct_compiled, "compiled", lambda: lambda *args: called.append(1) or fill(*args)
    )
    mask, indices = distinct.uniform_masks(keys, n, sizes)
    assert called
    monkeypatch.setattr(distinct_compiled, "compiled", lambda: None)
    other_mask, other_indices = distinct.uniform_masks(keys, n, sizes)
    assert np.array_equal(mask, other_mask)
    assert np.array_equal(indices, other_indices)


def test_rows_may_retain_different_numbers(reference):
    n = 20
    k = np.arange(21)
    keys = keys_of(21)
    mask, indices = distinct.uniform_masks(keys, n, k)
    assert indices is None
    expected = [reference.subset(int(key), n, int(size)) for key, size in zip(keys, k, strict=True)]
    assert [np.flatnonzero(row).tolist() for row in mask] == expected
    other_mask, other_indices = torch_masks(keys, n, k)
    assert other_indices is None
    assert np.array_equal(other_mask.numpy(), mask)


def test_no_draws_give_empty_arrays():
    mask, indices = distinct.uniform_masks(keys_of(0), 10, np.empty(0, np.int64))
    assert mask.shape == (0, 10)
    assert indices is None or indices.size == 0
    assert torch_masks(keys_of(0), 10, np.empty(0, np.int64))[0].shape == (0, 10)


@pytest.mark.parametrize("n", [3, 5, 6, 7])
def test_every_subset_of_a_small_set_is_equally_likely(n):
    draws = 40_000
    for k in range(1, n):
        mask, _ = distinct.uniform_masks(keys_of(draws, key=100 * n + k), n, np.full(draws, k))
        codes = mask @ (1 << np.arange(n))
        subsets = [sum(1 << i for i in s) for s in itertools.combinations(range(n), k)]
        observed = np.bincount(codes, minlength=1 << n)
        assert observed[subsets].sum() == draws
        # One fixed key per case: a failure is a defect, not bad luck of the day.
        assert stats.chisquare(observed[subsets]).pvalue > 1e-4


def test_each_position_and_each_pair_is_equally_likely_at_the_audio_and_image_sizes():
    draws = 20_000
    for n, k in [(50, 5), (784, 60)]:
        mask, _ = distinct.uniform_masks(keys_of(draws, key=n), n, np.full(draws, k))
        # Counts of positions under sampling without replacement have covariance
        # draws k (n-k) / (n (n-1)) * (I - 1/n), so this statistic is chi-square with n - 1.
        counts = mask.sum(axis=0)
        scale = draws * k * (n - k) / (n * (n - 1))
        statistic = ((counts - draws * k / n) ** 2).sum() / scale
        assert 1e-4 < stats.chi2.sf(statistic, n - 1) < 1 - 1e-4
        together = (mask[:, :-1] & mask[:, 1:]).sum()
        p = k * (k - 1) / (n * (n - 1))
        expected = draws * (n - 1) * p
        assert abs(together - expected) < 5 * np.sqrt(expected)


def test_rejected_candidates_count_like_repeated_ones(monkeypatch, reference):
    # Words are replaced by ones whose halves are often 0, which n = 10 must reject
    # (0 * 10 mod 2**32 = 0 < 2**32 mod 10 = 6), and repeat a lot.
    def poor(z):
        z = reference.mix(z)
        low, high = z & 0xFFFFFFFF, z >> 32
        low = 0 if low % 3 else ((low % 4) << 30) + 99
        high = 0 if high % 2 else ((high % 3) << 30) + 99
        return low | (high << 32)

    def poor_mix(z):
        return np.array([poor(int(v)) for v in z.ravel()], np.uint64).reshape(z.shape)

    def poor_mix_torch(z):
        return torch.from_numpy(poor_mix(z.numpy().view(np.uint64)).view(np.int64))

    def half(draw_key, position):
        word = poor((draw_key + (position // 2 + 1) * 0x9E3779B97F4A7C15) % 2**64)
        return word >> 32 if position % 2 else word & 0xFFFFFFFF

    keys = keys_of(30)
    n, k = 10, 3
    expected = [sorted(reference.first_distinct(int(key), n, k, half)) for key in keys]
    monkeypatch.setattr(streams, "mix", poor_mix)
    monkeypatch.setattr(streams, "mix_torch", poor_mix_torch)
    assert (streams.candidates(keys, 20, n) == n).mean() > 0.3
    _, indices = distinct.uniform_masks(keys, n, np.full(30, k))
    assert indices.tolist() == expected
    assert torch_masks(keys, n, np.full(30, k))[1].tolist() == expected


def test_chunks_of_any_size_give_the_same_subsets(monkeypatch):
    keys, k = keys_of(100), np.full(100, 20)
    whole, indices = distinct.uniform_masks(keys, 300, k)
    monkeypatch.setattr(distinct, "_CHUNK_CANDIDATES", 60)
    parts, other = distinct.uniform_masks(keys, 300, k)
    assert np.array_equal(parts, whole)
    assert np.array_equal(indices, other)
