"""Schemes, attacks and modalities: check values, edge cases, monotonicity, refusals."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcert.errors import ConfigError, UnsoundError
from mmcert.theory.attacks import Attack, ThreatKind
from mmcert.theory.modality import InputSpec, Modality, modalities_from, retained_count
from mmcert.theory.schemes import (
    SCHEMES,
    AlignedSubsampling,
    IndependentSubsampling,
    PooledSubsampling,
    binomial_ratio,
    make_scheme,
    round_down,
    round_up,
)

KINDS = [kind.value for kind in ThreatKind]
KITTI = ({"rgb": 465750, "depth": 465750}, {"rgb": 8988, "depth": 996})


@pytest.mark.parametrize(
    ("r", "delta"), [(1, 0.0235), (5, 0.1121), (10, 0.2115), (16, 0.3163), (20, 0.3783)]
)
def test_delta_of_the_kitti_setting(r, delta):
    scheme = IndependentSubsampling.from_counts(*KITTI)
    assert round(float(scheme.delta(Attack({"rgb": r, "depth": 2 * r}))), 4) == delta


def test_delta_of_the_emotion_setting():
    scheme = IndependentSubsampling.from_counts(
        {"video": 108, "audio": 108}, {"video": 3, "audio": 3}
    )
    assert round(float(scheme.delta(Attack({"video": 8, "audio": 8}))), 4) == 0.3727


def test_which_scheme_is_better_depends_on_which_modality_is_attacked_more():
    mmcert, pooled = (
        cls.from_counts(*KITTI) for cls in (IndependentSubsampling, PooledSubsampling)
    )
    favoured, against = Attack({"rgb": 10, "depth": 20}), Attack({"rgb": 10, "depth": 5})
    assert [round(float(s.delta(favoured)), 3) for s in (mmcert, pooled)] == [0.212, 0.276]
    assert [round(float(s.delta(against)), 3) for s in (mmcert, pooled)] == [0.186, 0.149]


@pytest.mark.parametrize(("n_from", "n_to", "k"), [(9, 5, 3), (9, 5, 7), (5, 9, 2), (4, 4, 4)])
def test_ratios_of_binomials_are_exact(n_from, n_to, k):
    assert binomial_ratio(n_from, n_to, k) == Fraction(math.comb(n_to, k), math.comb(n_from, k))


def test_nothing_can_be_divided_by_a_binomial_of_zero():
    with pytest.raises(ValueError, match=r"C\(3, 4\) = 0"):
        binomial_ratio(3, 5, 4)


@pytest.mark.parametrize("name", SCHEMES)
def test_no_attack_has_margin_zero_and_threshold_one_half(name):
    scheme = make_scheme(name, {"a": 5, "b": 5}, k={"a": 2, "b": 2})
    assert scheme.margin(Attack({})) == 0
    assert scheme.threshold(Attack({"a": 0})) == Fraction(1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_modality_that_is_not_retained_may_be_attacked_for_free(kind):
    scheme = IndependentSubsampling.from_counts({"a": 5, "b": 5}, {"a": 2, "b": 0})
    assert scheme.margin(Attack({"b": 9}, kind)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_attack_on_a_modality_retained_whole_certifies_nothing(kind):
    scheme = IndependentSubsampling.from_counts({"a": 4}, {"a": 4})
    assert scheme.margin(Attack({"a": 1}, kind)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [5, 6, 50])
def test_attacking_all_elements_certifies_nothing(kind, r):
    scheme = IndependentSubsampling.from_counts({"a": 5}, {"a": 2})
    assert scheme.margin(Attack({"a": r}, kind)) == 1


def test_fewer_elements_left_than_retained_is_an_undefined_ensemble():
    scheme = IndependentSubsampling.from_counts({"a": 5, "b": 3}, {"a": 3, "b": 1})
    attack = Attack({"a": 3}, "deletion")
    assert scheme.ratios(attack) is None
    assert (scheme.margin(attack), scheme.delta(attack)) == (1, 1)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    data=st.data(),
    name=st.sampled_from(sorted(SCHEMES)),
)
@settings(max_examples=300, deadline=None)
def test_the_margin_never_falls_when_a_budget_or_a_retained_count_grows(sizes, data, name):
    aligned = name == AlignedSubsampling.name
    names = [f"m{i}" for i in range(len(sizes))]
    n = dict(zip(names, [sizes[0]] * len(sizes) if aligned else sizes, strict=True))
    k = {m: data.draw(st.integers(0, n[m])) for m in names}
    r = {m: data.draw(st.integers(0, n[m] + 2)) for m in names}
    kinds = {m: "modification" if aligned else data.draw(st.sampled_from(KINDS)) for m in names}
    grown = data.draw(st.sampled_from(names))
    margin = make_scheme(name, n, k=k).margin(Attack(r, kinds))
    assert 0 <= margin <= 1
    more = make_scheme(name, n, k=k).margin(Attack({**r, grown: r[grown] + 1}, kinds))
    assert more >= margin
    if k[grown] < n[grown]:
        assert make_scheme(name, n, k={**k, grown: k[grown] + 1}).margin(Attack(r, kinds)) >= margin


def test_a_modality_that_is_not_attacked_may_have_a_kind():
    scheme = IndependentSubsampling.from_counts({"a": 5, "b": 5}, {"a": 2, "b": 1})
    kinds = {"a": "edits", "b": "deletion"}
    assert scheme.margin(Attack({"a": 1}, kinds)) == scheme.margin(Attack({"a": 1, "b": 0}, kinds))


@given(st.fractions(0, 1))
def test_rounding_is_one_sided(value):
    assert Fraction(round_down(value)) <= value <= Fraction(round_up(value))
    assert round_up(value) - round_down(value) <= math.ulp(1.0)


def test_the_aligned_scheme_refuses_other_kinds_with_the_reason():
    scheme = AlignedSubsampling.from_counts({"a": 4, "b": 4}, {"a": 1, "b": 1})
    with pytest.raises(UnsoundError, match="certifies modification only"):
        scheme.margin(Attack({"a": 1}, "deletion"))


def test_the_aligned_scheme_needs_equal_grids():
    with pytest.raises(ConfigError, match="the same n"):
        AlignedSubsampling.from_counts({"a": 4, "b": 5}, {"a": 1, "b": 1})


def test_schemes_keep_the_same_total_where_they_can():
    n, k = {"a": 9, "b": 9}, {"a": 4, "b": 1}
    assert [pool.k for pool in PooledSubsampling.from_counts(n, k).pools()] == [5]
    assert [pool.k for pool in AlignedSubsampling.from_counts(n, k).pools()] == [2]
    aligned = AlignedSubsampling.from_counts(n, k)
    assert [m.k for m in aligned.modalities] == [2] * len(n)  # what is stored is what is drawn
    assert [pool.k for pool in IndependentSubsampling.from_counts(n, k).pools()] == [4, 1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Modality("a", 3, 4), "k = 4 elements cannot be retained of n = 3"),
        (lambda: Modality("a", 0, 0), "n must be at least 1"),
        (lambda: Modality("a", 3, -1), "k must be at least 0"),
        (lambda: Modality("a", 3, 1.5), "k must be an integer"),
        (lambda: modalities_from({"a": 3}), "exactly one of scheme.k"),
        (lambda: modalities_from({"a": 3}, k={"b": 1}), "name each of them once"),
        (lambda: retained_count(1.5, 10), "must lie in"),
        (lambda: retained_count("much", 10), "must be a number"),
        (lambda: make_scheme("mcert", {"a": 3}, k={"a": 1}), "unknown scheme 'mcert'"),
        (lambda: IndependentSubsampling(()), "at least one modality"),
        (lambda: Attack({"a": -1}), "at least 0"),
        (lambda: Attack({"a": 1}, "rotation"), "unknown threat kind 'rotation'"),
        (
            lambda: IndependentSubsampling.from_counts({"a": 3}, {"a": 1}).margin(
                Attack({"a": 1}, {"b": "edits"})
            ),
            "unknown modality 'b'; this scheme has a",
        ),
        (
            lambda: IndependentSubsampling.from_counts({"a": 3}, {"a": 1}).margin(Attack({"b": 1})),
            "unknown modality 'b'; this scheme has a",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("ratio", "n", "k"), [(0.0193, 465750, 8988), (0.00214, 465750, 996), (1, 7, 7), (0.1, 9, 0)]
)
def test_a_ratio_keeps_the_floor_of_its_decimal_value(ratio, n, k):
    assert retained_count(ratio, n) == k


def test_elements_are_counted_over_the_element_axes():
    assert InputSpec((8000,), (0,), "sample").count((8000,)) == 8000
    assert InputSpec((3, None, None), (1, 2), "pixel").count((3, 4, 5)) == 20


@pytest.mark.parametrize("kind", ["addition", "deletion", "edits"])
@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_elements_that_can_only_be_modified_refuse_every_other_kind(scheme, kind):
    n, k = {"video": 108, "audio": 108}, {"video": 3, "audio": 3}
    made = make_scheme(scheme, n, k=k, modification_only={"video": "a window", "audio": ""})
    free = make_scheme(scheme, n, k=k)
    for allowed in (Attack({"video": 8, "audio": 8}), Attack({"audio": 2}, {"audio": kind})):
        assert made.margin(allowed) == free.margin(allowed)
    for refused in (Attack({"video": 1}, kind), Attack({"video": 0, "audio": 1}, kind)):
        with pytest.raises(UnsoundError, match=f"{kind} of modality 'video'.*a window"):
            made.margin(refused)
