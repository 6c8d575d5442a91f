import numpy as np
import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.sampling import streams


def signed(words):
    return torch.from_numpy(words.view(np.int64))


def test_mix_is_the_published_splitmix64():
    # First outputs of SplitMix64 from seed 0, as its authors' reference code prints them.
    counters = np.arange(1, 4, dtype=np.uint64) * np.uint64(streams._GOLDEN)
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert streams.mix(counters.copy()).tolist() == expected
    assert streams.mix_torch(signed(counters)).numpy().view(np.uint64).tolist() == expected


def test_the_key_is_pinned_and_agrees_with_a_second_reading(reference):
    assert streams.stream_key(0, "a", "test", ["rgb"]) == 0xC83670B2F19CBC22
    for arguments in [
        (2**64 - 1, "um_000000", "select", ("rgb", "depth"), ()),
        (3, "ünïcode", "train", ("audio",), (1,)),
    ]:
        assert streams.stream_key(*arguments) == reference.key(*arguments)


def test_every_part_of_the_key_matters():
    variants = {
        streams.stream_key(seed, sample, stream, pool, worker)
        for seed in (0, 1, 10)
        for sample in ("a", "ab", "1")
        for stream in streams.STREAMS
        for pool in (("rgb",), ("depth",), ("rgb", "depth"), ("r", "gb"), ("rg", "b"))
        for worker in ((), (0,), (1,), (1, 0))
    }
    assert len(variants) == 3 * 3 * 3 * 5 * 4


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, True, "7"])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(ConfigError, match="seed"):
        streams.stream_key(seed, "a", "test", ["rgb"])


def test_an_empty_sample_id_and_an_unknown_stream_are_refused():
    with pytest.raises(ConfigError, match="sample id"):
        streams.stream_key(0, "", "test", ["rgb"])
    with pytest.raises(ConfigError, match="unknown stream 'val'"):
        streams.stream_key(0, "a", "val", ["rgb"])


def test_a_candidate_does_not_depend_on_how_many_are_asked_for():
    keys = streams.draw_keys(np.array([9], np.uint64), np.arange(5))
    n = 1000003
    many = streams.candidates(keys, 11, n)
    assert np.array_equal(streams.candidates(keys, 4, n), many[:, :4])
    rows, positions = np.divmod(np.arange(55), 11)
    assert np.array_equal(streams.candidates_at(keys[rows], positions, n), many.ravel())


@pytest.mark.parametrize("n", [1, 2, 50, 784, 465750, 931500, 2**30, 2**31 - 1])
def test_numpy_and_torch_give_the_same_candidates(n):
    keys = streams.draw_keys(np.array([11], np.uint64), np.array([0, 1, 2**62, 2**63 - 1]))
    expected = streams.candidates(keys, 301, n)
    assert expected.min() >= 0
    assert expected.max() <= n
    assert np.array_equal(streams.candidates_torch(signed(keys), 301, n).numpy(), expected)
    positions = np.arange(4) * 77
    assert np.array_equal(
        streams.candidates_at_torch(signed(keys), torch.from_numpy(positions), n).numpy(),
        streams.candidates_at(keys, positions, n),
    )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 64, 100, 127, 128, 129, 200, 255, 256])
def test_bounded_integers_are_exactly_uniform_over_all_small_words(n):
    # All 2**8 words: every value has floor(256 / n) of them, the remaining 256 mod n are rejected.
    half = np.arange(256, dtype=np.uint64)
    values = streams.bounded(half.copy(), n, out=np.empty(256, np.int32), bits=8)
    counts = np.bincount(values, minlength=n + 1)
    assert (counts[:n] == 256 // n).all()
    assert counts[n] == 256 % n
    assert np.array_equal(streams.bounded_torch(signed(half), n, bits=8).numpy(), values)
