"""Which encodings are sound against which threats."""

import pytest

from mmcert.errors import ConfigError, UnsoundError
from mmcert.theory.encodings import ORDER_ENCODINGS, POSITION_ENCODINGS, check_encoding


@pytest.mark.parametrize("encoding", [*POSITION_ENCODINGS, *ORDER_ENCODINGS])
@pytest.mark.parametrize("ratio", [False, True])
def test_modification_allows_every_encoding_of_retained_elements(encoding, ratio):
    check_encoding({"a": encoding}, "modification", ratio)
    check_encoding({"a": encoding}, {}, ratio)


@pytest.mark.parametrize("kind", ["addition", "deletion", "edits"])
@pytest.mark.parametrize("encoding", POSITION_ENCODINGS)
def test_positions_are_refused_where_elements_can_shift(kind, encoding):
    with pytest.raises(UnsoundError, match=f"'b' is not sound against {kind}.*shifts"):
        check_encoding({"a": "compact", "b": encoding}, kind, False)
    check_encoding({"a": "compact", "b": encoding}, {"a": kind}, False)


@pytest.mark.parametrize("kind", ["addition", "deletion", "edits"])
def test_a_ratio_is_refused_where_the_number_of_elements_can_change(kind):
    check_encoding({"a": "compact"}, kind, False)
    with pytest.raises(UnsoundError, match=r"scheme\.ratio is not sound against"):
        check_encoding({"a": "compact"}, {"a": kind}, True)


def test_the_mean_of_the_input_itself_is_refused_always():
    with pytest.raises(UnsoundError, match="does not retain"):
        check_encoding({"a": "input_mean"}, "modification", False)


@pytest.mark.parametrize(
    ("encodings", "kinds", "message"),
    [
        ({"a": "blur"}, "modification", "unknown encoding 'blur'"),
        ({"a": "zero"}, {"b": "edits"}, "the modalities are"),
        ({"a": "zero"}, "swap", "unknown threat kind"),
    ],
)
def test_unknown_names_are_errors_for_people(encodings, kinds, message):
    with pytest.raises(ConfigError, match=message):
        check_encoding(encodings, kinds, False)
