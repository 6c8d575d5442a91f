"""Voting in real processes: the same votes whoever counts them, whatever happens meanwhile."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

LONG = '"segment_seconds": 0.3, "config": {"task": "segmentation", "delay": 0.05}'


def children(parent):
    """The processes that it has spawned."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in found}
    return [int(child) for child, text in commands.items() if b"spawn_main" in text]


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


@pytest.fixture(scope="module")
def reference(tiny, tmp_path_factory):
    """The votes of one process without interruption."""
    folder = tmp_path_factory.mktemp("reference")
    tiny.run(folder, f'{{"selection_draws": 5, {LONG}}}')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_one_process_and_several_give_the_same_votes(tiny, reference, tmp_path, world):
    options = f'{{"selection_draws": 5, "processes": {world}, {LONG}}}'
    out = json.loads(tiny.run(tmp_path, options))
    assert out == {"draws": 105, "counted": 105, "world": world}
    assert contents(tmp_path) == contents(reference)
    assert not (tmp_path / ".partial").exists()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_where_it_was_and_gives_the_same_votes(
    tiny, reference, tmp_path, processes
):
    options = f'{{"selection_draws": 5, "processes": {processes}, {LONG}}}'
    process = tiny.start(tmp_path, options)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".partial/*/[!.]*.npz")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no segment was written"
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.communicate()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "processes outlive the command that started them"
        time.sleep(0.1)
    left = json.loads(tiny.run(tmp_path, options))
    assert 0 < left["draws"] < 105
    assert contents(tmp_path) == contents(reference)


def test_non_finite_logits_stop_the_run_with_the_name_of_the_sample(tiny, tmp_path):
    process = tiny.start(tmp_path, '{"config": {"broken": "s01"}}')
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "sample 's01', test draws 0 to 3: the logits are not finite." in err
    assert list(contents(tmp_path)) == ["s00.npz"]  # nothing lost of what was finished


@pytest.mark.slow
def test_an_error_in_one_of_two_processes_reaches_the_person_without_their_tracebacks(
    tiny, tmp_path
):
    process = tiny.start(tmp_path, '{"processes": 2, "config": {"broken": "s02"}}')
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    last = err.strip().splitlines()[-1]
    assert last.startswith("mmcert.errors.MmcertError: sample 's02', test draws")


@pytest.mark.slow
def test_a_process_that_is_killed_stops_the_run_with_a_reason(tiny, tmp_path):
    options = f'{{"draws": 4000, "processes": 2, {LONG}}}'
    process = tiny.start(tmp_path, options)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".partial/*/[!.]*.npz")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    last = err.strip().splitlines()[-1]
    assert "a voting process died" in last
    assert "SIGKILL" in last


@pytest.mark.slow
def test_a_full_disk_loses_no_vote_that_was_finished(tiny, small_disk, tmp_path):
    folder = small_disk("20k")  # meta.json, and not all that follows; a file takes 4 KiB
    options = '{"processes": 2, "config": {"samples": 8}}'
    process = tiny.start(folder, options)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert ".npz could not be written: the disk is full" in err.strip().splitlines()[-1]
    finished = contents(folder)
    assert 0 < len(finished) < 8
    assert not list(folder.rglob(".*.npz.*"))  # nothing half-written
    small_disk("1m")
    left = json.loads(tiny.run(folder, options))
    assert left["draws"] < 240
    tiny.run(tmp_path / "reference", options)
    assert contents(folder) == contents(tmp_path / "reference")
    assert contents(folder).items() >= finished.items()
