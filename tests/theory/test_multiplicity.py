import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmcert.theory.multiplicity import bonferroni, bonferroni_thresholds, holm, holm_thresholds


def textbook_holm(pvalues, alpha):
    """Element by element: sort, reject while p_(j) <= alpha / (P - j + 1), stop at the first."""
    order = sorted(range(len(pvalues)), key=lambda i: pvalues[i])
    rejected = [False] * len(pvalues)
    for j, i in enumerate(order):
        if pvalues[i] * (len(pvalues) - j) > alpha:
            break
        rejected[i] = True
    return rejected


def pvalues_of(N, t):
    return np.minimum(stats.binom.sf(np.arange(N + 1) - 1, N, t) * (1 + 1e-9), 1.0)


levels = st.lists(
    st.tuples(
        st.sampled_from([0.0001, 0.001, 0.004, 0.005, 0.006, 0.01, 0.02, 0.05, 0.5, 1.0]),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda level: level[0],
)


@given(levels, st.sampled_from([0.001, 0.05, 0.2]))
def test_holm_by_levels_equals_holm_element_by_element(drawn, alpha):
    values = [value for value, _ in drawn]
    sizes = [size for _, size in drawn]
    certified = holm(values, sizes, alpha)
    elements = [value for value, size in drawn for _ in range(size)]
    expected = textbook_holm(elements, alpha)
    assert expected == [
        bool(c) for c, size in zip(certified, sizes, strict=True) for _ in range(size)
    ]


def test_holm_stops_at_the_first_failure_even_where_a_later_level_would_pass():
    # P = 4, alpha = .04: limits .01, .01333, .02, .04. The second level (2 elements, p = .015)
    # fails at position 2; the last, p = .03 <= .04, would pass on its own.
    pvalues, sizes = [0.005, 0.015, 0.03], [1, 2, 1]
    passes_alone = [p <= 0.04 / (4 - j) for p, j in zip(pvalues, [0, 1, 3], strict=True)]
    assert passes_alone == [True, False, True]
    assert holm(pvalues, sizes, 0.04).tolist() == [True, False, False]


def test_the_first_failing_level_is_not_certified():
    # Off by one: the element at which the procedure stops is not among the certified ones.
    certified = holm([0.001, 0.9], [7, 3], 0.05)
    assert int(np.dot(certified, [7, 3])) == 7
    assert holm([0.9], [3], 0.05).tolist() == [False]


def test_a_level_at_its_limit_exactly_is_certified():
    assert holm([0.0625 / 4], [4], 0.0625).tolist() == [True]
    assert holm([np.nextafter(0.0625 / 4, 1)], [4], 0.0625).tolist() == [False]


def test_holm_at_kitti_size_certifies_nothing_at_r1_17_with_100_draws():
    # Published accuracy at r1 = 17, r2 = 34: .1555, by passes counted after the first failure.
    # Unanimous votes have p = t^100 with delta = .3324: above alpha / P for a whole KITTI image.
    from mmcert.theory.attacks import Attack
    from mmcert.theory.schemes import IndependentSubsampling

    scheme = IndependentSubsampling.from_counts(
        {"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996}
    )
    N, P = 100, 465750
    sizes = np.zeros(N + 1, dtype=np.int64)
    sizes[N], sizes[N - 1] = P - 100, 100
    certified = {}
    for r in (16, 17):
        t = float(scheme.threshold(Attack({"rgb": r, "depth": 2 * r})))
        certified[r] = int(np.dot(holm(pvalues_of(N, t), sizes, 0.001), sizes))
        assert (holm_thresholds(sizes, 0.001)[N] >= t) == (certified[r] > 0)
        # What the published step counts: each element against its own limit, no stop. The last
        # ones are compared with alpha, alpha / 2, ...
        position = np.arange(P)
        counted = int(np.sum(pvalues_of(N, t)[N] <= 0.001 / (P - position[: P - 100])))
        assert counted > 0
    assert certified[16] >= P - 100
    assert certified[17] == 0


@given(st.lists(st.integers(0, 5), min_size=2, max_size=9), st.sampled_from([0.001, 0.05, 0.3]))
def test_one_run_over_all_thresholds_equals_holm_at_each(sizes, alpha):
    N = len(sizes) - 1
    bounds = holm_thresholds(sizes, alpha)
    for t in np.linspace(0.02, 0.99, 41):
        by_test = holm(pvalues_of(N, t), sizes, alpha)
        occupied = np.asarray(sizes) > 0
        assert by_test[occupied].tolist() == (t <= bounds)[occupied].tolist()


def test_bounds_are_on_the_safe_side_of_the_p_value():
    for N in (1, 7, 100, 1000):
        for P in (1, 50, 465750):
            bounds = bonferroni_thresholds(N, P, 0.001)
            X = np.arange(N + 1)
            assert bounds[0] == 0.0
            tails = stats.binom.sf(X[1:] - 1, N, bounds[1:])
            assert np.all(tails <= 0.001 / P)
            assert np.all(stats.binom.sf(X[1:] - 1, N, bounds[1:] * (1 + 1e-6)) > 0.001 / P * 0.99)
            assert np.all(np.diff(bounds) > 0)


@given(levels, st.sampled_from([0.001, 0.05, 0.2]))
def test_holm_certifies_whatever_bonferroni_certifies(drawn, alpha):
    values = [value for value, _ in drawn]
    sizes = [size for _, size in drawn]
    occupied = np.asarray(sizes) > 0
    assert np.all(
        holm(values, sizes, alpha)[occupied] >= bonferroni(values, sizes, alpha)[occupied]
    )


def test_more_unanimous_draws_never_certify_less():
    # A published search for the largest certified level ran out of steps: from N = 182 on, fewer
    # elements were certified at r = 0 than with fewer draws.
    P, alpha, last = 465750, 0.001, 0.0
    for N in [*range(1, 400), 1000, 10_000, 100_000]:
        sizes = np.zeros(N + 1, dtype=np.int64)
        sizes[N] = P
        bound = holm_thresholds(sizes, alpha)[N]
        assert bound >= last
        assert bound == pytest.approx((alpha / P) ** (1 / N), rel=1e-6)
        last = bound


def test_an_empty_family_certifies_nothing_and_does_not_fail():
    assert not holm([], [], 0.05).any()
    assert not holm_thresholds([0, 0, 0], 0.05).any()
    assert int(np.dot(holm([0.001, 0.002], [0, 0], 0.05), [0, 0])) == 0


@pytest.mark.parametrize(("values", "sizes"), [([0.1], [1, 2]), ([np.nan], [1]), ([0.1], [-1])])
def test_levels_that_make_no_sense_are_refused(values, sizes):
    with pytest.raises(ValueError, match="level"):
        holm(values, sizes, 0.05)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("P", [1, 2, 3])
def test_the_exact_size_of_holm_for_independent_and_identical_elements(P, alpha):
    # Worst-case null: every element has p_y = t exactly. Enumerate all vote vectors.
    N, t = 8, 0.6
    pvalues = pvalues_of(N, t)
    mass = stats.binom.pmf(np.arange(N + 1), N, t)
    errors = 0.0
    for votes in np.ndindex(*(N + 1,) * P):
        if any(textbook_holm([pvalues[x] for x in votes], alpha)):
            sizes = np.bincount(votes, minlength=N + 1)
            assert holm(pvalues, sizes, alpha)[sizes > 0].any()
            errors += float(np.prod(mass[list(votes)]))
    assert errors <= alpha
    identical = sum(mass[x] for x in range(N + 1) if holm([pvalues[x]], [P], alpha).any())
    assert identical <= alpha
