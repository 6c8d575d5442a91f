"""The files of a folder as a person sees them."""

from __future__ import annotations

from pathlib import Path


def visible_files(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder in sorted order, without hidden ones: macOS leaves ``._NAME`` beside NAME.

    Args:
        folder: Where to look; it need not exist.
        pattern: For their names, e.g. ``*.png``.
    """
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
