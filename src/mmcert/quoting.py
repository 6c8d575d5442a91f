"""Command lines that run as they are printed: quoted for Hydra's grammar, then for the shell.

A leaf that every layer may import, like :mod:`mmcert.errors`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Text that Hydra reads as it stands, if it is not also a number, a truth value or null.
_PLAIN = re.compile(r"[A-Za-z0-9_./@%:+-]+")
#: What Hydra would read as something else than text.
_TYPED = re.compile(
    r"[+-]?(?:[0-9][0-9_]*)?\.?[0-9_]*(?:e[+-]?[0-9_]+)?|[+-]?(?:inf|nan)|true|false|null",
    re.IGNORECASE,
)


def hydra_text(text: str) -> str:
    r"""``text`` as a value that Hydra's override grammar reads as this very text.

    >>> hydra_text("runs/a"), hydra_text("2024_11"), hydra_text("it's [new]")
    ('runs/a', "'2024_11'", '"it\'s [new]"')
    """
    if _PLAIN.fullmatch(text) and not _TYPED.fullmatch(text):
        return text
    mark = '"' if "'" in text and '"' not in text else "'"
    # A backslash escapes a quote, and is itself one of two only where it stands before one.
    inner = re.sub(rf"(\\*)({mark}|\Z)", lambda m: m[1] * 2 + ("\\" + mark if m[2] else ""), text)
    # So does one before OmegaConf's interpolations.
    inner = re.sub(r"(?<!\\)(\\*)(?=\$\{)", lambda m: m[1] * 2 + "\\", inner)
    return mark + inner + mark


def override(key: str, value: Any) -> str:
    """One ``key=value`` of a command line; text, paths, numbers and lists or mappings of these.

    >>> override("runs", ["a b", "c"]), override("n", {"rgb": 1}), override("sample", None)
    ("runs=['a b',c]", 'n={rgb: 1}', 'sample=null')
    """
    return f"{key}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, (str, Path)):
        return hydra_text(str(value))
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_value(inner) for inner in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def command_line(command: str, *words: str, **values: Any) -> str:
    """A line that a shell runs as it is printed.

    Args:
        command: Name of the command without ``mmcert-``.
        words: Further overrides as they are to reach Hydra, e.g. ``experiment=avmnist_mmcert``.
        values: Key -> value; a dot in a key is written as two underscores.

    >>> print(command_line("train", "experiment=avmnist_mmcert", data__root="my data"))
    mmcert-train experiment=avmnist_mmcert "data.root='my data'"
    >>> print(command_line("certify", checkpoint="runs/a"))
    mmcert-certify checkpoint=runs/a
    """
    pairs = [override(key.replace("__", "."), value) for key, value in values.items()]
    return shell_line([f"mmcert-{command}", *words, *pairs])


def shell_line(words: list[str]) -> str:
    """Words as a POSIX shell reads them back; one with a single quote goes into double quotes.

    >>> print(shell_line(["mmcert-train", "run_dir='a b'"]))
    mmcert-train "run_dir='a b'"
    """
    return " ".join(_shell(word) for word in words)


def _shell(word: str) -> str:
    quoted = shlex.quote(word)
    if "'\"'\"'" in quoted and not re.search(r'["$`\\!\n]', word):
        return f'"{word}"'  # the same to a shell, and readable to a person
    return quoted
