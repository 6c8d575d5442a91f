"""Signals end a job wherever it waits, and put a job of a cluster back where it should go on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mmcert.jobs import interruption
from mmcert.jobs.interruption import Interrupted, exit_status, interruptible, requeue


def wait_after(number):
    """Send this process a signal and wait."""
    os.kill(os.getpid(), number)
    time.sleep(10)


def interrupted_by(number, job=wait_after):
    """What a job makes of a signal."""
    with pytest.raises(Interrupted) as caught:  # noqa: SIM117
        with interruptible():
            job(number)
    return caught.value


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_job_and_names_itself_to_the_shell(number):
    before = signal.getsignal(number)
    assert exit_status(interrupted_by(number)) == 128 + number
    assert signal.getsignal(number) == before


def test_the_warning_of_a_cluster_counts_in_a_job_of_slurm_only(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with interruptible():
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert interrupted_by(signal.SIGUSR1).number == signal.SIGUSR1


def test_handlers_of_others_stay():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_library_makes_of_the_interruption_is_told_by_the_signal():
    def training(number):
        try:
            wait_after(number)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as Lightning does

    assert interrupted_by(signal.SIGTERM, training).number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_c_code_that_never_looks_does_not_keep_a_process(number):
    code = (
        "import hashlib, signal\n"
        "from mmcert.jobs import interruption\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "interruption._LIMIT = 0.3\n"
        "with interruption.interruptible():\n"
        "    print('waits', flush=True)\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"waits\n"
        time.sleep(0.5)  # it is in C now
        process.send_signal(number)
        assert process.wait(30) == 128 + number


@pytest.mark.parametrize(
    ("number", "environment", "shown", "asked"),
    [
        (signal.SIGUSR1, {}, "", ["requeue 7"]),
        (signal.SIGTERM, {}, "PreemptTime=2026-01-01T00:00:00", ["show job", "requeue 7"]),
        (signal.SIGTERM, {}, "PreemptTime=None", ["show job"]),  # scancel
        (signal.SIGINT, {}, "", []),
        (signal.SIGUSR1, {"SLURM_PROCID": "1"}, "", []),  # rank 0 does it
        (signal.SIGUSR1, {"SUBMITIT_EXECUTOR": "slurm"}, "", []),  # so does submitit
    ],
)
def test_who_is_put_back_into_the_queue(monkeypatch, number, environment, shown, asked):
    calls = []

    def scontrol(*arguments):
        calls.append(" ".join(arguments))
        return subprocess.CompletedProcess(arguments, 0, shown, "")

    for name in ("SLURM_PROCID", "SUBMITIT_EXECUTOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURM_JOB_ID": "7", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(interruption, "_scontrol", scontrol)
    said = []
    requeue(Interrupted(number), said.append)
    assert len(calls) == len(asked)
    assert all(call.startswith(start) for call, start in zip(calls, asked, strict=True))
    assert len(said) == sum(call.startswith("requeue") for call in calls)
