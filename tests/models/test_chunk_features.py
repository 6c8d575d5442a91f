"""What is heard in a chunk: coarse bands, whatever the loudness, of that chunk alone."""

import math

import pytest
import torch

from mmcert.models.chunk_features import BandFeatures, BandLevels, mel_bands

RATE = 8000


def tone(hertz, amplitude=0.3, samples=160):
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE)


def test_bands_are_equally_wide_on_the_mel_scale_and_cover_what_lies_between():
    bands = mel_bands(16, 256, RATE, 100.0)
    assert bands.shape == (129, 16)
    assert bands.sum(0).min() > 0.5  # even the narrowest holds a frequency
    between = bands[8:106].sum(1)  # 250 to 3300 Hz: neighbours overlap to 1
    assert between.min() > 0.99
    assert between.max() < 1.01


def test_a_tone_is_loudest_in_the_band_of_its_frequency():
    levels = BandLevels(160, 16, RATE)
    heard = [int(levels(tone(hertz))[:-1].argmax()) for hertz in (200, 700, 1500, 3000)]
    assert heard == sorted(set(heard))


def test_relative_levels_do_not_know_how_loud_somebody_speaks():
    levels = BandLevels(160, 16, RATE)
    torch.manual_seed(0)
    noise = torch.randn(160)
    soft, loud = levels(noise * 0.2), levels(noise * 0.8)
    torch.testing.assert_close(soft[:-1], loud[:-1], atol=0.02, rtol=0)
    assert loud[-1] > soft[-1] + 0.5


def test_a_constant_offset_is_silence():
    levels = BandLevels(160, 16, RATE)
    silent = levels(torch.zeros(160))
    torch.testing.assert_close(silent[:-1], torch.zeros(16), atol=1e-5, rtol=0)
    torch.testing.assert_close(levels(torch.full((160,), 0.3)), silent, atol=1e-4, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_features_of_a_chunk_depend_on_no_other(training):
    torch.manual_seed(0)
    features = BandFeatures(10, 160, 8, 8, bands=16, rate=RATE, dropout=0.0).train(training)
    chunks = torch.randn(1, 10, 160)
    changed = chunks.clone()
    changed[0, 3] = 0
    same = (features(chunks) == features(changed)).all(-1)[0]
    assert same.tolist() == [index != 3 for index in range(10)]
