"""Small data sets in the true file formats, written on the fly."""

import gzip
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmcert
from mmcert.data.roads.synthetic_roads_writer import write_synthetic_roads

CALIBRATION = """P0: 721.5 0 609.5 0 0 721.5 172.8 0 0 0 1 0
P2: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0.002

R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0

"""


class RoadFolder:
    """Writes frames of the KITTI Road format below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, stem, *, folder="", size=(12, 20), label=True, seed=0):
        rng = np.random.default_rng(seed)
        base = self.root / folder
        for name in ("image_2", "depth_u16", "calib", *(["gt_image_2"] if label else [])):
            (base / name).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(image).save(base / "image_2" / f"{stem}.png")
        depth = rng.integers(1000, 60000, size).astype(np.uint16)
        depth[: size[0] // 2] = 0
        Image.fromarray(depth).save(base / "depth_u16" / f"{stem}.png")
        (base / "calib" / f"{stem}.txt").write_text(CALIBRATION)
        if label:
            colours = np.zeros((*size, 3), np.uint8)
            colours[1:, :, 0] = 255
            colours[size[0] // 2 :, 4:12, 2] = 255
            Image.fromarray(colours).save(self.label(stem, folder))
        return self

    def label(self, stem, folder=""):
        category, number = stem.rsplit("_", 1)
        return self.root / folder / "gt_image_2" / f"{category}_road_{number}.png"


@pytest.fixture
def road_folder(tmp_path):
    return RoadFolder(tmp_path / "roads")


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "roads"
    write_synthetic_roads(
        root, scenes=9, size=(48, 160), seed=3, validation=0.22, test=0.33, workers=1
    )
    return root


@pytest.fixture(scope="session")
def shared_data():
    folder = Path(mmcert.__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real samples are not at {folder}")
    return folder


def write_idx(path: Path, array: np.ndarray) -> None:
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture(scope="session")
def avmnist_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("avmnist")
    rng = np.random.default_rng(0)
    labels = (np.arange(1700) % 10).astype(np.uint8)
    write_idx(root / "labels-idx1-ubyte.gz", labels)
    write_idx(root / "images-idx3-ubyte.gz", rng.integers(0, 256, (1700, 28, 28), dtype=np.uint8))
    (root / "recordings").mkdir()
    for digit in range(10):
        for speaker in ("anna", "bert", "zoe"):
            for index in range(3):
                length = 3000 if index else 9000
                samples = rng.integers(-9000, 9000, length)
                write_wav(root / "recordings" / f"{digit}_{speaker}_{index}.wav", samples)
    return root


@pytest.fixture(scope="session")
def idx_writer():
    return write_idx


@pytest.fixture(scope="session")
def wav_writer():
    return write_wav
