"""What is printed for people: to the letter, and for a log file as well as for a terminal."""

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

import mmcert
from mmcert import saying
from mmcert.saying import Pace, animated, busy, say

ROOT = Path(mmcert.__file__).parent
NAME = "runs/[old]/[/y]/[red]a b"


def console(**options):
    return Console(file=io.StringIO(), **options)


def prints_text(call):
    """Whether a call prints what may be a string through Rich, which would read markup in it."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in ("print", "status", "rule")):
        return False
    return not all(
        ast.unparse(one).startswith(("Text(", "table", "comparison_table(")) for one in call.args
    )


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_string_reaches_rich_as_markup(path):
    """Paths and ids are printed by ``say``, or as ``Text`` in a table."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert not prints_text(node), f"line {node.lineno}: use mmcert.saying.say"
            if isinstance(node.func, ast.Name) and node.func.id == "TextColumn":
                fixed = isinstance(node.args[0], ast.Constant) and "fields" in node.args[0].value
                words = isinstance(node.args[0], ast.Constant) and "{" not in node.args[0].value
                plain = any(word.arg == "markup" for word in node.keywords)
                assert fixed or words or plain, f"line {node.lineno}: TextColumn(markup=False)"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_name_is_printed_as_it_is(terminal):
    screen = console(force_terminal=terminal, color_system=None, width=30)
    say(screen, f"Next:\n  mmcert-certify checkpoint={NAME * 3}")
    assert screen.file.getvalue() == f"Next:\n  mmcert-certify checkpoint={NAME * 3}\n"


def test_a_spinner_is_a_line_in_a_log_file():
    screen = console()
    with busy(screen, f"reading {NAME}"):
        pass
    assert screen.file.getvalue() == f"Reading {NAME}.\n"


def test_a_dumb_terminal_gets_lines_too(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert not animated(console(force_terminal=True))


def test_a_log_file_gets_a_line_a_minute_with_rate_and_remaining_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(saying.time, "monotonic", lambda: now[0])
    screen = console()
    pace = Pace(screen, "voting", "draws", 1000)
    for second in range(1, 151):
        now[0] = float(second)
        pace(2 * second)
    assert screen.file.getvalue().splitlines() == [
        "voting: 120 of 1000 draws, 2/s, 7.3 min left",
        "voting: 240 of 1000 draws, 2/s, 6.3 min left",
    ]
    assert "\x1b" not in screen.file.getvalue()
