import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from mmcert.reporting.rounding import UNDEFINED, rounded_down, rounded_up
from mmcert.theory.schemes import round_down

SHARES = st.floats(min_value=0, max_value=1)


@given(SHARES, st.integers(1, 6))
def test_a_number_is_never_shown_above_the_ratio_that_the_file_holds_the_float_below_of(
    value, digits
):
    assert Fraction(rounded_down(value, digits)) <= Fraction(math.nextafter(value, math.inf))
    assert Fraction(rounded_up(value, digits)) >= Fraction(repr(value))


@given(SHARES, st.integers(1, 6))
def test_rounding_costs_less_than_one_unit_of_the_last_digit(value, digits):
    assert Fraction(repr(value)) - Fraction(rounded_down(value, digits)) < Fraction(1, 10**digits)


def test_a_number_just_below_one_is_not_shown_as_one():
    assert rounded_down(0.9999999) == "0.999"


def test_a_ratio_that_is_a_short_decimal_is_shown_as_that_decimal():
    assert rounded_down(round_down(Fraction(335, 500))) == "0.670"
    assert rounded_down(round_down(Fraction(18, 20)), 1) == "0.9"


@given(SHARES, st.integers(1, 6))
def test_a_bound_is_never_shown_above_what_the_file_says(value, digits):
    assert Fraction(rounded_down(value, digits, ratio=False)) <= Fraction(repr(value))


def test_a_short_decimal_keeps_its_digits():
    assert [rounded_down(x) for x in (0.7, 0.29, 1.0)] == ["0.700", "0.290", "1.000"]


def test_an_undefined_ratio_is_a_dash_and_not_a_number():
    assert rounded_down(None) == rounded_up(None) == UNDEFINED
    assert not UNDEFINED.isalnum()
