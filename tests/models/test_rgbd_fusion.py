"""The compact RGB-D net sees the retained pixels and nothing else."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.models.registry import build_model
from mmcert.models.rgbd_fusion import masked_pyramid
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import make_scheme

INPUTS = {
    "rgb": {"shape": [3, None, None], "element_axes": [1, 2], "element": "pixel (all channels)"},
    "depth": {"shape": [1, None, None], "element_axes": [1, 2], "element": "pixel"},
}
ENCODINGS = {
    "retained_indicator": {"name": "retained_indicator"},
    "zero": {"name": "zero"},
    "constant_mean": {"name": "constant_mean", "value": 0.4},
    "doubling": {"name": "doubling"},
    "interpolation": {
        "rgb": {"name": "interpolation"},
        "depth": {"name": "interpolation", "inverse": True, "zero_is_missing": True},
    },
    "ground_height": {
        "rgb": {"name": "retained_indicator"},
        "depth": {"name": "ground_height"},
    },
}


def net(encoding="retained_indicator", **options):
    torch.manual_seed(0)
    options = {"grid": [6, 20], "widths": [8, 8, 16, 16]} | options
    model = build_model(
        "rgbd_fusion", inputs=INPUTS, classes=2, encoding=ENCODINGS[encoding], **options
    )
    return model.eval()


def scene(rows=24, columns=80, seed=0):
    make = torch.Generator().manual_seed(seed)
    depth = torch.rand(1, rows, columns, generator=make) * 60 + 3
    depth[:, :8] = 0  # the sky gives no measurement
    return {"rgb": torch.rand(3, rows, columns, generator=make), "depth": depth}


def masks(rows, n, share=0.05, seed=1):
    make = torch.Generator().manual_seed(seed)
    return {name: torch.rand(rows, n, generator=make) < share for name in INPUTS}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_pixels_that_are_not_retained_cannot_change_the_logits(encoding):
    model, first, second = net(encoding), scene(seed=0), scene(seed=5)
    kept = masks(3, 24 * 80)
    mixed = {}
    for name in INPUTS:
        anywhere = kept[name].any(0).reshape(1, 24, 80)
        mixed[name] = torch.where(anywhere, first[name], second[name] * float("inf"))
    with torch.inference_mode():
        clean = model.logits({name: x[None] for name, x in first.items()}, kept)
        other = model.logits({name: x[None] for name, x in mixed.items()}, kept)
    assert torch.equal(clean, other)


def test_logits_are_on_the_native_grid_whatever_its_size():
    model = net()
    for rows, columns in ((24, 80), (37, 124), (5, 7)):
        inputs = {name: x[None] for name, x in scene(rows, columns).items()}
        assert model.logits(inputs, masks(2, rows * columns)).shape == (2, 2, rows, columns)


def test_a_draw_does_not_depend_on_the_draws_beside_it():
    model, kept = net(), masks(5, 24 * 80)
    inputs = {name: x[None] for name, x in scene().items()}
    with torch.inference_mode():
        together = model.logits(inputs, kept)
        alone = torch.cat(
            [model.logits(inputs, {m: k[i : i + 1] for m, k in kept.items()}) for i in range(5)]
        )
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_rows_of_masks_belong_to_their_samples():
    model, kept = net(), masks(4, 24 * 80)
    one, two = scene(seed=0), scene(seed=1)
    both = {name: torch.stack((one[name], two[name])) for name in INPUTS}
    with torch.inference_mode():
        logits = model.logits(both, kept)
        last = model.logits(
            {m: x[None] for m, x in two.items()}, {m: k[2:] for m, k in kept.items()}
        )
    torch.testing.assert_close(logits[2:], last, rtol=1e-4, atol=1e-5)


def test_nothing_retained_gives_finite_logits():
    inputs = {name: x[None] for name, x in scene().items()}
    nothing = {name: torch.zeros(2, 24 * 80, dtype=torch.bool) for name in INPUTS}
    assert torch.isfinite(net().logits(inputs, nothing)).all()


def test_a_retained_pixel_without_a_measurement_is_not_a_depth_of_zero():
    model = net()
    x = torch.zeros(1, 2, 24, 80)
    x[:, 1, 3, 3] = 1  # retained, no measurement
    x[:, 0, 9, 9], x[:, 1, 9, 9] = 8.0, 1  # retained, 8 metres
    inverse, counts, y, _, retained = model._depth_cells(x, {})[0]
    assert counts.sum() == pytest.approx(float(torch.log(torch.tensor(2.0))))
    assert inverse.max() <= 0.5 + 1e-6  # 4 / 8 m, not diluted by the missing one in its cell
    assert (retained > 0).sum() == 2
    assert y[0, 0] == -1


def test_empty_cells_take_the_average_of_the_next_larger_cell():
    sums, counts = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    sums[..., 0, 0], counts[..., 0, 0] = 6.0, 2.0
    sums[..., 3, 3], counts[..., 3, 3] = 9.0, 1.0
    filled = masked_pyramid(sums, counts, levels=3)[0, 0]
    assert filled[0, 0] == pytest.approx(3.0, abs=0.1)
    assert filled[1, 1] == pytest.approx(3.0, abs=0.1)
    assert filled[3, 2] == pytest.approx(9.0, abs=0.3)
    assert filled[0, 3] == pytest.approx(5.0, abs=0.01)  # nothing near: the mean of all three


def test_votes_come_through_the_sampler_on_the_native_grid():
    model, sample = net(), {"id": "a", "inputs": scene()}
    scheme = make_scheme(
        "randomized_ablation", dict.fromkeys(INPUTS, 24 * 80), k={"rgb": 40, "depth": 8}
    )
    subsets = draw_subsets(scheme, seed=0, sample_id="a", stream="test", draws=range(6))
    with torch.inference_mode():
        labels = model.label(model.prepare(sample), subsets)
    assert labels.shape == (6, 24, 80)
    assert labels.dtype == torch.int64


def test_a_data_set_without_depth_is_refused():
    with pytest.raises(ConfigError, match="reads the modality 'depth'"):
        build_model(
            "rgbd_fusion",
            inputs={"rgb": INPUTS["rgb"]},
            classes=2,
            encoding={"name": "zero"},
        )


def test_the_default_size_is_compact():
    model = net(grid=[24, 80], widths=[32, 48, 64, 96])
    assert sum(parameter.numel() for parameter in model.parameters()) < 0.5e6


def test_normals_of_ablated_depth_tell_the_compact_net_nothing():
    model = net("zero", second="normals")
    camera = torch.tensor([[60.0, 60.0, 40.0, 8.0]])
    kept = masks(2, 24 * 80)
    ours, other = scene(seed=0), scene(seed=5) | {"rgb": scene(seed=0)["rgb"]}
    with torch.inference_mode():
        seen = [
            model.logits({name: x[None] for name, x in one.items()} | {"camera": camera}, kept)
            for one in (ours, other)
        ]
        assert torch.equal(*seen)
        whole = {name: torch.ones_like(mask) for name, mask in kept.items()}
        clear = [
            model.logits({name: x[None] for name, x in one.items()} | {"camera": camera}, whole)
            for one in (ours, other)
        ]
        assert not torch.equal(*clear)


def test_normals_of_heights_are_refused():
    with pytest.raises(ConfigError, match="second=normals needs depth"):
        net("ground_height", second="normals")


def test_another_second_stream_is_refused():
    with pytest.raises(ConfigError, match="second=flow"):
        net(second="flow")
