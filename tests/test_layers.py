"""The layer table of the house: who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

import mmcert

ROOT = Path(mmcert.__file__).parent
EVERYTHING = {
    "theory",
    "records",
    "certification",
    "sampling",
    "data",
    "models",
    "metrics",
    "tasks",
    "voting",
    "reporting",
    "jobs",
    "cli",
}
#: The verifier lies in ``certification``, but is a layer of its own: a separate implementation.
VERIFIER = ("certification", "verifier")
#: layer -> the layers of mmcert that it may import (itself always).
#: ``mmcert.errors``, ``named_code``, ``quoting`` and ``saying`` are leaves that all may import.
MAY_IMPORT = {
    "theory": set(),
    "records": {"theory"},
    "certification": {"theory", "records"},
    "sampling": {"theory"},
    "data": {"theory"},
    "models": {"sampling"},
    "metrics": {"certification"},
    "tasks": {"sampling", "metrics"},
    "voting": {"theory", "sampling", "records", "certification"},
    "reporting": {"theory", "records", "certification"},
    "verifier": set(),
    "jobs": EVERYTHING - {"cli"},
    "cli": EVERYTHING | {"verifier"},
}
#: third-party package -> the only layers that may import it.
ONLY_IN = {
    "torch": {"sampling", "data", "models", "metrics", "tasks", "voting", "jobs"},
    "torchvision": {"data", "models"},
    "timm": {"models"},
    "hydra": {"cli"},
    "omegaconf": {"cli"},
    "pytorch_lightning": {"tasks", "jobs"},
    "lightning_fabric": {"voting"},
    "lightning": set(),
    "torchmetrics": {"metrics", "tasks"},
    "wandb": {"reporting"},
    "matplotlib": {"reporting"},
    "pyarrow": {"records", "verifier"},  # which reads its files without the records' readers
}
#: All that the verifier imports from outside the standard library: to load arrays and files.
VERIFIER_READS_WITH = {"numpy", "pyarrow", "yaml", "PIL"}


def layer_of(parts: tuple[str, ...]) -> str:
    """The layer of a path below the package, or of a dotted name without ``mmcert``."""
    return "verifier" if parts[:2] == VERIFIER else parts[0]


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write mmcert.x"
            found.add(node.module or "")
            if node.module == "mmcert":
                found |= {f"mmcert.{alias.name}" for alias in node.names}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT)


def test_every_layer_is_in_the_table():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert folders == EVERYTHING


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_layer_imports_only_what_its_row_names(path):
    layer = layer_of(path.relative_to(ROOT).parts)
    for name in imports_of(path):
        parts = name.split(".")
        if parts[0] == "mmcert" and len(parts) > 1 and parts[1] in EVERYTHING:
            theirs = layer_of(tuple(parts[1:]))
            assert theirs in MAY_IMPORT[layer] | {layer}, f"{layer} must not import {name}"
        if parts[0] in ONLY_IN:
            assert layer in ONLY_IN[parts[0]], f"{layer} must not import {name}"


def test_the_verifier_is_a_separate_implementation():
    """Nothing of theory, of the records' readers, of the code that wrote the numbers, or scipy."""
    files = [path for path in FILES if layer_of(path.relative_to(ROOT).parts) == "verifier"]
    assert len(files) > 10
    for path in files:
        for name in imports_of(path):
            top = name.split(".")[0]
            own = name.startswith("mmcert.certification.verifier.")
            known = top in sys.stdlib_module_names or top in VERIFIER_READS_WITH
            assert own or known, f"{path.name} must not import {name}"


def test_the_verifier_unpickles_nothing():
    for path in FILES:
        if layer_of(path.relative_to(ROOT).parts) == "verifier":
            text = path.read_text(encoding="utf-8")
            assert text.count("np.load(") == text.count("allow_pickle=False")
