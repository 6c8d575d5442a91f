"""Element-wise classifiers: what a draw shows them, and nothing else, decides."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.models.registry import build_model
from mmcert.sampling.subsets import Subset, draw_subsets
from mmcert.theory.schemes import make_scheme

INPUTS = {
    "video": {"shape": [18, 3, 16, 16], "element_axes": [0], "element": "frame"},
    "audio": {"shape": [18, 100], "element_axes": [0], "element": "chunk"},
}
N = {"video": 18, "audio": 18}
SMALL = {"features": 16, "hidden": 16, "heads": 2}
VARYING = {name: spec | {"shape": [None, *spec["shape"][1:]]} for name, spec in INPUTS.items()}


def net(encoding="retained_indicator", inputs=INPUTS, **options):
    torch.manual_seed(0)
    options = {
        "encoders": {"audio": {"name": "log_mel", "rate": 3000, "band": [40, 1500]}}
    } | options
    options["encoders"] = {m: e for m, e in options["encoders"].items() if m in inputs}
    model = build_model(
        "elementwise_sequence",
        inputs=inputs,
        classes=4,
        encoding={"name": encoding},
        **(SMALL | options),
    )
    with torch.no_grad():  # labels that differ between draws; constants that begin at 0
        for pool in model.pools.values():
            pool.contribute.weight.mul_(20)
        for pool in model.pools.values():
            torch.nn.init.normal_(pool.absent)
            torch.nn.init.normal_(pool.number)
    return model.eval()


def sample(seed=0, inputs=INPUTS, n=None):
    make = torch.Generator().manual_seed(seed)
    shapes = {m: [n or s["shape"][0], *s["shape"][1:]] for m, s in inputs.items()}
    drawn = {m: torch.rand(shape, generator=make) for m, shape in shapes.items()}
    return {"id": f"s{seed}", "inputs": drawn}


def subsets(scheme="mmcert", draws=40, n=N, k=None, sample_id="s"):
    drawn = make_scheme(scheme, n, k=k or {"video": 3, "audio": 2})
    return draw_subsets(drawn, seed=0, sample_id=sample_id, stream="test", draws=range(draws))


def masks_of(drawn):
    return {name: one.mask for name, one in drawn.items()}


def batch(*samples):
    return {
        name: torch.stack([one["inputs"][name] for one in samples]) for name in samples[0]["inputs"]
    }


@pytest.mark.parametrize("encoding", ["retained_indicator", "compact"])
@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_the_labels_of_voting_are_those_of_the_logits_of_training(scheme, encoding):
    model, drawn = net(encoding), subsets(scheme)
    with torch.inference_mode():
        labels = model.label(model.prepare(sample()), drawn)
        logits = model.logits(batch(sample()), masks_of(drawn))
    assert len(labels.unique()) > 1
    assert torch.equal(labels, logits.argmax(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_do_not_depend_on_what_is_encoded_beside_an_element(dtype):
    model = net().to(dtype)
    inputs = {name: x.to(dtype) for name, x in sample()["inputs"].items()}
    with torch.inference_mode():
        whole = model.prepare({"id": "s", "inputs": inputs})["tables"]
        for kept in ([0], [3, 17], [16, 1, 9], list(range(5, 18))):
            places = torch.tensor(kept)
            for name, x in inputs.items():
                alone = model.table(name, x[places], places)
                assert torch.equal(alone, whole[name][places])


@pytest.mark.parametrize("encoding", ["retained_indicator", "compact"])
def test_elements_that_are_not_retained_cannot_change_the_logits(encoding):
    model, drawn = net(encoding), subsets(draws=1)
    first = sample(0)
    attacked = {
        name: torch.where(
            drawn[name].mask[0].reshape(-1, *[1] * (x.ndim - 1)), x, torch.full_like(x, torch.nan)
        )
        for name, x in first["inputs"].items()
    }
    with torch.inference_mode():
        clean = model.logits(batch(first), masks_of(drawn))
        other = model.logits(batch({"inputs": attacked}), masks_of(drawn))
    assert torch.equal(clean, other)


def test_without_positions_an_addition_keeps_every_common_draw():
    # two elements are put in at the front, and all later ones shift
    model = net("compact", VARYING)
    first = sample(inputs=VARYING, n=18)
    longer = {
        name: torch.cat((torch.rand(2, *x.shape[1:]), x)) for name, x in first["inputs"].items()
    }
    drawn = subsets()
    shifted = {
        name: Subset(torch.nn.functional.pad(one.mask, (2, 0)), one.indices + 2)
        for name, one in drawn.items()
    }
    with torch.inference_mode():
        before = model.prepare(first)["tables"]
        after = model.prepare({"id": "s", "inputs": longer})["tables"]
        assert all(torch.equal(before[name], after[name][2:]) for name in before)
        labels = model.label({"id": "s", "tables": before}, drawn)
        assert torch.equal(labels, model.label({"id": "s", "tables": after}, shifted))


def test_with_positions_the_place_of_an_element_counts():
    drawn = subsets(k={"video": 1, "audio": 1})
    still = {"video": torch.full((18, 3, 16, 16), 0.3), "audio": torch.zeros(18, 100)}
    for encoding, logits_differ in (("retained_indicator", True), ("compact", False)):
        with torch.inference_mode():
            logits = net(encoding).logits({m: x[None] for m, x in still.items()}, masks_of(drawn))
        assert (len(logits.unique(dim=0)) > 1) is logits_differ


def test_a_modality_of_which_nothing_is_retained_is_one_constant():
    model = net()
    mask = subsets()["audio"].mask
    nothing = torch.zeros(40, 18, dtype=torch.bool)
    with torch.inference_mode():
        one = model.logits(batch(sample(0)), {"video": nothing, "audio": mask})
        mixed = batch(sample(0)) | {"video": batch(sample(1))["video"]}
        other = model.logits(mixed, {"video": nothing, "audio": mask})
        empty = model.logits(batch(sample(0)), {"video": nothing, "audio": nothing})
        state = model.prepare(sample(0))
        by_indices = model.label(
            state,
            {
                "video": Subset(nothing, torch.zeros(40, 0, dtype=torch.int64)),
                "audio": Subset(mask),
            },
        )
    assert torch.isfinite(one).all()
    assert torch.equal(one, other)
    assert len(empty.unique(dim=0)) == 1
    assert torch.equal(by_indices, one.argmax(1))


def test_rows_of_masks_belong_to_their_samples():
    model, masks = net(), masks_of(subsets(draws=6))
    with torch.inference_mode():
        both = model.logits(batch(sample(0), sample(1)), masks)
        last = model.logits(batch(sample(1)), {name: mask[3:] for name, mask in masks.items()})
    torch.testing.assert_close(both[3:], last, rtol=1e-5, atol=1e-6)


def test_training_gives_each_modality_a_head_of_its_own():
    model, masks = net(dropout=0.0).train(), masks_of(subsets(draws=8))
    x = batch(sample(0), sample(1))
    logits, auxiliary = model(x, masks)
    assert logits.shape == (8, 4)
    assert [one.shape for one in auxiliary] == [(8, 4), (8, 4)]
    model.zero_grad()
    auxiliary[0].sum().backward()
    assert any(p.grad is not None for p in model.encoders["video"].parameters())
    assert all(p.grad is None for p in model.encoders["audio"].parameters())
    assert isinstance(model.eval()(x, masks), torch.Tensor)
    assert not isinstance(net(auxiliary=False).train()(x, masks), tuple)


def test_mixed_precision_trains_and_votes():
    model, drawn = net().train(), subsets(draws=8)
    with torch.autocast("cpu", torch.bfloat16):
        logits, auxiliary = model(batch(sample(0), sample(1)), masks_of(drawn))
        (logits.float().sum() + auxiliary[0].float().sum()).backward()
        with torch.inference_mode():
            labels = model.eval().label(model.prepare(sample()), drawn)
    assert labels.shape == (8,)
    assert model.encoders["video"].layers[0].weight.grad.abs().sum() > 0


def test_training_encodes_only_what_is_retained():
    model, masks = net().train(), masks_of(subsets(draws=4))
    seen = []
    model.encoders["video"].register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    model(batch(sample(0), sample(1)), masks)
    kept = masks["video"].unflatten(0, (2, 2)).any(1).sum()
    assert seen == [int(kept)]


def test_any_subset_and_any_number_of_modalities_is_read():
    three = INPUTS | {
        "depth": {"shape": [1, 5, 5], "element_axes": [1, 2], "element": "pixel"},
        "words": {"shape": [7, 12], "element_axes": [0], "element": "row"},
    }
    model = net(inputs=three)
    n = {"video": 18, "audio": 18, "depth": 25, "words": 7}
    drawn = subsets("randomized_ablation", n=n, k=dict.fromkeys(n, 3))
    with torch.inference_mode():
        labels = model.label(model.prepare(sample(inputs=three)), drawn)
        assert torch.equal(
            labels, model.logits(batch(sample(inputs=three)), masks_of(drawn)).argmax(1)
        )
    alone = net(inputs=three, modalities=["audio"])
    assert alone.modalities == ("audio",)
    with torch.inference_mode():
        alone.label(alone.prepare({"id": "a", "inputs": sample()["inputs"]}), drawn)


def test_pixels_and_spectra_of_the_digit_model_are_encoders_too():
    inputs = {
        "image": {"shape": [1, 8, 8], "element_axes": [1, 2], "element": "pixel"},
        "audio": {"shape": [10, 16], "element_axes": [0], "element": "chunk"},
    }
    encoders = {"image": {"name": "pixel"}, "audio": {"name": "spectrum", "hidden": 8}}
    drawn = subsets(n={"image": 64, "audio": 10}, k={"image": 12, "audio": 3})
    for encoding in ("retained_indicator", "compact"):
        model = net(encoding, inputs, encoders=encoders)
        x = {"image": torch.rand(1, 8, 8), "audio": torch.rand(10, 16) - 0.5}
        with torch.inference_mode():
            labels = model.label(model.prepare({"id": "d", "inputs": x}), drawn)
            logits = model.logits({m: v[None] for m, v in x.items()}, masks_of(drawn))
        assert torch.equal(labels, logits.argmax(1))


def test_a_timm_backbone_encodes_frames_without_fetching_anything():
    frames = {"video": INPUTS["video"] | {"shape": [4, 3, 32, 32]}}
    options = {"encoders": {"video": {"name": "timm", "backbone": "test_resnet", "freeze": True}}}
    model = net(inputs=frames, **options)
    assert not any(p.requires_grad for p in model.encoders["video"].backbone.parameters())
    model.train()
    assert not model.encoders["video"].backbone.training
    with torch.inference_mode():
        tables = model.eval().prepare(sample(inputs=frames))["tables"]
    assert tables["video"].shape == (4, 2 * 16 + 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "zero"}, "retained_indicator .* or compact"),
        ({"inputs": VARYING}, "encoding.video.name=compact"),
        ({"encoders": {"video": {"name": "resnet"}}}, "choose one of frame_cnn"),
        ({"encoders": {"video": {"name": "frame_cnn", "depth": 3}}}, r"it has .*widths"),
        ({"encoders": {"audio": {"name": "frame_cnn"}}}, "that are pictures"),
        ({"encoders": {"video": {"name": "log_mel"}}}, "for chunks of samples"),
        ({"encoders": {"audio": {"name": "log_mel", "rate": 100}}}, "rate / 2"),
        ({"encoders": {"video": {"name": "timm", "backbone": "no_net"}}}, "no model 'no_net'"),
        ({"modalities": ["depth"]}, "the data has video, audio"),
        ({"heads": 3}, "must divide"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(options, message):
    with pytest.raises(ConfigError, match=message):
        net(**options)
