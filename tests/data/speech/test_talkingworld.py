"""Claims about the synthetic world of talking faces: people, performances, voices, pictures."""

import itertools
from dataclasses import fields

import numpy as np
import pytest

from mmcert.data.speech.names import EMOTIONS
from mmcert.data.speech.talkingworld.actors import draw_actor
from mmcert.data.speech.talkingworld.clips import Clip, clips_of
from mmcert.data.speech.talkingworld.emotions import FACE_DOUBLE, VOICE_DOUBLE, Expression
from mmcert.data.speech.talkingworld.performance import perform
from mmcert.data.speech.talkingworld.voice import sound_of

SAMPLE_RATE = 48000


@pytest.fixture(scope="module")
def performances():
    return {clip: perform(clip, 0) for clip in clips_of(192, 0)}


def of(actor, emotion, **fields):
    given = {"intensity": 1, "statement": 1, "repetition": 1, **fields}
    return Clip(emotion=EMOTIONS.index(emotion) + 1, actor=actor, **given)


def spectrum(sound):
    """Frequencies in Hz and the power at them."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE), power


def test_odd_actors_are_male_with_deeper_voices():
    actors = [draw_actor(number, 0) for number in range(1, 25)]
    assert [actor.female for actor in actors] == [False, True] * 12
    men, women = ([a.pitch for a in actors if a.female == sex] for sex in (False, True))
    assert max(men) < min(women)


def test_actors_differ_and_every_skin_is_in_any_twelve_neighbours():
    actors = [draw_actor(number, 0) for number in range(1, 25)]
    for one, other in itertools.combinations(actors, 2):
        assert one.skin != other.skin
        assert one.pitch != other.pitch
    for first in range(13):
        tones = sorted(np.mean(actor.skin) for actor in actors[first : first + 12])
        assert tones[0] < 90
        assert tones[-1] > 200


def test_no_two_emotions_are_doubles_in_face_and_voice():
    assert set(VOICE_DOUBLE) == set(EMOTIONS)
    for emotion, double in FACE_DOUBLE.items():
        assert VOICE_DOUBLE[emotion] != double


def test_clips_last_as_long_as_those_of_ravdess(performances):
    seconds = np.array([p.frames * 1001 / 30000 for p in performances.values()])
    assert seconds.min() > 2.8
    assert seconds.max() < 5.6
    assert 3.4 < seconds.mean() < 4.3


def test_speech_begins_and_ends_in_silence_at_times_that_differ(performances):
    starts = np.array([p.utterance.start for p in performances.values()])
    after = np.array([p.frames * 1001 / 30000 - p.utterance.end for p in performances.values()])
    assert starts.min() > 0.4
    assert after.min() > 0.4
    assert np.ptp(starts) > 0.5
    clip = of(3, "happy")
    sound, start = sound_of(perform(clip, 0)) / 32768, perform(clip, 0).utterance.start
    silence = sound[: round((start - 0.05) * SAMPLE_RATE)]
    assert np.sqrt(np.mean(silence**2)) < 0.05 * np.sqrt(np.mean(sound**2))


def test_speech_and_window_agree_in_nearly_all_clips(performances):
    """A window of 3.6 s from min(.5, max(0, duration - 3.6)) holds most of the speech."""
    shares = []
    for p in performances.values():
        start = min(0.5, max(0.0, p.frames * 1001 / 30000 - 3.6))
        spoken = min(p.utterance.end, start + 3.6) - max(p.utterance.start, start)
        shares.append(spoken / (p.utterance.end - p.utterance.start))
    assert np.mean(np.array(shares) > 0.95) > 0.9


def test_the_mouth_opens_while_vowels_sound():
    p = perform(of(4, "neutral"), 0)
    jaw = p.expressions[:, [field.name for field in fields(Expression)].index("jaw")]
    times = np.arange(p.frames) * 1001 / 30000
    sound = np.abs(sound_of(p) / 32768)
    level = np.array([sound[round(t * SAMPLE_RATE) :][:1600].max() for t in times])
    talking = (times > p.utterance.start) & (times < p.utterance.end)
    assert jaw[talking].mean() > 3 * jaw[~talking].mean()
    assert np.corrcoef(jaw, level)[0, 1] > 0.5


def test_sound_is_as_long_as_the_pictures_and_never_clipped(performances):
    for p in list(performances.values())[::16]:
        sound = sound_of(p)
        assert sound.dtype == np.int16
        assert len(sound) == round(p.frames * SAMPLE_RATE * 1001 / 30000)
        assert 500 < np.abs(sound.astype(int)).max() < 32767


def test_anger_is_louder_and_brighter_than_sadness():
    for actor in (1, 2):
        levels, brightness = {}, {}
        for emotion in ("angry", "sad"):
            sound = sound_of(perform(of(actor, emotion, intensity=2), 0)) / 32768
            frequencies, power = spectrum(sound)
            levels[emotion] = np.sqrt(np.mean(sound**2))
            high = (frequencies > 1500) & (frequencies < 5000)
            brightness[emotion] = power[high].sum() / power[frequencies < 1500].sum()
        assert levels["angry"] > 3 * levels["sad"]
        assert brightness["angry"] > 1.5 * brightness["sad"]


def test_the_voice_has_the_pitch_that_was_drawn():
    """The spacing of the harmonics of a calm vowel, by autocorrelation."""
    p = perform(of(2, "neutral"), 0)
    sound = sound_of(p) / 32768
    middle = round(p.utterance.accents[1] * SAMPLE_RATE)
    piece = sound[middle - 1500 : middle + 1500] * np.hanning(3000)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(piece, 8192)) ** 2)
    lags = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 80)
    period = lags.start + int(np.argmax(correlation[lags]))
    assert SAMPLE_RATE / period == pytest.approx(p.actor.pitch, rel=0.35)


def test_faces_of_all_skins_and_emotions_are_found(performances):
    """By the cascade that preparation uses, at its settings."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV, of the extra 'video', is not installed")
    from mmcert.data.speech.talkingworld.face import Stage

    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    found, middles = [], []
    for p in list(performances.values())[::4]:
        stage = Stage(p, (240, 320))
        frame = p.frames // 2
        grey = cv2.cvtColor(stage.picture(frame), cv2.COLOR_RGB2GRAY)
        boxes = cascade.detectMultiScale(grey, 1.1, 3, minSize=(60, 60))
        found.append(len(boxes) == 1)
        if len(boxes) == 1:
            x, y, width, height = boxes[0]
            head = stage.head(frame)
            unit = head.unit / 2
            middles.append(
                [
                    (x + width / 2 - head.centre[0] / 2) / unit,
                    (y + height / 2 - head.centre[1] / 2) / unit,
                ]
            )
    assert np.mean(found) >= 0.98
    assert np.abs(np.array(middles)).max() < 0.4  # in units of half a face


def test_the_same_performance_gives_the_same_pictures_and_another_clip_others():
    pytest.importorskip("cv2", reason="OpenCV, of the extra 'video', is not installed")
    from mmcert.data.speech.talkingworld.face import Stage

    one, same = (Stage(perform(of(1, "happy"), 0), (120, 160)).picture(40) for _ in range(2))
    other = Stage(perform(of(1, "happy", repetition=2), 0), (120, 160)).picture(40)
    assert one.dtype == np.uint8
    assert one.shape == (120, 160, 3)
    assert np.array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 2
