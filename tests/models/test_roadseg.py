"""RoadSeg on ablated frames: what it may see, and the order of its steps."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

import mmcert
from mmcert.data.roads.kitti_road import KittiRoad
from mmcert.errors import ConfigError, DataError
from mmcert.models.base import NonFiniteLogitsError
from mmcert.models.normals import surface_normals
from mmcert.models.registry import build_model
from mmcert.sampling.camera import CAMERA, camera_matrices, cameras_of, mirrored
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import make_scheme

SAMPLE = Path(mmcert.__file__).parents[3] / "shared" / "data" / "kitti_road_sample"
INPUTS = {
    "rgb": {"shape": [3, None, None], "element_axes": [1, 2], "element": "pixel (all channels)"},
    "depth": {"shape": [1, None, None], "element_axes": [1, 2], "element": "pixel"},
}
ZERO = {"name": "zero"}
DENSE = {"name": "interpolation", "inverse": True, "zero_is_missing": True}
INDICATOR = {"name": "retained_indicator"}
GROUND = {"name": "ground_height"}
META = {"camera": {"fx": 60.0, "fy": 62.0, "u0": 38.5, "v0": 9.0}}
SIZE = (25, 77)


def net(second="depth", rgb=ZERO, depth=ZERO, size=(32, 64), classes=2, encoder="test_resnet"):
    torch.manual_seed(0)
    return build_model(
        "roadseg",
        inputs=INPUTS,
        classes=classes,
        encoding={"rgb": rgb, "depth": depth},
        second=second,
        size=size,
        encoder=encoder,
    ).eval()


def frame(seed=0, size=SIZE):
    """A road plane with noise, no depth above the horizon, and random colours."""
    make = torch.Generator().manual_seed(seed)
    v = torch.arange(size[0])[:, None] - META["camera"]["v0"]
    depth = 1.6 * 62 / v.clamp(min=1) * (1 + 0.01 * torch.rand(size, generator=make))
    rgb = torch.rand(3, *size, generator=make)
    inputs = {"rgb": rgb, "depth": torch.where(v > 0.5, depth, 0.0)[None]}
    return {"id": f"f{seed}", "inputs": inputs, "target": None, "meta": META}


def subsets(k, draws=2, n=SIZE[0] * SIZE[1]):
    scheme = make_scheme("mmcert", dict.fromkeys(INPUTS, n), k=k)
    return draw_subsets(scheme, seed=0, sample_id="f", stream="test", draws=range(draws))


VARIANTS = [
    ("normals", ZERO, ZERO),
    ("normals", ZERO, DENSE),
    ("depth", ZERO, ZERO),
    ("depth", {"name": "interpolation"}, DENSE),
    ("depth", INDICATOR, INDICATOR),
    ("depth", INDICATOR, GROUND),
]


@pytest.mark.parametrize(("second", "rgb", "depth"), VARIANTS)
def test_pixels_that_are_not_retained_cannot_change_a_label(second, rgb, depth):
    model = net(second, rgb, depth)
    kept = subsets({"rgb": 900, "depth": 1500})
    first, other = frame(0), frame(1)
    for name in INPUTS:
        anywhere = kept[name].mask.any(0).view(1, *SIZE)
        other["inputs"][name] = torch.where(
            anywhere, first["inputs"][name], other["inputs"][name] * torch.inf
        )
    with torch.inference_mode():
        ours, theirs = (model.prepare(one) for one in (first, other))
        assert torch.equal(model.label(ours, kept), model.label(theirs, kept))
        masks = {name: subset.mask for name, subset in kept.items()}
        assert torch.equal(
            model.logits(ours["inputs"], masks), model.logits(theirs["inputs"], masks)
        )


def test_the_order_of_the_public_code_ablate_normals_resize_predict_nearest():
    model = net("normals", classes=3)
    sample, kept = frame(), subsets({"rgb": 200, "depth": 1900}, draws=1)
    masks = {name: kept[name].mask.view(1, *SIZE) for name in INPUTS}
    rgb = torch.where(masks["rgb"], sample["inputs"]["rgb"], 0.0)[None]
    depth = torch.where(masks["depth"][0], sample["inputs"]["depth"][0], 0.0)
    normals, valid = surface_normals(depth, camera_matrices(cameras_of([META]))[0])
    assert valid.any()
    small = [
        functional.interpolate(x, size=(32, 64), mode="bilinear", align_corners=False)
        for x in (rgb, normals[None])
    ]
    for norm in model.net.modules():  # varied labels, not one class: take the statistics over
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    model.net.train()(*(torch.cat((x, x.flip(-1))) for x in small))
    model.eval()
    with torch.inference_mode():
        labels = model.net(*small).argmax(1)[0]
        found = model.label(model.prepare(sample), kept)
    rows = torch.arange(SIZE[0]) * 32 // SIZE[0]
    columns = torch.arange(SIZE[1]) * 64 // SIZE[1]
    assert torch.equal(found[0], labels[rows][:, columns])
    assert len(found.unique()) > 1


def test_normals_of_heights_are_refused():
    with pytest.raises(ConfigError, match="second=normals needs depth"):
        net("normals", depth=GROUND)


def test_a_draw_gets_the_same_label_in_any_block():
    model = net("depth", {"name": "interpolation"}, DENSE)
    sample, kept = frame(), subsets({"rgb": 100, "depth": 30}, draws=4)
    masks = {name: subset.mask for name, subset in kept.items()}
    with torch.inference_mode():
        state = model.prepare(sample)
        together = model.logits(state["inputs"], masks)
        alone = [
            model.logits(state["inputs"], {name: m[d : d + 1] for name, m in masks.items()})
            for d in range(4)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_each_sample_of_a_batch_is_seen_by_its_own_camera():
    model = net("normals")
    frames = [frame(0), frame(1)]
    cameras = cameras_of([META, {"camera": META["camera"] | {"u0": 20.0, "v0": 4.0}}])
    inputs = {m: torch.stack([f["inputs"][m] for f in frames]) for m in INPUTS}
    masks = {m: torch.ones(2, SIZE[0] * SIZE[1], dtype=torch.bool) for m in INPUTS}
    with torch.inference_mode():
        both = model.logits(inputs | {CAMERA: cameras}, masks)
        for b in range(2):
            one = {m: x[b : b + 1] for m, x in (inputs | {CAMERA: cameras}).items()}
            alone = model.logits(one, {m: mask[b : b + 1] for m, mask in masks.items()})
            assert torch.allclose(both[b], alone[0], atol=1e-5)
        doubled = {m: mask.repeat_interleave(2, 0) for m, mask in masks.items()}
        assert torch.allclose(
            model.logits(inputs | {CAMERA: cameras}, doubled)[::2], both, atol=1e-5
        )


def test_normals_of_interpolated_depth_see_the_road_where_those_of_ablated_depth_are_blind():
    kept = subsets({"rgb": 10, "depth": 40}, draws=1)
    sample = frame()
    seen = {}
    for name, encoding in (("ablated", ZERO), ("interpolated", DENSE)):
        model = net("normals", depth=encoding)
        inputs = model.prepare(sample)["inputs"]
        seen[name] = model._second(inputs, kept["depth"].mask)[0, :3]
    blind = torch.tensor([0.0, 0.0, -1.0]).view(3, 1, 1)
    assert (seen["ablated"] == blind).all()
    road = seen["interpolated"][:, 14:-1]
    assert road[1].median() < -0.7  # the ground's normal points up


def test_the_mirrored_camera_sees_the_mirrored_normals():
    depth = frame()["inputs"]["depth"][0]
    cameras = cameras_of([META])
    normals, valid = surface_normals(depth, camera_matrices(cameras)[0])
    turned, same = surface_normals(depth.flip(-1), camera_matrices(mirrored(cameras, SIZE[1]))[0])
    assert torch.equal(same, valid.flip(-1))
    expected = normals.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    assert torch.allclose(turned, expected, atol=1e-4)


def test_normals_without_a_camera_are_refused():
    model = net("normals")
    sample = frame() | {"meta": {}}
    with pytest.raises(DataError, match="needs the camera"):
        model.label(model.prepare(sample), subsets({"rgb": 5, "depth": 5}))


def test_depth_needs_no_camera():
    model = net("depth")
    sample = frame() | {"meta": {}}
    with torch.inference_mode():
        labels = model.label(model.prepare(sample), subsets({"rgb": 5, "depth": 5}, draws=3))
    assert labels.shape == (3, *SIZE)
    assert labels.dtype == torch.int64


def test_without_a_size_the_native_one_is_rounded_up():
    model = net(size=None)
    masks = {name: subset.mask for name, subset in subsets({"rgb": 50, "depth": 5}).items()}
    with torch.inference_mode():
        inputs = model.prepare(frame())["inputs"]
        assert model._network_logits(inputs, masks).shape == (2, 2, 32, 96)
        assert model.logits(inputs, masks).shape == (2, 2, *SIZE)


def test_logits_that_are_no_numbers_name_the_sample():
    model = net()
    with torch.no_grad():
        model.net.final.conv1.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteLogitsError, match="'f0'"):
        model.label(model.prepare(frame()), subsets({"rgb": 5, "depth": 5}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"second": "flow"}, "second=flow must be one of depth, normals"),
        ({"size": (375, 1242)}, "multiples of 32"),
        ({"size": (32,)}, "multiples of 32"),
        ({"encoder": "resnet19"}, "unknown encoder"),
        ({"lidar": 1}, "no option of the model"),
        ({"depth": "lidar"}, "reads the modality"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    given = {"second": "depth", "size": (32, 64)} | options
    with pytest.raises(ConfigError, match=message):
        build_model("roadseg", inputs=INPUTS, classes=2, encoding=ZERO, **given)


@pytest.mark.slow
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="needs the real frame in ../shared/data")
@pytest.mark.parametrize(("second", "rgb", "depth"), [VARIANTS[0], VARIANTS[3]])
def test_a_draw_of_a_real_frame_at_full_size(second, rgb, depth):
    sample = KittiRoad("all", root=SAMPLE)[0]
    native = tuple(sample["inputs"]["rgb"].shape[-2:])
    n = dict.fromkeys(INPUTS, native[0] * native[1])
    scheme = make_scheme("mmcert", n, ratio={"rgb": 0.0193, "depth": 0.00214})
    kept = draw_subsets(scheme, seed=0, sample_id=sample["id"], stream="test", draws=range(1))
    model = net(second, rgb, depth, size=(384, 1248), encoder="resnet18")
    with torch.inference_mode():
        labels = model.label(model.prepare(sample), kept)
    assert labels.shape == (1, *native)
