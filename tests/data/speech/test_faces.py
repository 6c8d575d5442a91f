import numpy as np
import pytest

from mmcert.data.speech.clips import clip_elements
from mmcert.data.speech.crops import boxes_over_time, crop_face
from mmcert.data.speech.faces import Box, face_detector
from mmcert.data.speech.windows import Window
from mmcert.errors import ConfigError, DataError

OWN = '''
from mmcert.data.speech.faces import Box, FaceDetector

class Corner(FaceDetector):
    """A face of 40 pixels in the upper left corner of every picture."""

    def find(self, picture, near):
        assert picture.shape == (120, 160, 3)  # as wide as the file: no width is stated
        return Box(20, 20, 40)
'''


def test_the_cascade_finds_a_drawn_face_where_it_is(clipmaker):
    detector = face_detector("cascade")
    box = detector.find(clipmaker.draw_face(), None)
    assert box.x == pytest.approx(80, abs=4)
    assert box.y == pytest.approx(62, abs=8)
    assert 60 < box.size < 100
    moved = clipmaker.draw_face(centre=(84, 60))
    assert detector.find(moved, box).x == pytest.approx(84, abs=4)
    far = clipmaker.draw_face(size=(240, 320), centre=(250, 150))
    assert detector.find(far, Box(60, 60, 80)).x == pytest.approx(250, abs=6)
    assert detector.find(np.full((120, 160, 3), 128, np.uint8), box) is None


def test_one_box_elsewhere_hardly_moves_the_others_and_gaps_are_interpolated():
    found = {i: Box(100 + i, 50, 80) for i in range(0, 60, 2)}
    steady = boxes_over_time(found, range(60))
    found[30] = Box(10, 10, 200)
    assert boxes_over_time(found, range(60))[30].x == pytest.approx(steady[30].x, abs=1.5)
    assert steady[31].x == pytest.approx(131, abs=0.5)
    found[30] = Box(130, 50, 80)
    for gap in range(20, 30, 2):
        del found[gap]
    assert boxes_over_time(found, range(60))[25].x == pytest.approx(125, abs=2)
    alone = boxes_over_time({7: Box(1, 2, 3)}, range(3))
    assert [round(box.size, 9) for box in alone] == [3, 3, 3]


def test_a_crop_beyond_the_picture_is_black_there_and_keeps_its_shape():
    picture = np.full((50, 60, 3), 200, np.uint8)
    crop = crop_face(picture, Box(0, 25, 40), 46)
    assert crop.shape == (3, 46, 46)
    assert not crop[:, :, :22].any()
    assert (crop[:, :, 24:] == 200).all()
    assert not crop_face(picture, Box(500, 500, 20), 16).any()


def test_a_detector_of_your_own_is_named_and_must_be_allowed(clipmaker, tmp_path, monkeypatch):
    (tmp_path / "my_faces.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "clip.mp4"
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[:44, :44] = 220
    clipmaker.write_clip(path, [picture] * 12)
    window = Window(0.4)
    with pytest.raises(ConfigError, match=r"allow_code=\[my_faces\]"):
        clip_elements(path, None, window=window, crop=32, detector="my_faces:Corner")
    elements = clip_elements(
        path, None, window=window, crop=32, detector="my_faces:Corner", allow_code=["my_faces"]
    )
    assert elements.video[:, :, 4:28, 4:28].min() > 190
    with pytest.raises(DataError, match=r"clip\.mp4: no face in any of the 6 frames"):
        clip_elements(path, None, window=window, crop=32)
    with pytest.raises(ConfigError, match="choose one of cascade"):
        face_detector("retina")


def test_a_missing_library_names_the_extra_that_brings_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"opencv-python-headless.*pip install 'mmcert\[video\]'"):
        face_detector("cascade")
