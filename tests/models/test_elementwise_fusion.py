"""The element-wise classifier: voting and training compute one function of what is retained."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.models.elementwise_fusion import as_elements
from mmcert.models.registry import build_model
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import make_scheme

INPUTS = {
    "image": {"shape": [1, 8, 8], "element_axes": [1, 2], "element": "pixel"},
    "audio": {"shape": [10, 16], "element_axes": [0], "element": "chunk of 16 samples"},
}
N = {"image": 64, "audio": 10}


def net(inputs=INPUTS, encoding="retained_indicator"):
    torch.manual_seed(0)
    model = build_model(
        "elementwise_fusion",
        inputs=inputs,
        classes=4,
        encoding={"name": encoding},
        pixel_features=32,
        chunk_features=16,
        hidden=32,
    )
    return model.eval()


def sample(seed=0):
    make = torch.Generator().manual_seed(seed)
    image = torch.rand(1, 8, 8, generator=make)
    audio = torch.rand(10, 16, generator=make) - 0.5
    return {"id": f"s{seed}", "inputs": {"image": image, "audio": audio}}


def subsets(scheme="mmcert", draws=50):
    drawn = make_scheme(scheme, N, k={"image": 12, "audio": 3})
    return draw_subsets(drawn, seed=0, sample_id="s", stream="test", draws=range(draws))


def batch(*samples):
    return {name: torch.stack([one["inputs"][name] for one in samples]) for name in INPUTS}


@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_the_labels_of_voting_are_those_of_the_logits_of_training(scheme):
    model, drawn = net(), subsets(scheme)
    with torch.inference_mode():
        labels = model.label(model.prepare(sample()), drawn)
        logits = model.logits(batch(sample()), {name: one.mask for name, one in drawn.items()})
    assert torch.equal(labels, logits.argmax(1))


def test_elements_that_are_not_retained_cannot_change_the_logits():
    model, drawn = net(), subsets(draws=1)
    first, second = sample(0), sample(1)
    mixed = {
        "image": torch.where(
            drawn["image"].mask.reshape(1, 8, 8),
            first["inputs"]["image"],
            second["inputs"]["image"],
        ),
        "audio": torch.where(
            drawn["audio"].mask.reshape(10, 1), first["inputs"]["audio"], second["inputs"]["audio"]
        ),
    }
    masks = {name: one.mask for name, one in drawn.items()}
    with torch.inference_mode():
        clean = model.logits(batch(first), masks)
        other = model.logits(batch({"inputs": mixed}), masks)
    assert torch.equal(clean, other)


def test_rows_of_masks_belong_to_their_samples():
    model = net()
    masks = {name: one.mask for name, one in subsets(draws=6).items()}
    with torch.inference_mode():
        both = model.logits(batch(sample(0), sample(1)), masks)
        last = model.logits(batch(sample(1)), {name: mask[3:] for name, mask in masks.items()})
    torch.testing.assert_close(both[3:], last, rtol=1e-5, atol=1e-6)


def test_the_position_of_an_element_counts():
    model = net()
    features = model.prepare(sample())["features"]
    assert features["image"].shape == (64, 32)
    assert features["audio"].shape == (10, 16)
    same = {"id": "flat", "inputs": {"image": torch.ones(1, 8, 8), "audio": torch.zeros(10, 16)}}
    flat = model.prepare(same)["features"]["image"]
    assert not torch.allclose(flat[0], flat[1])


def test_elements_are_numbered_in_c_order_of_their_axes():
    x = torch.arange(2 * 3 * 4).reshape(1, 2, 3, 4)
    assert torch.equal(as_elements(x, (1, 2))[0, 5], x[0, :, 1, 1])
    assert torch.equal(as_elements(x, (0,))[0, 1], x[0, 1].flatten())


def test_other_encodings_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="set encoding=retained_indicator"):
        net(encoding="zero")
    varying = INPUTS | {"image": INPUTS["image"] | {"shape": [1, None, 8]}}
    with pytest.raises(ConfigError, match="needs inputs of one size"):
        net(inputs=varying)
