"""Other hands and other voices: what the augmentations of digits change, and what they keep."""

import math

import pytest
import torch

from mmcert.errors import ConfigError
from mmcert.tasks.augmentation import StrokeWidth, build_augmentations
from mmcert.tasks.voices import Voice

RATE = 8000
STILL = {"tempo": 0, "pitch": 0, "shift": 0, "response": 0, "gain": 0, "noise": 0}


def tones(hertz, batch=8):
    wave = 0.3 * torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)
    return {"audio": wave.reshape(1, 50, 160).repeat(batch, 1, 1)}


def changed(inputs, **options):
    torch.manual_seed(0)
    return Voice(**{**STILL, **options})(inputs, torch.zeros(len(inputs["audio"])))[0]["audio"]


def pitch_of(chunk):
    """Hz of the strongest frequency of a chunk."""
    power = torch.fft.rfft(chunk * torch.hann_window(160), n=4000).abs()
    return power.argmax(-1) * RATE / 4000


def test_without_changes_a_voice_stays_what_it_is():
    inputs = tones(440)
    torch.testing.assert_close(changed(inputs), inputs["audio"], atol=1e-3, rtol=0)


def test_pitch_changes_within_the_chunks_and_leaves_their_time_alone():
    middle = pitch_of(changed(tones(1000), pitch=0.2)[:, 25])
    assert len(set(middle.tolist())) > 4
    assert (middle > 1000 * math.exp(-0.2) - 10).all()
    assert (middle < 1000 * math.exp(0.2) + 10).all()
    click = torch.zeros(8, 50, 160)
    click[:, 25, 70:90] = 0.5
    loudest = changed({"audio": click}, pitch=0.2).square().sum(-1).argmax(1)
    assert (loudest == 25).all()


def test_tempo_changes_when_a_chunk_comes_and_leaves_its_pitch_alone():
    middle = pitch_of(changed(tones(1000), tempo=0.3)[:, 20])
    assert (middle - 1000).abs().max() < 10
    burst = torch.zeros(8, 50, 160)
    burst[:, 25] = torch.randn(160)
    loudest = changed({"audio": burst}, tempo=0.3).square().sum(-1).argmax(1)
    assert loudest.min() < 25 < loudest.max()


def test_a_response_changes_bands_by_at_most_its_decibels():
    inputs = tones(1000)
    change = changed(inputs, response=6.0)[:, 5:45].square().mean((1, 2)) / 0.045
    decibels = 10 * change.log10()
    assert decibels.abs().max() < 6.1
    assert decibels.abs().max() > 1


def test_what_is_outside_the_recording_is_silent():
    late = changed(tones(440), shift=4000)
    assert (late == 0).any()
    assert torch.isfinite(late).all()


def test_strokes_become_thicker_and_thinner_and_stay_in_range():
    image = torch.zeros(64, 1, 28, 28)
    image[:, :, 5:23, 13:16] = 1
    torch.manual_seed(0)
    ink = StrokeWidth()({"image": image}, torch.zeros(64))[0]["image"]
    assert ink.min() >= 0
    assert ink.max() <= 1
    amounts = ink.sum((1, 2, 3)) / image[0].sum()
    assert amounts.min() < 0.8
    assert amounts.max() > 1.2
    assert (ink[:, 0, 12, 14] == 1).all()  # the middle of a stroke of three pixels stays ink


def test_their_options_are_checked():
    with pytest.raises(ConfigError, match=r"voice\.formants is no option; it has modality, tempo"):
        build_augmentations({"voice": {"formants": 1}})
