from pathlib import Path

import pytest

from mmcert.data.speech.names import EMOTIONS, ClipName, clip_name, file_name
from mmcert.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"


def test_the_seven_fields_of_a_name():
    holds, name = file_name("02-01-06-02-01-02-12")
    assert holds == ("video",)
    assert name == ClipName(1, 5, 2, 1, 2, 12)
    assert EMOTIONS[name.emotion] == "fearful"
    assert not name.is_male
    assert name.id == "01-06-02-01-02-12"
    assert clip_name(name.id) == name


def test_the_files_of_one_performance_have_one_id():
    ids = {file_name(f"{modality:02d}-01-03-01-01-01-07")[1].id for modality in (1, 2, 3)}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("stem", "says"),
    [
        ("holiday", "no RAVDESS name"),
        ("03-01-06-01-02-01", "no RAVDESS name"),
        ("3-01-06-01-02-01-12", "no RAVDESS name"),
        ("04-01-06-01-02-01-12", "modality is 04"),
        ("03-01-09-01-02-01-12", "emotion is 09"),
        ("03-01-00-01-02-01-12", "emotion is 00"),
        ("03-01-06-01-02-01-25", "actor is 25"),
        ("03-01-06-01-02-01-12-01", "no RAVDESS name"),
        ("03-01-06-01-02-01-١٢", "no RAVDESS name"),
    ],
)
def test_another_name_says_what_is_wrong_with_it(stem, says):
    with pytest.raises(DataError, match=says):
        file_name(stem)


@pytest.mark.skipif(
    not (SHARED / "ravdess_audio_24k").is_dir(), reason="real RAVDESS clips are not here"
)
def test_the_real_names_say_who_speaks_and_how():
    names = [file_name(path.stem) for path in sorted((SHARED / "ravdess_audio_24k").rglob("*.wav"))]
    assert len({name.id for _, name in names}) == 480
    assert {holds for holds, _ in names} == {("audio",)}
    for actor in range(1, 9):
        emotions = [name.emotion for _, name in names if name.actor == actor]
        # neutral has one intensity, the seven others two; two sentences, twice each
        assert [emotions.count(emotion) for emotion in range(8)] == [4, *[8] * 7]
