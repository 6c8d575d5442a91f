"""The sound of a performance: a glottal source and noise, coloured by the vocal tract.

Source and noise are made over the whole clip, then each short overlapping window of them is
multiplied with the spectrum that the mouth has at that time, and the windows are added up.
"""

from __future__ import annotations

import numpy as np

from mmcert.data.speech.talkingworld.performance import SAMPLE_RATE, Performance

#: Samples of a window and from one to the next: 21 and 5 ms.
_WINDOW, _HOP = 1024, 256
#: Bandwidths of the formants, Hz, and resonances above the third, Hz.
_BANDWIDTHS = (80.0, 100.0, 140.0)
_UPPER = ((3500.0, 250.0), (4500.0, 350.0))
#: Level of the recording's own noise relative to full scale.
_ROOM = 4e-4
#: Root mean square of neutral speech of a usual speaker, relative to full scale.
_NEUTRAL = 0.03


def sound_of(performance: Performance) -> np.ndarray:
    """The sound, mono at 48 kHz: int16 ``(S,)``, as long as the pictures of the clip."""
    utterance, prosody, actor = performance.utterance, performance.prosody, performance.actor
    rng = np.random.default_rng([*performance.seed, 3])
    samples = performance.samples
    hops = samples // _HOP + 5
    times = (np.arange(hops) - 2) * _HOP / SAMPLE_RATE  # middles of the windows
    voiced = utterance.track("voiced", times, smooth=0.03)
    hiss = utterance.track("hiss", times, smooth=0.012) * np.where(
        utterance.track("burst", times) * (utterance.track("onset", times) < 0.55), 0.0, 1.0
    )
    pitch = _pitch(performance, times, rng)
    fine = np.arange(samples + 4 * _HOP) / SAMPLE_RATE - 2 * _HOP / SAMPLE_RATE
    source = _glottis(np.interp(fine, times, pitch), prosody.rough, rng)
    noise = rng.standard_normal(len(fine))

    frequencies = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    formants = utterance.track("formants", times, smooth=0.06) * actor.tract * (1 + prosody.smile)
    tract = _resonances(frequencies, formants, actor.tract)
    octaves = np.log2(np.maximum(frequencies, 500.0) / 500.0)
    tilt = 10 ** (prosody.tilt * octaves / 20)
    centre = utterance.track("centre", times, smooth=0.02)[:, None] * (0.6 + 0.4 * actor.tract)
    friction = np.exp(-0.5 * ((frequencies - centre) / np.maximum(0.35 * centre, 1)) ** 2)

    breathing = prosody.breath * (1 - np.exp(-frequencies / 900.0))
    voice_spectrum = voiced[:, None] * (1 - 0.6 * prosody.breath) * tract * tilt
    noise_spectrum = 0.16 * voiced[:, None] * breathing * tract + 0.10 * hiss[:, None] * friction
    noise_spectrum = noise_spectrum * 10 ** (0.3 * prosody.tilt * octaves / 20)
    spoken = _coloured(source, voice_spectrum) + _coloured(noise, noise_spectrum)
    spoken = spoken[2 * _HOP : 2 * _HOP + samples]

    shimmer = 1 + 0.4 * prosody.tremor * np.sin(2 * np.pi * 6.1 * fine[2 * _HOP :][:samples])
    active = np.abs(spoken) > 0.05 * np.abs(spoken).max()
    loudness = _NEUTRAL * 10 ** (prosody.level / 20) / np.sqrt(np.mean(spoken[active] ** 2))
    sound = spoken * shimmer * loudness + _ROOM * rng.standard_normal(samples)
    # A limiter, as a recording has it: linear up to 0.7 of full scale, below 1 always.
    loud = np.abs(sound) > 0.7
    sound[loud] = np.sign(sound[loud]) * (0.7 + 0.29 * np.tanh((np.abs(sound[loud]) - 0.7) / 0.29))
    return np.round(sound * 32767).astype(np.int16)


def _pitch(performance: Performance, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fundamental frequency at ``times``, Hz."""
    utterance, prosody = performance.utterance, performance.prosody
    share = np.clip((times - utterance.start) / (utterance.end - utterance.start), 0, 1)
    semitones = prosody.pitch + 1.5 - 3.0 * share  # the voice sinks through a sentence
    for accent in utterance.accents:
        height = prosody.melody * rng.uniform(0.5, 1.0)
        semitones = semitones + height * np.exp(-0.5 * ((times - accent) / 0.09) ** 2)
    semitones = semitones + prosody.ending * np.clip((share - 0.8) / 0.2, 0, 1)
    semitones = semitones + 0.7 * prosody.tremor * np.sin(2 * np.pi * 6.1 * times)
    return performance.actor.pitch * 2 ** (semitones / 12)


def _glottis(pitch: np.ndarray, rough: float, rng: np.random.Generator) -> np.ndarray:
    """The change of the flow through the vocal folds, from the pitch (Hz) at every sample.

    Each period opens slowly and closes fast; a rough voice has periods of unequal length and
    strength.
    """
    cycles = np.cumsum(pitch) / SAMPLE_RATE
    periods = int(cycles[-1]) + 2
    shift = np.clip(rng.normal(0, 0.004 + 0.05 * rough, periods + 1), -0.2, 0.2)
    edges = np.arange(periods + 1) + shift
    index = np.clip(np.searchsorted(edges, cycles, "right") - 1, 0, periods - 1)
    place = (cycles - edges[index]) / (edges[index + 1] - edges[index])
    strength = np.exp(rng.normal(0, 0.02 + 0.30 * rough, periods))[index]
    opening = 0.5 * np.sin(np.pi * np.clip(place / 0.53, 0, 1))
    closing = 2.2 * np.exp(-0.5 * ((place - 0.66) / 0.035) ** 2)
    flow = strength * (opening - closing)
    return flow - flow.mean()


def _resonances(frequencies: np.ndarray, formants: np.ndarray, tract: float) -> np.ndarray:
    """Gain of the vocal tract: ``(T, F)`` from formants ``(T, 3)`` in Hz."""
    gain = np.ones((len(formants), len(frequencies)))
    for column, bandwidth in enumerate(_BANDWIDTHS):
        gain *= _resonance(frequencies, formants[:, column, None], bandwidth)
    for centre, bandwidth in _UPPER:
        gain *= _resonance(frequencies, np.array(centre * tract), bandwidth)
    lips = frequencies / (frequencies + 300.0)
    return np.maximum(gain, 1e-3) * lips


def _resonance(frequencies: np.ndarray, centre: np.ndarray, bandwidth: float) -> np.ndarray:
    """Gain of a second-order resonance, 1 at 0 Hz; its skirt is bounded as parallel paths do."""
    ratio = (frequencies / centre) ** 2
    gain = 1 / np.sqrt((1 - ratio) ** 2 + ratio * (2 * bandwidth / centre) ** 2)
    return np.maximum(gain, 0.35)


def _coloured(signal: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """``signal`` with the spectrum of its time: window ``t`` is centred at sample ``t * _HOP``."""
    window = np.sqrt(np.hanning(_WINDOW + 1)[:-1])
    padded = np.pad(signal, (_WINDOW // 2, _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][: len(spectra)]
    pieces = np.fft.irfft(np.fft.rfft(windows * window) * spectra[: len(windows)], _WINDOW)
    pieces *= window / 2  # four windows overlap; their squares add up to 2
    result = np.zeros(len(padded) + _WINDOW)
    blocks = pieces.reshape(len(pieces), _WINDOW // _HOP, _HOP)
    for part in range(_WINDOW // _HOP):
        start = part * _HOP
        result[start : start + len(pieces) * _HOP] += blocks[:, part].ravel()
    return result[_WINDOW // 2 : _WINDOW // 2 + len(signal)]
