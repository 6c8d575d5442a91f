import pytest
import torch
import torch.nn.functional as F

from mmcert.errors import ConfigError
from mmcert.sampling.densification import distance_channel, push_pull
from mmcert.sampling.encodings import build_encoding
from mmcert.theory.modality import InputSpec

DEPTH = InputSpec((1, None, None), (1, 2), "pixel")


def scattered(surface, ratio, seed=0):
    known = torch.rand(surface.shape, generator=torch.Generator().manual_seed(seed)) < ratio
    return torch.where(known, surface, 0.0), known


def plane(height, width):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (0.3 * rows + 0.1 * columns)[None, None].float()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 6), (64, 64), (37, 124)])
@pytest.mark.parametrize("ratio", [0.02, 0.3, 1.0])
def test_known_pixels_keep_their_values_and_the_rest_stays_in_reach(size, ratio):
    surface = torch.rand((3, 2, *size))
    known = torch.rand(3, 1, *size) < ratio
    filled = push_pull(torch.where(known, surface, 0.0), known)
    assert filled.shape == surface.shape
    assert torch.equal(torch.where(known, filled, 0), torch.where(known, surface, 0))
    assert filled.isfinite().all()
    assert filled.abs().max() < 4


@pytest.mark.parametrize("size", [(1, 7), (7, 1), (33, 50)])
def test_a_single_known_pixel_fills_the_map_with_its_value(size):
    known = torch.zeros(1, 1, *size, dtype=torch.bool)
    known[0, 0, size[0] // 2, size[1] // 2] = True
    assert torch.allclose(push_pull(known * 2.5, known), torch.full((1, 1, *size), 2.5))


def test_a_constant_is_reproduced():
    values, known = scattered(torch.full((1, 1, 75, 83), 1.25), 0.01)
    assert torch.allclose(push_pull(values, known), torch.tensor(1.25), atol=1e-5)


@pytest.mark.parametrize(("ratio", "bound"), [(0.2, 0.02), (0.0193, 0.1), (0.00214, 0.8)])
def test_an_inclined_plane_comes_out_inclined(ratio, bound):
    surface = plane(375, 1242)  # steps of 0.3 and 0.1 per pixel, 236 from corner to corner
    values, known = scattered(surface, ratio)
    assert (push_pull(values, known) - surface).abs().mean() < bound


def test_nothing_known_gives_zero_and_the_largest_distance():
    known = torch.zeros(2, 1, 13, 21, dtype=torch.bool)
    assert not push_pull(torch.zeros(2, 1, 13, 21), known).any()
    assert (distance_channel(known) == 1).all()


def test_the_distance_is_that_to_the_nearest_occupied_cell():
    known = torch.rand(1, 1, 40, 64, generator=torch.Generator().manual_seed(1)) < 0.004
    pixels = known[0, 0].nonzero()
    cells = {(int(row) // 4, int(column) // 4) for row, column in pixels}
    nearest = torch.tensor(
        [
            [min(abs(i - a) + abs(j - b) for a, b in cells) for j in range(64 // 4)]
            for i in range(40 // 4)
        ]
    )
    d = 4.0 * nearest[None, None]
    expected = F.interpolate(d / (d + 16), scale_factor=4, mode="bilinear")
    assert torch.allclose(distance_channel(known), expected, atol=1e-6)


def test_maps_of_a_batch_do_not_touch_each_other():
    values, known = scattered(torch.rand(4, 1, 45, 70), 0.05)
    whole, distances = push_pull(values, known), distance_channel(known)
    for b in range(4):
        part = slice(b, b + 1)
        assert torch.equal(push_pull(values[part], known[part]), whole[part])
        assert torch.equal(distance_channel(known[part]), distances[part])


def test_half_precision_is_computed_in_single_precision():
    values, known = scattered(torch.full((1, 1, 300, 300), 0.75), 0.5)
    filled = push_pull(values.bfloat16(), known)
    assert filled.dtype == torch.bfloat16
    assert (filled == 0.75).all()


def test_a_zero_depth_is_no_measurement():
    x = torch.tensor([[[[2.0, 0.0], [9.0, 9.0]]]])
    mask = torch.tensor([[True, True, False, False]])
    missing = build_encoding(
        {"name": "interpolation", "inverse": True, "zero_is_missing": True}, DEPTH
    )
    far = build_encoding({"name": "interpolation", "inverse": True}, DEPTH)
    assert missing(x, mask)[0, 0].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert far(x, mask)[0, 0, 0].tolist() == [0.5, 0.0]


def test_retained_zeros_alone_are_nothing_known():
    encode = build_encoding({"name": "interpolation", "zero_is_missing": True}, DEPTH)
    out = encode(torch.zeros(1, 1, 8, 8), torch.ones(1, 64, dtype=torch.bool))
    assert not out[:, 0].any()
    assert (out[:, 1] == 1).all()


def test_a_sequence_is_refused():
    with pytest.raises(ConfigError, match="two-dimensional"):
        build_encoding({"name": "interpolation"}, InputSpec((50, 160), (0,), "chunk"))
