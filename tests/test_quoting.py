"""What the commands print to be pasted reaches them as it was meant."""

import random
import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from mmcert.cli._app import conf_dir
from mmcert.cli.compose import compose
from mmcert.cli.text_keys import TEXT_KEYS, TEXT_LISTS, as_text
from mmcert.quoting import command_line, hydra_text, override, shell_line

FOLDER = "thesis (2024) [new] it's a=b,c~ü $x"
NAMES = [
    *("0", "01", "-1", "+1", "1e3", "1.", ".5", "1_000", "2024_11", "2024-11-01", "nan", "inf"),
    *("true", "False", "null", "None", "on", "", " a ", "a b", "[new]", "{a: 1}", "a,b", "a=b"),
    *("~x", "ü", "$x", "${x}", "\\${x}", "a\\", "\\'", 'a"b', "it's", 'it\'s "x"', "a#b", "a;b&c"),
    *("glob(*)", "x:y", "@", "%", "!", "a\tb", FOLDER),
]


def read_by_hydra(text):
    value = OverridesParser.create().parse_override(f"key={text}").value()
    return OmegaConf.create({"key": value}).key


@pytest.mark.parametrize("name", NAMES)
def test_hydra_reads_quoted_text_as_that_text(name):
    assert read_by_hydra(hydra_text(name)) == name


def test_random_text_comes_back_through_shell_and_hydra():
    rng = random.Random(0)
    characters = "ab01_.e+-'\"\\ $~ü()[]{}=,:#&;!*?%@/|<>`\n\t"
    for _ in range(2000):
        name = "".join(rng.choice(characters) for _ in range(rng.randint(0, 9)))
        (word,) = shlex.split(shell_line([override("key", name)]))
        assert read_by_hydra(word.removeprefix("key=")) == name


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("", "${x}", "\\${x}")])
def test_a_printed_line_names_the_folder_that_was_meant(name):
    line = command_line("certify", checkpoint=f"/data/{name}", sample="x")
    assert shlex.split(line)[0] == "mmcert-certify"
    config = compose("certify", shlex.split(line)[1:-1])
    assert config["checkpoint"] == f"/data/{name}"


@pytest.mark.parametrize("name", ["0", "01", "1e3", "2024_11", "2024-11-01", "true", "nan", "1.0"])
def test_a_name_that_looks_like_a_number_is_text(name):
    assert compose("certify", [f"checkpoint={name}"])["checkpoint"] == name
    report = compose("report", [f"runs=[{name},a]", f"sample={name}", f"run_dir={name}"])
    assert (report["runs"], report["sample"], report["run_dir"]) == ([name, "a"], name, name)
    assert compose("evaluate", [f"votes={name}"])["votes"] == name
    assert compose("convert", [f"source={name}", f"data.root={name}"])["data"]["root"] == name
    assert compose("prepare", ["dataset=avmnist", f"out={name}"])["out"] == name


@pytest.mark.parametrize("name", ["thesis (2024)", "größe", "a=b", "~x", "[new]", "it's"])
def test_a_path_that_is_not_in_hydras_grammar_needs_no_quotes_of_its_own(name):
    assert compose("certify", [f"checkpoint={name}"])["checkpoint"] == name
    assert compose("report", [f"runs=[{name},2]"])["runs"] == [name, "2"]


def test_null_leaves_open_what_may_be_open():
    config = compose("report", ["runs=a", "sample=null", "run_dir=null"])
    assert (config["sample"], config["run_dir"]) == (None, "null")


def keys_of_folders_and_files():
    """Keys whose comment in the configuration says that they are a folder, a file or an id."""
    named = re.compile(r"(null|\?\?\?|\$\{paths\S*)\s+#.*\b(folder|file|directory|id of)\b")
    for path in sorted(conf_dir().rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        group = path.parent.relative_to(conf_dir()).as_posix()
        start = [] if group == "." or "@package _global_" in text else [group]
        parents = []
        for line in text.splitlines():
            found = re.match(r"( *)([a-z_]+): *(.*)", line)
            if found is None:
                continue
            del parents[len(found[1]) // 2 :]
            parents.append(found[2])
            if named.match(found[3]):
                yield ".".join([*start, *parents])


@pytest.mark.parametrize("key", sorted(set(keys_of_folders_and_files())))
def test_every_key_of_a_folder_a_file_or_an_id_is_text(key):
    assert key in TEXT_KEYS | TEXT_LISTS


@pytest.mark.parametrize("key", sorted(TEXT_KEYS))
def test_a_sweep_over_text_stays_a_sweep(key):
    _, swept = as_text(["-m", f"{key}=0,b (c),'3'"])
    read = OverridesParser.create().parse_override(swept)
    assert read.is_sweep_override()
    assert [getattr(one, "text", one) for one in read.value().list] == ["0", "b (c)", "3"]


@pytest.mark.parametrize(
    "given", ["seed=0", "-m", "--config-dir=1", "scheme.k={rgb: 1}", "votes=glob(*)", "~votes"]
)
def test_everything_else_is_left_to_hydra(given):
    assert as_text([given]) == [given]
