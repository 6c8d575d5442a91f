"""Keys whose values are text whatever they look like: paths, ids and names.

Hydra reads ``run_dir=2024_11`` as the number 202411 and ``checkpoint=0`` as 0, and cannot read
``out=größe`` at all. Folders of sweeps are named 0, 1, ..., and people name folders by date. So the
values of these keys are quoted before Hydra sees them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mmcert.quoting import hydra_text

#: Paths, ids and names that are always something: ``null`` is a folder called so.
NEVER_NULL = frozenset({"run_dir", "checkpoint", "votes", "runs", "out", "paths.data"}) | {
    "paths.outputs"
}
#: Those that ``null`` leaves open.
MAY_BE_NULL = frozenset({"data.root", "sample", "source", "split", "plan", "logger.project"})
TEXT_KEYS = NEVER_NULL | MAY_BE_NULL
#: Keys of which every element is text.
TEXT_LISTS = frozenset({"votes", "runs", "allow_code"})

_OVERRIDE = re.compile(r"(?P<head>\+{0,2}(?P<key>[A-Za-z0-9_.]+)=)(?P<value>.*)", re.DOTALL)
#: What makes a sweep, or can: groups that set hydra.mode among them.
_SWEEP = re.compile(r"-m$|--multirun$|\+*(hydra\.mode|hparams_search|sweep)(=|$)")
#: Values that Hydra's grammar gives a meaning of its own.
_FUNCTION = re.compile(r"\s*(glob|choice|range|interval|shuffle|sort|tag|extend_list)\(.*\)\s*")


def as_text(overrides: Sequence[str]) -> list[str]:
    """The overrides with the values of text keys quoted where Hydra would misread them.

    A comma parts the values of a sweep where there is one, and is one of the name elsewhere.

    >>> as_text(["checkpoint=0", "runs=[1,a]", "seed=0", "run_dir=thesis (2024)"])
    ["checkpoint='0'", "runs=['1',a]", 'seed=0', "run_dir='thesis (2024)'"]
    >>> as_text(["-m", "checkpoint=0,1", "votes=sweep/0", "sample=null", "votes=glob(*)"])
    ['-m', "checkpoint='0','1'", 'votes=sweep/0', 'sample=null', 'votes=glob(*)']
    """
    sweep = any(_SWEEP.match(one) for one in overrides)
    return [_quoted(one, sweep) for one in overrides]


def _quoted(argument: str, sweep: bool) -> str:
    found = _OVERRIDE.fullmatch(argument)
    if found is None or found["key"] not in TEXT_KEYS | TEXT_LISTS:
        return argument
    key, value = found["key"], found["value"]
    if _reads_as_text(value, key) or _FUNCTION.fullmatch(value):
        if sweep or key in TEXT_LISTS or len(_split(value)) == 1 or value[:1] in "'\"":
            return argument
        return found["head"] + hydra_text(value)
    if not sweep and not (key in TEXT_LISTS and value.lstrip().startswith("[")):
        return found["head"] + hydra_text(value)
    quoted = ",".join(_element(part, key) for part in _split(value))
    return found["head"] + (quoted if _reads_as_text(quoted, key) else hydra_text(value))


def _element(part: str, key: str) -> str:
    """One of several values that commas part, quoted where it must be; blanks around it stay."""
    bare = part.strip()
    if not bare or _reads_as_text(bare, key):
        return part
    if key in TEXT_LISTS and bare.startswith("[") and bare.endswith("]"):
        inner = ",".join(_element(one, "") for one in _split(bare[1:-1]))
        quoted = f"[{inner}]"
    else:
        quoted = hydra_text(bare)
    return part.replace(bare, quoted, 1)


def _split(value: str) -> list[str]:
    """The parts between commas that stand in neither quotes nor brackets."""
    parts, depth = [""], 0
    for piece in re.findall(r"""\\.|'(?:\\.|[^'])*'|"(?:\\.|[^"])*"|.""", value, re.DOTALL):
        depth += (piece == "[") - (piece == "]")
        if piece == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def _reads_as_text(value: str, key: str) -> bool:
    """Whether Hydra reads a value as text, a list of texts where the key takes one, or null."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import ChoiceSweep
    from hydra.errors import HydraException

    try:
        read: Any = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return False
    options = read.list if isinstance(read, ChoiceSweep) else [read]
    return all(_is_text(option, key) for option in options)


def _is_text(option: Any, key: str) -> bool:
    if isinstance(option, list):
        return key in TEXT_LISTS and all(_is_text(one, "") for one in option)
    if option is None:
        return key in MAY_BE_NULL
    # QuotedString of a sweep's elements prints as its text
    return isinstance(option, str) or type(option).__name__ == "QuotedString"


def texts_of(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with numbers under text keys, as a file may hold them, made texts."""
    for key in sorted(TEXT_KEYS | TEXT_LISTS):
        *path, last = key.split(".")
        section: Any = config
        for name in path:
            section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict) or section.get(last) is None:
            continue
        value = section[last]
        if isinstance(value, list):
            section[last] = [_text(one) for one in value]
        elif not isinstance(value, dict):
            section[last] = _text(value)
    return config


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value
