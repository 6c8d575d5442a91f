"""RoadSeg against its published parameter counts and an independent reading of its structure."""

import pytest
import torch
from torch.nn import functional

from mmcert.errors import ConfigError
from mmcert.models.roadseg_net import RoadSegNet, resnet_encoder

PUBLISHED_MILLIONS = {
    "resnet18": 28.409,
    "resnet34": 48.625,
    "resnet50": 132.053,
    "resnet101": 170.038,
    "resnet152": 201.325,
}


@pytest.mark.parametrize("encoder", PUBLISHED_MILLIONS)
def test_parameter_counts_equal_the_published_ones(encoder):
    with torch.device("meta"):
        net = RoadSegNet(2, encoder)
    millions = sum(parameter.numel() for parameter in net.parameters()) / 1e6
    assert round(millions, 3) == PUBLISHED_MILLIONS[encoder]


def public_layout(encoder_channels=(64, 64, 128, 256, 512), classes=2):
    """The names of a public ResNet-18 checkpoint, written down from the layout alone."""
    norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names = set()
    for stream in ("rgb", "another"):
        prefix = f"encoder_{stream}_"
        names.add(f"{prefix}conv1.weight")
        names |= {f"{prefix}bn1.{part}" for part in norm}
        for layer in range(1, 5):
            for block in range(2):
                for index in (1, 2):
                    names.add(f"{prefix}layer{layer}.{block}.conv{index}.weight")
                    names |= {f"{prefix}layer{layer}.{block}.bn{index}.{part}" for part in norm}
            if layer > 1:
                names.add(f"{prefix}layer{layer}.0.downsample.0.weight")
                names |= {f"{prefix}layer{layer}.0.downsample.1.{part}" for part in norm}
    decoder = [(f"conv{i}_{j}", (1, 2)) for i in range(1, 5) for j in range(1, 6 - i)]
    decoder += [(f"up{i + 1}_{j}", (1,)) for i in range(1, 5) for j in range(5 - i)]
    decoder += [("final", (1,))]
    for name, indices in decoder:
        for index in indices:
            names |= {f"{name}.conv{index}.{part}" for part in ("weight", "bias")}
            names |= {f"{name}.bn{index}.{part}" for part in norm}
    return names


def test_names_map_one_to_one_to_the_public_checkpoints():
    with torch.device("meta"):
        assert set(RoadSegNet(2, "resnet18").state_dict()) == public_layout()


def independent_reading(state, rgb, another):
    """RoadSeg-18 in functional form, straight from the description."""

    def norm(x, name):
        return functional.batch_norm(
            x,
            state[f"{name}.running_mean"],
            state[f"{name}.running_var"],
            state[f"{name}.weight"],
            state[f"{name}.bias"],
        )

    def basic(x, name, stride):
        y = functional.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1)
        y = functional.relu(norm(y, f"{name}.bn1"))
        y = norm(functional.conv2d(y, state[f"{name}.conv2.weight"], None, 1, 1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            x = functional.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
            x = norm(x, f"{name}.downsample.1")
        return functional.relu(x + y)

    def convolve(x, name, index):
        y = functional.conv2d(
            x, state[f"{name}.conv{index}.weight"], state[f"{name}.conv{index}.bias"], 1, 1
        )
        return functional.relu(norm(y, f"{name}.bn{index}"))

    def up(x, name):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return convolve(x, name, 1)

    streams = {"rgb": rgb, "another": another}
    column = []
    for stage in range(5):
        for stream, x in streams.items():
            prefix = f"encoder_{stream}_"
            if stage == 0:
                x = functional.conv2d(x, state[f"{prefix}conv1.weight"], None, 2, 3)
                x = functional.relu(norm(x, f"{prefix}bn1"))
            else:
                if stage == 1:
                    x = functional.max_pool2d(x, 3, 2, 1)
                x = basic(x, f"{prefix}layer{stage}.0", 1 if stage == 1 else 2)
                x = basic(x, f"{prefix}layer{stage}.1", 1)
            streams[stream] = x
        streams["rgb"] = streams["rgb"] + streams["another"]
        column.append([streams["rgb"]])
    for j in range(1, 5):
        for i in range(1, 6 - j):
            row = column[i - 1]
            below = up(column[i][j - 1], f"up{i + 1}_{j - 1}")
            x = torch.cat([*row[:j], below], 1)
            row.append(convolve(convolve(x, f"conv{i}_{j}", 1), f"conv{i}_{j}", 2))
    return up(column[0][4], "final")


def test_logits_equal_an_independent_reading_of_the_architecture():
    generator = torch.Generator().manual_seed(0)
    net = RoadSegNet(2, "resnet18").eval()
    state = net.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            noise = torch.randn(value.shape, generator=generator)
            positive = name.endswith(("running_var", "bn1.weight", "bn2.weight"))
            state[name] = noise.abs() * 0.2 + 0.8 if positive else noise * 0.05
    net.load_state_dict(state)
    rgb = torch.rand(1, 3, 64, 96, generator=generator)
    another = torch.rand(1, 3, 64, 96, generator=generator)
    with torch.inference_mode():
        ours, theirs = net(rgb, another), independent_reading(state, rgb, another)
    assert ours.std() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-4 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("encoder", ["resnet50", "resnet18d", "regnety_008"])
def test_other_encoders_and_channel_counts_fit(encoder):
    net = RoadSegNet(3, encoder, (4, 2)).eval()
    with torch.inference_mode():
        assert net(torch.rand(1, 4, 64, 96), torch.rand(1, 2, 64, 96)).shape == (1, 3, 64, 96)


@pytest.mark.parametrize("encoder", ["no_such_net", "convnext_tiny", "efficientnet_b0"])
def test_an_encoder_that_does_not_fit_is_refused_by_name(encoder):
    with pytest.raises(ConfigError, match=encoder):
        RoadSegNet(2, encoder)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet18d"])
def test_weights_that_cannot_be_fetched_are_named_with_the_ways_out(monkeypatch, encoder):
    def offline(*args, **kwargs):
        raise FileNotFoundError("no network")

    monkeypatch.setattr("torchvision.models.get_model", offline)
    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ConfigError, match=rf"weights of {encoder} .*pretrained=false"):
        RoadSegNet(2, encoder, pretrained=True)


@pytest.mark.parametrize("channels", [1, 4])
def test_imagenet_weights_of_other_channel_counts_are_the_mean_over_colours(monkeypatch, channels):
    import torchvision

    torch.manual_seed(0)
    source = torchvision.models.resnet18(weights=None)
    monkeypatch.setattr("torchvision.models.get_model", lambda name, weights: source)
    expected = source.conv1.weight.mean(1)
    pieces, widths = resnet_encoder("resnet18", channels, pretrained=True)
    assert widths == [64, 64, 128, 256, 512]
    for channel in range(channels):
        assert torch.equal(pieces["conv1"].weight[:, channel], expected)


def test_a_bottleneck_encoder_has_the_public_names():
    with torch.device("meta"):
        names = set(RoadSegNet(2, "resnet50").state_dict())
    for stream in ("rgb", "another"):
        prefix = f"encoder_{stream}_"
        for layer, blocks in enumerate((3, 4, 6, 3), start=1):
            for block in range(blocks):
                for index in (1, 2, 3):
                    assert f"{prefix}layer{layer}.{block}.conv{index}.weight" in names
            assert f"{prefix}layer{layer}.0.downsample.0.weight" in names
