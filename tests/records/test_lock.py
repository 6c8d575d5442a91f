"""One job at a time works in a folder, whatever became of the one before."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from mmcert.errors import RecordError
from mmcert.records.lock import LOCK, only_one

HOLD = """
import sys
from pathlib import Path
from mmcert.records.lock import only_one
with only_one(Path(sys.argv[1]), "mmcert-train"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path / 'run'`` until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_learns_who_was_first_and_waits_for_nobody(holder, tmp_path):
    with pytest.raises(RecordError) as caught, only_one(tmp_path / "run", "mmcert-train"):
        pass
    said = str(caught.value)
    assert f"{tmp_path / 'run'}: another mmcert-train is at work here" in said
    assert f"process {holder.pid} on {socket.gethostname()}, since 20" in said
    assert "another run_dir" in said
    holder.communicate()
    with only_one(tmp_path / "run", "mmcert-train"):
        pass


def test_the_lock_of_a_killed_process_holds_nobody_up(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with only_one(tmp_path / "run", "mmcert-train"):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["process"] == os.getpid()


def test_two_threads_of_one_process_are_two_jobs(tmp_path):
    with (
        only_one(tmp_path, "mmcert-train"),
        pytest.raises(RecordError, match=f"process {os.getpid()}"),
        only_one(tmp_path, "mmcert-train"),
    ):
        pass


def test_what_a_job_starts_works_with_it(tmp_path):
    """Lightning starts the ranks of ``ddp`` by running the command line again."""
    with only_one(tmp_path, "mmcert-train"):
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout == "held\n", done.stderr


def test_nothing_is_left_of_a_lock(tmp_path):
    with only_one(tmp_path / "run"):
        (tmp_path / "run" / "result").write_text("x")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]
    with pytest.raises(ValueError, match="refused"), only_one(tmp_path / "none"):
        raise ValueError("refused before anything was written")
    assert not (tmp_path / "none").exists()
