"""Commands where people run them: what they print can be pasted, what fails is told."""

import ast
import errno
import io
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import mmcert
from mmcert.cli._app import run_app
from mmcert.cli.compose import compose
from mmcert.cli.explain import explained
from mmcert.errors import ConfigError, DataError
from mmcert.jobs.elsewhere import as_here
from mmcert.records.meta import VotesMeta
from mmcert.records.votes import SampleVotes, write_meta, write_sample
from mmcert.theory.modality import Modality
from mmcert.theory.schemes import SCHEMES

FOLDER = "thesis (2024) [new] it's a=b,c~ü $x"
#: What every command needs at least, as typed.
NEEDED = {
    "certify": ["checkpoint=0"],
    "convert": ["source=0"],
    "evaluate": ["votes=1"],
    "plan": [],
    "prepare": ["dataset=avmnist"],
    "report": ["runs=[1,2]"],
    "train": ["experiment=avmnist_mmcert"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = tmp_path / FOLDER
    made.mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.fixture
def typed(monkeypatch, capfd):
    """``typed(command, job, *arguments)``: exit status and what went to standard error."""

    def call(command, job, *arguments):
        monkeypatch.setattr(sys, "argv", [f"mmcert-{command}", *arguments])
        status = 0
        try:
            run_app(command, job)
        except SystemExit as end:
            status = end.code
        return status, capfd.readouterr().err

    return call


def lines_to_paste(text):
    return [line for line in text.splitlines() if line.startswith("  mmcert-")]


def pasted(line):
    """Command and arguments as bash reads a line, from functions of the commands' names."""
    functions = "\n".join(f"mmcert-{name}() {{ printf '%s\\0' {name} \"$@\"; }}" for name in NEEDED)
    done = subprocess.run(
        ["bash", "-c", f"{functions}\n{line}"], capture_output=True, check=True, timeout=20
    )
    command, *arguments = done.stdout.decode().split("\0")[:-1]
    return command, arguments


def everything_that_is_printed(root):
    """Every message of the package that ends in a line to paste, about folders below ``root``."""
    from mmcert.data.roads.kitti_road import KittiRoad
    from mmcert.data.roads.synthetic_roads import SyntheticRoads
    from mmcert.data.speech.ravdess import Ravdess
    from mmcert.data.speech.synthetic_speech import SyntheticSpeech
    from mmcert.errors import MmcertError
    from mmcert.jobs import preparation
    from mmcert.jobs.checkpoint import find_checkpoint
    from mmcert.jobs.conversion import _next
    from mmcert.jobs.training.wording import summary

    for dataset in (KittiRoad, SyntheticRoads, Ravdess, SyntheticSpeech):
        yield dataset.how_to_make(root), "prepare", "out"
    yield _next(root, root / "best.ckpt", 1, 1, True), "certify", "checkpoint"
    config = {"scheme": {"k": {"rgb": 1}}}
    yield summary(config, root, "val/f_score", 0.5, 1.0), "certify", "checkpoint"
    with pytest.raises(MmcertError) as error:
        preparation._avmnist({}, root)
    yield str(error.value), "prepare", "out"
    (root / "checkpoints").mkdir(parents=True)
    (root / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(MmcertError) as error:
        find_checkpoint(root)
    yield str(error.value), "train", "run_dir"


def test_every_line_that_is_printed_runs_as_it_is_printed(folder):
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=40)
    from mmcert.saying import say

    seen = 0
    for text, command, key in everything_that_is_printed(folder / "2024 [x]"):
        say(screen, text)
        line = lines_to_paste(screen.file.getvalue())[-1]
        screen.file.truncate(0)
        screen.file.seek(0)
        name, arguments = pasted(line)
        config = compose(name, [*NEEDED[name], *arguments])
        assert (name, config[key]) == (command, str(folder / "2024 [x]"))
        seen += 1
    assert seen == 8


def test_no_command_line_is_put_together_without_quotes():
    """Lines with a value in them come from ``mmcert.quoting.command_line``."""
    root = Path(mmcert.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    one.value if isinstance(one, ast.Constant) else "{}" for one in node.values
                )
                found = re.search(
                    r"mmcert-(train|certify|evaluate|plan|prepare|report|convert)[^\n]*={}", text
                )
                assert found is None, f"{path}:{node.lineno}: {text}"


def disk_full():
    raise OSError(errno.ENOSPC, "No space left on device", "runs/votes/a.npz")


def not_allowed():
    raise PermissionError(errno.EACCES, "Permission denied", "data/image_2")


def read_only():
    raise OSError(errno.EROFS, "Read-only file system", "runs/x")


def in_the_way():
    raise FileExistsError(errno.EEXIST, "File exists", "runs/x")


def too_many_files():
    raise OSError(errno.EMFILE, "Too many open files", "a.png")


def gone():
    raise FileNotFoundError(errno.ENOENT, "No such file or directory", "data/a.png")


def bad_disk():
    raise OSError(errno.EIO, "Input/output error", "data/a.png")


def memory():
    raise MemoryError("Unable to allocate 3.2 GiB")


def gpu_memory():
    raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.\nsecond line")


def worker_killed():
    raise RuntimeError("DataLoader worker (pid 77) is killed by signal: Killed.")


def of_another_process():
    raise RuntimeError(
        "-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n"
        '  File "x.py", line 1, in f\n    g()\n'
        "OSError: [Errno 28] No space left on device: 'runs/votes/b.npz'\n"
    )


def disk_full_while_writing():
    raise OSError(errno.ENOSPC, "No space left on device")


def no_cache():
    raise OSError("Matplotlib requires access to a writable cache directory, but the default")


FAILURES = [
    (disk_full_while_writing, "could not be written: the disk is full", "Make room"),
    (no_cache, "a writable cache directory", "MPLCONFIGDIR"),
    (disk_full, "runs/votes/a.npz could not be written: the disk is full", "Make room"),
    (not_allowed, "data/image_2: you may not read or write it", "choose another folder"),
    (read_only, "runs/x: it lies on a file system that cannot be written", "Choose another folder"),
    (in_the_way, "runs/x: a file is where a folder is needed", "Move it away"),
    (too_many_files, "a.png: too many files are open", "ulimit -n"),
    (gone, "data/a.png: it is not there", "mounted"),
    (bad_disk, "data/a.png: the disk or network drive", "See to it"),
    (memory, "memory ran out (Unable to allocate 3.2 GiB)", "batch_size"),
    (gpu_memory, "memory ran out (CUDA out of memory. Tried to allocate 2 GiB)", "voting.block"),
    (worker_killed, "a worker of the loader was ended from outside", "data.workers"),
    (of_another_process, "runs/votes/b.npz could not be written: the disk is full", "Make room"),
]


@pytest.mark.parametrize(
    ("fail", "what", "remedy"), FAILURES, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_failure_of_the_machine_is_file_reason_remedy_and_the_line_that_goes_on(
    typed, folder, fail, what, remedy
):
    status, error = typed("plan", lambda config, run_dir: fail(), "run_dir=2024_11", "seed=3")
    assert status == 1
    assert "Traceback" not in error
    assert what in error
    assert remedy in error
    (line,) = lines_to_paste(error)
    name, arguments = pasted(line)
    config = compose(name, arguments)
    assert (name, config["run_dir"], config["seed"]) == ("plan", "2024_11", 3)


def test_a_line_that_goes_on_names_the_folder_that_nobody_typed(typed, folder):
    _, error = typed("plan", lambda config, run_dir: disk_full())
    name, arguments = pasted(lines_to_paste(error)[0])
    assert Path(compose(name, arguments)["run_dir"]).parent == folder / "outputs" / "plan"


def test_an_interruption_prints_the_line_that_goes_on(typed, folder):
    def job(config, run_dir):
        raise KeyboardInterrupt

    status, error = typed("plan", job, f"run_dir={folder}/0")
    name, arguments = pasted(lines_to_paste(error)[0])
    assert (status, name) == (130, "plan")
    assert compose(name, arguments)["run_dir"] == f"{folder}/0"


def test_an_error_that_nobody_foresaw_keeps_its_traceback_and_says_how_to_report_it(typed, folder):
    status, error = typed("plan", lambda config, run_dir: {}["missing"], "run_dir=x")
    assert status == 1
    assert "Traceback" in error
    assert "KeyError: 'missing'" in error
    assert error.index("Traceback") < error.index("Please report it")
    assert f"mmcert {mmcert.__version__}" in error


def test_a_run_dir_that_cannot_be_made_is_told(typed, folder):
    Path("taken").write_text("")
    status, error = typed("plan", lambda config, run_dir: None, "run_dir=taken/x")
    assert status == 1
    assert "a file is where a folder is needed" in error
    assert "choose another run_dir=" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("command", "seed"),
    [
        *zip(NEEDED, itertools.cycle(["-1", "4294967296"])),
        *[("plan", x) for x in ("1.5", "a", "true")],
    ],
)
def test_every_command_has_the_same_range_of_seeds_and_looks_first(typed, folder, command, seed):
    begun = []
    status, error = typed(
        command, lambda config, run_dir: begun.append(1), *NEEDED[command], f"seed={seed}"
    )
    assert (status, begun) == (1, [])
    assert "must be a whole number from 0 to 4294967295" in error


@pytest.mark.parametrize("command", NEEDED)
def test_a_number_for_a_name_reaches_the_job_as_it_was_typed(typed, folder, command):
    given = []
    typed(
        command,
        lambda config, run_dir: given.append((config, run_dir)),
        *NEEDED[command],
        "run_dir=2024_11",
    )
    config, run_dir = given[0]
    assert run_dir == folder / "2024_11"
    for key, value in {"checkpoint": "0", "source": "0", "votes": "1", "runs": ["1", "2"]}.items():
        assert config.get(key) in (None, value)


def test_what_hydra_cannot_read_is_shown_in_the_form_that_it_can(typed, folder):
    status, error = typed(
        "certify", lambda config, run_dir: None, "checkpoint=0", "data.name=a (b)"
    )
    assert status == 1
    assert "Traceback" not in error
    quoted = error.splitlines()[-1].strip()
    (_, arguments) = pasted(f"mmcert-certify checkpoint=0 {quoted}")
    assert compose("certify", arguments)["data"]["name"] == "a (b)"


def test_errors_of_other_processes_come_back_as_themselves():
    text = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "a.py", line 3, in load\n    raise\nmmcert.errors.DataError: a.png: torn.\n'
        "  mmcert-prepare dataset=kitti_road out=x check=true"
    )
    found = as_here(DataError(text))
    assert isinstance(found, DataError)
    assert str(found) == "a.png: torn.\n  mmcert-prepare dataset=kitti_road out=x check=true"
    nested = as_here(RuntimeError(f"Traceback (most recent call last):\n  x\nDataError: {text}"))
    assert str(nested) == str(found)
    assert as_here(DataError("a.png: torn.")) is None
    assert explained(RuntimeError("something else")) is None


def test_logging_online_without_a_key_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    pytest.importorskip("wandb", reason="wandb is not installed")
    from mmcert.jobs import report

    with pytest.raises(ConfigError, match=r"wandb login.*logger\.mode=offline"):
        report({"runs": ["nowhere"], "logger": {"name": "wandb", "mode": "online"}}, tmp_path)


def votes_of_two_samples(run):
    modalities = (Modality("rgb", 200, 12, "pixel"),)
    meta = VotesMeta("segmentation", "mmcert", modalities, draws=100, classes=2)
    write_meta(run / "votes", meta)
    for name in ("100", "b"):
        right = np.random.default_rng(len(name)).binomial(100, 0.97, (5, 6))
        counts = np.stack([100 - right, right])
        target = np.ones((5, 6), int)
        sample = SampleVotes(name, counts, target, 100, SCHEMES["mmcert"](modalities))
        write_sample(run / "votes", sample, meta)


def test_a_report_from_a_notebook_leaves_the_notebooks_figures_as_they_are(tmp_path):
    import matplotlib

    from mmcert.jobs import evaluate, report

    votes_of_two_samples(tmp_path / "1")
    evaluate(compose("evaluate", [f"votes={tmp_path}/1"]), tmp_path / "2")
    with matplotlib.rc_context({"backend": "svg", "font.size": 3}):
        before = dict(matplotlib.rcParams)
        report(compose("report", [f"runs=[{tmp_path}/2]"]), tmp_path / "3")
        assert dict(matplotlib.rcParams) == before


@pytest.mark.slow
@pytest.mark.smoke
def test_a_notebooks_backend_and_an_output_without_utf8_spoil_nothing(folder):
    """Evaluate and report, as from a notebook on a machine that speaks ASCII."""
    votes_of_two_samples(folder / "1")
    surroundings = {
        **os.environ,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONIOENCODING": "ascii",
        "OMP_NUM_THREADS": "1",
    }
    for command, arguments in (
        ("evaluate", ["votes=1", f"run_dir={folder}/2"]),
        ("report", ["runs=[2]", "sample=100", "run_dir=3"]),
        ("report", [f"runs={folder}/[2]", "run_dir=4"]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", f"mmcert.cli.{command}", *arguments],
            env=surroundings,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert b"it's a=b,c~\\xfc $x" in done.stdout
    assert (folder / "3" / "report" / "index.html").is_file()
