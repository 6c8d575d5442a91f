import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcert.errors import ConfigError
from mmcert.sampling.encodings import build_encoding
from mmcert.theory.encodings import POSITION_ENCODINGS
from mmcert.theory.modality import InputSpec

IMAGE = InputSpec((3, None, None), (1, 2), "pixel")
PLAIN_IMAGE = InputSpec((5, 6), (0, 1), "pixel")
SEQUENCE = InputSpec((None, 4), (0,), "chunk")
SHAPES = {"image": (IMAGE, (3, 5, 6), 3), "plain": (PLAIN_IMAGE, (5, 6), 1)}
GRIDS = dict(SHAPES)
SHAPES["sequence"] = (SEQUENCE, (30, 4), 4)

CONFIGS = [
    {"name": "zero"},
    {"name": "constant_mean", "value": 0.5},
    {"name": "retained_indicator"},
    {"name": "doubling"},
]
INTERPOLATIONS = [
    {"name": "interpolation"},
    {"name": "interpolation", "inverse": True, "zero_is_missing": True},
]
GROUND = {"name": "ground_height"}  # of one channel
CASES = [(config, kind) for config in CONFIGS for kind in SHAPES]
CASES += [(config, kind) for config in INTERPOLATIONS for kind in GRIDS]
CASES += [(GROUND, "plain")]


def elements_last(spec, x):
    """(B, *shape) -> (B, c, n) by moving the element axes to the end."""
    elements = [axis + 1 for axis in spec.element_axes]
    others = [axis for axis in range(1, x.dim()) if axis not in elements]
    n = math.prod(x.shape[axis] for axis in elements)
    return x.permute(0, *others, *elements).reshape(len(x), -1, n)


@pytest.mark.parametrize(("config", "kind"), CASES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), junk=st.sampled_from([float("nan"), float("inf"), -1e30, 0.3]))
def test_only_retained_elements_reach_the_output(config, kind, seed, junk):
    spec, shape, c = SHAPES[kind]
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand((2, *shape), generator=generator)
    mask = torch.rand((2, 30), generator=generator) < torch.rand((), generator=generator)
    encode = build_encoding(config, spec)
    before = encode(x, mask)
    attacked = x.clone()
    axes = [axis + 1 for axis in spec.element_axes]
    where = mask.view(2, *[attacked.shape[a] if a in axes else 1 for a in range(1, x.dim())])
    attacked[~where.expand_as(attacked)] = junk
    assert torch.equal(encode(attacked, mask), before)
    assert before.shape[:2] == (2, encode.channels(c))
    assert torch.isfinite(before).all()


@pytest.mark.parametrize("kind", SHAPES)
def test_retained_values_stay_where_they_are(kind):
    spec, shape, c = SHAPES[kind]
    x = torch.rand((2, *shape))
    mask = torch.rand(2, 30) < 0.4
    values = elements_last(spec, x)
    kept = mask[:, None].expand(2, c, 30)
    outputs = {
        config["name"]: build_encoding(config, spec)(x, mask).flatten(2) for config in CONFIGS
    }
    assert torch.equal(outputs["zero"], torch.where(kept, values, 0))
    assert torch.equal(outputs["constant_mean"], torch.where(kept, values, 0.5))
    assert torch.equal(outputs["retained_indicator"][:, :c], torch.where(kept, values, 0))
    assert torch.equal(outputs["retained_indicator"][:, c], mask.float())
    assert torch.equal(outputs["doubling"][:, :c], torch.where(kept, values, 0))
    assert torch.equal(outputs["doubling"][:, c:], torch.where(kept, 1 - values, 0))


@pytest.mark.parametrize("config", CONFIGS + INTERPOLATIONS)
def test_many_draws_of_one_sample_need_it_once(config):
    x = torch.rand(1, 3, 5, 6)
    mask = torch.rand(7, 30) < 0.5
    encode = build_encoding(config, IMAGE)
    assert torch.equal(encode(x, mask), encode(x.expand(7, -1, -1, -1), mask))


@pytest.mark.parametrize("config", CONFIGS + INTERPOLATIONS)
def test_half_precision_stays_half_precision(config):
    x = torch.rand(2, 3, 5, 6, dtype=torch.bfloat16)
    encode = build_encoding(config, IMAGE)
    assert encode(x, torch.ones(2, 30, dtype=torch.bool)).dtype == torch.bfloat16


def test_a_constant_per_channel_fills_its_channel():
    encode = build_encoding({"name": "constant_mean", "value": [0.1, 0.2, 0.3]}, IMAGE)
    out = encode(torch.zeros(1, 3, 5, 6), torch.zeros(1, 30, dtype=torch.bool))
    assert torch.equal(out[0, :, 0, 0], torch.tensor([0.1, 0.2, 0.3]))


def test_every_position_encoding_of_the_theory_can_be_built():
    built = [*CONFIGS, *INTERPOLATIONS, GROUND]
    assert {config["name"] for config in built} == set(POSITION_ENCODINGS)


def test_an_encoding_adds_nothing_to_a_checkpoint():
    assert not build_encoding({"name": "constant_mean", "value": 0.1}, IMAGE).state_dict()


@pytest.mark.parametrize(
    "config",
    [
        {"name": "mean_of_the_input"},
        {},
        {"name": "zero", "value": 1},
        {"name": "constant_mean"},
        {"name": "constant_mean", "value": "mean"},
        {"name": "constant_mean", "value": [0.1, float("nan")]},
        {"name": "constant_mean", "value": []},
        {"name": "ground_height", "plane": 1},
    ],
)
def test_a_wrong_configuration_is_refused(config):
    with pytest.raises(ConfigError, match="encoding"):
        build_encoding(config, IMAGE)


def test_shapes_that_do_not_fit_are_refused():
    encode = build_encoding({"name": "zero"}, IMAGE)
    with pytest.raises(ConfigError, match="mask"):
        encode(torch.zeros(1, 3, 5, 6), torch.zeros(1, 29, dtype=torch.bool))
    with pytest.raises(ConfigError, match="mask"):
        encode(torch.zeros(2, 3, 5, 6), torch.zeros(3, 30, dtype=torch.bool))
    with pytest.raises(ConfigError, match="batch axis"):
        encode(torch.zeros(3, 5, 6), torch.zeros(1, 30, dtype=torch.bool))
    with pytest.raises(ConfigError, match="per channel"):
        build_encoding({"name": "constant_mean", "value": [1.0, 2.0]}, IMAGE)(
            torch.zeros(1, 3, 5, 6), torch.zeros(1, 30, dtype=torch.bool)
        )
