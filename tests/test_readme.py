"""README and docs say what is true: their examples run, their links and commands exist."""

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import mmcert
from mmcert.records.folders import VotesFolders

ROOT = Path(mmcert.__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def python_blocks():
    for page in PAGES:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S)):
            yield pytest.param(code, id=f"{page.name}-{number}")


def stated_output(code):
    """What the comments say is printed: after a ``print``, or on lines of their own at the end."""
    inline = re.findall(r"^\s*print\(.*\) +# (.+)$", code, re.M)
    return inline or re.findall(r"^# (.+)$", code, re.M)


@pytest.mark.parametrize("code", list(python_blocks()))
def test_python_blocks_run_and_print_what_they_say(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "block", "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out.splitlines()
    stated = stated_output(code)
    assert len(printed) == len(stated)
    for output, comment in zip(printed, stated, strict=True):
        # A comment may go on with what the output means.
        assert comment == output or comment.startswith(f"{output}:")


def test_the_readme_certifies_a_model_of_ones_own():
    assert "# 1 True" in PAGES[0].read_text()


def test_the_votes_folder_of_the_docs_can_be_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = next(block.values[0] for block in python_blocks() if block.id == "votes.md-0")
    exec(compile(code, "block", "exec"), {})
    votes = VotesFolders([tmp_path / "votes"])
    document = mmcert.evaluate(votes, votes.meta, budgets=[{"image": 2, "audio": 1}])
    margin = next(result for result in document["results"] if result["statistics"] == "margin")
    assert margin["grid"][0]["certified_accuracy"] == 1.0
    assert document["elements"]["audio"] == "chunk of 160 samples"


@each_page
def test_commands_that_are_named_exist(page):
    named = set(re.findall(r"\bmmcert-[a-z]+", page.read_text()))
    for command in sorted(named):
        assert command in SCRIPTS, f"{page.name} names {command}"
        module = SCRIPTS[command].partition(":")[0]
        assert find_spec(module), f"{command} is {module}, which is not there"


@each_page
def test_relative_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in headings(target), f"{page.name} links to {link}"


def headings(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_files_and_make_targets_that_are_named_exist(page):
    text = page.read_text()
    for name in re.findall(r"\b(?:scripts|conf)/[\w/.*-]+\w", text):
        assert list(ROOT.glob(name)), f"{page.name} names {name}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M):
        assert target in targets, f"{page.name} names make {target}"


@each_page
def test_settings_of_commands_are_known(page):
    """Keys in ``a.b=`` form on our command lines exist in some configuration, as ``a: b:``."""
    known = known_keys()
    for key in re.findall(r"[\s'`]((?:[a-z_]+\.)+[a-z_]+)=", page.read_text()):
        assert key in known, f"{page.name} sets {key}"


def known_keys():
    import yaml

    found = set()

    def walk(prefix, value):
        if isinstance(value, dict):
            for name, inner in value.items():
                path = f"{prefix}.{name}" if prefix else str(name)
                found.add(path)
                walk(path, inner)

    for path in (ROOT / "conf").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text())
        relative = path.relative_to(ROOT / "conf")
        walk("", content)
        if len(relative.parts) > 1:
            walk(".".join(relative.parts[:-1]), content)
    return found


def command_lines():
    """The command lines of code blocks, as words; loops over ``$scheme`` show the first one."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ").replace("$scheme", "mmcert")
        # The last first: a variable's value may name an earlier one.
        for variable, value in reversed(re.findall(r"^ {4}([A-Z])=(\S+)$", text, re.M)):
            text = text.replace(f"${variable}", value)
        for line in re.findall(r"^ *(mmcert-[a-z]+ .*)$", text, re.M):
            words = [word for word in shlex.split(line, comments=True) if word != "..."]
            yield pytest.param(words, id=f"{page.name}-{' '.join(words[:3])}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_command_lines_are_understood(words):
    command, *overrides = words
    name = command.removeprefix("mmcert-")
    if not (ROOT / "conf" / f"{name}.yaml").is_file():
        pytest.skip(f"{command} is not composed by Hydra")
    from hydra import compose, initialize_config_dir

    sweeps = ("sweep=", "hydra/launcher=")
    if "-m" in overrides or any(word.startswith(sweeps) for word in overrides):
        overrides = first_job([word for word in overrides if word != "-m"])
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose(name, overrides)


def first_job(overrides):
    """What the first job of a sweep is given."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return [
        f"{one.get_key_element()}={next(one.sweep_string_iterator())}"
        if one.is_sweep_override()
        else word
        for one, word in zip(
            OverridesParser.create().parse_overrides(overrides), overrides, strict=True
        )
    ]


def test_the_options_table_names_every_statistics_option():
    from mmcert.certification.options import OPTIONS

    text = (ROOT / "docs" / "statistics.md").read_text()
    assert all(f"| `{name}` |" in text for name in OPTIONS)


def test_the_encodings_table_is_that_of_the_code():
    from mmcert.errors import UnsoundError
    from mmcert.theory.encodings import check_encoding

    text = (ROOT / "docs" / "threats.md").read_text().partition("## Encodings")[2]
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+)[^|]* \| (\w+) \|$", text, re.M)
    assert len(rows) == 8
    for name, *verdicts in rows:
        for kinds, verdict in zip(
            (["modification"], ["addition", "deletion", "edits"]), verdicts, strict=True
        ):
            for kind in kinds:
                if verdict == "sound":
                    check_encoding({"x": name}, kind, False)
                else:
                    with pytest.raises(UnsoundError):
                        check_encoding({"x": name}, kind, False)


@pytest.mark.slow
def test_the_statistics_tables_are_what_the_script_prints():
    printed = runpy.run_path(str(ROOT / "scripts" / "compare_statistics.py"))["tables"]()
    assert printed in (ROOT / "docs" / "statistics.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(SCRIPTS))
def test_every_command_explains_itself(command):
    module = SCRIPTS[command].partition(":")[0]
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert command in done.stdout
