"""scripts/stress_kills.py, for a few kills: nothing is lost and no process is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "stress_kills.py"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc"), reason="looks for processes in /proc")
def test_kills_at_random_moments_change_no_result():
    done = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "4", "--seed", "1"],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills" in done.stdout
