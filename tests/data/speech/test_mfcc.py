from pathlib import Path

import numpy as np
import pytest

from mmcert.data.speech.mfcc import mfcc

SHARED = Path(__file__).parents[4] / "shared" / "data"


#: The middle frame of 4096 samples of a tone of 440 Hz, by librosa 0.11.
TONE = [-482.028, 37.883, 28.293, 14.14, -2.176, -17.909, -30.451, -37.779, -38.797, -33.498]


def published(samples):
    librosa = pytest.importorskip("librosa", reason="the reference is librosa, an extra of dev")
    return librosa.feature.mfcc(y=samples.astype(np.float64), sr=22050, n_mfcc=10).T


def test_a_tone_has_the_coefficients_that_librosa_gives_it():
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(4096) / 22050)).astype(np.float32)
    np.testing.assert_allclose(mfcc(tone)[4], TONE, atol=1e-3)


@pytest.mark.slow  # importing librosa takes ten seconds
@pytest.mark.parametrize("seconds", [3.6, 1.2345])
def test_the_coefficients_are_those_of_librosa(seconds):
    rng = np.random.default_rng(0)
    loudness = np.geomspace(1, 1e-7, round(seconds * 22050))  # reaches the floor of 80 dB
    samples = (rng.standard_normal(len(loudness)) * 0.3 * loudness).astype(np.float32)
    ours = mfcc(samples)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, published(samples), atol=1e-3)
    if seconds == 3.6:
        assert ours.shape == (156, 10)


@pytest.mark.slow
def test_silence_has_coefficients_too():
    silence = np.zeros(79380, np.float32)
    np.testing.assert_allclose(mfcc(silence), published(silence), atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(
    not (SHARED / "ravdess_audio_sample").is_dir(), reason="real RAVDESS clips are not here"
)
def test_the_coefficients_of_real_speech_are_those_of_librosa():
    from mmcert.data.speech.clips import clip_elements
    from mmcert.data.speech.windows import Window

    for path in sorted((SHARED / "ravdess_audio_sample").rglob("*.wav"))[::8]:
        chunks = clip_elements(None, path, window=Window(3.6), crop=32).audio
        samples = chunks.astype(np.float32).ravel() / 32768
        np.testing.assert_allclose(mfcc(samples), published(samples), atol=1e-3)
