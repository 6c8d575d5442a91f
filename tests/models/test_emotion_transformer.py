"""The published emotion model, on tiny faces."""

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.models.efficient_face import EfficientFace, load_efficient_face
from mmcert.models.emotion_transformer import FUSIONS
from mmcert.models.registry import build_model
from mmcert.sampling.subsets import draw_subsets
from mmcert.theory.schemes import make_scheme

INPUTS = {
    "video": {"shape": [5, 3, 32, 32], "element_axes": [0], "element": "frame"},
    "audio": {"shape": [16, 10], "element_axes": [0], "element": "MFCC frame"},
}


def net(inputs=INPUTS, encoding="zero", **options):
    torch.manual_seed(0)
    model = build_model(
        "emotion_transformer",
        inputs=inputs,
        classes=8,
        encoding={"name": encoding},
        **options,
    )
    return model.eval()


def sample(seed=0):
    make = torch.Generator().manual_seed(seed)
    inputs = {m: torch.rand(spec["shape"], generator=make) for m, spec in INPUTS.items()}
    return {"id": f"s{seed}", "inputs": inputs}


def drawn(draws=6, scheme="mmcert"):
    n = {"video": 5, "audio": 16}
    made = make_scheme(scheme, n, k={"video": 2, "audio": 5})
    return draw_subsets(made, seed=0, sample_id="s", stream="test", draws=range(draws))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_labels_of_voting_are_those_of_the_logits_of_training(fusion):
    model, subsets = net(fusion=fusion, heads=2), drawn(scheme="randomized_ablation")
    with torch.inference_mode():
        state = model.prepare(sample())
        batch = {name: x[None] for name, x in sample()["inputs"].items()}
        logits = model.logits(batch, {name: one.mask for name, one in subsets.items()})
        assert logits.shape == (6, 8)
        assert torch.equal(model.label(state, subsets), logits.argmax(1))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_stream_sees_the_other_and_only_what_is_retained(fusion):
    model, subsets = net(fusion=fusion), drawn(1)
    masks = {name: one.mask for name, one in subsets.items()}
    clean = {name: x[None] for name, x in sample()["inputs"].items()}
    with torch.inference_mode():
        logits = model.logits(clean, masks)
        for name, x in clean.items():
            kept = masks[name].reshape(1, -1, *[1] * (x.ndim - 2))
            attacked = clean | {name: torch.where(kept, x, torch.nan)}
            assert torch.equal(model.logits(attacked, masks), logits)
            changed = clean | {name: torch.where(kept, 1 - x, x)}
            assert not torch.equal(model.logits(changed, masks), logits)


def test_training_reaches_every_weight():
    for fusion in FUSIONS:
        model = net(fusion=fusion).train()
        batch = {name: torch.stack([x, x * 0.5]) for name, x in sample()["inputs"].items()}
        masks = {name: one.mask for name, one in drawn(4).items()}
        model(batch, masks).logsumexp(1).sum().backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_the_frame_encoder_has_the_size_and_names_of_the_public_one():
    encoder = EfficientFace()
    names = dict(encoder.named_parameters())
    assert "stage3.0.branch1.0.weight" in names
    assert names["local.conv4_1.weight"].shape == (116, 1, 3, 3)
    assert names["modulator.channel_att.gate_c.gate_c_fc_final.bias"].shape == (116,)
    assert names["modulator.spatial_att.gate_s.gate_s_conv_di_1.weight"].shape == (7, 7, 3, 3)
    assert encoder.eval()(torch.rand(1, 3, 224, 224)).shape == (1, 1024)


def test_weights_of_a_public_checkpoint_are_where_training_begins(tmp_path):
    torch.manual_seed(1)
    public = EfficientFace()
    weights = {f"module.{name}": value for name, value in public.state_dict().items()}
    weights |= {"module.fc.weight": torch.zeros(7, 1024), "module.fc.bias": torch.zeros(7)}
    file = tmp_path / "EfficientFace.pth.tar"
    torch.save({"epoch": 3, "state_dict": weights}, file)
    model = net(encoder_weights=str(file))
    for name, value in model.face.state_dict().items():
        assert torch.equal(value, public.state_dict()[name]), name
    # a checkpoint of ours replaces them: the file need not be there any more
    file.unlink()
    net(encoder_weights=str(file), stored_weights=True)
    with pytest.raises(ConfigError, match="no such file"):
        net(encoder_weights=str(file))


def test_a_file_that_is_no_public_checkpoint_is_refused_by_name(tmp_path):
    file = tmp_path / "weights.pth"
    weights = EfficientFace().state_dict()
    del weights["conv1.0.weight"]
    torch.save(weights, file)
    with pytest.raises(ConfigError, match=r"1 of its weights .*conv1\.0\.weight"):
        load_efficient_face(EfficientFace(), file)
    torch.save({"state_dict": {"run": Recorder()}}, file)
    with pytest.raises(ConfigError, match="save its 'state_dict' alone"):
        load_efficient_face(EfficientFace(), file)
    torch.save([1, 2], file)
    with pytest.raises(ConfigError, match="holds no weights"):
        load_efficient_face(EfficientFace(), file)


class Recorder:
    """An object that only code could make."""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "early"}, "none of lt, it, ia"),
        ({"encoding": "retained_indicator"}, "set encoding=zero"),
        ({"heads": 7}, "must divide"),
        (
            {"inputs": INPUTS | {"video": INPUTS["video"] | {"shape": [5, 3, 30, 32]}}},
            "multiples of 16",
        ),
        ({"inputs": INPUTS | {"audio": INPUTS["audio"] | {"shape": [12, 10]}}}, "at least 13"),
        ({"inputs": {"video": INPUTS["video"]}}, "reads the modality 'audio'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(options, message):
    with pytest.raises(ConfigError, match=message):
        net(**options)
