"""The steps that experiments are made of: done once, and never mixed."""

import json

import pytest
import steps


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Commands of their own in place of ours: each writes what it was given."""
    package = tmp_path / "code" / "mmcert" / "cli"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "say.py").write_text(
        "import os, sys; print(sys.argv[1:]); open(os.environ['SEEN'], 'a').write('x')\n"
        "sys.exit('no data here' if 'fail' in sys.argv else 0)"
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parents[1]))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path


def test_a_step_is_done_once(command):
    first = steps.run(command / "run", "say", "a=1")
    assert steps.run(command / "run", "say", "a=1") == first >= 0
    assert (command / "seen").read_text() == "x"
    assert (command / "run.log").read_text() == f"['a=1', 'run_dir={command / 'run'}']\n"


def test_a_step_that_is_asked_for_differently_is_refused(command):
    steps.run(command / "run", "say", "a=1")
    with pytest.raises(SystemExit, match=r"was made by another line \(say a=1\)"):
        steps.run(command / "run", "say", "a=2")


def test_a_step_that_fails_says_why_and_is_tried_again(command):
    with pytest.raises(SystemExit, match=r"mmcert-say failed; see (?s:.*)no data here"):
        steps.run(command / "run", "say", "fail")
    assert not (command / "run.done").exists()


def test_budgets_are_read_from_the_entry_of_margin(tmp_path):
    entry = {"statistics": "margin", "claim": "robust", "guarantee": "per_sample"}
    point = {"budget": {"video": 1, "audio": 2}, "certified_accuracy": 0.5}
    results = [entry | {"guarantee": "dataset", "grid": []}, entry | {"grid": [point]}]
    (tmp_path / "metrics.json").write_text(json.dumps({"results": results}))
    assert steps.certified_at(tmp_path, "audio", "video") == {(2, 1): 0.5}
