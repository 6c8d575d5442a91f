"""The element-wise classifier: voting and training compute one function of what is retained."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.models.elementwise_fusion import PIXEL_SCALE, as_elements
from mmcert.models.registry import build_model
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import make_scheme

INPUTS = {
    "image": {"shape": [1, 8, 8], "element_axes": [1, 2], "element": "pixel"},
    "audio": {"shape": [10, 16], "element_axes": [0], "element": "chunk of 16 samples"},
}
N = {"image": 64, "audio": 10}


#: Options of both kinds of the model.
KINDS = {"spectra, jointly": {}, "bands, as a product": {"chunk": "bands", "fusion": "product"}}
each_kind = pytest.mark.parametrize("kind", KINDS)


def net(inputs=INPUTS, encoding="retained_indicator", **options):
    torch.manual_seed(0)
    model = build_model(
        "elementwise_fusion",
        inputs=inputs,
        classes=4,
        encoding={"name": encoding},
        pixel_features=32,
        chunk_features=16,
        hidden=32,
        **options,
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


@each_kind
@pytest.mark.parametrize("scheme", ["mmcert", "randomized_ablation"])
def test_the_labels_of_voting_are_those_of_the_logits_of_training(scheme, kind):
    model, drawn = net(**KINDS[kind]), subsets(scheme)
    with torch.inference_mode():
        labels = model.label(model.prepare(sample()), drawn)
        logits = model.logits(batch(sample()), {name: one.mask for name, one in drawn.items()})
    assert torch.equal(labels, logits.argmax(1))


@each_kind
def test_elements_that_are_not_retained_cannot_change_the_logits(kind):
    model, drawn = net(**KINDS[kind]), subsets(draws=1)
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


def test_the_sum_of_retained_pixels_is_the_product_of_masks_and_features():
    pixels = net().pixels
    masks = torch.rand(6, 64) < 0.2
    masks[0] = masks[-1] = False  # nothing retained is a sum too
    images = torch.rand(2, 64, 1)
    whole = torch.bmm(masks.float().reshape(2, 3, 64), pixels(images)).flatten(0, 1)
    torch.testing.assert_close(pixels.summed(images, masks), whole)
    assert torch.equal(pixels.summed(images, masks & False), torch.zeros(6, 32))


def test_a_product_adds_what_each_modality_says_alone():
    model = net(**KINDS["bands, as a product"])
    masks = {name: one.mask for name, one in subsets(draws=5).items()}
    nothing = {name: mask & False for name, mask in masks.items()}
    with torch.inference_mode():
        both = model.logits(batch(sample()), masks)
        image = model.logits(batch(sample()), masks | {"audio": nothing["audio"]})
        audio = model.logits(batch(sample()), masks | {"image": nothing["image"]})
        neither = model.logits(batch(sample()), nothing)
    torch.testing.assert_close(both, image + audio - neither)


def test_training_shows_a_product_one_modality_alone_in_its_share_of_rows():
    model = net(fusion="product", alone={"image": 0.5, "audio": 0.2}, dropout=0.0).train()
    torch.manual_seed(0)
    heard = torch.stack(list(model._heard(torch.zeros(4000, 64)).values()))
    assert heard.any(0).all()
    shares = [(heard[i] & ~heard[1 - i]).float().mean().item() for i in (0, 1)]
    assert shares == pytest.approx([0.5, 0.2], abs=0.03)
    assert model.eval()._heard(torch.zeros(4, 64)) is None


def test_a_row_of_training_that_reads_the_image_alone_has_the_logits_of_the_image():
    model = net(fusion="product", alone={"image": 0.5, "audio": 0.5}, dropout=0.0).train()
    masks = {name: one.mask for name, one in subsets(draws=40).items()}
    torch.manual_seed(1)
    rows = model._heard(masks["image"])["image"]
    torch.manual_seed(1)
    logits = model.logits(batch(sample()), masks)
    pixels = as_elements(batch(sample())["image"], (1, 2))
    alone = model.heads[0](model.pixels.summed(pixels, masks["image"]) / PIXEL_SCALE)
    assert 5 < rows.sum() < 35
    torch.testing.assert_close(logits[rows], alone[rows])


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


def test_unknown_kinds_of_chunks_and_fusion_are_refused():
    for options, message in (
        ({"chunk": "mfcc"}, "chunk=mfcc; choose spectrum or bands"),
        ({"fusion": "sum"}, "fusion=sum; choose joint or product"),
        ({"alone": {"image": 0.7, "audio": 0.4}}, "shares of at most 1 together"),
        ({"alone": {"sound": 0.4}}, "give image and audio shares"),
    ):
        with pytest.raises(ConfigError, match=message):
            net(**options)


def test_other_encodings_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="set encoding=retained_indicator"):
        net(encoding="zero")
    varying = INPUTS | {"image": INPUTS["image"] | {"shape": [1, None, 8]}}
    with pytest.raises(ConfigError, match="needs inputs of one size"):
        net(inputs=varying)
