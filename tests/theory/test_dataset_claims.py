import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmcert.errors import ConfigError
from mmcert.theory.dataset_claims import certified_samples, false_claims, sample_level


def test_the_check_values_of_the_method():
    assert false_claims(500, 1e-3, 0.001) == 4
    assert false_claims(500, 2e-5, 0.001) == 1


@given(
    st.integers(0, 600), st.sampled_from([1e-5, 1e-3, 0.01, 0.05]), st.sampled_from([0.001, 0.05])
)
def test_v_is_the_least_number_that_is_rarely_exceeded(S, a, alpha):
    v = false_claims(S, a, alpha)
    assert stats.binom.sf(v, S, a) <= alpha
    assert v == 0 or stats.binom.sf(v - 1, S, a) > alpha * (1 - 1e-8)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("a", [0.05, 0.001])
def test_the_exact_size_over_a_data_set_of_independent_samples(alpha, a):
    # Every sample sits on the worst null and is certified falsely with probability a at most. The
    # claim M - v > 0 robust samples is false iff more than v are certified.
    S = 40
    mass = stats.binom.pmf(np.arange(S + 1), S, a)
    false = sum(mass[M] for M in range(S + 1) if certified_samples(M, S, a, alpha) > 0)
    assert false <= alpha


def test_a_planned_number_of_false_claims_gives_the_level_per_sample():
    for v in (0, 1, 4, 20):
        a = sample_level(500, v, 0.001)
        assert false_claims(500, a, 0.001) == v
        assert false_claims(500, a * 1.001, 0.001) == v + 1
    assert sample_level(500, 0, 0.001) == pytest.approx(-np.expm1(np.log1p(-0.001) / 500))


@pytest.mark.parametrize(
    "arguments", [(-1, 10, 0.01, 0.05), (11, 10, 0.01, 0.05), (1, 10, 0.7, 0.05)]
)
def test_claims_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ConfigError):
        certified_samples(*arguments)


def test_few_certified_samples_claim_nothing():
    assert certified_samples(3, 500, 1e-3, 0.001) == 0
    assert certified_samples(0, 0, 1e-3, 0.001) == 0
