"""The demo script: its trainings side by side, what one of them does ends both or neither."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import mmcert

ROOT = Path(mmcert.__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "demo.sh"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the demo is a Unix script")

ECHO = '#!/bin/sh\necho "$(basename "$0") $*" | tee -a "$SEEN/lines"\n'
#: Waits for the other one: alone it would wait for ever. ``mmcert`` does what ``$FATE`` says.
TRAIN = f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@"
' '''  # a shebang takes no path with a space in it
import os, pathlib, sys, time
seen = pathlib.Path(os.environ["SEEN"])
name = "ablation" if "ablation" in sys.argv[1] else "mmcert"
(seen / name).touch()
try:
    while len(list(seen.glob("[ma]*[nt]"))) < 2:
        time.sleep(0.02)
    print("epoch 1", flush=True)
    fate = os.environ["FATE"]
    if fate == "fail" and name == "mmcert":
        sys.exit("train: the data are not there")
    while fate != "end":
        time.sleep(0.02)
except KeyboardInterrupt:
    print("Interrupted. To go on ...", flush=True)
    (seen / f"{{name}}.interrupted").touch()
    sys.exit(130)
"""


@pytest.fixture
def demo(tmp_path):
    """``demo(fate)``: the script with commands that only say what they were asked."""
    commands = tmp_path / "bin"
    commands.mkdir()
    out = tmp_path / "it's (a) [test]"
    for name in ("prepare", "certify", "report", "train"):
        (commands / f"mmcert-{name}").write_text(TRAIN if name == "train" else ECHO)
        (commands / f"mmcert-{name}").chmod(0o755)
    (tmp_path / "seen").mkdir()

    def start(fate):
        environment = {"BIN": str(commands), "SEEN": str(tmp_path / "seen"), "FATE": fate}
        return subprocess.Popen(
            ["bash", str(SCRIPT), str(out)],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    yield start
    left = subprocess.run(["pgrep", "-f", str(commands)], capture_output=True, text=True)
    assert left.stdout == "", "processes of the demo are left"


def test_both_models_train_at_the_same_time_and_every_line_says_whose_it_is(demo, tmp_path):
    out, err = demo("end").communicate(timeout=60)
    assert "mmcert              | epoch 1\n" in out, err
    assert "randomized_ablation | epoch 1\n" in out
    # What is printed is what is run, and Hydra reads the folder that was named.
    steps = (tmp_path / "seen" / "lines").read_text().splitlines()
    printed = [shlex.split(line) for line in re.findall(r"\x1b\[1m\$ (.*)\x1b\[0m", out)]
    lines = [" ".join(words) for words in printed if words[0] != "mmcert-train"]
    assert lines == steps
    parser = OverridesParser.create()
    named = [parser.parse_override(one).value() for one in printed[-1][1:]]
    where = f"{tmp_path}/it's (a) [test]"
    assert named == [
        [f"{where}/mmcert", f"{where}/randomized_ablation"],
        {"rgb": 4, "depth": 1},
        where,
    ]
    assert [line.split()[0].removeprefix("mmcert-") for line in steps] == [
        "prepare",
        "certify",
        "certify",
        "report",
    ]
    assert f"Open {tmp_path}/it's (a) [test]/report/index.html" in out


def test_one_that_fails_ends_the_demo_with_its_message(demo, tmp_path):
    process = demo("fail")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "mmcert              | train: the data are not there\n" in out
    assert "A training failed" in err
    assert (tmp_path / "seen" / "ablation.interrupted").exists()
    assert "certify" not in (tmp_path / "seen" / "lines").read_text()


def test_an_interruption_ends_both_and_shows_their_last_lines(demo, tmp_path):
    process = demo("wait")
    deadline = time.monotonic() + 30
    while len(list((tmp_path / "seen").iterdir())) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.count("| Interrupted. To go on ...") == 2
    assert len(list((tmp_path / "seen").glob("*.interrupted"))) == 2


@pytest.mark.slow
def test_the_second_time_uses_what_is_finished_and_ends_with_the_report(tmp_path, tiny_overrides):
    """The real commands, on data and nets of seconds."""
    smaller = {
        "prepare": ("scenes=12", "size=[32,96]", "validation=0.17", "test=0.33", "workers=1"),
        "train": tiny_overrides,
        "certify": ("voting.processes=1",),
        "report": ("ray={rgb: 1, depth: 2}",),
    }
    (tmp_path / "bin").mkdir()
    for name, overrides in smaller.items():
        command = tmp_path / "bin" / f"mmcert-{name}"
        more = " ".join(f"'{one}'" for one in overrides)
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mmcert.cli.{name} "$@" {more}\n')
        command.chmod(0o755)

    def run():
        done = subprocess.run(
            ["bash", str(SCRIPT), str(tmp_path / "out")],
            env=os.environ | {"BIN": str(tmp_path / "bin"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run()
    out = tmp_path / "out"
    kept = [*out.rglob("*.ckpt"), *out.rglob("*.npz"), *(out / "data").rglob("*.png")]
    assert len(kept) == 4 + 8 + 36  # checkpoints, votes, images
    before = {path: path.stat().st_mtime_ns for path in kept}
    (out / "report" / "index.html").unlink()
    again = run()
    assert again.count("is finished: 6 epochs") == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert (out / "report" / "index.html").is_file()
    assert f"Open {out}/report/index.html" in again.splitlines()[-1]
