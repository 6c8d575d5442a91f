"""A full disk costs nothing that was there, and is told in one sentence."""

import resource
import signal

import numpy as np
import pytest

from mmcert.data.workspace import whole_file
from mmcert.errors import FullDiskError
from mmcert.full_disk import full_disk
from mmcert.records.atomic import atomic_write


@pytest.fixture(params=["disk", "limit"])
def small(request, tmp_path, small_disk):
    """A folder into which at most a megabyte goes: a real file system of that size, or a limit."""
    if request.param == "disk":
        yield small_disk("1m")
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def arrays(stream):
    np.savez(stream, x=np.random.default_rng(0).random(300_000))


def weights(stream):
    import torch

    torch.save({"x": torch.rand(600_000)}, stream)


def table(stream):
    import pyarrow
    import pyarrow.parquet

    column = np.random.default_rng(0).random(300_000)
    pyarrow.parquet.write_table(pyarrow.table({"x": column}), stream)


def picture(stream):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format="PNG")


@pytest.mark.parametrize("write", [arrays, weights, table, picture])
def test_the_old_file_stays_and_the_half_one_goes_whoever_writes(small, write):
    target = small / "result"
    target.write_bytes(b"old")
    with pytest.raises(FullDiskError) as caught, atomic_write(target) as stream:
        write(stream)
    assert target.read_bytes() == b"old"
    assert [path.name for path in small.iterdir()] == ["result"]
    said = str(caught.value)
    assert said.startswith(f"{target} could not be written: ")
    assert "of 1.0 MB free, and it needs more" in said or "larger than a file may be here" in said
    assert "Make room there" in said
    assert "goes on from what is finished" in said


def test_files_of_data_sets_too(small):
    (small / "a.bin").write_bytes(b"old")
    with (
        pytest.raises(FullDiskError, match="could not be written"),
        whole_file(small / "a.bin") as t,
    ):
        t.write_bytes(bytes(2 << 20))
    assert [(path.name, path.read_bytes()) for path in small.iterdir()] == [("a.bin", b"old")]


def test_other_errors_are_not_the_disk(tmp_path):
    assert full_disk(PermissionError(13, "Permission denied"), tmp_path) is None
    assert full_disk(ValueError("x")) is None
