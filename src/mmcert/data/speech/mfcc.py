"""Mel-frequency cepstral coefficients of a clip, as the published emotion models read them.

10 coefficients of 156 frames for 3.6 s at 22,050 Hz: Hann windows of 2048 samples every 512,
centred, 128 mel bands on Slaney's scale, decibels no lower than 80 below the clip's loudest band,
orthonormal DCT-II. Within 1e-3 of librosa, in float64 throughout.

Windows overlap and the floor of 80 dB is relative to the clip's maximum, so every coefficient
depends on the whole clip: a certificate is about the coefficients, and the attacker who edits
frames of them.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, rfft

from mmcert.data.speech.windows import RATE

COEFFICIENTS = 10
WINDOW, HOP = 2048, 512
MELS = 128
#: Decibels below the loudest band of the clip, and the least power there is.
TOP_DB, LEAST = 80.0, 1e-10

Float64Array = NDArray[np.float64]


def mfcc_frames(samples: int) -> int:
    """How many frames a clip of so many samples has.

    >>> mfcc_frames(79380)
    156
    """
    return 1 + samples // HOP


def mfcc(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The coefficients of a clip.

    Args:
        samples: ``(samples,)`` at 22,050 Hz, in [-1, 1].

    Returns:
        float32 ``(frames, 10)``.
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    padded = np.pad(samples.astype(np.float64), WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(rfft(windows * hann, axis=1)) ** 2  # (frames, 1025)
    bands = power @ mel_filters().T  # (frames, 128)
    decibels = 10 * np.log10(np.maximum(bands, LEAST))
    decibels = np.maximum(decibels, decibels.max() - TOP_DB)
    return dct(decibels, type=2, norm="ortho", axis=1)[:, :COEFFICIENTS].astype(np.float32)


@lru_cache(maxsize=1)
def mel_filters() -> Float64Array:
    """Triangular filters of equal area, ``(128, 1025)``.

    Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, logarithmic above.
    """
    bins = np.linspace(0, RATE / 2, 1 + WINDOW // 2)
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(RATE / 2), MELS + 2))
    below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - below) / (centre - below), (above - bins) / (above - centre)
    return np.maximum(0, np.minimum(rising, falling)) * (2 / (above - below))


#: Where the scale turns logarithmic, mels per Hz below it, and its step above it.
_TURN_HZ, _MELS_PER_HZ, _LOG_STEP = 1000.0, 3 / 200, np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _TURN_HZ:
        return hz * _MELS_PER_HZ
    return _TURN_HZ * _MELS_PER_HZ + float(np.log(hz / _TURN_HZ)) / float(_LOG_STEP)


def _mel_to_hz(mels: Float64Array) -> Float64Array:
    turn = _TURN_HZ * _MELS_PER_HZ
    high = _TURN_HZ * np.exp(_LOG_STEP * (np.maximum(mels, turn) - turn))
    return np.where(mels < turn, mels / _MELS_PER_HZ, high)
