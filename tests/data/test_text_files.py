"""Text files that people write are read whatever their editor put before the first letter."""

from pathlib import Path

import pytest

import mmcert

ROOT = Path(mmcert.__file__).parent
#: What voting reads as text was written by its own processes or by the system.
FILES = sorted(path for path in ROOT.rglob("*.py") if "voting" not in path.parts)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_text_is_read_without_its_byte_order_mark(path):
    text = path.read_text(encoding="utf-8")
    assert text.count(".read_text(") == text.count('.read_text(encoding="utf-8-sig")')
